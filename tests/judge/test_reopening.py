"""An incident that resolved and whose features change again soon is the same one, reopened."""

from typing import Any

import msgspec
import numpy as np
import orjson
import pytest

from detectors.features import UnitKey
from detectors.incidents.incident import LIFECYCLE, Action, Status
from detectors.reference.builder import build_reference
from stream.judge.effects import DriftEvent, Effect
from stream.judge.judge import Judge
from stream.judge.settings import judge_settings
from stream.settings.settings import DetectionSettings, Settings
from stream.topics.drift_events import EventType
from stream.topics.schemas import DATA
from tests.judge.shards import MiniShard
from tests.settings.defaults import judge_settings as default_settings

UNIT = UnitKey("m", "1", None)
START_MS = 1_763_700_000_000
PERIODS = ((5, {}), (10, {"x": 2.0}), (40, {}))


class Run:
    """Looks of 200 events, one a second."""

    def __init__(self, **changes: Any) -> None:
        self.rng = np.random.default_rng(3)
        self.reference = build_reference("m", "1", self.columns(10_000, {}))
        self.judge = Judge(default_settings(**changes), [self.reference])
        self.shard = MiniShard(self.reference)
        self.at_ms = START_MS
        self.effects: list[Effect] = []

    def columns(self, rows: int, shifts: dict[str, float]) -> dict[str, Any]:
        return {name: self.rng.normal(shifts.get(name, 0.0), 1.0, rows) for name in ("x", "y")}

    def looks(self, *periods: tuple[int, dict[str, float]]) -> None:
        for count, shifts in periods:
            for _ in range(count):
                self.at_ms += 1_000
                profile = self.shard.add(self.columns(200, shifts), self.at_ms)
                self.effects += self.judge.on_profile(profile, self.at_ms)

    def incidents(self) -> list[dict[str, Any]]:
        return self.judge.incidents(UNIT)

    def steps(self) -> list[str]:
        kinds = [e.kind for e in self.effects if isinstance(e, DriftEvent)]
        return [kind.split(".")[-2] for kind in kinds if "incident" in kind and "updated" not in kind]


def test_the_same_features_reopen_the_incident() -> None:
    run = Run()
    run.looks(*PERIODS)
    [first] = run.incidents()
    assert (first["status"], first["resolution"]) == ("resolved", "back-to-reference")
    assert "reopened" not in first
    run.looks((10, {"x": 2.0}))
    [again] = run.incidents()
    assert again["id"] == first["id"]
    assert again["status"] == "open"
    assert (again["resolution"], again["resolved_at_ms"], again["reopened"]) == (None, None, 1)
    assert first["resolved_at_ms"] < again["reopened_at_ms"] <= run.at_ms
    assert (again["opened_at_ms"], again["began_at_ms"]) == (first["opened_at_ms"], first["began_at_ms"])
    assert run.judge.state(UNIT) == "drift"
    run.looks((40, {}))
    [ended] = run.incidents()
    assert ended["status"] == "resolved"
    assert run.steps() == ["opened", "resolved", "reopened", "resolved"]


def test_a_reopened_incident_is_published_with_an_id_of_its_own_in_the_schema_and_survives_a_restart() -> None:
    run = Run()
    run.looks(*PERIODS, *PERIODS, *PERIODS)
    told = [e for e in run.effects if isinstance(e, DriftEvent) and "incident" in e.kind]
    assert len({(e.kind, e.what) for e in told}) == len(told)
    [*_, last] = [e for e in told if e.kind is EventType.INCIDENT_REOPENED]
    assert last.data["reopened"] == 2
    assert msgspec.convert(orjson.loads(orjson.dumps(last.data)), DATA[last.kind])
    again = Judge(default_settings(), [run.reference])
    again.restore(UNIT, run.judge.snapshot(UNIT))
    assert again.incidents(UNIT) == run.incidents()


@pytest.mark.parametrize(
    ("pause_seconds", "shifts", "reopen_ms"),
    [(3_700, {"x": 2.0}, 3_600_000), (0, {"y": 2.0}, 3_600_000), (0, {"x": 2.0}, 0)],
    ids=["too late", "another feature", "switched off"],
)
def test_what_is_not_the_same_change_again_is_an_incident_of_its_own(
    pause_seconds: int, shifts: dict[str, float], reopen_ms: int
) -> None:
    run = Run(reopen_ms=reopen_ms)
    run.looks(*PERIODS)
    run.at_ms += 1_000 * pause_seconds
    run.looks((10, shifts))
    assert len(run.incidents()) == 2
    assert run.steps() == ["opened", "resolved", "opened"]


def test_the_setting_is_in_seconds_of_event_time() -> None:
    assert judge_settings(Settings(detection=DetectionSettings(reopen_seconds=1.5))).reopen_ms == 1_500


def test_only_a_resolved_incident_can_reopen() -> None:
    assert [status for status, action in LIFECYCLE if action is Action.REOPEN] == [Status.RESOLVED]
