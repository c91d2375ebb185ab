"""Evidence against explanations: no alarm on ordinary streams, changes found, and state that restores to the bit."""

from collections.abc import Callable, Iterator

import msgspec
import numpy as np
import pytest

from detectors.columns import Floats, Integers
from detectors.evidence import explanations
from detectors.evidence.counts import Counts
from detectors.evidence.sheets import EvidenceSettings, Sheets
from detectors.evidence.sizes import Yardstick
from detectors.evidence.watch import Watch, WatchState
from detectors.reference.builder import build_reference

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
RATE = 0.1
DAYS = 10
PER_DAY = round(86_400 * RATE)
START_MS = 4 * DAY_MS  # a Monday

Rng = np.random.Generator


def times(days: float = DAYS) -> Integers:
    return START_MS + (np.arange(round(days * PER_DAY)) * 1_000 / RATE).astype(np.int64)


def independent(rng: Rng, at: Integers) -> Floats:
    return rng.normal(size=len(at))


def sine(rng: Rng, at: Integers) -> Floats:
    return rng.normal(size=len(at)) + np.sin(2 * np.pi * at / DAY_MS)


def office(rng: Rng, at: Integers) -> Floats:
    hour, weekday = at // HOUR_MS % 24, at // DAY_MS % 7
    return rng.normal(size=len(at)) + 0.7 * ((hour >= 9) & (hour < 18) & (weekday < 5))


def dependent(rng: Rng, at: Integers) -> Floats:
    noise, values = rng.normal(size=len(at)), np.zeros(len(at))
    for i in range(1, len(at)):
        values[i] = 0.8 * values[i - 1] + 0.6 * noise[i]
    return values


def sessions(rng: Rng, at: Integers) -> Floats:
    users = rng.normal(size=len(at) // 50 + 1)[np.arange(len(at)) // 50]
    return np.asarray(np.sqrt(0.7) * users + np.sqrt(0.3) * rng.normal(size=len(at)))


Stream = Callable[[Rng, Integers], Floats]
STREAMS: tuple[Stream, ...] = (independent, sine, dependent, sessions)


def watch_on(training: Floats, event_times: str = "all") -> Watch:
    reference = build_reference("m", "1", {"x": training})
    settings = EvidenceSettings(1.0, 0.02, 4.5, event_times=event_times)
    sheets = Sheets(reference.features, settings)
    return Watch(sheets, [Yardstick(sheets.layout, 0)], 1_000)


def shuffled(stream: Stream, seed: int) -> Floats:
    """Training rows of four weeks in random order, without times."""
    rng = np.random.default_rng(seed)
    rows = stream(rng, times(28))
    return rng.permutation(rows)[:20_000]


def looks(watch: Watch, values: Floats, at: Integers, seconds: int = 600) -> Iterator[tuple[Counts, int, int]]:
    """One look for every ``seconds`` of event time; NaN is a missing value."""
    edges = np.asarray(watch.sheets.layout.features[0].edges)
    number = at // (1_000 * seconds)
    begins = np.flatnonzero(np.diff(number, prepend=-1))
    for first, end in zip(begins.tolist(), [*begins[1:].tolist(), len(at)], strict=True):
        part = values[first:end]
        seen = part[~np.isnan(part)]
        cells = np.bincount(edges.searchsorted(seen, side="right"), minlength=watch.sheets.layout.total)
        status = np.array([[len(seen), len(part) - len(seen), 0]])
        yield Counts(cells, status, np.zeros((1, 2)), len(part)), int(at[end - 1]), end


def alarms(watch: Watch, values: Floats, at: Integers, seconds: int = 600) -> list[int]:
    """The events at which alarms came. Reports end as the watch finds."""
    return [end for counts, now_ms, end in looks(watch, values, at, seconds) if watch.look(counts, now_ms, end).fired]


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.__name__)
def test_an_ordinary_stream_raises_no_alarm_whatever_its_reference_does_not_know(stream: Stream) -> None:
    at = times()
    values = stream(np.random.default_rng(7), at)
    assert not alarms(watch_on(shuffled(stream, 3)), values, at)
    assert not alarms(watch_on(values[:10_000].copy()), values, at)


@pytest.mark.parametrize("stream", [sine, dependent, sessions], ids=lambda stream: stream.__name__)
def test_the_same_streams_raise_alarms_where_their_times_are_not_used(stream: Stream) -> None:
    at = times()
    assert alarms(watch_on(shuffled(stream, 3), "none"), stream(np.random.default_rng(7), at), at)


def test_a_step_of_every_day_is_reported_once_and_known_from_then_on() -> None:
    at = times(16)
    found = alarms(watch_on(shuffled(office, 3)), office(np.random.default_rng(7), at), at)
    assert len(found) <= 1


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.__name__)
def test_a_shift_of_one_standard_deviation_is_found_once_the_season_is_known(stream: Stream) -> None:
    at = times(14)
    values = stream(np.random.default_rng(7), at)
    change = round(9.4 * PER_DAY)
    values[change:] += 1.0
    found = alarms(watch_on(shuffled(stream, 3)), values, at, 120)
    most = {"independent": 150, "sine": 400, "dependent": 3_000, "sessions": 10_000}[stream.__name__]
    assert len(found) >= 1
    assert change <= found[0] <= change + most


