"""The native format: every JSON value has a decided meaning, and what cannot be read is refused with a reason."""

import gzip
import json
from typing import Any

import pytest

from detectors.columns import INVALID, PRESENT
from detectors.features import Kind, UnitKey
from stream.formats.decoder import Decoded
from stream.formats.ids import numbers_of
from stream.formats.row import AHEAD_MS, Row
from tests.formats.contract import NOW_MS, Cases, Sample, cells, one
from tests.settings.defaults import default_decoder

UNIT = UnitKey("m", "3", None)


def row(identity: str | None, values: dict[str, Any], **more: Any) -> Row:
    return Row(UNIT, NOW_MS, False, identity, values, None)._replace(**more)


def sample(value: Any, **more: Any) -> Sample:
    return Sample(value if isinstance(value, bytes) else json.dumps(value).encode(), **more)


CASES = Cases(
    accepted={
        "one event": (
            sample({"id": "a", "model": "m", "version": "3", "features": {"x": 1.5, "c": "de", "gone": None}}),
            [row("a", {"x": 1.5, "c": "de"})],
        ),
        "everything that an event can hold": (
            sample(
                {
                    "id": 7, "model": "m", "version": 3, "ts": "2025-11-21T04:40:00.250Z", "segment": "s",
                    "features": {"x": [1.0, 2.0]}, "scores": {"p": 0.5}, "prediction": "cat", "latency_ms": 4,
                    "error": False, "env": {"python": "3.12"},
                }
            ),
            [
                Row(
                    UnitKey("m", "3", "s"), NOW_MS + 250, False, "7",
                    {"x": [1.0, 2.0], "@score.p": 0.5, "@prediction": "cat", "@latency_ms": 4, "@error": False},
                    '{"python":"3.12"}',
                )
            ],
        ),
        "a model without version": (sample({"model": "m"}), [row(None, {}, unit=UnitKey("m", "unversioned", None))]),
        "an unusable time": (
            sample({"model": "m", "version": "3", "ts": "yesterday"}),
            [row(None, {}, clamped=True)],
        ),
        "an array": (
            sample([{"model": "m", "version": "3", "id": name} for name in "ab"]),
            [row("a", {}), row("b", {})],
        ),
        "columns": (
            sample({"model": "m", "version": "3", "id": ["a", "b"], "features": {"x": [1, None]}}),
            [row("a", {"x": 1}), row("b", {})],
        ),
        "columns under one id": (
            sample({"model": "m", "version": "3", "id": "a", "ts": [NOW_MS, NOW_MS], "features": {"x": [1, 2]}}),
            [row("a#0", {"x": 1}), row("a#1", {"x": 2})],
        ),
        "gzip": (
            sample(gzip.compress(b'{"model": "m", "version": "3", "features": {"x": 1}}', mtime=0)),
            [row(None, {"x": 1})],
        ),
        "headers that mean nothing here": (
            sample({"model": "m", "version": "3"}, headers=(("traceparent", b"00-1-2-01"), ("empty", b""))),
            [row(None, {})],
        ),
    },
    broken={
        "features is a list": (sample({"model": "m", "features": [1]}), "features is no object"),
        "scores is a number": (sample({"model": "m", "scores": 3}), "scores is no object"),
        "a long name": (sample({"model": "m" * 201}), "model: 201 characters"),
        "a name that cannot be printed": (sample({"model": "a\0b"}), "model: characters"),
        "columns of two lengths": (sample({"model": "m", "id": ["x"], "features": {"a": [1, 2]}}), "differ in length"),
        "columns without rows": (sample({"model": "m", "id": []}), "empty: columns without rows"),
        "too many events": (sample([{"model": "m"}] * 101), "101 events in one message; at most 100 are read"),
        "too many rows": (sample({"model": "m", "id": ["x"] * 101}), "101 rows in one message; at most 100 are read"),
        "an array with something else": (sample([{"model": "m"}, 5]), "not an event: no object"),
        "an array with an event of no model": (sample([{"model": "m"}, {}]), "no model"),
    },
)  # fmt: skip


def value_of(decoded: Decoded, feature: str) -> Any:
    """The feature in the first row of a single unit: (kind, status, value), or None when missing."""
    for (_, _, *key), value in cells(decoded).items():
        if key and key[0] == feature and len(key) == 2:
            return (key[1], *value)
    return None


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
    decoder = default_decoder()
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
        (1_763_700_000, NOW_MS, NOW_MS, 0),  # seconds
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
    decoder = default_decoder()
    for _ in range(2):
        decoded = one({"model": "m", "ts": given_ts, "features": {"a": 1}}, decoder, timestamp_ms=record_ms)
        assert decoded.batches[0].columns.timestamps_ms.tolist() == [expected]
        assert decoded.limited == ({"timestamps": 1} if clamped else {})


def test_an_event_without_a_version_is_unversioned_and_numbers_are_versions_too() -> None:
    assert one({"model": "m"}).batches[0].columns.unit == UnitKey("m", "unversioned", None)
    assert one({"model": "m", "version": 3}).batches[0].columns.unit == UnitKey("m", "3", None)
    assert one({"model": "m", "version": 3.0}).batches[0].columns.unit == UnitKey("m", "3", None)
