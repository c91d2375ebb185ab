"""The judge's output as records: topics, keys, envelopes, counts; and the health that the reading side gives to the
judge."""

from typing import Any

import msgspec
import numpy as np
import orjson
import pytest

from detectors.features import UnitKey
from detectors.incidents.incident import Change
from detectors.reference import reference
from detectors.reference.builder import build_reference
from detectors.reference.reference import Reference
from stream.judge.effects import Health
from stream.judge.judge import Judge
from stream.judge.settings import judge_settings
from stream.judge.shell import desk
from stream.judge.shell.desk import JudgeDesk
from stream.metrics.registry import Metrics
from stream.service.health import HealthWatch
from stream.settings.settings import Settings
from stream.topics import keys, requests, schemas
from stream.topics.drift_events import EventType
from stream.topics.marks import Mark
from stream.topics.record import OutRecord, Partition
from stream.topics.schemas import DATA
from tests.judge import slotted
from tests.judge.shards import MiniShard

UNIT = UnitKey("m", "1", None)
LOOK_MS = 60_000


class Run:
    """A desk that gets looks of 200 events each."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(5)
        self.metrics = Metrics()
        self.desk = JudgeDesk(Settings(), Judge(judge_settings(Settings())), self.metrics, lambda _: Health())
        self.reference: Reference = build_reference("m", "1", self.columns(10_000, 0.0))
        self.desk.apply_reference(b"m/1", reference.encode(self.reference))
        self.shard = MiniShard(self.reference)
        self.now_ms = 1_763_700_000_000

    def columns(self, rows: int, shift: float) -> dict[str, Any]:
        return {"x": self.random.normal(shift, 1.0, rows), "y": self.random.normal(0.0, 1.0, rows)}

    def looks(self, count: int, shift: float) -> list[OutRecord]:
        records: list[OutRecord] = []
        for _ in range(count):
            self.now_ms += LOOK_MS
            profile = self.shard.add(self.columns(200, shift), self.now_ms)
            records += self.desk.on_profile(profile, self.now_ms + 500)
        return records


def events(records: list[OutRecord], topic: str) -> list[dict[str, Any]]:
    return [orjson.loads(record.value or b"") for record in records if record.topic == topic]


@pytest.fixture(scope="module")
def story() -> tuple[Run, list[OutRecord]]:
    run = Run()
    return run, [*run.looks(5, 0.0), *run.looks(10, 2.0), *run.looks(40, 0.0)]


def test_a_shift_is_told_once_updated_and_resolved(story: tuple[Run, list[OutRecord]]) -> None:
    _, records = story
    told = events(records, "drift-events")
    kinds = [event["type"].split(".")[-2] for event in told if "incident" in event["type"]]
    assert kinds[0] == "opened"
    assert kinds[-1] == "resolved"
    assert kinds.count("opened") == kinds.count("resolved") == 1
    assert len({event["id"] for event in told}) == len(told)
    assert {record.key for record in records if record.topic == "drift-events"} == {b"m"}


def test_every_event_has_the_shape_that_its_schema_says(story: tuple[Run, list[OutRecord]]) -> None:
    _, records = story
    told = [*events(records, "drift-events"), *events(records, "retrain-requests")]
    seen = {EventType(event["type"]) for event in told}
    assert {EventType.INCIDENT_OPENED, EventType.INCIDENT_RESOLVED, EventType.MODEL_STATE} <= seen
    assert EventType.RETRAIN_REQUESTED in seen
    for event in told:
        kind = EventType(event["type"])
        data = msgspec.convert(event["data"], DATA[kind])
        assert set(event["data"]) <= set(msgspec.to_builtins(data)) or kind is EventType.MODEL_STATE
        assert set(schemas.schemas()[kind.value]["required"]) <= set(event)


def test_a_retrain_request_is_small_enough_for_a_repository_dispatch(story: tuple[Run, list[OutRecord]]) -> None:
    _, records = story
    [request] = events(records, "retrain-requests")
    assert len(request["data"]) <= 10
    assert len(orjson.dumps(request)) < 65_536


def test_the_data_of_an_incident_event_is_the_incident_record(story: tuple[Run, list[OutRecord]]) -> None:
    _, records = story
    told = [event["data"] for event in events(records, "drift-events") if "incident" in event["type"]]
    assert told == events(records, "driftline-incidents")
    assert {record.key for record in records if record.topic == "driftline-incidents"} == {told[0]["id"].encode()}


def test_openings_and_requests_are_counted(story: tuple[Run, list[OutRecord]]) -> None:
    run, records = story
    opened = next(e for e in events(records, "drift-events") if e["type"] == EventType.INCIDENT_OPENED.value)
    labels = ("m", "1", opened["data"]["kind"], opened["data"]["severity"])
    assert run.metrics.detections.value(labels) == 1
    assert run.metrics.retrains.value(("m", "requested")) == 1


def test_views_wait_for_their_turn_and_for_their_interval() -> None:
    run = Run()
    run.looks(2, 0.0)
    assert run.desk.views_due(0, 0) == []
    [view] = run.desk.views_due(0, 9)
    assert (view.topic, view.key) == ("driftline-views", keys.unit_key(UNIT))
    shown = orjson.loads(view.value or b"")
    assert (shown["model"], shown["events"], shown["state"]) == ("m", 400, "stable")
    assert run.desk.views_due(5_000, 9) == []
    run.looks(1, 0.0)
    assert run.desk.views_due(desk.VIEW_INTERVAL_MS - 1, 9) == []
    assert len(run.desk.views_due(desk.VIEW_INTERVAL_MS, 9)) == 1


def test_a_unit_moves_with_its_snapshot() -> None:
    run = Run()
    run.looks(5, 0.0)
    blob = run.desk.snapshot(UNIT)
    other = Run()
    other.desk.restore(UNIT, blob)
    assert other.desk.units == {UNIT}
    assert other.desk.views_due(0, 9) == run.desk.views_due(0, 9)
    other.desk.forget(UNIT)
    assert (other.desk.units, other.desk.views_due(0, 9)) == (set(), [])


def test_a_broken_reference_is_said_and_counted_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    run = Run()
    run.desk.apply_reference(b"m/1", b"{}")
    run.desk.apply_reference(b"m/1", None)
    assert run.metrics.errors.value(("references",)) == 1
    assert "key m/1" in caplog.text
    assert run.desk.on_tick(0) == ([], set())


def test_health_is_of_the_last_minute() -> None:
    metrics = Metrics()
    lags: dict[Partition, int | None] = {Partition("t", 0): 5, Partition("t", 1): None}
    watch = HealthWatch(metrics, lambda: lags)
    metrics.counted("m", "accepted", 100)
    assert watch(0) == Health(lag_records=5, lag_seconds=None, records={"m": 0}, invalid={})
    metrics.counted("m", "accepted", 10)
    metrics.counted("m", "invalid", 7)
    metrics.aged(["m"], [2], np.array([3.0, 2.0]))
    assert watch(30_000) == Health(lag_records=5, lag_seconds=2.0, records={"m": 17}, invalid={"m": 7})
    lags.clear()
    watch(60_000)
    watch(91_000)
    assert watch(121_000) == Health(lag_records=None, lag_seconds=None, records={"m": 0}, invalid={"m": 0})


def action(run: Run, incident: str, change: Change, identifier: str = "a1") -> tuple[bytes, bytes]:
    made = requests.IncidentRequest(requests.SCHEMA, identifier, incident, change, "ann", run.now_ms)
    return requests.key(made), requests.encode(made)


def test_an_action_goes_out_once_and_before_what_follows_it() -> None:
    run = Run()
    [opened, *_] = events([*run.looks(5, 0.0), *run.looks(5, 2.0)], "driftline-incidents")
    record = action(run, opened["id"], Change.ACK)
    run.desk.apply_request(*record)
    run.desk.apply_request(*record)
    later = run.looks(1, 2.0)
    assert [event["status"] for event in events(later, "driftline-incidents")][:1] == ["acknowledged"]
    records, changed = run.desk.on_tick(run.now_ms)
    assert (events(list(records), "driftline-incidents"), set(changed)) == ([], {UNIT})
    assert run.metrics.actions.values() == {("m", "ack"): 1}


def test_an_action_of_a_unit_that_is_another_workers_waits_until_it_is_ours() -> None:
    run = Run()
    [opened, *_] = events([*run.looks(5, 0.0), *run.looks(5, 2.0)], "driftline-incidents")
    other = Run()
    other.desk.apply_request(*action(run, opened["id"], Change.ACK))
    other.desk.apply_request(*action(run, opened["id"], Change.NOTE, "gone"))
    other.desk.apply_request(action(run, opened["id"], Change.NOTE, "gone")[0], None)
    assert other.desk.on_tick(0) == ([], set())
    other.desk.restore(UNIT, run.desk.snapshot(UNIT))
    [told] = events(list(other.desk.on_tick(0)[0]), "driftline-incidents")
    assert (told["status"], len(told["notes"])) == ("acknowledged", 1)
    other.desk.restore(UNIT, other.desk.snapshot(UNIT))
    assert events(list(other.desk.on_tick(0)[0]), "driftline-incidents") == []


def test_an_action_on_an_incident_that_is_found_again_after_a_crash_is_not_lost() -> None:
    run = Run()
    [opened, *_] = events([*run.looks(5, 0.0), *run.looks(5, 2.0)], "driftline-incidents")
    again = Run()
    again.desk.apply_request(*action(run, opened["id"], Change.ACK))
    again.looks(5, 0.0)
    again.looks(5, 2.0)
    assert again.metrics.actions.values() == {("m", "ack"): 1}


def test_a_broken_action_is_said_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    run = Run()
    run.desk.apply_request(b"i/1", b"nonsense")
    assert run.metrics.errors.value(("actions",)) == 1
    assert "key i/1" in caplog.text


def test_actions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "INCIDENT_REQUESTS_KEPT", 1)
    run, other = Run(), Run()
    [opened, *_] = events([*run.looks(5, 0.0), *run.looks(5, 2.0)], "driftline-incidents")
    for n in ("1", "2"):
        other.desk.apply_request(*action(run, opened["id"], Change.NOTE, n))
    other.desk.restore(UNIT, run.desk.snapshot(UNIT))
    [told] = events(list(other.desk.on_tick(0)[0]), "driftline-incidents")
    assert [note["id"] for note in told["notes"]] == ["2"]


def test_looks_say_whose_output_they_have_so_that_its_row_follows_at_once() -> None:
    made = slotted.reference_of(2)
    logs = slotted.keyed(np.random.default_rng(2), 2, 3_000, 30)
    for log in logs:
        log["y"] = log["y"] + (log["at"] >= slotted.START_MS + 15_000)
    tested = JudgeDesk(Settings(), Judge(judge_settings(Settings())), Metrics(), lambda _: Health())
    tested.apply_reference(b"m/1", reference.encode(made))
    found = []
    items = slotted.in_order([slotted.records_of(made, partition, log, 2) for partition, log in enumerate(logs)])
    for offset, item in enumerate(items):
        if isinstance(item, Mark):
            output = [*tested.on_mark(item, slotted.START_MS, 0)]
        else:
            output = [*tested.on_slot_profile(item, slotted.START_MS, offset, 0)]
        for unit, looks in tested.drain_looks().items():
            assert unit == slotted.UNIT
            assert looks.with_output == bool(output)
            found.append(looks)
    assert {looks.with_output for looks in found} == {True, False}
    assert sorted(offset for looks in found for offset in looks.offsets) == [
        offset for offset, item in enumerate(items) if not isinstance(item, Mark)
    ]
