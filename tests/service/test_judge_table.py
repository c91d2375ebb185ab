"""Rows of the judge's table, and what may be acknowledged when."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.errors import CheckpointError, FormatError
from detectors.features import UnitKey
from detectors.profiles import SCHEMA, Epoch, Profile
from stream import judge_table, topics
from stream.judge_table import Pending

units = st.builds(UnitKey, st.text(), st.text(), st.none() | st.text())


@given(units, st.integers(min_value=0, max_value=1000), st.binary())
def test_a_row_comes_back_as_it_was(unit: UnitKey, partition: int, blob: bytes) -> None:
    key, value = topics.unit_key(unit), judge_table.encode_stored(unit, partition, blob)
    stored = judge_table.decode_stored(key, value)
    assert (stored.unit, stored.partition, stored.blob) == (unit, partition, blob)


@pytest.mark.parametrize("value", [b"", b"\x00", b"{}", msgspec.msgpack.encode({"schema": 99})])
def test_a_broken_row_is_refused_by_its_key(value: bytes) -> None:
    with pytest.raises(CheckpointError, match="m/1"):
        judge_table.decode_stored(b"m/1", value)


def test_a_row_of_another_schema_is_refused() -> None:
    value = msgspec.msgpack.encode(judge_table.Stored(99, UnitKey("m", "1", None), 0, b""))
    with pytest.raises(CheckpointError, match="schema 99"):
        judge_table.decode_stored(b"m/1", value)


def test_what_is_no_profile_says_why() -> None:
    profile = Profile(SCHEMA + 1, "m", "1", None, "t", 0, Epoch(None, "s", 0), 1, 1, 1, [])
    with pytest.raises(FormatError, match=f"profile schema {SCHEMA + 1}"):
        judge_table.decode_profile(msgspec.json.encode(profile))
    with pytest.raises(FormatError, match="not a profile"):
        judge_table.decode_profile(b"{}")


def test_units_are_due_longest_waiting_first_and_limited() -> None:
    pending: Pending[str] = Pending()
    for number, name in enumerate("abc"):
        pending.touch(UnitKey(name, "1", None), 0, now_ms=number * 10, waiting=name)
    pending.touch(UnitKey("a", "1", None), 0, now_ms=100, waiting="a2")
    assert [unit.model for unit in pending.due(before_ms=10, limit=10)] == ["a", "b"]
    assert [unit.model for unit in pending.due(before_ms=100, limit=1)] == ["a"]
    assert pending.take(UnitKey("a", "1", None)) == ["a", "a2"]
    assert pending.take(UnitKey("a", "1", None)) == []
    assert len(pending) == 2


def test_clearing_keeps_nothing_to_acknowledge() -> None:
    pending: Pending[str] = Pending()
    pending.touch(UnitKey("a", "1", None), 3, 0, "x")
    pending.clear()
    assert (len(pending), pending.partitions) == (0, {})
