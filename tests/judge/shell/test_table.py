"""Rows of the judge's table, and what may be acknowledged when."""

from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.errors import CheckpointError, FormatError
from detectors.features import UnitKey
from detectors.profiles import SCHEMA, Epoch, Profile
from stream.judge.shell import table
from stream.judge.shell.table import Pending
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


def test_units_are_due_longest_waiting_first_and_limited() -> None:
    pending = Pending()
    for number, name in enumerate("abc"):
        pending.touch(UnitKey(name, "1", None), 0, now_ms=number * 10, offset=number)
    pending.touch(UnitKey("a", "1", None), 0, now_ms=100, offset=7)
    assert [unit.model for unit in pending.due(before_ms=10, limit=10)] == ["a", "b"]
    assert [unit.model for unit in pending.due(before_ms=100, limit=1)] == ["a"]
    assert pending.take(UnitKey("a", "1", None)) == [0, 7]
    assert pending.take(UnitKey("a", "1", None)) == []
    assert len(pending) == 2


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(1, 3), st.sampled_from("ab")), max_size=30),
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from("ab")), max_size=10),
)
def test_no_partition_is_committed_beyond_a_profile_that_is_in_no_row(
    records: list[tuple[int, int, str]], rows: list[tuple[int, str]]
) -> None:
    """Two units share both partitions; compaction left gaps; rows of either are written at any time."""
    pending, reached, unsaved = Pending(), {0: 0, 1: 0}, {(n, m): set[int]() for n in (0, 1) for m in "ab"}
    for at, (partition, gap, model) in enumerate(records):
        offset = reached[partition] = reached[partition] + gap
        pending.read(partition, offset)
        pending.touch(UnitKey(f"{model}{partition}", "1", None), partition, at, offset)
        unsaved[partition, model].add(offset)
        for _, saved in (row for row in rows if row[0] == at):
            for number in (0, 1):
                pending.done(number, pending.take(UnitKey(f"{saved}{number}", "1", None)))
                unsaved[number, saved].clear()
        for number in (0, 1):
            left = unsaved[number, "a"] | unsaved[number, "b"]
            begin = pending.committable.get(number, 0)
            assert begin <= min(left, default=reached[number] + 1)
            assert left or not reached[number] or begin == reached[number] + 1, "and not before what is in rows"


def test_a_record_that_comes_twice_takes_nothing_back() -> None:
    pending = Pending()
    for offset in (4, 5, 4):
        pending.read(0, offset)
    pending.done(0, [4])
    pending.read(0, 4)
    pending.done(0, [5])
    assert pending.committable == {0: 6}


def test_clearing_keeps_nothing_to_commit() -> None:
    pending = Pending()
    pending.read(3, 1)
    pending.touch(UnitKey("a", "1", None), 3, 0, 1)
    pending.done(3, [1])
    pending.clear()
    assert (len(pending), pending.partitions, pending.committable) == (0, {}, {})
