"""Bodies of the Open Inference Protocol V2: JSON, a binary tail, and both in one request."""

import json
import struct
from typing import Any

import pytest

from detectors.features import UnitKey
from stream.formats import registry
from stream.formats.message import IgnoredRecord
from stream.formats.row import Row
from stream.formats.topic_rules import TopicRules
from tests.formats.contract import LIMITS, NOW_MS, Cases, Sample

RULES = TopicRules(model="m", version="3")


def tensor(name: str, shape: list[int], data: Any, datatype: str = "FP32", **parameters: Any) -> dict[str, Any]:
    more = {"parameters": parameters} if parameters else {}
    return {"name": name, "shape": shape, "datatype": datatype, **more, **({} if data is None else {"data": data})}


def sample(*tensors: Any, tail: bytes = b"", rules: TopicRules = RULES, **more: Any) -> Sample:
    return Sample(json.dumps({"id": "r", "inputs": tensors, **more}).encode() + tail, rules=rules)


def binary(name: str, shape: list[int], data: bytes, datatype: str) -> dict[str, Any]:
    return tensor(name, shape, None, datatype, binary_data_size=len(data))


def rows(*values: dict[str, Any]) -> list[Row]:
    ids = ["r"] if len(values) == 1 else [f"r#{at}" for at in range(len(values))]
    return [Row(UnitKey("m", "3", None), NOW_MS, False, ids[at], one, None) for at, one in enumerate(values)]


X = struct.pack("<4f", 1.5, 2, 3, 4)
JOBS = b"".join(struct.pack("<I", len(one)) + one for one in (b"cook", "größer".encode()))
CASES = Cases(
    accepted={
        "one tensor, flat": (
            sample(tensor("x", [2, 2], [1.5, 2, 3, 4])),
            rows({"x.0": 1.5, "x.1": 2}, {"x.0": 3, "x.1": 4}),
        ),
        "one tensor, nested": (
            sample(tensor("x", [2, 2], [[1.5, 2], [3, 4]])),
            rows({"x.0": 1.5, "x.1": 2}, {"x.0": 3, "x.1": 4}),
        ),
        "a tensor a column": (
            sample(tensor("a", [2], [1, None]), tensor("job", [2, 1], ["cook", "coder"], "BYTES")),
            rows({"a": 1, "job": "cook"}, {"job": "coder"}),
        ),
        "outputs that are asked for": (sample(tensor("a", [1], [1]), outputs=[{"name": "p"}]), rows({"a": 1})),
        "names of the settings": (
            sample(tensor("x", [1, 2], [1, 2]), rules=TopicRules(model="m", version="3", columns=("age", "income"))),
            rows({"age": 1, "income": 2}),
        ),
        "rank 3 is a list": (sample(tensor("x", [1, 2, 2], [1, 2, 3, 4])), rows({"x": [1, 2, 3, 4]})),
        "a binary tail": (
            sample(binary("x", [2, 2], X, "FP32"), binary("job", [2, 1], JOBS, "BYTES"), tail=X + JOBS),
            rows({"x.0": 1.5, "x.1": 2, "job": "cook"}, {"x.0": 3, "x.1": 4, "job": "größer"}),
        ),
        "JSON and binary": (
            sample(tensor("a", [2], [7, 8]), binary("vip", [2], b"\x01\x00", "BOOL"), tail=b"\x01\x00"),
            rows({"a": 7, "vip": True}, {"a": 8, "vip": False}),
        ),
        "BOOL as numbers": (sample(tensor("vip", [2], [1, 0], "BOOL")), rows({"vip": True}, {"vip": False})),
        "Base64 is not watched": (
            sample(tensor("a", [1], [1]), tensor("i", [1], ["aGk="], "BYTES", content_type="base64")),
            rows({"a": 1}),
        ),
        "an empty binary tensor": (sample(binary("x", [0, 2], b"", "FP32")), []),
    },
    broken={
        "data that does not fill its shape": (
            sample(tensor("x", [2, 2], [1])),
            "1 values do not fill its shape [2, 2]",
        ),
        "data nested deeper than any rank": (
            sample(tensor("x", [1], json.loads("[" * 40 + "1, 2" + "]" * 40))),
            "data is nested more than 16 deep",
        ),
        "a tail that is cut": (
            sample(binary("x", [2, 2], X, "FP32"), tail=X[:-1]),
            "binary_data_size is 16, and 15 bytes are left",
        ),
        "a tail that is too long": (sample(binary("x", [2, 2], X, "FP32"), tail=X + b"x"), "1 bytes behind the inputs"),
        "a text that is cut": (
            sample(binary("x", [1], JOBS[:6], "BYTES"), tail=JOBS[:6]),
            "a text is longer than what is left",
        ),
        "half a number": (sample(binary("x", [1], X[:3], "FP32"), tail=X[:3]), "3 bytes are no whole number of FP32"),
        "an unknown data type": (sample(tensor("x", [1], [1], "BF16")), "datatype BF16 is not read"),
        "no shape": (sample({"name": "x", "datatype": "FP32", "data": [1]}), "shape is no list of 1 to 16"),
        "no name": (sample({"shape": [1], "datatype": "FP32", "data": [1]}), "no text as name"),
        "no data": (sample(tensor("x", [1], None)), "neither data nor binary_data_size"),
        "columns of different lengths": (
            sample(tensor("a", [1], [1]), tensor("b", [2], [1, 2])),
            "2 rows, where the tensor before it has 1",
        ),
        "too many rows": (sample(tensor("a", [101], [1] * 101)), "101 rows; at most 100"),
        "a broken reply": (
            Sample(json.dumps({"outputs": [tensor("p", [2], [1])]}).encode(), rules=RULES),
            "1 values do not fill its shape",
        ),
    },
)


def test_a_reply_is_ignored_and_no_event() -> None:
    reply = Sample(json.dumps({"id": "r", "outputs": [tensor("p", [1], [1])]}).encode(), rules=RULES)
    with pytest.raises(IgnoredRecord, match="a reply"):
        registry.find(reply.message(), LIMITS)


def test_what_is_not_watched_is_counted() -> None:
    message = CASES.accepted["Base64 is not watched"][0].message()
    registry.find(message, LIMITS)
    assert message.limited == {"tensors": 1}
