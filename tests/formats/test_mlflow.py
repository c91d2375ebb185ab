"""Bodies of MLflow's scoring protocol."""

import json
from typing import Any

from detectors.features import UnitKey
from stream.formats.row import Row
from stream.formats.topic_rules import TopicRules
from tests.formats.contract import NOW_MS, Cases, Sample

RULES = TopicRules(model="m", version="3")


def sample(value: Any) -> Sample:
    return Sample(value if isinstance(value, bytes) else json.dumps(value).encode(), rules=RULES)


def rows(*values: dict[str, Any], identity: str | None = None) -> list[Row]:
    unit = UnitKey("m", "3", None)
    ids = [identity] if len(values) == 1 else [identity and f"{identity}#{at}" for at in range(len(values))]
    return [Row(unit, NOW_MS, False, ids[at], one, None) for at, one in enumerate(values)]


RECORDS = [{"a": 1, "c": "x"}, {"a": None, "c": "y"}]
CASES = Cases(
    accepted={
        "records": (sample({"dataframe_records": RECORDS}), rows({"a": 1, "c": "x"}, {"c": "y"})),
        "split": (
            sample(b'{"dataframe_split": {"columns": ["a", "c"], "data": [[1, "x"], [2, "y"]]}}'),
            rows({"a": 1, "c": "x"}, {"a": 2, "c": "y"}),
        ),
        "columns": (sample({"inputs": {"a": [1, 2]}}), rows({"a": 1}, {"a": 2})),
        "rows without names": (sample({"inputs": [[1, 2], [3, 4]]}), rows({"x0": 1, "x1": 2}, {"x0": 3, "x1": 4})),
        "params": (sample({"instances": [[1]], "params": {"t": 1}}), rows({"x0": 1})),
        "with its reply": (
            sample(
                {"request_id": "r", "request": {"dataframe_records": RECORDS}, "response": {"predictions": [0.5, 1]}}
            ),
            rows({"a": 1, "c": "x", "@prediction": 0.5}, {"c": "y", "@prediction": 1}, identity="r"),
        ),
        "CSV": (sample(b"a,b\n1,True\n,False\n"), rows({"a": 1, "b": True}, {"b": False})),
    },
    broken={
        "a reply alone": (sample({"predictions": [1]}), "predictions without inputs"),
        "a row that is too long": (
            sample({"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}),
            "a row does not have 1 values",
        ),
        "columns of different lengths": (sample({"inputs": {"a": [1], "b": []}}), "columns differ in length"),
    },
)
