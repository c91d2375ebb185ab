"""Capture records of SageMaker endpoints."""

import base64
import json
from typing import Any

from detectors.features import UnitKey
from stream.formats.row import Row
from stream.formats.topic_rules import TopicRules
from tests.formats.contract import NOW_MS, Cases, Sample

RULES = TopicRules(model="m", version="3")
UNIT = UnitKey("m", "3", None)


def side(data: str, encoding: str = "CSV", kind: str = "text/csv") -> dict[str, Any]:
    return {"observedContentType": kind, "mode": "INPUT", "data": data, "encoding": encoding}


def line(given: Any, answered: Any = None, **metadata: Any) -> dict[str, Any]:
    capture = {"endpointInput": given, **({} if answered is None else {"endpointOutput": answered})}
    about = {"eventId": "e", "inferenceTime": "2025-11-21T04:40:00Z", **metadata}
    return {"captureData": capture, "eventMetadata": about, "eventVersion": "0"}


def sample(*lines: Any, rules: TopicRules = RULES) -> Sample:
    return Sample(b"\n".join(json.dumps(one).encode() for one in lines), rules=rules)


def row(identity: str, values: dict[str, Any]) -> Row:
    return Row(UNIT, NOW_MS, False, identity, values, None)


CASES = Cases(
    accepted={
        "CSV": (
            sample(line(side("1,2.5,no"), side("0.5"))),
            [row("e", {"x0": 1, "x1": 2.5, "x2": "no", "@prediction": 0.5})],
        ),
        "names of the settings": (
            sample(line(side("1,2")), rules=TopicRules(model="m", version="3", columns=("a", "b"))),
            [row("e", {"a": 1, "b": 2})],
        ),
        "several rows": (
            sample(line(side('1,\n2,"a,b"\n'), side("0.5\n0.6"))),
            [row("e#0", {"x0": 1, "@prediction": 0.5}), row("e#1", {"x0": 2, "x1": "a,b", "@prediction": 0.6})],
        ),
        "rows and predictions differ in number": (
            sample(line(side("1\n2"), side("0.5"))),
            [row("e#0", {"x0": 1}), row("e#1", {"x0": 2})],
        ),
        "the caller's id": (sample(line(side("1"), inferenceId="order")), [row("order", {"x0": 1})]),
        "Base64": (sample(line(side(base64.b64encode(b"1,2").decode(), "BASE64"))), [row("e", {"x0": 1, "x1": 2})]),
        "JSON": (
            sample(
                line(
                    side('{"instances": [{"a": 1}]}', "JSON"),
                    side('{"predictions": [{"score": 0.5, "label": 1}]}', "JSON"),
                )
            ),
            [row("e", {"a": 1, "@prediction": 0.5, "@score.label": 1})],
        ),
        "several lines": (
            sample(line(side("1"), eventId="p"), line(side("2"), eventId="q")),
            [row("p", {"x0": 1}), row("q", {"x0": 2})],
        ),
    },
    broken={
        "no model in the settings": (sample(line(side("1")), rules=TopicRules()), "name the model of topic"),
        "an image": (sample(line(side("aGk=", "BASE64", "image/png"))), "is of type 'image/png', which is not read"),
        "no input": (sample({"captureData": {}, "eventMetadata": {}}), "no endpointInput"),
        "broken JSON inside": (sample(line(side("{", "JSON"))), "SageMaker: endpointInput: not JSON"),
        "a label": (sample({"groundTruthData": {"data": "1", "encoding": "CSV"}}), "a label and no event"),
    },
)
