"""An unexpected error of the judge puts one unit into quarantine; all others are judged as without it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest

from detectors.features import UnitKey
from detectors.profiles import Profile
from detectors.reference import reference
from detectors.reference.builder import build_reference
from stream.judge import view
from stream.judge.effects import Health
from stream.judge.judge import Judge
from stream.judge.settings import judge_settings
from stream.judge.shell.desk import JudgeDesk
from stream.judge.unit import UnitJudge
from stream.metrics.registry import Metrics
from stream.settings.settings import Settings
from stream.topics import requests
from stream.topics.marks import Mark
from stream.topics.quarantine import Quarantined
from stream.topics.record import OutRecord
from stream.topics.requests import ReleaseRequest
from tests.judge import slotted
from tests.judge.shards import MiniShard

GOOD, BAD = UnitKey("good", "1", None), UnitKey("bad", "1", None)
LOOK_MS = 60_000


class Planted(RuntimeError):
    """The planted error."""


class Pair:
    """A desk that gets looks of 200 events of two models in turn, with a change in both."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.desk = self.new_desk()
        self.random = np.random.default_rng(7)
        made = {unit: build_reference(unit.model, "1", self.columns(10_000, 0.0)) for unit in (GOOD, BAD)}
        self.references = made
        self.publish_references()
        self.shards = {unit: MiniShard(made[unit]) for unit in (GOOD, BAD)}
        self.now_ms = 1_763_700_000_000
        self.records: list[OutRecord] = []

    def new_desk(self) -> JudgeDesk:
        return JudgeDesk(Settings(), Judge(judge_settings(Settings())), self.metrics, lambda _: Health())

    def publish_references(self) -> None:
        for unit, made in self.references.items():
            self.desk.apply_reference(f"{unit.model}/1".encode(), reference.encode(made))

    def columns(self, rows: int, shift: float) -> dict[str, Any]:
        return {"x": self.random.normal(shift, 1.0, rows)}

    def looks(self, count: int, shift: float) -> None:
        for _ in range(count):
            self.now_ms += LOOK_MS
            for unit, shard in self.shards.items():
                profile = shard.add(self.columns(200, shift), self.now_ms)
                self.records += self.desk.on_profile(profile, self.now_ms + 500)
                self.desk.snapshot(unit)
            self.records += self.desk.on_tick(self.now_ms + 600)[0]
            self.records += self.desk.views_due(self.now_ms + 700, 9)

    def of(self, unit: UnitKey) -> list[OutRecord]:
        """The output about one model."""
        name = f'"{unit.model}"'.encode()
        return [record for record in self.records if name in (record.value or b"")]

    def view(self, unit: UnitKey) -> dict[str, Any]:
        shown = [orjson.loads(r.value or b"") for r in self.of(unit) if r.topic == Settings().topics.views]
        newest: dict[str, Any] = shown[-1]
        return newest

    def restart(self) -> None:
        rows = {unit: self.desk.snapshot(unit) for unit in self.shards}
        self.desk = self.new_desk()
        self.publish_references()
        for unit, row in rows.items():
            self.desk.restore(unit, row)

    def release(self, identifier: str) -> None:
        made = ReleaseRequest(requests.SCHEMA, identifier, *BAD, "ann", self.now_ms)
        self.desk.apply_request(requests.key(made), requests.encode(made))


def failing(original: Callable[..., Any], after: int) -> Callable[..., Any]:
    """``original``, which fails for the bad model from its call number ``after`` on."""
    calls: list[int] = []

    def work(self: UnitJudge, *args: Any, **named: Any) -> Any:
        ends_there = original.__name__ == "snapshot" and self.standing.quarantines.own
        if self.unit == BAD and not ends_there:
            calls.append(1)
            if len(calls) > after:
                raise Planted("planted")
        return original(self, *args, **named)

    return work


@pytest.fixture(scope="module")
def undisturbed() -> Pair:
    run = Pair()
    run.looks(8, 0.0)
    run.looks(12, 2.0)
    return run


PLACES = {
    "judging": (UnitJudge, "on_profiles"),
    "judging, in the middle": (UnitJudge, "_follow_incidents"),
    "row": (UnitJudge, "snapshot"),
    "state": (UnitJudge, "on_tick"),
    "view": (view, "model_view"),
}


