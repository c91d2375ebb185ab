"""Records that other systems wrote give the events that they should."""

import math
from typing import Any

import pytest

from detectors.errors import FormatError
from stream.formats import registry
from stream.formats.message import IgnoredRecord
from stream.formats.row import event_time
from tests.formats import wire
from tests.formats.contract import LIMITS

READ = ("connect/", "databricks/", "flat/", "mlflow/", "sagemaker/", "schema_registry/")
"""Folders and beginnings of names whose records are read."""

ALSO_READ = (
    "bentoml/data-line-by-settings", "bentoml/data-line-without-schema", "bentoml/fluent-bit-log-string",
    "bentoml/otlp-record", "kserve/foreign-event", "kserve/native-in-binary", "kserve/tombstone",
)  # fmt: skip


def outcome(case: wire.Case) -> tuple[str, Any]:
    try:
        return "events", registry.find(case.message, LIMITS).events
    except IgnoredRecord as error:
        return "ignored", str(error)
    except FormatError as error:
        return "dead_letter", str(error)


def plain(event: dict[str, Any], record_ms: int) -> dict[str, Any]:
    """The event with its time in ms and without what is missing."""
    found = {name: value for name, value in event.items() if value is not None and value != {}}
    if "ts" in found:
        found["ts"] = event_time(found["ts"], record_ms)[0]
    for part in ("features", "scores"):
        if part in found:
            found[part] = {name: v for name, v in found[part].items() if v is not None and v == v}
    return found


def alike(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one)
    if isinstance(one, float) or isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-6)
    return bool(one == other)


def test_records_of_other_systems() -> None:
    read = 0
    for case in wire.cases():
        labels = "labels" in case.expect
        if not case.name.startswith(READ + ALSO_READ) or case.name == "schema_registry/protobuf":
            continue
        read += 1
        kind, found = outcome(case)
        if labels:
            assert kind == "dead_letter", case.name
            continue
        assert kind in case.expect, f"{case.name}: {kind}: {found}"
        if kind == "events":
            record_ms = case.message.record.timestamp_ms
            wanted = [plain(event, record_ms) for event in case.expect["events"]]
            events = [plain(event, record_ms) for event in found]
            assert len(events) == len(wanted), case.name
            for one, other in zip(events, wanted, strict=True):
                one.setdefault("version", None), other.setdefault("version", None)
                assert alike(one, other), f"{case.name}: {one} is not {other}"
        if "counted" in case.expect or "not_monitored" in case.expect:
            assert case.message.limited, case.name
    assert read > 45


@pytest.mark.parametrize("rest", ["mlserver", "otel", "seldon1", "seldon2"])
def test_systems_whose_records_are_not_read_yet_make_no_events(rest: str) -> None:
    """A request without its reply, or in another encoding, is a dead letter and never an event of wrong content."""
    cases = [case for case in wire.cases() if case.name.startswith(f"{rest}/")]
    assert cases
    for case in cases:
        kind, found = outcome(case)
        assert kind != "events", f"{case.name}: {found}"


UNREAD = ("kserve/llm-chat-request", "kserve/llm-chat-response")
"""Texts of language models, which are dead letters."""


@pytest.mark.parametrize("system", ["kserve", "triton"])
def test_a_request_counts_its_features_and_its_reply_is_ignored(system: str) -> None:
    requests = replies = 0
    for case in wire.cases():
        if not case.name.startswith(f"{system}/") or case.name.startswith(ALSO_READ):
            continue
        kind, found = outcome(case)
        if case.name in UNREAD:
            assert kind == "dead_letter", f"{case.name}: {found}"
        elif "pending" in case.expect and case.expect["pending"].get("component") != "transformer":
            requests += 1
            wanted = case.expect["pending"]
            assert kind == "events", f"{case.name}: {found}"
            assert len(found) == wanted["rows"], case.name
            several = [f"{wanted['id']}#{at}" for at in range(len(found))]
            assert [one["id"] for one in found] == (several if len(found) > 1 else [wanted["id"]]), case.name
            assert {one["model"] for one in found} == {wanted["model"]}
            assert not any("prediction" in one for one in found)
            for one, features in zip(found, wanted.get("features", []), strict=bool(wanted.get("features"))):
                assert alike(one["features"], features), case.name
        elif "duplicate" in case.expect or case.name == "kserve/json-batch":
            assert kind == "events", f"{case.name}: {found}"
        else:
            replies += 1
            assert kind == "ignored", f"{case.name}: {found}"
    assert requests >= 2
    assert replies >= 1
