"""The first events of a stream whose season is learned: gross changes are found within seconds, dependence is seen."""

from collections.abc import Callable, Iterator

import msgspec
import numpy as np
import pytest

from detectors.columns import Floats, Integers
from detectors.evidence.counts import Counts
from detectors.evidence.explanations import ExplanationsState
from detectors.evidence.sheets import EvidenceSettings, Sheets
from detectors.evidence.sizes import Yardstick
from detectors.evidence.watch import Watch, WatchState
from detectors.reference.builder import build_reference

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
START_MS = 4 * DAY_MS
CATEGORIES = np.array(["a", "b", "c", "d"])
SHARES = (0.4, 0.3, 0.2, 0.1)

Rng = np.random.Generator


def watch_on(training: Floats, event_times: str = "all") -> Watch:
    reference = build_reference("m", "1", {"x": training})
    sheets = Sheets(reference.features, EvidenceSettings(1.0, 0.02, 4.5, event_times=event_times))
    return Watch(sheets, [Yardstick(sheets.layout, 0)], 1_000)


def cells_of(watch: Watch, values: Floats) -> Integers:
    """The cell of every value; -1 for a missing one."""
    feature = watch.sheets.layout.features[0]
    if not feature.edges:
        places = {category: place for place, category in enumerate(feature.categories)}
        return np.array([places.get(str(value), len(places) + 1) for value in values.tolist()])
    cells = np.asarray(feature.edges).searchsorted(values, side="right")
    return np.asarray(np.where(np.isnan(values), -1, cells))