@pytest.mark.parametrize("hour", [6, 14, 23])
@pytest.mark.parametrize("change", ["missing", "times 1,000", "one standard deviation"])
def test_what_is_gross_or_sudden_is_found_before_the_season_is_known(hour: int, change: str) -> None:
    """A sudden change of one standard deviation from 10,000 events on, what is gross from the first hours on."""
    at = times(3)
    sudden = change == "one standard deviation"
    stream = independent if sudden else sine
    values = stream(np.random.default_rng(7), at)
    start = round(hour / 24 * PER_DAY) + (10_000 if sudden else PER_DAY // 4)
    if change == "missing":
        values[start:] = np.nan
    elif change == "times 1,000":
        values[start:] *= 1_000
    else:
        values[start:] += 1.0
    found = alarms(watch_on(shuffled(stream, 3)), values, at, 60)
    assert start <= found[0] <= start + (400 if sudden else 80)


def test_the_beginning_of_a_change_and_what_it_refutes_are_known() -> None:
    at = times(3)
    values = independent(np.random.default_rng(7), at)
    start = 2 * PER_DAY
    values[start:] *= 1_000
    watch = watch_on(shuffled(independent, 3))
    found = alarms(watch, values, at, 60)
    assert abs(watch.beginning(0).event - start) <= 60
    assert watch.beginning(0).earliest <= start + 6
    assert found
    assert watch.explanations is not None
    assert watch.explanations.kinds(0)
    assert set(watch.explanations.kinds(0)) <= {"recent", "reference", "same-hours"}


@pytest.mark.parametrize("hours", [6, 40])
def test_a_fault_that_ends_is_one_report_and_its_end_is_none(hours: int) -> None:
    at = times(6)
    values = independent(np.random.default_rng(7), at)
    start, end = 3 * PER_DAY, 3 * PER_DAY + hours * PER_DAY // 24
    values[start:end] += 2.0
    watch = watch_on(shuffled(independent, 3))
    fired, returned = [], []
    for counts, now_ms, seen in looks(watch, values, at, 120):
        findings = watch.look(counts, now_ms, seen)
        fired += [seen] * len(findings.fired)
        returned += [seen] * len(findings.returned)
    assert len(fired) == 1
    assert len(returned) == 1
    assert end <= returned[0] <= end + 1_500


def test_time_alone_is_no_evidence() -> None:
    """A feature that never varies, and is never missing, for ten weeks."""
    at = START_MS + np.arange(70 * 24 * 6, dtype=np.int64) * 600_000
    values = np.full(len(at), 3.0)
    watch = watch_on(np.full(5_000, 3.0))
    assert not alarms(watch, values, at)
    assert watch.model_log10 < watch.evidence.threshold_log10 - 2


def copied(state: WatchState) -> WatchState:
    return msgspec.json.decode(msgspec.json.encode(state), type=WatchState)


@pytest.mark.parametrize("every", [1, 97])
def test_a_watch_that_is_restored_judges_as_the_one_that_was_not(every: int) -> None:
    at = times(11)
    values = office(np.random.default_rng(7), at)
    values[round(9.4 * PER_DAY) : round(9.8 * PER_DAY)] += 1.5
    training = shuffled(office, 3)
    straight, broken = watch_on(training), watch_on(training)
    seconds = 3_000 if every == 1 else 600
    for number, (counts, now_ms, end) in enumerate(looks(straight, values, at, seconds)):
        assert straight.look(counts, now_ms, end) == broken.look(counts, now_ms, end)
        if number % every == 0:
            state = copied(broken.snapshot())
            broken = watch_on(training)
            assert broken.restore(state)
    assert straight.snapshot() == broken.snapshot()
    assert straight.model_log10 == broken.model_log10


def test_a_row_without_explanations_is_taken_up_and_they_begin() -> None:
    at = times(1)
    values = independent(np.random.default_rng(7), at)
    training = shuffled(independent, 3)
    before = watch_on(training, "none")
    alarms(before, values, at)
    state = before.snapshot()
    assert b"explanations" not in msgspec.json.encode(state)
    now = watch_on(training)
    assert now.restore(copied(state))
    assert now.explanations is None
    counts, now_ms, end = next(looks(now, values, at))
    now.look(counts, now_ms, end)
    assert now.explanations is not None


def test_only_slots_have_times_where_the_settings_say_so() -> None:
    watch = watch_on(shuffled(independent, 3), "slots")
    counts, now_ms, end = next(looks(watch, independent(np.random.default_rng(7), times(1)), times(1)))
    watch.look(counts, now_ms, end)
    assert watch.explanations is None
    watch.look(counts, now_ms, end, slotted=True)
    assert watch.explanations is not None


def test_the_explanations_share_one_budget_of_false_alarms() -> None:
    """M is a mean of the statistics against all explanations: those of the first hours and of the same hours, which
    are never judged at the same time, have one part of it."""
    recent, reference, same_hours, first = explanations.WEIGHTS
    assert recent + reference + max(same_hours, first) <= 1.0 + 1e-12


def test_evidence_counts_in_full_once_it_climbs_far_above_what_ended_by_itself() -> None:
    """A record of 10 asks for a climb of 22; at half of that, half of the log counts."""
    summary = np.zeros((2, 2, explanations.ROWS))
    summary[0, :, explanations.GROSS] = 6e6
    bets, none, record = np.array([1, 1]), np.zeros(2), np.array([10.0, 10.0])
    logs = {}
    for climb in (0.0, 11.0, 22.0, 44.0):
        summary[1, :, explanations.GROSS] = climb
        logs[climb] = explanations._logs(summary, bets, record, none)[1, 0]
    assert logs[22.0] == logs[44.0] == pytest.approx(np.log(1e6))
    assert logs[11.0] == pytest.approx(logs[22.0] / 2)
    assert logs[0.0] == 0.0
