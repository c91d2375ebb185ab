"""The decoder: both paths give the same, and every byte string has an answer."""

import gzip
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.formats import decoder as codec
from stream.formats.row import Rules
from tests.formats.contract import HERE, NOW_MS, cells, one, record
from tests.settings.defaults import default_decoder, message_limits

numbers = st.one_of(
    st.floats(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, -0.0, 1e308, 5e-324, 2**53 + 1, 2**63, 2**64, 10**400]),
)
scalars = st.one_of(numbers, st.text(max_size=5), st.booleans(), st.none())
anything = st.one_of(
    scalars,
    st.lists(numbers, max_size=3),
    st.lists(scalars, max_size=3),
    st.dictionaries(st.text(max_size=3), scalars, max_size=2),
)
names = st.sampled_from(["a", "b", "c", "", '"', "\\", "\n", "ñ", "\x7f", "@prediction", "a.norm", "x" * 300])
usual = st.fixed_dictionaries(
    {
        "model": st.just("m"),
        "features": st.fixed_dictionaries({"a": numbers, "b": st.text(max_size=3), "c": st.booleans()}),
    },
    optional={
        "id": st.one_of(st.text(max_size=4), st.integers(0, 2**70)),
        "version": st.sampled_from(["1", "2", 3, 3.5, None]),
        "ts": st.one_of(st.integers(NOW_MS - 10**6, NOW_MS + 10**9), st.just("2025-11-21T04:40:00Z"), st.floats()),
        "prediction": numbers,
        "latency_ms": numbers,
        "error": st.booleans(),
        "segment": st.sampled_from(["de", "fr", None, 5]),
        "env": st.dictionaries(st.sampled_from(["python", "numpy"]), st.sampled_from(["1", "2", 3]), max_size=2),
        "scores": st.dictionaries(st.sampled_from(["p", "q"]), numbers, max_size=2),
    },
)
unusual = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["m", "n", "", 5, None, "a\nb", "m" * 300]),
        "features": st.one_of(anything, st.dictionaries(names, anything, max_size=4)),
        **dict.fromkeys(
            ("id", "version", "ts", "prediction", "scores", "segment", "latency_ms", "error", "env", "more"), anything
        ),
    },
)
messages = st.one_of(
    usual.map(lambda e: json.dumps(e).encode()),
    usual.map(lambda e: json.dumps(e).encode()),
    unusual.map(lambda e: json.dumps(e).encode()),
    st.lists(st.one_of(usual, unusual), max_size=3).map(lambda e: json.dumps(e, indent=1).encode()),
    usual.map(lambda e: gzip.compress(json.dumps(e).encode())),
    st.binary(max_size=30),
    st.sampled_from(
        [b"", b"{", b"{}", b"[]", b'{"model":"m"},{"model":"m"}', b'{"model":"m"}\n{"model":"m"}', b"\n", b" "]
    ),
)
rules = st.sampled_from(
    [
        {},
        {"m": Rules(segment_by="b")},
        {"m": Rules(segment_by="a", ignore=frozenset({"b"}))},
        {"m": Rules(segment_by="c", categorical=frozenset({"a"}))},
    ]
)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(rules, st.lists(messages, min_size=1, max_size=50), st.lists(messages, min_size=1, max_size=50))
def test_the_fast_path_and_the_general_path_give_the_same(
    rule: dict[str, Rules], first: list[bytes], second: list[bytes]
) -> None:
    decoder, plain = default_decoder(rule), default_decoder(rule)
    for values in (first, second, first):
        records = [record(value, offset) for offset, value in enumerate(values)]
        fast, general = decoder.decode(HERE, records), plain.decode(HERE, records, fast=False)
        assert cells(fast) == cells(general)
        assert fast.rejects == general.rejects
        assert fast.limited == general.limited


def test_events_of_a_shape_that_is_learned_anew_stay_in_their_order() -> None:
    decoder = default_decoder()
    decoder.decode(HERE, [record({"id": "e0", "model": "a", "features": {"x": None}})])
    again = [record({"id": f"e{n}", "model": model, "features": {"x": n}}, n) for n, model in enumerate("abb", 1)]
    assert cells(decoder.decode(HERE, again)) == cells(default_decoder().decode(HERE, again, fast=False))


@settings(deadline=None, max_examples=300)
@given(st.lists(st.one_of(st.none(), st.binary(max_size=60)), max_size=5))
def test_any_bytes_are_decoded_or_rejected_with_a_reason(values: list[bytes | None]) -> None:
    decoded = default_decoder().decode(HERE, [record(v, i) for i, v in enumerate(values)])
    assert sum(len(b.columns) for b in decoded.batches) + len(decoded.rejects) >= len(values)
    assert all(reason for _, reason in decoded.rejects)


def test_a_message_of_a_megabyte_and_one_of_too_many_rows() -> None:
    wide = {"model": "m", "features": {f"f{i}": i * 1.5 for i in range(60_000)}}
    assert len(json.dumps(wide)) > 1_000_000
    assert len(one(wide).batches[0].columns.numeric) == 60_000
    many = [{"model": "m", "features": {"a": 1}}] * 11
    assert "at most 10 are read" in one(many, default_decoder(limits=message_limits(rows_per_message=10))).rejects[0][1]


def test_a_bad_record_among_thousands_leaves_the_others_on_the_fast_path_and_in_order() -> None:
    records = [record({"model": "m", "version": "1", "features": {"a": i, "b": "x"}}, i) for i in range(4_000)]
    decoder = default_decoder()
    decoder.decode(HERE, records)
    records[1_234] = record(b"rubbish", 1_234)
    records[2_345] = record({"model": "m", "version": "1", "features": {"a": "text", "b": "x"}}, 2_345)
    decoded = decoder.decode(HERE, records)
    assert [r.offset for r, _ in decoded.rejects] == [1_234]
    (batch,) = decoded.batches
    assert batch.columns.next_offsets.tolist() == [i + 1 for i in range(4_000) if i != 1_234]
    assert cells(decoded) == cells(default_decoder().decode(HERE, records, fast=False))


def test_a_flood_of_names_keeps_what_is_compiled_within_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_COMPILED_FIELDS", 400)
    decoder, largest = default_decoder(), 0
    for flood in range(60):
        names = [f"f{flood}-{i}" for i in range(5)]
        event = {"model": f"m{flood // 9}", "ts": NOW_MS, "features": dict.fromkeys(names, 1)}
        records = [record(event, 2 * flood + at) for at in range(2)]
        assert set(names) <= set(decoder.decode(HERE, records).batches[0].columns.numeric)
        largest = max(largest, sum(shape.spec.size for shape in decoder._compiled.values()))
    assert 100 < largest <= 400
