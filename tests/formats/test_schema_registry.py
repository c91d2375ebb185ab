"""Payloads framed for a schema registry: JSON is read, anything else is refused by its name."""

import json

from detectors.features import UnitKey
from stream.formats.row import Row
from tests.formats.contract import NOW_MS, Cases, Sample

EVENT = json.dumps({"id": "a", "model": "m", "version": "3", "features": {"x": 1.5}}).encode()
ROWS = [Row(UnitKey("m", "3", None), NOW_MS, False, "a", {"x": 1.5}, None)]

CASES = Cases(
    accepted={
        "JSON": (Sample(b"\0\0\0\0\4" + EVENT), ROWS),
        "JSON with blanks": (Sample(b"\0\0\0\0\4 \n" + EVENT), ROWS),
    },
    broken={
        "Avro": (Sample(b"\0\0\0\0\7\6o-1\1\2"), "Confluent framing, schema id 7"),
        "broken JSON": (Sample(b"\0\0\0\0\4{"), "not JSON"),
        "AWS Glue": (Sample(b"\3\0" + bytes(16) + b"\6o-1"), "AWS Glue Schema Registry framing"),
    },
)
