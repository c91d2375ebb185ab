"""Rows of Databricks' inference tables."""

import json
from typing import Any

from detectors.features import UnitKey
from stream.formats.row import Row
from stream.formats.topic_rules import TopicRules
from tests.formats.contract import NOW_MS, Cases, Sample

REQUEST = json.dumps({"dataframe_records": [{"a": 1, "c": "de"}], "params": {"t": 1}})
LINE: dict[str, Any] = {
    "databricks_request_id": "db-1", "client_request_id": None, "timestamp_ms": NOW_MS + 5, "status_code": 200,
    "execution_time_ms": 12, "request": REQUEST, "response": json.dumps({"predictions": [0.5]}),
    "request_metadata": {"model_name": "m", "model_version": "3", "endpoint_name": "ep"},
}  # fmt: skip
UNIT = UnitKey("m", "3", None)
VALUES = {"a": 1, "c": "de", "@prediction": 0.5, "@latency_ms": 12}
GATEWAY = {
    "databricks_request_id": "gw", "request_time": "2025-11-21T04:40:00Z", "execution_duration_ms": 12,
    "served_entity_id": "7", "request": REQUEST, "response": '{"predictions": [0.5]}', "requester": "somebody",
}  # fmt: skip


def sample(value: Any, rules: TopicRules | None = None) -> Sample:
    data = json.dumps(value).encode()
    return Sample(data) if rules is None else Sample(data, rules=rules)


def row(identity: str, values: dict[str, Any], unit: UnitKey = UNIT, timestamp_ms: int = NOW_MS + 5) -> Row:
    return Row(unit, timestamp_ms, False, identity, values, None)


CASES = Cases(
    accepted={
        "legacy": (sample(LINE), [row("db-1", VALUES)]),
        "the caller's id": (sample({**LINE, "client_request_id": "order"}), [row("order", VALUES)]),
        "a failed request": (
            sample({**LINE, "status_code": "400", "response": '{"error_code": "X"}'}),
            [row("db-1", {"a": 1, "c": "de", "@latency_ms": 12, "@error": True})],
        ),
        "several rows of the table": (
            sample([LINE, {**LINE, "databricks_request_id": "db-2"}]),
            [row("db-1", VALUES), row("db-2", VALUES)],
        ),
        "gateway": (
            sample(GATEWAY, TopicRules(model="m")),
            [row("gw", VALUES, UnitKey("m", "7", None), NOW_MS)],
        ),
    },
    broken={
        "gateway without a model": (sample(GATEWAY), "name the model of topic"),
        "a request that is no JSON": (sample({**LINE, "request": "{"}), "Databricks: request: not JSON"),
        "a request without rows": (sample({**LINE, "request": "{}"}), "request holds none of dataframe_split"),
        "rows that do not fit": (
            sample({**LINE, "request": '{"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}'}),
            "a row does not have 1 values",
        ),
    },
)
