"""Requests and replies of KServe's logger, as data of CloudEvents and as its LogRequest."""

import base64
import json
from typing import Any

import pytest

from detectors.errors import FormatError
from detectors.features import UnitKey
from stream.formats import registry
from stream.formats.message import IgnoredRecord
from stream.formats.row import Row
from tests.formats.contract import LIMITS, NOW_MS, Cases, Sample, registry_read

REQUEST, RESPONSE = (f"org.kubeflow.serving.inference.{kind}" for kind in ("request", "response"))
V2 = {"id": "inner", "inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1.5, 2]}]}


def log(body: Any, kind: str = REQUEST, **more: Any) -> Sample:
    packed = base64.b64encode(json.dumps(body).encode()).decode()
    line = {"bytes": packed, "reqType": kind, "id": "k", "inferenceService": "m", "component": "predictor", **more}
    return Sample(json.dumps(line).encode())


def event(body: Any, kind: str = REQUEST, component: str = "predictor", service: str = "m") -> Sample:
    headers = {"ce_type": kind, "ce_id": "k", "ce_inferenceservicename": service, "ce_component": component}
    value = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Sample(value, headers=tuple((name, text.encode()) for name, text in headers.items()))


def rows(*values: dict[str, Any]) -> list[Row]:
    ids = ["k"] if len(values) == 1 else [f"k#{at}" for at in range(len(values))]
    unit = UnitKey("m", "unversioned", None)
    return [Row(unit, NOW_MS, False, ids[at], one, None) for at, one in enumerate(values)]


CASES = Cases(
    accepted={
        "V1 rows": (log({"instances": [[1, 2], [3, 4]]}), rows({"x0": 1, "x1": 2}, {"x0": 3, "x1": 4})),
        "V1 objects": (log({"instances": [{"age": 39}]}), rows({"age": 39})),
        "V2": (log(V2), rows({"x": 1.5}, {"x": 2})),
    },
    broken={
        "no service": (log(V2, inferenceService=None), "KServe: no inferenceservicename"),
        "no Base64": (log(V2, bytes="%%"), "KServe: bytes is not Base64"),
        "no inputs": (log({"messages": []}), "KServe: a request that holds neither instances nor inputs"),
        "no predictions": (log({"x": 1}, RESPONSE), "KServe: a response that holds neither predictions nor outputs"),
        "no object": (log([1]), "KServe: the body is no JSON object"),
    },
)


@pytest.mark.parametrize("body", [{"instances": [[1.5], [2]]}, V2, {"inputs": {"x": [1.5, 2]}}])
def test_a_cloud_event_gives_the_events_of_its_request(body: Any) -> None:
    found = registry_read(event(body))
    assert [list(row.values.values()) for row in found] == [[1.5], [2]]
    assert [row.identity for row in found] == ["k#0", "k#1"]
    assert {row.unit for row in found} == {UnitKey("m", "unversioned", None)}


@pytest.mark.parametrize("body", [{"predictions": [1]}, {"outputs": {"label": ["low"]}}])
def test_a_reply_is_ignored(body: Any) -> None:
    for sample in (event(body, RESPONSE), log(body, RESPONSE)):
        with pytest.raises(IgnoredRecord, match="a reply"):
            registry.find(sample.message(), LIMITS)


def test_a_transformer_shares_the_id_of_its_predictor_and_is_ignored() -> None:
    with pytest.raises(IgnoredRecord, match="transformer"):
        registry.find(event({"instances": [[1]]}, component="transformer").message(), LIMITS)


def test_a_batch_with_a_reply_keeps_the_events_of_its_requests() -> None:
    def one(kind: str, data: Any) -> dict[str, Any]:
        return {"type": kind, "id": "k", "inferenceservicename": "m", "data": data}

    batch = [one(RESPONSE, {"predictions": [0]}), one(REQUEST, {"instances": [[1]]}), one(REQUEST, None)]
    headers = (("content-type", b"application/cloudevents-batch+json"),)
    assert registry_read(Sample(json.dumps(batch).encode(), headers=headers)) == rows({"x0": 1})
    with pytest.raises(IgnoredRecord):
        registry_read(Sample(json.dumps([batch[0], batch[2]]).encode(), headers=headers))


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (event(V2, service=""), "^KServe: no inferenceservicename"),
        (event([1]), "^KServe: the body is no JSON object"),
        (event(b"hello"), "^not JSON"),
    ],
)
def test_a_broken_cloud_event_of_the_logger_is_refused_in_its_words(sample: Sample, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        registry_read(sample)
