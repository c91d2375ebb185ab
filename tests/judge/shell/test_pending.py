"""Which units are ahead of their stored row, and which offsets may be committed."""

from hypothesis import given
from hypothesis import strategies as st

from detectors.features import UnitKey
from stream.judge.shell.pending import Pending


def test_units_are_due_longest_waiting_first_and_limited() -> None:
    pending = Pending()
    for number, name in enumerate("abc"):
        pending.mark_changed(UnitKey(name, "1", None), 0, now_ms=number * 10, offset=number)
    pending.mark_changed(UnitKey("a", "1", None), 0, now_ms=100, offset=7)
    assert [unit.model for unit in pending.due(before_ms=10, limit=10)] == ["a", "b"]
    assert [unit.model for unit in pending.due(before_ms=100, limit=1)] == ["a"]
    assert pending.start_row(UnitKey("a", "1", None)) == [0, 7]
    assert pending.start_row(UnitKey("a", "1", None)) == []
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
        pending.start_offset(partition, offset)
        pending.mark_changed(UnitKey(f"{model}{partition}", "1", None), partition, at, offset)
        unsaved[partition, model].add(offset)
        for _, saved in (row for row in rows if row[0] == at):
            for number in (0, 1):
                pending.finish_offsets(number, pending.start_row(UnitKey(f"{saved}{number}", "1", None)))
                unsaved[number, saved].clear()
        for number in (0, 1):
            left = unsaved[number, "a"] | unsaved[number, "b"]
            begin = pending.committable.get(number, 0)
            assert begin <= min(left, default=reached[number] + 1)
            assert left or not reached[number] or begin == reached[number] + 1, "and not before what is in rows"


def test_a_record_that_comes_twice_takes_nothing_back() -> None:
    pending = Pending()
    for offset in (4, 5, 4):
        pending.start_offset(0, offset)
    pending.finish_offsets(0, [4])
    pending.start_offset(0, 4)
    pending.finish_offsets(0, [5])
    assert pending.committable == {0: 6}


def test_clearing_keeps_nothing_to_commit() -> None:
    pending = Pending()
    pending.start_offset(3, 1)
    pending.mark_changed(UnitKey("a", "1", None), 3, 0, 1)
    pending.finish_offsets(3, [1])
    pending.clear()
    assert (len(pending), pending.partitions, pending.committable) == (0, {}, {})


def test_nothing_is_committed_beyond_a_profile_that_waits_for_other_partitions() -> None:
    """Not even when its unit's row is written meanwhile."""
    pending, unit = Pending(), UnitKey("a", "1", None)
    for offset in (4, 5, 6, 7):
        pending.start_offset(0, offset)
    pending.hold(unit, 0, 4, 100)
    pending.hold(unit, 0, 6, 120)
    pending.finish_offsets(0, [5])  # a mark
    pending.mark_changed(unit, 0, 0)  # it became blind
    assert pending.reach(unit) == (0, 0)
    pending.finish_offsets(0, pending.start_row(unit))
    assert pending.committable == {}
    pending.mark_judged(unit, [4], 0)
    assert pending.reach(unit) == (100, 4)
    pending.finish_offsets(0, [7])
    assert pending.committable == {}
    pending.finish_offsets(0, pending.start_row(unit))
    assert pending.committable == {0: 6}
    pending.mark_judged(unit, [6], 0)
    pending.finish_offsets(0, pending.start_row(unit))
    assert (pending.committable, pending.reach(unit)) == ({0: 8}, (120, 6))


def test_a_unit_reaches_as_far_as_its_furthest_profile_in_whatever_order_they_were_judged() -> None:
    pending, unit = Pending(), UnitKey("a", "1", None)
    for offset, timestamp_ms in ((4, 100), (5, 300), (6, 200)):
        pending.hold(unit, 0, offset, timestamp_ms)
    pending.mark_judged(unit, [5, 4, 6], 0)
    assert pending.reach(unit) == (300, 5)
