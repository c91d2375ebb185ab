"""Whether a silence is usual at its hour, learned from the log: figures on streams of four weeks, and the states of the
judge."""

import random
from typing import Any

import msgspec
import numpy as np
import pytest

from detectors.features import UnitKey
from detectors.incidents.activity import HOURS_KEPT, Activity, Silence
from detectors.incidents.blindness import BlindReason, Rhythm
from detectors.profiles import Profile
from detectors.reference.builder import build_reference
from detectors.reference.reference import Reference
from stream.judge.effects import DriftEvent, Health
from stream.judge.judge import Judge
from stream.topics.drift_events import EventType
from stream.topics.marks import Mark
from tests.judge.shards import MiniShard
from tests.judge.silent_streams import DAY, HOUR, MONDAY_MS, PARTS, STOPS, STREAMS, minutes, poisson, watch
from tests.judge.slotted import TOPIC, Item, last_mark, mixed
from tests.settings.defaults import judge_settings

UNIT = UnitKey("fraud", "3", None)
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
WEEKEND = 39 * 60
"""Minutes of the first weekend after nine o'clock on Saturday. Nobody knows yet that it is one. Monday until nine is in
the second week."""

FIGURES = {  # at most so many blind minutes by part; at most so many from a stop at 3:00, 12:00, 18:00 to blind
    "office hours, 1/s, stops at six": ((900, WEEKEND, 545, 0), (375, 6, 915)),
    "office hours, 1/s, fades, 10 min of jitter": ((790, WEEKEND, 550, 0), (390, 8, 8)),
    "office hours, .01/s, 10 min of jitter": ((900, WEEKEND, 555, 0), (400, 80, 935)),
    "office hours on all days, .1/s, 20 min of jitter": ((915, 25, 0, 3), (410, 8, 950)),
    "busy days at 1/s, nights at .01/s": ((1, 0, 0, 2), (45, 6, 6)),
    "a batch of 5 minutes every night, 30 min of jitter": ((1_445, 20, 5, 3), (1_440, 900, 540)),
    "a batch in one slot every night": ((1_440, 0, 0, 0), (1_395, 855, 495)),
    "a batch of an hour every week, 30 min of jitter": ((2_700, 7_200, 150, 0), (7_490, 6_950, 6_590)),
    "a batch in one slot every week": ((2_760, 7_200, 125, 0), (7_460, 6_920, 6_560)),
    "a batch of a minute every hour": ((115, 0, 0, 0), (190, 190, 190)),
    "uniform, 1/s": ((0, 0, 0, 0), (6, 6, 6)),
    "uniform, .1/s": ((0, 0, 0, 0), (8, 8, 8)),
    "uniform, .01/s": ((0, 0, 0, 0), (55, 55, 45)),
    "uniform, one an hour": ((40, 0, 0, 0), (1_800, 1_800, 1_800)),
    "uniform, four a day": ((1_500, 0, 0, 0), (10_500, 10_500, 10_500)),
}
LATE = ("batch", "office")


def check_figures(name: str, seed: int) -> None:
    (blind, delays), stream = FIGURES[name], STREAMS[name]
    watched = watch(stream(np.random.default_rng(seed), 28), 28 * DAY, STOPS)
    for (begin, end), most in zip(PARTS, blind, strict=True):
        assert minutes(watched.found, begin * DAY, end * DAY) <= most, (begin, end)
    for stop, most in zip(STOPS, delays, strict=True):
        assert watched.stops[stop][0] <= most, stop
    if "every" in name:
        assert minutes(watched.found, 14 * DAY, 28 * DAY, ("quiet",)) > 0.9 * 14 * DAY / 60 or "hour" in name
        reasons = {reason for _, reason in watched.stops.values()}
        assert reasons == ({"silent"} if name == "a batch of a minute every hour" else {"late"})


