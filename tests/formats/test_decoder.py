"""The decoder: both paths give the same, and every byte string has an answer."""

import gzip
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detectors.columns import INVALID, MISSING, PRESENT
from detectors.features import Kind, UnitKey
from stream.formats import decoder as codec
from stream.formats.decoder import Decoded, Decoder, Limits
from stream.formats.ids import numbers_of
from stream.formats.native import AHEAD_MS, Rules
from stream.topics.record import Partition, Record

HERE = Partition("inference-events", 0)
NOW_MS = 1_763_700_000_000


def record(value: Any, offset: int = 0, timestamp_ms: int = NOW_MS) -> Record:
    data = value if isinstance(value, bytes) or value is None else json.dumps(value).encode()
    return Record(offset, timestamp_ms, None, data)


def one(value: Any, decoder: Decoder | None = None, **more: Any) -> Decoded:
    return (decoder or Decoder()).decode(HERE, [record(value, **more)])


def cells(decoded: Decoded) -> dict[tuple[Any, ...], Any]:
    """Every value that is not missing, by unit, place, feature and kind: the meaning, without the order of columns."""
    found: dict[tuple[Any, ...], Any] = {}
    for batch in decoded.batches:
        columns = batch.columns
        assert columns.numbers.shape == (len(columns), len(columns.numeric))
        offsets = columns.next_offsets.tolist()
        places = [(offset, offsets[:row].count(offset)) for row, offset in enumerate(offsets)]
        rows = zip(places, columns.timestamps_ms.tolist(), batch.identities.tolist(), strict=True)
        for row, (place, *rest) in enumerate(rows):
            found[columns.unit, place] = rest
            for at, name in enumerate(columns.numeric):
                status = PRESENT if columns.number_status is None else columns.number_status[row, at]
                number = float(columns.numbers[row, at])
                assert math.isfinite(number)
                if status != MISSING:
                    found[columns.unit, place, name, Kind.NUMERIC] = (int(status), repr(number))
            for at, spec in enumerate(columns.categorical):
                status = PRESENT if columns.category_status is None else columns.category_status[row, at]
                category = columns.categories[at][row]
                assert (category is None) == (status != PRESENT)
                if status != MISSING:
                    found[columns.unit, place, spec.feature, spec.kind] = (int(status), category)
        for row, text in batch.environments:
            found[columns.unit, places[row], "env"] = text
        assert (np.diff(columns.next_offsets) >= 0).all()
    return found


def value_of(decoded: Decoded, feature: str) -> Any:
    """What the first row of a single unit says of a feature: (kind, status, value), or None when missing."""
    for (_, _, *key), value in cells(decoded).items():
        if key and key[0] == feature and len(key) == 2:
            return (key[1], *value)
    return None


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
    decoder, plain = Decoder(rule), Decoder(rule)
    for values in (first, second, first):
        records = [record(value, offset) for offset, value in enumerate(values)]
        fast, general = decoder.decode(HERE, records), plain.decode(HERE, records, fast=False)
        assert cells(fast) == cells(general)
        assert fast.rejects == general.rejects
        assert fast.limited == general.limited


def test_events_of_a_shape_that_is_learned_anew_stay_in_their_order() -> None:
    decoder = Decoder()
    decoder.decode(HERE, [record({"id": "e0", "model": "a", "features": {"x": None}})])
    again = [record({"id": f"e{n}", "model": model, "features": {"x": n}}, n) for n, model in enumerate("abb", 1)]
    assert cells(decoder.decode(HERE, again)) == cells(Decoder().decode(HERE, again, fast=False))


