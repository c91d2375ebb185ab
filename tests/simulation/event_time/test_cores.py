"""Both cores give what the ordered run gives, however partitions run and whatever fails; planted faults are found.

``DRIFTLINE_TEST_SEED=N`` replays the log of one seed under all interleavings. ``DRIFTLINE_TEST_LOGS=N`` and
``DRIFTLINE_TEST_INTERLEAVINGS=N`` set how many there are: some 20 runs a second and core.
"""

import os
import secrets
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest

from detectors.errors import DriftlineError
from detectors.profiles import Profile
from stream.judge.frontier import Frontier
from stream.judge.slot_buffer import SlotBuffer
from stream.observe.cuts import Cuts
from stream.observe.partition import Assigned
from stream.observe.unit import Unit
from stream.topics.drift_events import EventType
from stream.topics.marks import Mark
from stream.topics.record import Partition
from tests.simulation.event_time.cores import Outcome, Rules, compare, ordered
from tests.simulation.event_time.logs import log
from tests.simulation.world import Diverged

LOGS = int(os.environ.get("DRIFTLINE_TEST_LOGS", "10"))
INTERLEAVINGS = int(os.environ.get("DRIFTLINE_TEST_INTERLEAVINGS", "4"))
GIVEN = os.environ.get("DRIFTLINE_TEST_SEED")
EVENTFUL = (0, 6, 19, 22)
"""Logs in which incidents open, resolve and open again, and references are learned."""
FOUND_WITHIN = 100
"""Logs in which a planted fault must be found, where its seed does not show it any more."""


def _number_of(kind: EventType, outcomes: Iterable[Outcome]) -> int:
    items = [item for one in outcomes for trace in one.traces.values() for item in trace]
    return sum(isinstance(item, tuple) and item[0] == kind.value for item in items)


