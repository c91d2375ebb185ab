"""CloudEvents: binary, structured and batches; the time and the id of the envelope."""

import base64
import json
from typing import Any

from detectors.features import UnitKey
from stream.formats.row import Row
from tests.formats.contract import NOW_MS, Cases, Sample

UNIT = UnitKey("m", "3", None)
EVENT: dict[str, Any] = {"model": "m", "version": "3", "features": {"x": 1.5}}
TIME = "2025-11-21T04:40:00.250123456Z"
BINARY = (("ce_specversion", b"1.0"), ("ce_type", b"com.acme.scored"), ("ce_id", b"ce-1"), ("ce_source", b"/a"))
STRUCTURED = (("content-type", b"application/cloudevents+json; charset=UTF-8"),)
BATCH = (("content-type", b"application/cloudevents-batch+json"),)


def envelope(**more: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "type": "com.acme.scored", "source": "/a", "id": "ce-1", "time": TIME, **more}


def sample(value: Any, headers: tuple[tuple[str, bytes], ...]) -> Sample:
    return Sample(json.dumps(value).encode(), headers=headers)


def row(identity: str, timestamp_ms: int = NOW_MS) -> Row:
    return Row(UNIT, timestamp_ms, False, identity, {"x": 1.5}, None)


CASES = Cases(
    accepted={
        "binary": (sample(EVENT, BINARY), [row("ce-1")]),
        "binary with a time": (sample(EVENT, (*BINARY, ("ce_time", TIME.encode()))), [row("ce-1", NOW_MS + 250)]),
        "binary; the event's own id and time": (
            sample({**EVENT, "id": "own", "ts": NOW_MS - 5}, (*BINARY, ("ce_time", TIME.encode()))),
            [row("own", NOW_MS - 5)],
        ),
        "binary with an impossible time": (
            sample(EVENT, (*BINARY, ("ce_time", b"9999-01-01T00:00:00Z"))),
            [row("ce-1")],
        ),
        "structured": (sample(envelope(data=EVENT), STRUCTURED), [row("ce-1", NOW_MS + 250)]),
        "structured in Base64": (
            sample(envelope(data_base64=base64.b64encode(json.dumps(EVENT).encode()).decode()), STRUCTURED),
            [row("ce-1", NOW_MS + 250)],
        ),
        "batch": (
            sample([envelope(data=EVENT), envelope(data=EVENT, id="ce-2")], BATCH),
            [row("ce-1", NOW_MS + 250), row("ce-2", NOW_MS + 250)],
        ),
        "several events in one": (sample([EVENT, EVENT], BINARY), [row("ce-1#0"), row("ce-1#1")]),
    },
    broken={
        "something else": (sample({"msg": "hello"}, BINARY), "no inference: CloudEvent of type com.acme.scored"),
        "no JSON": (Sample(b"hello", headers=BINARY), "no inference: CloudEvent of type com.acme.scored: not JSON"),
        "structured without a type": (sample({"data": EVENT}, STRUCTURED), "no object with a text as type"),
        "broken Base64": (sample(envelope(data_base64="%%"), STRUCTURED), "data_base64 is not Base64"),
        "binary without data": (Sample(None, headers=BINARY), "a CloudEvent without data"),
    },
)