@settings(deadline=None, max_examples=300)
@given(st.lists(st.one_of(st.none(), st.binary(max_size=60)), max_size=5))
def test_any_bytes_are_decoded_or_rejected_with_a_reason(values: list[bytes | None]) -> None:
    decoded = Decoder().decode(HERE, [record(v, i) for i, v in enumerate(values)])
    assert sum(len(b.columns) for b in decoded.batches) + len(decoded.rejects) >= len(values)
    assert all(reason for _, reason in decoded.rejects)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"[]", "empty"),
        (b"\xff\xfe", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a":' * 100_000, "not JSON"),
        (b'"text"', "not an event"),
        (b"5", "not an event"),
        (b"[5]", "not an event"),
        (b"{}", "no model"),
        (b'{"model": ""}', "no model"),
        (b'{"model": 5}', "no model"),
        (b'{"model": "m", "features": [1]}', "features"),
        (b'{"model": "m", "scores": 3}', "scores"),
        (b'{"model": "m", "x": "\\ud800", "y": NaN}', "not JSON"),
        (b'{"model": "' + b"m" * 201 + b'"}', "model: 201 characters"),
        (b'{"model": "a\\u0000b"}', "model: characters"),
        (b'{"model": "m", "features": {"a": [1, 2]}, "id": ["x"]}', "differ in length"),
        (b'{"model": "m", "features": {}, "id": []}', "empty"),
        (b"\x1f\x8b" + b"x" * 20, "gzip"),
        (gzip.compress(b'{"model": "m"}', mtime=0)[:-4], "gzip"),  # the same name in every process
        (gzip.compress(b" " * 5_000_000, mtime=0), "gzip: unpacks to more"),
        (b" " * 5_000_000, "5000000 bytes"),
    ],
    ids=lambda v: repr(v)[:40],
)
def test_what_cannot_be_read_is_rejected_with_its_reason(value: bytes | None, reason: str) -> None:
    decoded = one(value)
    assert not decoded.batches
    assert reason in decoded.rejects[0][1]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("12.5", (Kind.NUMERIC, PRESENT, "12.5")),
        ("7", (Kind.NUMERIC, PRESENT, "7.0")),
        ("9007199254740993", (Kind.NUMERIC, PRESENT, "9007199254740992.0")),
        ("123456789012345678901234567890", (Kind.NUMERIC, PRESENT, "1.2345678901234568e+29")),
        ("1" + "0" * 400, None),
        ("1e400", None),
        ("NaN", None),
        ("-Infinity", None),
        ("null", None),
        ("[]", None),
        ('"12.5"', (Kind.CATEGORICAL, PRESENT, "12.5")),
        ('""', (Kind.CATEGORICAL, PRESENT, "")),
        ("true", (Kind.BOOLEAN, PRESENT, "true")),
        ('{"a": 1}', (Kind.CATEGORICAL, INVALID, None)),
        ('["a"]', (Kind.VECTOR, INVALID, None)),
    ],
)
def test_every_json_value_of_a_feature_has_a_decided_meaning(value: str, expected: Any) -> None:
    decoder = Decoder()
    message = b'{"id": "x", "model": "m", "features": {"f": ' + value.encode() + b"}}"
    for _ in range(3):  # the first time no shape is known
        assert value_of(one(message, decoder), "f") == expected


def test_a_list_of_numbers_is_seen_through_what_is_derived_from_it() -> None:
    decoded = one({"id": "x", "model": "m", "features": {"embedding": [3.0, 4.0]}})
    assert value_of(decoded, "embedding.norm") == (Kind.NUMERIC, PRESENT, "5.0")


def test_prediction_scores_latency_and_error_are_features_of_their_own() -> None:
    event = {"model": "m", "prediction": "cat", "scores": {"p": 0.5}, "latency_ms": 3, "error": True}
    decoded = one(event)
    assert value_of(decoded, "@prediction") == (Kind.CATEGORICAL, PRESENT, "cat")
    assert value_of(decoded, "@score.p") == (Kind.NUMERIC, PRESENT, "0.5")
    assert value_of(decoded, "@latency_ms") == (Kind.NUMERIC, PRESENT, "3.0")
    assert value_of(decoded, "@error") == (Kind.BOOLEAN, PRESENT, "true")


def test_an_input_cannot_take_the_place_of_what_a_model_emits() -> None:
    decoded = one({"model": "m", "features": {"@prediction": 5, "a": 1}, "prediction": 7})
    assert value_of(decoded, "@prediction") == (Kind.NUMERIC, PRESENT, "7.0")
    assert decoded.limited == {"features": 1}


def test_one_event_an_array_and_columns_say_the_same() -> None:
    rows = [{"id": i, "model": "m", "ts": NOW_MS + k, "features": {"a": k + 0.5, "c": "x"}} for k, i in enumerate("pq")]
    columns = {
        "model": "m", "id": ["p", "q"], "ts": [NOW_MS, NOW_MS + 1], "features": {"a": [0.5, 1.5], "c": ["x", "x"]},
    }  # fmt: skip
    array, columnar = one(rows), one(columns)
    assert cells(array) == cells(columnar)
    assert array.batches[0].identities.tolist() == numbers_of(["p", "q"]).tolist()
    no_id = {key: value for key, value in columns.items() if key not in ("id", "ts")}
    assert len(one(no_id).batches[0].columns) == 2
    dealt = one({**no_id, "id": "batch", "ts": columns["ts"]}).batches[0].identities
    assert dealt.tolist() == numbers_of(["batch#0", "batch#1"]).tolist()


