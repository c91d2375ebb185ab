"""Recent ids: two generations that agree with a plain dictionary, and checkpoints that hold ids as texts."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.formats.ids import NONE, number_of
from stream.observe.recent_ids import RecentIds
from stream.topics import checkpoints
from tests.observe.test_observer import HERE, log, reference, saved, started, states

ids = st.one_of(st.just(NONE), st.integers(1, 40), st.integers(1, 2**64 - 1))


@given(st.integers(1, 12), st.lists(st.lists(ids, max_size=30), max_size=12), st.integers(0, 11))
def test_repeats_are_those_of_two_generations(capacity: int, calls: list[list[int]], restored: int) -> None:
    newer, older = dict[int, None](), dict[int, None]()
    recent = RecentIds(capacity)
    for number, given_ids in enumerate(calls):
        expected = []
        for row, identity in enumerate(given_ids):
            if len(newer) >= capacity:
                newer, older = {}, newer
            if identity == NONE:
                expected.append(row)
            elif identity not in newer and identity not in older:
                newer[identity] = None
                expected.append(row)
        found = recent.fresh(np.array(given_ids, np.uint64))
        assert (list(range(len(given_ids))) if found is None else found.tolist()) == expected
        kept = [np.frombuffer(part, np.uint64) for part in recent.snapshot()]
        assert [part.tolist() for part in kept] == [list(newer), list(older)]
        if number == restored:
            recent = RecentIds(capacity)
            recent.restore(*kept)


def test_of_more_ids_than_fit_the_newest_are_taken_up() -> None:
    recent = RecentIds(2)
    recent.restore(np.arange(1, 6, dtype=np.uint64), np.arange(7, 8, dtype=np.uint64))
    assert [np.frombuffer(part, np.uint64).tolist() for part in recent.snapshot()] == [[4, 5], [7]]


@pytest.mark.parametrize("cut", [40, 1_100])
def test_a_checkpoint_whose_ids_are_texts_is_taken_up(cut: int) -> None:
    records = log(3, 2_500)
    first = started([reference()])
    first.process(HERE, records[:cut])
    texts = {number_of(f"e{n}{more}"): f"e{n}{more}" for n in range(10_000) for more in ("", "b")}

    def as_texts(packed: bytes) -> list[str | None]:
        return [texts.get(number) for number in np.frombuffer(packed, np.uint64).tolist()]

    before, store = dict[bytes, bytes](), saved(first)
    for key, value in store.items():
        schema, *rest = msgspec.msgpack.decode(value)
        assert schema == checkpoints.SCHEMA
        if checkpoints.parse_key(key)[1] is not None:
            record = checkpoints.decode_unit(value, "here")
            state = msgspec.msgpack.decode(checkpoints.unit_blob(record, "here"))
            state["recent"], state["older"] = as_texts(state.pop("newer_ids")), as_texts(state.pop("older_ids"))
            predictions = msgspec.msgpack.decode(state["predictions"])
            predictions["ids"] = as_texts(predictions.pop("identities"))
            state["predictions"] = msgspec.msgpack.encode(predictions)
            plain = msgspec.msgpack.encode(state)
            value = checkpoints.encode_unit(record.stamp, record.settings, record.reference, plain, "here", 10**7)
            _, *rest = msgspec.msgpack.decode(value)
        before[key] = msgspec.msgpack.encode([1, *rest])
    old, new = started([reference()], before), started([reference()], store)
    assert states(old) == states(new)
    repeated = [old.process(HERE, records[cut:]).outcomes, new.process(HERE, records[cut:]).outcomes]
    assert repeated[0] == repeated[1]
    assert repeated[0]["m", "duplicate"] > 0
    assert states(old) == states(new)
