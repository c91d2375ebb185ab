"""Faults of clocks: impossible years, times that go backwards, jumps, and machines that were asleep."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.features import UnitKey
from detectors.profiles import Profile
from stream.judge.judge import Judge
from stream.judge.settings import judge_settings
from stream.observe.effects import Effects
from stream.observe.observer import Observer
from stream.settings import settings as config
from stream.topics.record import Partition, Record
from tests.settings.defaults import observe_settings

HERE = Partition("inference-events", 0)
NOW_MS = 1_763_700_000_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
YEAR_9999_MS = 253_370_764_800_000


def record(offset: int, ts: object, record_ms: int = NOW_MS) -> Record:
    event = {"id": str(offset), "model": "m", "version": "1", "ts": ts, "features": {"x": offset / 7}}
    return Record(offset, record_ms, None, json.dumps(event).encode())


class Worker:
    """Observer and judge; checkpoints are acknowledged at once."""

    def __init__(self) -> None:
        self.observer = Observer(observe_settings(look_events=1))
        self.observer.assign(HERE)
        self.judge = Judge(judge_settings(config.Settings()))
        self.offset = 0
        self.waiting: list[Profile] = []

    def read(self, times: list[object], record_ms: int = NOW_MS) -> Effects:
        records = [record(self.offset + n, ts, record_ms) for n, ts in enumerate(times)]
        self.offset += len(times)
        effects = self.observer.process(HERE, records)
        self.waiting += effects.profiles
        saving = self.observer.checkpoint(HERE)
        for unit in saving.dirty:
            saving.encode(unit)
        saving.acknowledged()
        return effects

    def look(self, now_ms: int) -> str:
        """The model's state after everything that is due at this wall time was judged."""
        self.judge.on_profiles([*self.waiting, *self.observer.profiles_due(now_ms)], now_ms)
        self.waiting = []
        self.judge.on_tick(now_ms)
        return self.judge.state(UnitKey("m", "1", None))


times = st.sampled_from(
    [0, 1, -1, 1_000, NOW_MS, NOW_MS - HOUR_MS, NOW_MS - 3 * DAY_MS, NOW_MS + HOUR_MS, NOW_MS + 30 * DAY_MS,
     YEAR_9999_MS, 10**300, "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "soon", None, True]
)  # fmt: skip
clocks = st.sampled_from([-1, 0, 1, NOW_MS, NOW_MS - DAY_MS, NOW_MS + 400 * DAY_MS, YEAR_9999_MS, 2**62])


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(times, clocks), min_size=1, max_size=30), st.integers(1, 30))
def test_any_times_give_each_event_one_outcome_and_the_same_state_however_polled(
    given_times: list[tuple[object, int]], cut: int
) -> None:
    records = [record(offset, *pair) for offset, pair in enumerate(given_times)]
    whole, parts = Observer(observe_settings()), Observer(observe_settings())
    outcomes = []
    for observer, batches in ((whole, [records]), (parts, [records[:cut], records[cut:]])):
        observer.assign(HERE)
        counted: dict[str, int] = {}
        for batch in batches:
            for (_, outcome), rows in observer.process(HERE, batch).outcomes.items():
                counted[outcome] = counted.get(outcome, 0) + rows
        outcomes.append(counted)
    assert outcomes[0] == outcomes[1]
    assert sum(outcomes[0].values()) == len(records)
    unit = UnitKey("m", "1", None)
    assert whole._partitions[HERE].units[unit].snapshot() == parts._partitions[HERE].units[unit].snapshot()


@pytest.mark.parametrize(
    "absurd", [0, "1970-01-01T00:00:00Z", YEAR_9999_MS, "9999-12-31T23:59:59Z", NOW_MS + 2 * DAY_MS]
)
def test_an_absurd_time_neither_moves_the_clock_nor_makes_others_late(absurd: object) -> None:
    worker = Worker()
    assert worker.read([NOW_MS, absurd, NOW_MS + 1]).outcomes == {("m", "accepted"): 3}


def test_times_that_go_backwards_count_within_a_day_and_are_late_beyond() -> None:
    worker = Worker()
    backwards: list[object] = [NOW_MS - n * HOUR_MS for n in range(0, 30, 5)]
    assert worker.read(backwards).outcomes == {("m", "accepted"): 5, ("m", "late"): 1}


def test_a_clock_that_jumped_ahead_and_back_leaves_the_model_blind_not_healthy() -> None:
    """The producer's clock sets event times and record times. Events after the jump back are late, and counted so."""
    worker, wall_ms = Worker(), NOW_MS
    for _ in range(50):
        wall_ms += 1_000
        worker.read([wall_ms], wall_ms)
        assert worker.look(wall_ms) == "learning"
    worker.read([wall_ms + 7 * DAY_MS], wall_ms + 7 * DAY_MS)
    states = []
    for _ in range(200):
        wall_ms += 1_000
        assert worker.read([wall_ms], wall_ms).outcomes == {("m", "late"): 1}
        states.append(worker.look(wall_ms))
    assert states[-1] == "blind"
    detail = worker.judge.model_view(UnitKey("m", "1", None))
    assert "but late ones" in json.dumps(detail["reason"])
    worker.read([wall_ms + 7 * DAY_MS], wall_ms + 7 * DAY_MS)
    worker.look(wall_ms + 1_000)  # the event ended the slot before it
    assert worker.look(wall_ms + 3_000) == "learning"


def test_a_wall_clock_that_is_set_back_holds_back_no_profile_and_no_silence() -> None:
    worker = Worker()
    for second in range(20):
        worker.read([NOW_MS + second * 1_000])
        worker.look(NOW_MS + second * 1_000)
    back_ms = NOW_MS - 5 * HOUR_MS
    worker.read([NOW_MS + 30_000])
    assert worker.look(back_ms) == "learning"
    assert worker.judge.model_view(UnitKey("m", "1", None))["events"] == 21
    assert worker.look(back_ms + 3_600_000) == "blind"


def test_a_machine_that_slept_is_blind_until_the_first_profile_and_loses_nothing() -> None:
    worker = Worker()
    for second in range(20):
        worker.read([NOW_MS + second * 1_000])
        worker.look(NOW_MS + second * 1_000)
    awake_ms = NOW_MS + 8 * HOUR_MS
    assert worker.look(awake_ms) == "blind"
    worker.read([awake_ms])
    assert worker.look(awake_ms + 1_000) == "learning"
    assert worker.judge.model_view(UnitKey("m", "1", None))["events"] == 21