@pytest.mark.parametrize(
    ("given_ts", "record_ms", "expected", "clamped"),
    [
        (NOW_MS - 5, NOW_MS, NOW_MS - 5, 0),
        (NOW_MS - 0.5, NOW_MS, NOW_MS - 1, 0),
        ("2025-11-21T04:40:00.250Z", NOW_MS, 1_763_700_000_250, 0),
        ("2025-11-21T05:40:00+01:00", NOW_MS, NOW_MS, 0),
        ("2025-11-21T04:40:00", NOW_MS, NOW_MS, 0),
        (None, NOW_MS, NOW_MS, 0),
        ("yesterday", NOW_MS, NOW_MS, 1),
        (True, NOW_MS, NOW_MS, 1),
        ({}, NOW_MS, NOW_MS, 1),
        (0, NOW_MS, NOW_MS, 1),
        (1_763_700_000, NOW_MS, NOW_MS, 1),  # seconds
        (253_000_000_000_000, NOW_MS, NOW_MS, 1),  # year 9987
        (10**300, NOW_MS, NOW_MS, 1),
        (-5, NOW_MS, NOW_MS, 1),
        (NOW_MS + AHEAD_MS + 1, NOW_MS, NOW_MS, 1),
        (NOW_MS + AHEAD_MS, NOW_MS, NOW_MS + AHEAD_MS, 0),
        (1_000, 1_000, 1_000, 0),  # a replay whose clock starts at zero
        (5_000, -1, 5_000, 0),  # a record without a time
        (None, -1, 0, 0),
    ],
)
def test_absurd_times_give_way_to_the_records_own_and_are_counted(
    given_ts: Any, record_ms: int, expected: int, clamped: int
) -> None:
    decoder = Decoder()
    for _ in range(2):
        decoded = one({"model": "m", "ts": given_ts, "features": {"a": 1}}, decoder, timestamp_ms=record_ms)
        assert decoded.batches[0].columns.timestamps_ms.tolist() == [expected]
        assert decoded.limited == ({"timestamps": 1} if clamped else {})


def test_an_event_without_a_version_is_unversioned_and_numbers_are_versions_too() -> None:
    assert one({"model": "m"}).batches[0].columns.unit == UnitKey("m", "unversioned", None)
    assert one({"model": "m", "version": 3}).batches[0].columns.unit == UnitKey("m", "3", None)
    assert one({"model": "m", "version": 3.0}).batches[0].columns.unit == UnitKey("m", "3", None)


def test_a_message_of_a_megabyte_and_one_of_too_many_rows() -> None:
    wide = {"model": "m", "features": {f"f{i}": i * 1.5 for i in range(60_000)}}
    assert len(json.dumps(wide)) > 1_000_000
    assert len(one(wide).batches[0].columns.numeric) == 60_000
    many = [{"model": "m", "features": {"a": 1}}] * 11
    assert "at most 10 are read" in one(many, Decoder(limits=Limits(rows_per_message=10))).rejects[0][1]


def test_a_bad_record_among_thousands_leaves_the_others_on_the_fast_path_and_in_order() -> None:
    records = [record({"model": "m", "version": "1", "features": {"a": i, "b": "x"}}, i) for i in range(4_000)]
    decoder = Decoder()
    decoder.decode(HERE, records)
    records[1_234] = record(b"rubbish", 1_234)
    records[2_345] = record({"model": "m", "version": "1", "features": {"a": "text", "b": "x"}}, 2_345)
    decoded = decoder.decode(HERE, records)
    assert [r.offset for r, _ in decoded.rejects] == [1_234]
    (batch,) = decoded.batches
    assert batch.columns.next_offsets.tolist() == [i + 1 for i in range(4_000) if i != 1_234]
    assert cells(decoded) == cells(Decoder().decode(HERE, records, fast=False))


def test_a_flood_of_names_keeps_what_is_compiled_within_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_COMPILED_FIELDS", 400)
    decoder, largest = Decoder(), 0
    for flood in range(60):
        names = [f"f{flood}-{i}" for i in range(5)]
        event = {"model": f"m{flood // 9}", "ts": NOW_MS, "features": dict.fromkeys(names, 1)}
        records = [record(event, 2 * flood + at) for at in range(2)]
        assert set(names) <= set(decoder.decode(HERE, records).batches[0].columns.numeric)
        largest = max(largest, sum(shape.spec.size for shape in decoder._compiled.values()))
    assert 100 < largest <= 400