def looks(watch: Watch, values: Floats, rate: float) -> Iterator[tuple[Counts, int, int]]:
    """Looks of one second, or of 32 events where they take longer. The stream begins in the middle of a day."""
    at = START_MS + 9 * HOUR_MS + (np.arange(len(values)) * 1_000 / rate).astype(np.int64)
    cells, length = cells_of(watch, values), int(max(1_000, 32_000 / rate))
    begins = np.flatnonzero(np.diff(at // length, prepend=-1))
    for first, end in zip(begins.tolist(), [*begins[1:].tolist(), len(at)], strict=True):
        part = cells[first:end]
        seen = part[part >= 0]
        status = np.array([[len(seen), len(part) - len(seen), 0]])
        counts = np.bincount(seen, minlength=watch.sheets.layout.total)
        yield Counts(counts, status, np.zeros((1, 2)), len(part)), int(at[end - 1]), end


def alarms(watch: Watch, values: Floats, rate: float) -> list[int]:
    """The events at which alarms came."""
    return [end for counts, now_ms, end in looks(watch, values, rate) if watch.look(counts, now_ms, end).fired]


def changed(change: str, rng: Rng, values: Floats) -> Floats:
    part = rng.uniform(size=len(values)) < 0.2
    if change == "3 standard deviations":
        return values + 3.0
    if change == "times 1,000":
        return values * 1_000
    if change == "unseen category":
        return np.where(part, "z", values)
    return np.where(part if change == "a fifth missing" else np.ones(len(values), bool), np.nan, values)


@pytest.mark.parametrize("rate", [10, 50, 150])
@pytest.mark.parametrize(
    "change", ["3 standard deviations", "times 1,000", "missing", "a fifth missing", "unseen category"]
)
def test_what_is_gross_is_found_after_the_first_1500_events_as_fast_as_without_a_season(change: str, rate: int) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        categorical = change == "unseen category"
        stream = CATEGORIES[rng.choice(4, 4_000, p=SHARES)] if categorical else rng.normal(size=4_000)
        training = CATEGORIES[rng.choice(4, 20_000, p=SHARES)] if categorical else rng.normal(size=20_000)
        stream[1_500:] = changed(change, rng, stream[1_500:])
        without = alarms(watch_on(training, "none"), stream, rate)[0]
        found = alarms(watch_on(training), stream, rate)[0]
        assert found > 1_500
        assert found <= without + 2 * max(rate, 32)


def autoregressive(rng: Rng, length: int) -> Floats:
    noise, values = rng.normal(size=length), np.zeros(length)
    for i in range(1, length):
        values[i] = 0.8 * values[i - 1] + 0.6 * noise[i]
    return values


Stream = Callable[[Rng, int], Floats]


def sessions(rng: Rng, length: int) -> Floats:
    users = rng.normal(size=length // 50 + 1)[np.arange(length) // 50]
    return np.asarray(np.sqrt(0.7) * users + np.sqrt(0.3) * rng.normal(size=length))


def long_sessions(rng: Rng, length: int) -> Floats:
    """One value a session, of 18 to 2,000 events."""
    lengths = np.minimum(np.ceil(17 * (1 + rng.pareto(1.5, length // 17 + 1))), 2_000).astype(np.int64)
    return np.repeat(rng.normal(size=len(lengths)), lengths)[:length]


@pytest.mark.parametrize("stream", [autoregressive, sessions, long_sessions], ids=lambda stream: stream.__name__)
@pytest.mark.parametrize("rate", [10, 100, 600])
def test_a_dependent_stream_raises_no_alarm_in_its_first_20000_events(stream: Stream, rate: int) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        training = rng.permutation(stream(rng, 40_000))[:20_000]
        assert not alarms(watch_on(training), stream(rng, 20_000), rate)


@pytest.mark.parametrize(
    ("stream", "least", "most"),
    [(None, 1.0, 6.0), (autoregressive, 9.0, 200.0), (sessions, 17.0, 600.0), (long_sessions, 100.0, np.inf)],
)
def test_the_dependence_of_the_first_4000_events_is_known(stream: Stream | None, least: float, most: float) -> None:
    found = []
    for seed in range(9):
        rng = np.random.default_rng(seed)
        values = rng.normal(size=4_000) if stream is None else stream(rng, 4_000)
        watch = watch_on(rng.normal(size=20_000))
        alarms(watch, values, 100)
        assert watch.explanations is not None
        found.append(float(watch.explanations.first.tau[0]))
    assert least <= min(found)
    assert np.median(found) <= most


def copied(state: WatchState) -> WatchState:
    return msgspec.json.decode(msgspec.json.encode(state), type=WatchState)


def test_a_watch_that_is_restored_at_every_look_judges_the_first_events_as_the_one_that_was_not() -> None:
    rng = np.random.default_rng(5)
    stream, training = rng.normal(size=4_000), rng.normal(size=20_000)
    stream[2_500:] += 1.0
    straight, broken = watch_on(training), watch_on(training)
    for counts, now_ms, end in looks(straight, stream, 50):
        assert straight.look(counts, now_ms, end) == broken.look(counts, now_ms, end)
        state = copied(broken.snapshot())
        broken = watch_on(training)
        assert broken.restore(state)
    assert straight.snapshot() == broken.snapshot()


def test_a_row_of_a_version_without_first_events_is_taken_up_and_they_count_as_over() -> None:
    rng = np.random.default_rng(6)
    stream, training = rng.normal(size=3_000), rng.normal(size=20_000)
    before = watch_on(training)
    alarms(before, stream, 50)
    state = before.snapshot()
    assert isinstance(state.explanations, ExplanationsState)
    shape = (state.explanations.shape[0], -1, state.explanations.shape[1])
    cut = {
        name: np.frombuffer(getattr(state.explanations, name)).reshape(shape)[:, :-1].tobytes()
        for name in ("evidence", "climb", "peak", "since", "since_ms")
    }
    old = msgspec.structs.replace(state.explanations, **cut, first=msgspec.UNSET, room=b"")
    now = watch_on(training)
    assert now.restore(copied(msgspec.structs.replace(state, explanations=old)))
    assert now.explanations is not None
    assert before.explanations is not None
    assert np.array_equal(now.explanations.logs()[:3], before.explanations.logs()[:3])
    more = list(looks(now, np.concatenate((stream, stream[:100])), 50))[-2:]
    for counts, now_ms, end in more:
        now.look(counts, now_ms, end)
    assert (
        now.explanations.first.append(np.zeros((2, 18)), np.ones((2, 18)), 0, *np.zeros((2, 2), bool)).min() == np.inf
    )