@pytest.mark.parametrize("after", [0, 3, 12])
@pytest.mark.parametrize("place", PLACES)
def test_an_error_of_the_judge_changes_no_other_unit(
    place: str, after: int, undisturbed: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name = PLACES[place]
    with monkeypatch.context() as broken:
        broken.setattr(owner, name, failing(getattr(owner, name), after))
        run = Pair()
        run.looks(8, 0.0)
        run.looks(12, 2.0)
        assert run.of(GOOD) == undisturbed.of(GOOD)
        assert run.desk.snapshot(GOOD) == undisturbed.desk.snapshot(GOOD)
    assert run.metrics.errors.value(("judge.quarantine",)) == 1, "it is logged and counted once"
    run.looks(1, 2.0)
    shown = run.view(BAD)
    assert shown["state"] == "blind"
    assert "unexpected Planted: planted" in shown["reason"]
    assert "driftline models release" in shown["reason"]
    assert shown["quarantined"]["places"]["judge"]["reason"].endswith("unexpected Planted: planted")
    assert shown["events"] == undisturbed.view(BAD)["events"] + 200, "its events still count"


def test_a_quarantine_of_the_judge_survives_a_restart_until_a_person_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Pair()
    run.looks(3, 0.0)
    run.release("r1")  # earlier than the quarantine
    with monkeypatch.context() as broken:
        broken.setattr(UnitJudge, "on_profiles", failing(UnitJudge.on_profiles, 0))
        run.looks(2, 2.0)
    run.restart()
    run.release("r1")
    run.looks(4, 2.0)
    assert run.view(BAD)["state"] == "blind"
    events = run.view(BAD)["events"]
    run.release("r2")
    run.looks(1, 0.0)
    shown = run.view(BAD)
    assert (shown["state"], shown["quarantined"]) == ("stable", None)
    assert shown["events"] == events + 200, "its counts go on"
    assert shown["evidence_log10"] < 1, "what came before the release is no evidence"
    run.looks(12, 2.0)
    assert run.view(BAD)["state"] == "drift"


def test_a_quarantine_that_a_worker_reports_is_shown_for_known_and_unknown_units() -> None:
    run = Pair()
    run.looks(2, 0.0)
    new = UnitKey("new", "1", "de")
    held = [Quarantined(*BAD, "counting: unexpected Planted: planted", 7), Quarantined(*new, "beginning: x")]
    run.desk.adopt(new)
    mark = Mark(1, "inference-events", 2, 3, 0, run.now_ms, read_to_end=True, quarantined=held)
    run.records += run.desk.on_mark(mark, run.now_ms, 0)
    run.looks(1, 0.0)
    shown = run.view(BAD)
    assert (shown["state"], shown["quarantined"]["ignored"]) == ("blind", 7)
    assert "inference-events/2" in shown["reason"]
    assert "7 events were ignored" in shown["reason"]
    assert (run.view(new)["state"], run.view(new)["events"]) == ("blind", 0)
    run.restart()
    run.looks(1, 0.0)
    assert run.view(BAD)["state"] == "blind"
    run.records += run.desk.on_mark(Mark(1, "inference-events", 2, 3, 0, run.now_ms, read_to_end=True), run.now_ms, 0)
    run.looks(1, 0.0)
    assert run.view(BAD)["state"] == "blind", "a mark without a report changes nothing"
    mark = Mark(1, "inference-events", 2, 3, 0, run.now_ms, read_to_end=True, quarantined=[])
    run.records += run.desk.on_mark(mark, run.now_ms, 0)
    run.looks(1, 0.0)
    assert run.view(BAD)["state"] == "stable"


def test_profiles_of_a_unit_in_quarantine_are_done_so_that_what_follows_can_be_committed() -> None:
    made = slotted.reference_of(1)
    (log,) = slotted.keyed(np.random.default_rng(2), 1, 600, 6)
    profiles = [item for item in slotted.records_of(made, 0, log, 1) if isinstance(item, Profile)]
    judge = slotted.new_judge([made])
    assert len(profiles) > 3
    for offset, profile in enumerate(profiles[:2]):
        judge.on_profile(profile, slotted.START_MS, offset)
    judge.guard.fail(slotted.UNIT, "judging", Planted("planted"))
    done = judge.drain_judged()[slotted.UNIT]
    for offset, profile in enumerate(profiles[2:], 2):
        judge.on_profile(profile, slotted.START_MS, offset)
    done += judge.drain_judged()[slotted.UNIT]
    assert sorted(done) == list(range(len(profiles)))
