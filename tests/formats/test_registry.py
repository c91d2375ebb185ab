"""The contract of formats, run over every entry of the registry, and what the decoder makes of several formats."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.errors import FormatError
from detectors.features import UnitKey
from stream.formats import native, registry
from stream.formats.message import Message
from stream.formats.registry import FORMATS, Format, Headers
from stream.formats.row import Limits, Row
from stream.formats.topic_rules import AUTO, NO_TOPIC_RULES
from stream.topics.record import Record
from tests.formats.contract import LIMITS, NOW_MS, Cases, Sample, cases_of, cells
from tests.settings.defaults import default_decoder

ROOT = Path(__file__).parents[2]
CASES: dict[str, Cases] = {name: cases_of(name) for name in FORMATS}
ACCEPTED = [(name, case, *found) for name, own in CASES.items() for case, found in own.accepted.items()]
BROKEN = [(name, case, *found) for name, own in CASES.items() for case, found in own.broken.items()]
SAMPLES = [(name, case, sample) for name, case, sample, _ in (*ACCEPTED, *BROKEN)]

UNKNOWN = {
    "nothing": Sample(None),
    "no bytes": Sample(b""),
    "rubbish": Sample(b"rubbish"),
    "not UTF-8": Sample(b"\xff\xfe"),
    "null": Sample(b"null"),
    "a number": Sample(b"5"),
    "a text": Sample(b'"model"'),
    "an empty array": Sample(b"[]"),
    "an array of numbers": Sample(b"[5]"),
    "an empty object": Sample(b"{}"),
    "a model that is a number": Sample(b'{"model": 5}'),
    "nested deeper than anything": Sample(b"[" * 50_000),
    "cut gzip": Sample(b"\x1f\x8bxxxx"),
    "more bytes than the limit": Sample(b" " * 100_001),
}
"""Records in no format at all."""


def inner(message: Message) -> list[Any]:
    """Reads a message that another one wraps."""
    return registry.find(message, LIMITS).events


def ids(values: list[Any]) -> list[str]:
    return [f"{name}: {case}" for name, case, *_ in values]


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_a_module_of_its_name_and_has_samples_and_a_place_in_the_docs(name: str) -> None:
    assert FORMATS[name].events.__module__ == f"stream.formats.{name}"
    cases_of(name)
    assert f"`{name}`" in (ROOT / "docs/events.md").read_text().partition("## Formats")[2]


@pytest.mark.parametrize(("name", "case", "sample", "rows"), ACCEPTED, ids=ids(ACCEPTED))
def test_a_format_reads_its_samples(name: str, case: str, sample: Sample, rows: list[Row]) -> None:
    assert FORMATS[name].events(sample.message(), LIMITS, inner) is not None
    assert registry.read(sample.message(), {}, LIMITS) == rows


@pytest.mark.parametrize(("name", "case", "sample", "reason"), BROKEN, ids=ids(BROKEN))
def test_a_format_refuses_its_broken_samples_with_the_reason(name: str, case: str, sample: Sample, reason: str) -> None:
    with pytest.raises(FormatError) as error:
        registry.read(sample.message(), {}, LIMITS)
    assert reason in str(error.value)


def first(other: str, name: str) -> bool:
    """Whether ``other`` is tried before ``name``, which then never gets the sample."""
    order = list(FORMATS)
    return order.index(other) < order.index(name)


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_leaves_everything_else_to_others(name: str) -> None:
    others = [(other, case, sample) for other, case, sample in SAMPLES if other != name and not first(other, name)]
    for other, case, sample in [*others, *(("unknown", case, sample) for case, sample in UNKNOWN.items())]:
        if FORMATS[name].wraps or sample.rules.format in (AUTO, name):
            assert FORMATS[name].events(sample.message(), LIMITS, inner) is None, f"{other}: {case}"


@pytest.mark.parametrize("case", UNKNOWN)
def test_a_record_in_no_format_is_refused_with_a_reason(case: str) -> None:
    with pytest.raises(FormatError) as error:
        registry.read(UNKNOWN[case].message(), {}, LIMITS)
    assert str(error.value)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(SAMPLES), st.data())
def test_a_damaged_sample_is_read_left_or_refused(given_sample: tuple[str, str, Sample], data: st.DataObject) -> None:
    _, _, sample = given_sample
    value = sample.value or b""
    at = data.draw(st.integers(0, len(value)))
    cut = data.draw(st.integers(0, 4))
    damaged = sample._replace(value=value[:at] + data.draw(st.binary(max_size=4)) + value[at + cut :])
    for form in FORMATS.values():
        with suppress(FormatError):
            form.events(damaged.message(), LIMITS, inner)
    with suppress(FormatError):
        assert all(isinstance(row, Row) for row in registry.read(damaged.message(), {}, LIMITS))


def test_the_fast_path_and_the_general_path_give_the_same_for_all_samples_together() -> None:
    fast, general = default_decoder(limits=LIMITS), default_decoder(limits=LIMITS)
    every = [*SAMPLES, *(("unknown", case, sample) for case, sample in UNKNOWN.items())]
    samples = [one for one in every if one[2].rules is NO_TOPIC_RULES] * 3
    partitions = {sample.partition() for _, _, sample in samples}
    for partition in partitions:
        records = [s.record(at) for at, (_, _, s) in enumerate(samples) if s.partition() == partition]
        for _ in range(2):  # shapes are known the second time
            one, other = fast.decode(partition, records), general.decode(partition, records, fast=False)
            assert cells(one) == cells(other)
            assert one.rejects == other.rejects
            assert one.limited == other.limited


def other_by_header(message: Message, limits: Limits, inner: registry.Inner) -> list[Any] | None:
    """A format whose value looks like a native event of another model."""
    return [{**message.json(), "model": "other"}] if message.header("kind") == b"other" else None


def other_by_member(message: Message, limits: Limits, inner: registry.Inner) -> list[Any] | None:
    """A format whose value is a native event but for one member."""
    if not isinstance(message.body, dict) or "inputs" not in message.body:
        return None
    return [{**message.body, "model": "other"}]


def kind_is_other(headers: Headers) -> bool:
    return ("kind", b"other") in headers


@pytest.mark.parametrize(
    ("form", "member", "headers"),
    [
        (Format(other_by_header, kind_is_other, frozenset({"kind"})), {}, (("kind", b"other"),)),
        (Format(other_by_member), {"inputs": 1}, ()),
    ],
)
def test_one_more_entry_is_all_that_a_format_needs(
    monkeypatch: pytest.MonkeyPatch, form: Format, member: dict[str, Any], headers: Headers
) -> None:
    monkeypatch.setattr(registry, "_checks", registry._checks.__wrapped__)
    monkeypatch.setattr(registry, "FORMATS", {"other": form, "native": Format(native.events)})
    decoder = default_decoder()
    for _ in range(3):  # shapes are known after the first time
        records = [
            Record(at, NOW_MS, None, json.dumps({"model": "m", "features": {"x": at}, **own}).encode(), marks)
            for at in range(40)
            for own, marks in [(member, headers) if at % 4 == 3 else ({}, (("kind", b"usual"),))]
        ]
        decoded = decoder.decode(Sample(b"").partition(), records)
        assert {batch.unit: len(batch.columns) for batch in decoded.batches} == {
            UnitKey("m", "unversioned", None): 30,
            UnitKey("other", "unversioned", None): 10,
        }
        assert cells(decoded) == cells(default_decoder().decode(Sample(b"").partition(), records, fast=False))
    assert decoder._compiled, "events of the native format take the fast path all the same"
