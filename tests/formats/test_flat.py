"""Flat rows: names of the settings, usual names, nested objects, and what is refused."""

import json
from typing import Any

import pytest

from detectors.features import UnitKey
from stream.formats.row import Row
from stream.formats.topic_rules import TopicRules
from tests.formats.contract import NOW_MS, Cases, Sample, registry_read

RULES = TopicRules(model="m", version="3", id="order", ts="at", prediction="score")
UNIT = UnitKey("m", "3", None)


def sample(value: Any, rules: TopicRules = RULES, **more: Any) -> Sample:
    return Sample(value if isinstance(value, bytes) else json.dumps(value).encode(), rules=rules, **more)


def row(values: dict[str, Any], identity: str | None = None, timestamp_ms: int = NOW_MS, unit: UnitKey = UNIT) -> Row:
    return Row(unit, timestamp_ms, False, identity, values, None)


CASES = Cases(
    accepted={
        "columns of the settings": (
            sample({"order": "a", "at": NOW_MS - 7, "x": 1.5, "c": "de", "score": 0.5}),
            [row({"x": 1.5, "c": "de", "@prediction": 0.5}, "a", NOW_MS - 7)],
        ),
        "the label is no feature": (
            sample({"x": 1, "truth": 1}, TopicRules(model="m", version="3", label="truth")),
            [row({"x": 1})],
        ),
        "usual names": (
            sample({"id": "a", "timestamp": NOW_MS - 7, "x": 1, "prediction": 2}, TopicRules(model="m", version="3")),
            [row({"x": 1, "@prediction": 2}, "a", NOW_MS - 7)],
        ),
        "a usual name with no time in it": (
            sample({"time": "noon", "x": 1}, TopicRules(model="m", version="3")),
            [row({"time": "noon", "x": 1})],
        ),
        "model is a feature": (sample({"model": "VW Golf", "x": 1}), [row({"model": "VW Golf", "x": 1})]),
        "model is in the row": (
            sample({"model": "m", "x": 1}, TopicRules(format="flat")),
            [row({"x": 1}, unit=UnitKey("m", "unversioned", None))],
        ),
        "nested": (
            sample({"a": {"b": {"c": 1}}, "v": [1.5, 2], "items": [{"x": 1}], "tags": ["x"]}),
            [row({"a.b.c": 1, "v": [1.5, 2]})],
        ),
        "seconds": (
            sample({"at": (NOW_MS - 7) / 1000, "x": 1}, TopicRules(model="m", version="3", ts="at", ts_unit="s")),
            [row({"x": 1}, None, NOW_MS - 7)],
        ),
        "the record's key": (
            sample({"x": 1}, TopicRules(model="m", version="3", id="key"), key=b"k"),
            [row({"x": 1}, "k")],
        ),
        "an id that is none": (sample({"order": "None", "x": 1}), [row({"x": 1})]),
        "a list of rows": (sample([{"x": 1}, {"x": 2}]), [row({"x": 1}), row({"x": 2})]),
        "lines": (sample(b'{"x": 1}\n{"x": 2}\n'), [row({"x": 1}), row({"x": 2})]),
        "by place": (
            sample([1, "de"], TopicRules(model="m", version="3", columns=("x", "c"))),
            [row({"x": 1, "c": "de"})],
        ),
        "columns that are ignored": (
            sample({"x": 1, "user": "a"}, TopicRules(model="m", version="3", ignore=frozenset({"user"}))),
            [row({"x": 1})],
        ),
    },
    broken={
        "nothing that can be monitored": (
            sample({"items": [{"x": 1}]}),
            "no member of the row can be monitored: items",
        ),
        "no model": (sample({"x": 1}, TopicRules(format="flat")), "name the model of topic inference-events"),
        "no object": (sample(5), "not an event"),
    },
)


@pytest.mark.parametrize("name", ["native", "sagemaker"])
def test_a_topic_whose_format_is_set_reads_no_other(name: str) -> None:
    with pytest.raises(Exception, match=r"no model|not in the format sagemaker"):
        registry_read(sample({"x": 1, "order": "a"}, TopicRules(format=name)))


def test_a_text_model_and_members_that_are_not_read_are_no_event() -> None:
    log = {"id": "c-1", "model": "gpt", "messages": [{"role": "user"}], "prompt_tokens": 9}
    with pytest.raises(Exception, match="no features, but members that are not read: messages, prompt_tokens"):
        registry_read(Sample(json.dumps(log).encode()))