def test_looks_incidents_and_references_are_those_of_the_ordered_run(capsys: pytest.CaptureFixture[str]) -> None:
    first = 1_000_000 + secrets.randbelow(1 << 40)
    seeds = [int(GIVEN)] if GIVEN else [*range(LOGS - LOGS // 2), *range(first, first + LOGS // 2)]
    with capsys.disabled():
        sys.stdout.write(f"\n{len(seeds)} logs, the random ones are seeds {first} to {seeds[-1]}\n")
    for seed in seeds:
        wanted = ordered(log(seed))
        assert all(state["behind_slots"] == 0 for state in wanted.states.values())  # and so in every other run
        for number in range(INTERLEAVINGS):
            compare(log(seed), f"{seed}/{number}", Rules(), wanted)


def test_runs_are_as_bad_as_they_should_be() -> None:
    """Each kind of trouble and of judgement happens; otherwise the suite would prove nothing."""
    seen: Counter[str] = Counter()
    outcomes = [ordered(log(seed)) for seed in EVENTFUL]
    for seed, wanted in zip(EVENTFUL, outcomes, strict=True):
        for number in range(INTERLEAVINGS):
            seen += compare(log(seed), f"{seed}/{number}", Rules(), wanted).seen
    for what in ("crash", "move", "zombie", "freeze", "judge restarted", "torn checkpoint"):
        assert seen[what] >= len(EVENTFUL), seen
    for what in ("waits", "lag", "learning", "stable", "drift", "blind"):
        assert seen[what] > 0, seen
    for kind in (EventType.INCIDENT_OPENED, EventType.INCIDENT_RESOLVED, EventType.INCIDENT_REOPENED):
        assert _number_of(kind, outcomes) > 0, kind
    assert any(str(item).startswith("sha256:") for one in outcomes for trace in one.traces.values() for item in trace)


def test_a_seed_is_the_same_run_again() -> None:
    wanted = ordered(log(3))
    one, other = (compare(log(3), "3/0", Rules(), wanted) for _ in range(2))
    assert [msgspec.json.encode(item) for item in one.topic[0]] == [
        msgspec.json.encode(item) for item in other.topic[0]
    ]
    assert one.seen == other.seen


Patch = Callable[[pytest.MonkeyPatch], None]


def _kept_cuts_are_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = Cuts.cut

    def thinned(self: Cuts, profile: Profile) -> None:
        cut(self, profile)
        if len(self.kept) > 2:
            self.thin_out()

    monkeypatch.setattr(Cuts, "cut", thinned)


def _siblings_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Assigned, "hand_out", lambda self, unit: iter(unit.hand_out(self.clock_ms or 0)))


def _first_slots_after_later_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two slots with one end the first slot of a unit is published last."""
    hand_out = Assigned.hand_out

    def turned(self: Assigned, unit: Unit) -> Iterable[Profile]:
        found = list(hand_out(self, unit))
        known = {one.model + one.version for one in found[:1]}
        return sorted(found, key=lambda p: (p.slot_end_ms, p.model + p.version not in known))

    monkeypatch.setattr(Assigned, "hand_out", turned)


def _slots_beyond_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    hand_out = Cuts.hand_out
    monkeypatch.setattr(Cuts, "hand_out", lambda self, clock_ms=None: hand_out(self))


def _a_first_slot_closes_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def close(self: SlotBuffer, place: Partition, end_ms: int) -> None:
        self.closed[place] = max(self.closed.get(place, end_ms), end_ms)

    monkeypatch.setattr(SlotBuffer, "_close", close)


def _at_the_end_whatever_is_kept_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Assigned, "unpublished", lambda self: False)


def _marks_ahead_of_what_is_kept_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Assigned, "shown_below_ms", lambda self, clock_ms: clock_ms)


def _an_idle_partition_is_as_far_as_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def reached(self: Frontier, at_ms: int, newest_ms: int, idle_ms: int) -> int:
        return newest_ms + idle_ms - at_ms

    monkeypatch.setattr(Frontier, "_reached", reached)


def _only_partitions_that_were_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    mark = Frontier.mark

    def seen(self: Frontier, one: Mark) -> None:
        known = {place.partition for place in self._clocks} | {one.partition}
        mark(self, msgspec.structs.replace(one, partitions=max(known) + 1))

    monkeypatch.setattr(Frontier, "mark", seen)


def _looks_on_arrival(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SlotBuffer, "due_end", lambda self, frontier_ms: self.next_end())


def _the_clock_is_not_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Assigned, "restore_clock", lambda self, manifest: None)


def _the_open_slot_is_not_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    init = Cuts.__init__

    def fresh(self: Cuts, look_ms: int, look_events: int, rank: int, state: Any = None) -> None:
        init(self, look_ms, look_events, rank, state and msgspec.structs.replace(state, slots=type(state.slots)()))

    monkeypatch.setattr(Cuts, "__init__", fresh)


def _units_without_events_are_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Unit, "has_news", property(lambda self: self.unpublished and not self.waiting.rows))


# Planted faults, each with the seed of the log and the number of the interleaving that showed it first.

PATCHED: dict[Patch, tuple[int, int]] = {
    _kept_cuts_are_thinned: (0, 0),
    _siblings_in_any_order: (34, 0),
    _first_slots_after_later_ones: (34, 0),
    _slots_beyond_the_clock: (34, 1),
    _a_first_slot_closes_its_end: (73, 0),
    _at_the_end_whatever_is_kept_back: (3, 0),
    _marks_ahead_of_what_is_kept_back: (3, 2),
    _an_idle_partition_is_as_far_as_the_others: (201, 0),
    _only_partitions_that_were_seen: (3, 0),
    _looks_on_arrival: (0, 0),
    _the_clock_is_not_restored: (16, 0),
    _the_open_slot_is_not_restored: (0, 0),
    _units_without_events_are_published: (228, 0),
}
BROKEN = {
    "marks_after_profiles": (16, 1),
    "commit_judged": (6, 1),
    "outputs_first": (13, 2),
    "marks_again": (16, 1),
}


def _finds(rules: Rules, patch: Patch | None, seed: int, number: int) -> bool:
    """Whether a broken scheme differs from the ordered run of the whole one."""
    wanted = ordered(log(seed))
    with pytest.MonkeyPatch.context() as monkeypatch:
        if patch is not None:
            patch(monkeypatch)
        try:
            compare(log(seed), f"{seed}/{number}", rules, wanted)
        except (Diverged, DriftlineError, AssertionError):
            return True
    return False


def _found(rules: Rules, patch: Patch | None, once: tuple[int, int]) -> bool:
    seeds = [once, *((seed, number) for seed in range(FOUND_WITHIN) for number in range(4))]
    return any(_finds(rules, patch, *one) for one in seeds)


@pytest.mark.parametrize("rule", Rules._fields)
def test_a_broken_shell_is_found(rule: str) -> None:
    assert _found(Rules(**{rule: False}), None, BROKEN[rule])


@pytest.mark.parametrize("patch", PATCHED)
def test_a_broken_core_is_found(patch: Patch) -> None:
    assert _found(Rules(), patch, PATCHED[patch])
