"""The decoder: both paths give the same, and every byte string has an answer."""

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.formats import columns as columns_module
from stream.formats import decoder as codec
from stream.formats.message import Message
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
    many_names = default_decoder(limits=message_limits(names_per_event=60_000))
    assert len(one(wide, many_names).batches[0].columns.numeric) == 60_000
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


def nested(depth: int, opens: bytes = b"[", closes: bytes = b"]") -> bytes:
    return opens * depth + b"1" + closes * depth


@pytest.mark.parametrize("member", [b"env", b"more", b"prediction", b"ts", b"id", b"segment", b"version", b"error"])
@pytest.mark.parametrize(("opens", "closes"), [(b"[", b"]"), (b'{"a":', b"}"), (b'["]", ', b"]")])
def test_red_env_deep_nothing_is_raised_at_any_depth_and_both_paths_agree(
    member: bytes, opens: bytes, closes: bytes
) -> None:
    depths = [1, 50, 250, 496, 497, 498, 499, 500, 501, 900, *range(940, 1_010), 3_000]
    start = b'{"id":"1","model":"m","version":"1","features":{"x":1}'
    plain = [record(start + b"}", n) for n in range(20)]
    deep = [
        record(start + b',"' + member + b'":{"k":' + nested(depth, opens, closes) + b"}}", 20 + n)
        for n, depth in enumerate(depths)
    ]
    decoder = default_decoder()
    for _ in range(2):  # the second time the shapes are known
        fast = decoder.decode(HERE, [*plain, *deep])
    slow = default_decoder().decode(HERE, [*plain, *deep], fast=False)
    assert cells(fast) == cells(slow)
    refused = [record.offset - 20 for record, _ in slow.rejects]
    assert [depths[n] for n in refused] == [depth for depth in depths if depth > 498]  # the event and the member: 2
    assert {reason for _, reason in slow.rejects} == {
        "not JSON within the limits: lists or objects are nested more than 500 deep"
    }


def test_the_depth_of_a_large_message_counts_by_what_is_inside_each_other_and_not_by_how_many_there_are() -> None:
    events = [{"model": "m", "features": {"a": 1, "v": [[1], [2]]}} for _ in range(2_000)]
    assert not one(events).rejects
    assert "500 deep" in one(json.dumps(events)[:-1].encode() + b"," + nested(500) + b"]").rejects[0][1]


@pytest.mark.parametrize("broken", ["registry.read", "batches_of", "learn", "Shape", "event_times", "clocks"])
def test_an_unexpected_error_while_a_record_is_read_makes_that_record_a_dead_letter(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any part of the reading that fails at one record leaves all others counted."""
    values = [{"model": "m", "ts": NOW_MS, "features": {"a": n, "b": [1.0, 2.0]}} for n in range(40)]
    records = [record(value, n) for n, value in enumerate(values)]
    records[7] = record({"model": "m", "ts": NOW_MS, "features": {"a": 7, "b": "poison"}}, 7)

    def poisoned(inner: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            if "poison" in repr([one.record if isinstance(one, Message) else one for one in given]):
                raise ZeroDivisionError("one bad record")
            return inner(*given, **named)

        return call

    if broken == "registry.read":
        monkeypatch.setattr(codec.registry, "read", poisoned(codec.registry.read))
    elif broken in ("batches_of", "learn", "Shape"):
        monkeypatch.setattr(codec, broken, poisoned(getattr(codec, broken)))
    elif broken == "event_times":
        monkeypatch.setattr(codec, "event_times", lambda *_: 1 / 0)
    else:
        records[:] = [record({"model": "m", "ts": NOW_MS, "features": {"a": n}}, n) for n in range(40)]
        monkeypatch.setattr(codec._Rows, "parts", lambda rows, *_: [][1] if rows.groups else [])
    decoded = default_decoder().decode(HERE, records)
    counted = sorted(o - 1 for batch in decoded.batches for o in batch.columns.next_offsets.tolist())
    expected = [7] if broken in ("registry.read", "batches_of") else []
    assert [(r.offset, reason) for r, reason in decoded.rejects] == [
        (n, "unexpected ZeroDivisionError: one bad record") for n in expected
    ]
    assert counted == [n for n in range(40) if n not in expected]


@pytest.mark.parametrize("columnar", [False, True])
def test_an_event_with_more_names_than_the_limit_is_a_dead_letter(columnar: bool) -> None:
    def wide(names: int) -> dict[str, Any]:
        return {"model": "m", "features": {f"f{i}": [i, i] if columnar else i for i in range(names)}, "scores": {}}

    assert not one(wide(10_000)).rejects
    assert one(wide(10_001)).rejects[0][1] == "10001 names of features; at most 10000 are read"


@pytest.mark.parametrize("others", [0, 3])
def test_made_up_names_make_several_batches_in_the_order_of_the_log_and_lose_no_value(
    others: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of the general path with new names each, and rows of a shape in between: no batch has many cells."""
    monkeypatch.setattr(columns_module, "MOST_CELLS", 200)
    rows: list[Any] = [{"model": "m", "id": f"p{n}", "features": {"a": n}} for n in range(40)]
    for n in range(0, 40, others + 1):
        rows[n] = [{"model": "m", "id": f"w{n}", "features": {f"x{n}-{i}": i for i in range(20)}}]
    records = [record(row, n) for n, row in enumerate(rows)]
    decoder = default_decoder()
    decoder.decode(HERE, [record({"model": "m", "id": "p", "features": {"a": 1}}, n) for n in range(20)])
    decoded = decoder.decode(HERE, records)
    offsets = [o for batch in decoded.batches for o in batch.columns.next_offsets.tolist()]
    assert offsets == [n + 1 for n in range(40)]
    assert len(decoded.batches) > 3
    assert all(len(b.columns) * b.width <= 200 for b in decoded.batches)
    found = {
        (int(b.columns.next_offsets[row]) - 1, name): float(b.columns.numbers[row, at])
        for b in decoded.batches
        for at, name in enumerate(b.columns.numeric)
        for row in range(len(b.columns))
        if b.columns.number_status is None or not b.columns.number_status[row, at]
    }
    wanted = {
        (n, name): float(value)
        for n, row in enumerate(rows)
        for one_event in (row if isinstance(row, list) else [row])
        for name, value in one_event["features"].items()
    }
    assert found == wanted
