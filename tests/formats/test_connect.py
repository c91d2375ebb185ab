"""Kafka Connect's and Debezium's envelopes."""

import json
from typing import Any

import pytest

from detectors.features import UnitKey
from stream.formats.message import IgnoredRecord
from stream.formats.row import Row
from stream.formats.topic_rules import TopicRules
from tests.formats.contract import NOW_MS, Cases, Sample, registry_read

EVENT: dict[str, Any] = {"id": "a", "model": "m", "version": "3", "features": {"x": 1.5}}
RULES = TopicRules(model="m", version="3", id="id", prediction="score")
ROW = {"id": "a", "x": 1.5, "score": 0.5}
SOURCE = {"connector": "postgresql", "table": "scored"}
UNIT = UnitKey("m", "3", None)


def sample(value: Any, rules: TopicRules = RULES) -> Sample:
    return Sample(json.dumps(value).encode(), rules=rules)


def change(operation: str, after: Any = ROW) -> dict[str, Any]:
    return {"before": None, "after": after, "source": SOURCE, "op": operation, "ts_ms": NOW_MS}


SCORED = [Row(UNIT, NOW_MS, False, "a", {"x": 1.5, "@prediction": 0.5}, None)]
CASES = Cases(
    accepted={
        "a native event": (
            Sample(json.dumps({"schema": None, "payload": EVENT}).encode()),
            [Row(UNIT, NOW_MS, False, "a", {"x": 1.5}, None)],
        ),
        "a row": (sample({"schema": {"type": "struct"}, "payload": ROW}), SCORED),
        "a row that was created": (sample({"schema": {}, "payload": change("c")}), SCORED),
        "a row of the snapshot, without a schema": (sample(change("r")), SCORED),
    },
    broken={
        "a payload that is a text": (sample({"schema": {}, "payload": "x"}), "payload is no object"),
        "a created row without a row": (sample(change("c", None)), "after is no object"),
    },
)


@pytest.mark.parametrize("operation", ["u", "d", "t", "m"])
def test_a_change_that_brings_no_new_row_is_ignored(operation: str) -> None:
    with pytest.raises(IgnoredRecord, match=f"op {operation}"):
        registry_read(sample(change(operation)))


def test_the_tombstone_after_a_deletion_is_ignored() -> None:
    with pytest.raises(IgnoredRecord, match="tombstone"):
        registry_read(Sample(None, key=b"a"))


def test_envelopes_inside_each_other_are_bounded() -> None:
    value: Any = EVENT
    for _ in range(10):
        value = {"schema": None, "payload": value}
    with pytest.raises(Exception, match="more than 4 envelopes"):
        registry_read(sample(value))