@pytest.mark.parametrize("name", STREAMS)
def test_blind_minutes_and_delays_on_four_weeks(name: str) -> None:
    check_figures(name, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("name", STREAMS)
def test_blind_minutes_and_delays_on_more_seeds(name: str, seed: int) -> None:
    check_figures(name, seed)


def test_on_the_first_night_a_stream_that_breaks_off_is_blind_and_one_that_fades_is_quiet_for_a_day() -> None:
    rng = np.random.default_rng(5)
    broken = poisson(rng, 9 * HOUR, 18 * HOUR, 0.5)
    tail = poisson(rng, 18 * HOUR, 21 * HOUR, 0.5)
    faded = np.concatenate([broken, tail[rng.random(len(tail)) < 0.5 ** ((tail - 18 * HOUR) / 600)]])
    first = watch(broken, 2 * DAY).found[0]
    assert (first.state, first.end) == ("silent", 2 * DAY)
    assert first.begin - 18 * HOUR < 600
    quiet, blind = watch(faded, 2 * DAY).found
    assert quiet.state == "quiet"
    assert (blind.state, round(blind.begin / HOUR, 1)) == ("silent", 33.3), "a quarter past nine on the second day"


def test_of_six_first_nights_of_a_stream_that_fades_one_is_blind() -> None:
    """Slots of 16 s of 1 event/s hide most of the fading; finer ones show more of it."""
    name, blind = "office hours, 1/s, fades, 10 min of jitter", []
    for seed in range(6):
        events = STREAMS[name](np.random.default_rng(seed), 1)
        blind.append(minutes(watch(events, 32 * HOUR).found, 0, 32 * HOUR))
    assert sum(one > 10 for one in blind) <= 1, blind


def activity_of(times_ms: Any) -> Activity:
    activity = Activity()
    for at_ms in times_ms:
        activity.record(int(at_ms), 60_000.0)
    return activity


def test_the_state_is_bounded_and_is_restored_to_the_bit() -> None:
    rng = np.random.default_rng(2)
    times = MONDAY_MS + 1_000 * np.concatenate(
        [poisson(rng, d * DAY + 9 * HOUR, d * DAY + 17 * HOUR, 0.01) for d in range(70)]
    )
    for count in (1, 2, 500, len(times)):
        whole, again = activity_of(times[:count]), Activity()
        state = whole.snapshot()
        assert state is not None
        assert len(state.hours) <= 3 * HOURS_KEPT
        assert len(msgspec.json.encode(state)) < 3_200
        again.restore(msgspec.json.decode(msgspec.json.encode(state), type=type(state)),
                      Rhythm(whole.rhythm.mean_ms, whole.rhythm.longest_ms))  # fmt: skip
        for activity in (whole, again):
            for at_ms in times[-300:] + 70 * DAY_MS:
                activity.record(int(at_ms), 60_000.0)
        assert whole.snapshot() == again.snapshot()
        assert [whole.judge(n * HOUR_MS, 60_000.0) for n in range(90)] == [
            again.judge(n * HOUR_MS, 60_000.0) for n in range(90)
        ]


def test_a_week_without_events_is_not_seven_silent_nights() -> None:
    steady = MONDAY_MS + np.arange(0, 2 * DAY_MS, MINUTE_MS)
    activity = activity_of([*steady, *(steady[-1] + 5 * DAY_MS + np.arange(0, 4 * HOUR_MS, MINUTE_MS))])
    assert activity.judge(2 * HOUR_MS, 60_000.0).silence is Silence.UNUSUAL


# the judge


def columns(rng: np.random.Generator, rows: int) -> dict[str, Any]:
    return {"amount": rng.lognormal(3, 1, rows), "age": rng.normal(40, 9, rows)}


@pytest.fixture(scope="module")
def reference() -> Reference:
    return build_reference("fraud", "3", columns(np.random.default_rng(7), 10_000))


class Office:
    """A model in office hours on all days, by its judge. Event time is wall time."""

    def __init__(self, reference: Reference, days: int, partitions: int = 2) -> None:
        self.judge = Judge(judge_settings(), [reference])
        self.shards = [MiniShard(reference, n) for n in range(partitions)]
        self.rng = np.random.default_rng(1)
        self.effects: list[Any] = []
        self.now_ms = MONDAY_MS
        for day in range(days):
            self.send_until(day, 9, 17)

    def send_until(self, day: int, begin: float, end: float) -> None:
        """An event a shard and minute."""
        for minute in range(round(60 * begin), round(60 * end)):
            self.now_ms = MONDAY_MS + day * DAY_MS + minute * MINUTE_MS
            shard = self.shards[minute % len(self.shards)]
            profile: Profile = shard.add(columns(self.rng, 1), self.now_ms)
            self.effects += self.judge.on_profile(profile, self.now_ms)

    def at(self, day: int, hour: float, health: Health | None = None) -> str:
        """The state at that time."""
        self.now_ms = MONDAY_MS + day * DAY_MS + round(hour * HOUR_MS)
        self.effects += self.judge.on_tick(self.now_ms, health)
        return self.judge.state(UNIT)

    def view(self) -> dict[str, Any]:
        return self.judge.model_view(UNIT)


def test_a_night_is_quiet_says_when_events_are_expected_and_rings_nothing(reference: Reference) -> None:
    office = Office(reference, 3)
    assert office.at(2, 16.99) == "stable"
    assert office.view()["quiet"] is None
    assert office.at(2, 18) == "quiet"
    view = office.view()
    assert view["reason"] == "usually silent at this hour, next events expected by 09:00 UTC"
    assert view["quiet"]["since_ms"] == MONDAY_MS + 2 * DAY_MS + 17 * HOUR_MS - MINUTE_MS
    assert abs(view["quiet"]["expected_ms"] - (MONDAY_MS + 3 * DAY_MS + 9 * HOUR_MS)) < MINUTE_MS
    assert office.at(3, 8.9) == "quiet"
    states = [e.data for e in office.effects if isinstance(e, DriftEvent) and e.kind is EventType.MODEL_STATE]
    assert [state["state"] for state in states] == ["stable", "quiet"]
    assert states[-1]["previous"] == "stable"
    office.send_until(3, 9, 9.1)
    assert office.at(3, 9.1) == "stable"
    assert office.view()["quiet"] is None


def test_events_that_do_not_come_in_the_morning_are_late(reference: Reference) -> None:
    office = Office(reference, 3)
    assert office.at(3, 8.9) == "quiet"
    assert office.at(3, 10) == "blind"
    assert office.judge._units[UNIT].standing.sight.reason is BlindReason.LATE
    assert office.view()["reason"] == "late: events usually come by 09:00 UTC, none came"


def test_silence_at_noon_is_blind_within_minutes_and_stays_so_over_night(reference: Reference) -> None:
    office = Office(reference, 3)
    office.send_until(3, 9, 12)
    assert office.at(3, 12.4) == "blind"
    assert office.view()["reason"].startswith("no event for more than ")
    assert office.at(3, 23) == "blind"
    assert office.at(4, 10) == "blind"


def test_quiet_hides_neither_a_lag_nor_an_unreadable_topic_nor_late_events(reference: Reference) -> None:
    office = Office(reference, 3)
    assert office.at(2, 20) == "quiet"
    assert office.at(2, 20, Health(records={"fraud": 200}, invalid={"fraud": 150})) == "blind"
    assert office.at(2, 20.1) == "quiet"
    lag = Health(lag_records=10, lag_seconds=900.0)
    office.at(2, 20.2, lag)
    assert office.at(2, 20.3, lag) == "blind"
    assert office.at(2, 20.4) == "quiet"
    late = msgspec.structs.replace(office.shards[0].profile(), late=150, next_offset=1 << 40)
    office.judge.on_profile(late, office.now_ms)
    assert office.at(2, 20.5) == "blind"
    assert office.view()["reason"].endswith("but late ones")


def test_quiet_does_not_hide_an_open_incident(reference: Reference) -> None:
    office = Office(reference, 3)
    shard = office.shards[0]
    for second in range(60):
        batch = columns(office.rng, 64)
        batch["age"] = batch["age"] + 60
        at_ms = MONDAY_MS + 2 * DAY_MS + 17 * HOUR_MS + 1_000 * second
        office.judge.on_profile(shard.add(batch, at_ms), at_ms)
    assert office.at(2, 17.02) == "drift"
    assert office.at(2, 22) == "drift"
    assert office.view()["quiet"] is None


def test_who_takes_over_knows_the_silence_and_the_hours(reference: Reference) -> None:
    office = Office(reference, 3)
    assert office.at(2, 22) == "quiet"
    row = office.judge.snapshot(UNIT)
    office.judge = Judge(judge_settings(), [reference])
    office.judge.restore(UNIT, row)
    assert office.judge.state(UNIT) == "quiet"
    before = len(office.effects)
    assert office.at(2, 22.01) == "quiet"
    assert len(office.effects) == before, "no change is published"
    assert office.at(3, 8.9) == "quiet"
    assert office.at(3, 10) == "blind"


def test_the_partition_that_brings_the_events_changes_nothing(reference: Reference) -> None:
    rows = [Office(reference, 2, partitions).judge._units[UNIT].standing.sight.snapshot() for partitions in (1, 4)]
    assert rows[0].activity == rows[1].activity
    assert rows[0].rhythm == rows[1].rhythm


SLOT_MS = 64_000


def slotted_days(reference: Reference, partition: int, days: int) -> list[Item]:
    """What the worker of one of two partitions sends of a model with an event in each slot from nine to five."""
    shard, sent, rng = MiniShard(reference, partition), list[Item](), np.random.default_rng(partition)
    for day in range(days):
        begin_ms = MONDAY_MS + day * DAY_MS
        for at_ms in range(begin_ms + 9 * HOUR_MS, begin_ms + 17 * HOUR_MS, SLOT_MS):
            profile = shard.add(columns(rng, 1), at_ms + 1_000 * partition)
            end_ms = (at_ms + 1_000 * partition) // SLOT_MS * SLOT_MS + SLOT_MS
            sent.append(msgspec.structs.replace(profile, slot_end_ms=end_ms, slot_level=8))
            sent.append(Mark(1, TOPIC, partition, 2, end_ms, end_ms, False))
    return [*sent, last_mark(partition, 2)]


def test_hours_follow_from_the_log_in_any_order_of_partitions_and_over_restarts(reference: Reference) -> None:
    sent = [slotted_days(reference, partition, 3) for partition in range(2)]
    found = []
    for seed in range(3):
        judge, items = Judge(judge_settings(), [reference]), mixed(sent, random.Random(seed))
        for number, item in enumerate(items):
            now_ms = item.clock_ms if isinstance(item, Mark) else item.slot_end_ms or 0
            if isinstance(item, Mark):
                judge.on_mark(item)
            else:
                judge.on_profile(item, now_ms, number)
            if seed and number % 500 == 0 and judge.holds(UNIT) and not judge._waiting.units:
                row, judge = judge.snapshot(UNIT), Judge(judge_settings(), [reference])
                judge.restore(UNIT, row)
        found.append(judge._units[UNIT].standing.sight.snapshot())
        judge.on_tick(MONDAY_MS + 2 * DAY_MS + 17 * HOUR_MS)
        judge.on_tick(MONDAY_MS + 2 * DAY_MS + 20 * HOUR_MS)
        assert judge.state(UNIT) == "quiet"
        judge.on_tick(MONDAY_MS + 3 * DAY_MS + 11 * HOUR_MS)
        assert judge.state(UNIT) == "blind"
    assert found[0].activity == found[1].activity == found[2].activity
    assert found[0].rhythm == found[1].rhythm == found[2].rhythm


def test_a_silence_that_came_on_one_noon_of_a_week_is_not_usual_and_one_of_most_noons_is() -> None:
    day, hour, minute, noon = 1_440, 60, 60_000, 12
    for silent_days, usual in (((3,), False), ((1, 2, 3, 4, 5, 6), True)):
        times = [
            at for at in range(7 * day + noon * hour)
            if not (at // day in silent_days and noon * hour < at % day < (noon + 3) * hour)
        ]  # fmt: skip
        activity = activity_of([at * minute for at in times])
        found = activity.judge(90 * minute, 5.0 * minute)
        assert (found.silence is Silence.USUAL) == usual, (silent_days, found)


def test_the_longest_usual_silence_follows_from_the_mean_and_from_the_longest_gap() -> None:
    factor, least_ms, unknown_ms = 10.0, 5_000, 90_000
    assert Rhythm().patience_ms(factor, least_ms, unknown_ms) == 90_000
    assert Rhythm(1_000, 1_000).patience_ms(factor, least_ms, unknown_ms) == 10_000
    assert Rhythm(1_000, 60_000).patience_ms(factor, least_ms, unknown_ms) == 180_000
    assert Rhythm(1, 1).patience_ms(factor, least_ms, unknown_ms) == 5_000
