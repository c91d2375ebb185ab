"""Rows of the judge's table as bytes, and the profiles that it reads."""

from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.errors import CheckpointError, FormatError
from detectors.features import UnitKey
from detectors.profiles import SCHEMA, Epoch, Profile
from stream.judge.shell import table
from stream.topics import keys

units = st.builds(UnitKey, st.text(), st.text(), st.none() | st.text())


reaches = st.tuples(st.integers(0, 2**62), st.integers(0, 2**62))


@given(units, st.integers(min_value=0, max_value=1000), st.binary(), reaches)
def test_a_row_comes_back_as_it_was(unit: UnitKey, partition: int, blob: bytes, reach: table.Reach) -> None:
    key, value = keys.unit_key(unit), table.encode_stored(unit, partition, blob, reach)
    stored = table.decode_stored(key, value)
    assert (stored.unit, stored.partition, stored.blob, stored.reach) == (unit, partition, blob, reach)


def event(key: bytes, value: bytes | None) -> SimpleNamespace:
    return SimpleNamespace(message=SimpleNamespace(key=key, value=value))


@given(st.lists(st.tuples(st.sampled_from([b"m/1", b"n/1"]), st.integers(0, 5), st.integers(0, 3))), st.integers(0, 20))
def test_of_rows_in_any_order_and_in_any_batches_the_furthest_stays(
    rows: list[tuple[bytes, int, int]], cut: int
) -> None:
    held: dict[bytes, bytes] = {}
    unit = UnitKey("m", "1", None)
    events = [event(key, table.encode_stored(unit, 0, b"%d" % n, reach)) for n, (key, *reach) in enumerate(rows)]
    for batch in (events[:cut], events[cut:]):
        held.update([(row.message.key, row.message.value) for row in table.furthest(batch, held)])
    for key, value in held.items():
        own = [(tuple(reach), n) for n, (name, *reach) in enumerate(rows) if name == key]
        assert table.decode_stored(key, value).blob == b"%d" % max(own)[1], "the last one of the furthest"
    assert set(held) == {key for key, *_ in rows}


def test_tombstones_and_what_cannot_be_read_are_left_to_those_who_read_them() -> None:
    rows = [event(b"m/1", b"\xff"), event(b"m/1", None)]
    assert list(table.furthest(rows, {b"m/1": b"?"})) == rows


def test_rows_of_before_they_said_how_far_they_are_can_be_read() -> None:
    old = msgspec.msgpack.encode({"schema": 1, "unit": UnitKey("m", "1", None), "partition": 0, "blob": b"x"})
    assert table.decode_stored(b"m/1", old).reach == (0, 0)


@pytest.mark.parametrize("value", [b"", b"\x00", b"{}", msgspec.msgpack.encode({"schema": 99})])
def test_a_broken_row_is_refused_by_its_key(value: bytes) -> None:
    with pytest.raises(CheckpointError, match="m/1"):
        table.decode_stored(b"m/1", value)


def test_a_row_of_another_schema_is_refused() -> None:
    value = msgspec.msgpack.encode(table.Stored(99, UnitKey("m", "1", None), 0, b""))
    with pytest.raises(CheckpointError, match="schema 99"):
        table.decode_stored(b"m/1", value)


def test_what_is_no_profile_says_why() -> None:
    profile = Profile(SCHEMA + 1, "m", "1", None, "t", 0, Epoch(None, "s", 0), 1, 1, 1, [])
    with pytest.raises(FormatError, match=f"profile schema {SCHEMA + 1}"):
        table.decode_profile(msgspec.json.encode(profile))
    with pytest.raises(FormatError, match="not a profile"):
        table.decode_profile(b"{}")
