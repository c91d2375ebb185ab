"""After Faust seeks back to the committed offset, no record is skipped, even if records fetched before arrive late."""

from hypothesis import given
from hypothesis import strategies as st

from stream.judge.shell.reading_order import ReadingOrder

START, END = 100, 130


def taken(log: list[int], stale: list[int], every: int) -> list[int]:
    """The accepted offsets, without repetitions, when reading begins at START: ``stale`` arrive first. When a record
    was skipped, it seeks back after ``every`` messages, or at the end of the log."""
    order, found, at, count = ReadingOrder(), list[int](), 0, 0
    order.set_begins({0: START})
    while True:
        count += 1
        if at == len(log) or count % every == 0:
            if 0 in order.pop_seeks():
                at = 0
            elif at == len(log):
                return list(dict.fromkeys(found))
        offset = stale.pop(0) if stale else log[at]
        at = log.index(offset) + 1
        if order.accepts(0, offset):
            found.append(offset)


@given(st.sets(st.integers(START, END), min_size=1), st.integers(1, 8), st.integers(0, 10), st.integers(1, 9))
def test_every_record_from_the_begin_on_is_taken_in_order(kept: set[int], at: int, stale: int, every: int) -> None:
    log = sorted({START} | kept)
    assert taken(log, log[at : at + stale], every) == log


@given(st.sets(st.integers(START + 1, END), min_size=1), st.integers(1, 9))
def test_a_begin_that_compaction_took_is_passed(kept: set[int], every: int) -> None:
    log = sorted(kept)
    assert taken(log, [], every) == log


def test_nothing_is_taken_before_it_is_known_where_reading_begins() -> None:
    order = ReadingOrder()
    assert not order.accepts(0, 5)
    order.set_begins({0: 5})
    assert order.accepts(0, 5)
    order.clear()
    assert not order.accepts(0, 6)
