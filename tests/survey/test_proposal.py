"""Rows of an unknown topic: the entry of ``topics.events`` that is proposed reads them."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from stream.formats.topic_rules import TopicRules
from stream.settings.settings import EventTopic
from stream.survey import proposal
from stream.topics.record import Partition, Record
from tests.settings.defaults import message_limits

NOW_MS = 1_763_700_000_000


def records(*rows: Mapping[str, Any]) -> dict[Partition, list[Record]]:
    found = [Record(at, NOW_MS + at, None, json.dumps(row).encode()) for at, row in enumerate(rows)]
    return {Partition("payments", 0): found}


def rows(count: int = 50, **more: Any) -> list[dict[str, Any]]:
    return [
        {"txn_id": f"t-{at}", "created_at": (NOW_MS + at) / 1000, "amount": at % 7, "customer": {"id": 4}, "score": 0.5}
        | {name: value(at) if callable(value) else value for name, value in more.items()}
        for at in range(count)
    ]


def propose(*found: Mapping[str, Any]) -> TopicRules | None:
    return proposal.propose("payments", records(*found), message_limits())


def test_columns_are_recognised_by_their_values_and_names() -> None:
    rules = propose(*rows(label=lambda at: at % 2))
    assert rules is not None
    assert (rules.model, rules.id, rules.ts, rules.prediction, rules.label) == (
        "payments", "txn_id", "created_at", "score", "label",
    )  # fmt: skip


def test_a_column_with_the_name_of_one_model_is_the_model() -> None:
    rules = propose(*rows(model="fraud", model_version=3))
    assert rules is not None
    assert (rules.model, rules.version) == ("fraud", "3")
    assert rules.ignore == {"model", "model_version"}


def test_a_column_called_model_with_many_values_is_a_feature() -> None:
    rules = propose(*rows(model=lambda at: f"car {at}"))
    assert rules is not None
    assert (rules.model, rules.ignore) == ("payments", frozenset())


@pytest.mark.parametrize("rest", [{}, {"version": "1"}])
def test_native_events_and_records_that_cannot_be_read_need_no_settings(rest: dict[str, Any]) -> None:
    assert propose(*[{"model": "m", "features": {"x": 1}, **rest}] * 10) is None
    assert proposal.propose("t", {Partition("t", 0): [Record(0, NOW_MS, None, b"rubbish")]}, message_limits()) is None
    assert proposal.propose("t", {}, message_limits()) is None


def test_the_entry_is_one_of_the_settings_and_leaves_out_what_is_not_set() -> None:
    rules = propose(*rows())
    assert rules is not None
    entry = proposal.entry("payments", rules)
    assert EventTopic(**entry).model == "payments"
    assert entry == {
        "topic": "payments", "model": "payments", "id": "txn_id", "ts": "created_at", "prediction": "score",
    }  # fmt: skip
