"""Requests of people about incidents are applied once and survive a restart; an accepted present raises nothing."""

from typing import Any

import numpy as np
import pytest

from detectors.incidents.incident import NOTES_KEPT, Change
from detectors.reference.builder import build_reference
from detectors.reference.reference import FeatureReference, Reference
from stream.judge.effects import DriftEvent, IncidentRecord, ReferenceBuilt
from stream.judge.judge import Judge
from stream.topics.drift_events import EventType
from stream.topics.requests import SCHEMA, IncidentRequest
from tests.judge.shards import MiniShard
from tests.settings.defaults import judge_settings

AT_MS = 1_763_700_000_000
START_MS = 1_700_000_000_000


def rows(rng: np.random.Generator, count: int, *, changed: bool = False) -> dict[str, Any]:
    shops = ["a", "b", "c", "new"] if changed else ["a", "b", "c"]
    return {
        "amount": rng.lognormal(3.0, 1.0, count),
        "age": rng.normal(80.0 if changed else 40.0, 5.0, count),
        "items": rng.integers(0, 4, count).astype(float),
        "shop": rng.choice(shops, count).tolist(),
    }


class World:
    """A judge and two shards that have drifted far beyond the reference's range."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(3)
        self.reference = build_reference("m", "1", rows(self.rng, 20_000))
        self.judge = Judge(judge_settings(), [self.reference])
        self.shards = [MiniShard(self.reference, p) for p in range(2)]
        self.look = 0
        self.effects: list[Any] = []
        self.play(20)
        self.play(10, changed=True)
        [self.incident] = self.judge.incidents()

    def play(self, looks: int, *, changed: bool = False) -> list[Any]:
        effects: list[Any] = []
        for _ in range(looks):
            self.look += 1
            at_ms = START_MS + 1_000 * self.look
            for shard in self.shards:
                effects += self.judge.on_profile(shard.add(rows(self.rng, 50, changed=changed), at_ms), at_ms)
        self.effects += effects
        return effects

    def act(self, change: Change, identifier: str = "1", **more: Any) -> list[Any]:
        return self.judge.act(IncidentRequest(SCHEMA, identifier, self.incident["id"], change, "ann", AT_MS, **more))

    def now(self) -> dict[str, Any]:
        return next(i for i in self.judge.incidents() if i["id"] == self.incident["id"])

    def restart(self) -> None:
        [unit] = self.judge.units
        blob = self.judge.snapshot(unit)
        self.judge = Judge(judge_settings(), [self.reference])
        self.judge.restore(unit, blob)

    def switch(self, reference: Reference) -> None:
        """What observers do when a reference is published."""
        self.judge.on_reference(reference)
        self.shards = [
            MiniShard(reference, s.partition, s.first_offset + s.events, s.events_before + s.events)
            for s in self.shards
        ]


@pytest.fixture
def world() -> World:
    return World()


def test_an_acknowledgement_says_who_when_and_why_and_survives_a_restart(world: World) -> None:
    effects = world.act(Change.ACK, note="looking", until_ms=AT_MS + 1)
    assert [e.kind for e in effects if isinstance(e, DriftEvent)] == [EventType.INCIDENT_UPDATED]
    world.restart()
    now = world.now()
    assert (now["status"], now["acknowledged_by"], now["acknowledged_at_ms"]) == ("acknowledged", "ann", AT_MS)
    assert (now["silenced_until_ms"], now["silenced_by"]) == (AT_MS + 1, "ann")
    assert now["notes"] == [{"id": "1", "action": "ack", "by": "ann", "at_ms": AT_MS, "text": "looking"}]


def test_a_request_is_applied_once_however_often_it_is_read(world: World) -> None:
    assert world.act(Change.NOTE, note="a")
    assert world.act(Change.NOTE, note="a") == []
    world.restart()
    assert world.act(Change.NOTE, note="a") == []
    assert world.act(Change.NOTE, "2", note="b")
    assert [note["text"] for note in world.now()["notes"]] == ["a", "b"]


def test_every_change_has_an_event_id_of_its_own(world: World) -> None:
    for n, change in enumerate((Change.ACK, Change.NOTE, Change.SILENCE, Change.RESOLVE, Change.NOTE)):
        world.effects += world.act(change, str(n), until_ms=1 if change is Change.SILENCE else None)
    kinds = (EventType.INCIDENT_OPENED, EventType.INCIDENT_UPDATED, EventType.INCIDENT_RESOLVED)
    published = [(e.kind, e.what) for e in world.effects if isinstance(e, DriftEvent) and e.kind in kinds]
    assert len(set(published)) == len(published)
    assert [kind for kind, _ in published].count(EventType.INCIDENT_RESOLVED) == 1


def test_an_incident_resolved_by_hand_accepts_only_notes(world: World) -> None:
    world.act(Change.RESOLVE, note="a test of ours")
    now = world.now()
    assert (now["status"], now["resolution"], now["resolved_by"]) == ("resolved", "by-hand", "ann")
    assert now["notes"][0]["text"] == "a test of ours"
    assert [world.judge.state(unit) for unit in world.judge.units] == ["stable"]
    assert world.act(Change.ACK, "2") == world.act(Change.ACCEPT, "3") == []
    assert world.act(Change.NOTE, "4", note="after")
    assert world.now()["status"] == "resolved"


def test_notes_are_bounded_and_the_end_is_still_accepted(world: World) -> None:
    for n in range(NOTES_KEPT + 3):
        world.act(Change.NOTE, str(n), note="x")
    assert len(world.now()["notes"]) == NOTES_KEPT
    assert world.act(Change.RESOLVE, "end")


def test_an_incident_of_nobody_changes_nothing(world: World) -> None:
    assert world.judge.act(IncidentRequest(SCHEMA, "1", "unknown", Change.ACK, "ann", AT_MS)) == []


@pytest.mark.parametrize("restarted", [False, True])
def test_an_accepted_present_becomes_a_reference_that_raises_nothing_and_still_sees(
    world: World, restarted: bool
) -> None:
    assert [type(e) for e in world.act(Change.ACCEPT)] == [DriftEvent, IncidentRecord]
    if restarted:
        world.restart()
    effects = world.play(40, changed=True)
    [built] = [e.reference for e in effects if isinstance(e, ReferenceBuilt)]
    assert built.rows >= 1_000
    assert built.source["incident"] == world.incident["id"]
    assert (world.now()["resolution"], world.now()["resolved_by"]) == ("accepted", "ann")
    assert len(world.judge.incidents()) == 1

    [unit] = world.judge.units
    world.switch(built)
    quiet = world.play(80, changed=True)
    assert [e for e in quiet if isinstance(e, IncidentRecord)] == []
    assert world.judge.state(unit) == "stable"
    world.play(40)
    assert world.judge.state(unit) == "drift"
    assert len(world.judge.incidents()) == 2


def test_what_was_accepted_is_accepted_though_a_crash_came_before_it_was_written_down(world: World) -> None:
    world.act(Change.ACCEPT)
    [unit] = world.judge.units
    before = world.judge.snapshot(unit)
    [built] = [e.reference for e in world.play(40, changed=True) if isinstance(e, ReferenceBuilt)]
    world.judge = Judge(judge_settings(), [world.reference, built])
    world.judge.restore(unit, before)
    world.switch(built)
    world.play(5, changed=True)
    assert (world.now()["resolution"], world.now()["resolved_by"]) == ("accepted", "ann")


def test_the_accepted_reference_describes_the_present(world: World) -> None:
    world.act(Change.ACCEPT)
    effects = world.play(60, changed=True)
    [built] = [e.reference for e in effects if isinstance(e, ReferenceBuilt)]
    exact = build_reference("m", "1", rows(np.random.default_rng(9), 50_000, changed=True))
    for feature in built.features:
        wanted = exact.feature(feature.feature)
        assert wanted is not None
        assert feature.present + feature.missing + feature.invalid == built.rows
        if feature.edges:
            assert (feature.counts[0], feature.counts[-1]) == (0, 0)
            assert sum(feature.counts) == feature.present
            assert feature.edges == sorted(set(feature.edges))
            shares = np.cumsum(feature.counts)[:-1] / feature.present
            true = np.array([_share_below(wanted, edge) for edge in feature.edges])
            assert np.abs(shares - true).max() < 0.06
            assert feature.mean == pytest.approx(wanted.mean, rel=0.1)
    shop = built.feature("shop")
    assert shop is not None
    assert set(shop.categories) == {"a", "b", "c", "new"}


@pytest.mark.parametrize("learning", [False, True])
def test_a_reference_that_is_read_after_the_first_profile_under_it_is_entered(learning: bool) -> None:
    rng = np.random.default_rng(4)
    old, new = (build_reference("m", "1", rows(rng, 5_000)) for _ in range(2))
    judge = Judge(judge_settings(), [] if learning else [old])
    shard = MiniShard(old)
    if learning:
        shard.digest = None
    judge.on_profile(shard.add(rows(rng, 50), START_MS), START_MS)
    after = MiniShard(new, 0, shard.events, shard.events)
    judge.on_profile(after.add(rows(rng, 50), START_MS + 1_000), START_MS)
    judge.on_reference(new)
    judge.on_profile(after.add(rows(rng, 50), START_MS + 2_000), START_MS)
    view = judge.model_view(after.profile().unit)
    assert (view["reference"]["digest"], view["epoch_events"], view["events"]) == (new.digest, 100, 150)
    assert view["state"] == "stable"


def _share_below(reference: FeatureReference, edge: float) -> float:
    """Share of the reference below ``edge``, to one of its cells."""
    below = np.searchsorted(reference.edges, edge, side="right")
    return float(np.sum(reference.counts[:below])) / reference.present
