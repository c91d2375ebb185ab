"""The envelope and the reconciliation: every event counts once, for any mixture of checkpoints that is read back."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.errors import CheckpointError
from detectors.features import UnitKey
from stream.topics import checkpoints
from stream.topics.record import Partition

names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=8)
units = st.builds(UnitKey, names, names, st.one_of(st.none(), names))
HERE = Partition("inference-events", 3)


@given(st.from_regex(r"[A-Za-z0-9._-]{1,20}", fullmatch=True), st.integers(0, 500), units)
def test_keys_are_read_back_and_no_two_places_share_one(topic: str, number: int, unit: UnitKey) -> None:
    partition = Partition(topic, number)
    assert checkpoints.parse_key(checkpoints.unit_key(partition, unit)) == (partition, unit)
    assert checkpoints.parse_key(checkpoints.manifest_key(partition)) == (partition, None)


@given(st.binary(max_size=300), st.integers(0, 299), st.integers(0, 7))
def test_a_flipped_bit_never_passes_for_a_checkpoint(plain: bytes, place: int, bit: int) -> None:
    value = checkpoints.encode_unit(5, "s", None, plain, "here", 10**6)
    assert checkpoints.unit_blob(checkpoints.decode_unit(value, "here"), "here") == plain
    blob = checkpoints.decode_unit(value, "here").blob
    start = value.index(blob)
    damaged = bytearray(value)
    damaged[start + place % len(blob)] ^= 1 << bit
    with pytest.raises(CheckpointError, match=r"here.*damaged"):
        checkpoints.decode_unit(bytes(damaged), "here")


@given(st.binary(max_size=80))
def test_foreign_bytes_are_refused_and_never_run(data: bytes) -> None:
    for read in (checkpoints.decode_unit, checkpoints.decode_manifest):
        with pytest.raises(CheckpointError, match="here"):
            read(data, "here")


def test_another_schema_and_a_record_too_large_are_refused_by_name() -> None:
    record = msgspec.msgpack.decode(checkpoints.encode_unit(5, "s", None, b"x", "here", 10**6))
    with pytest.raises(CheckpointError, match="schema 99"):
        checkpoints.decode_unit(msgspec.msgpack.encode([99, *record[1:]]), "here")
    with pytest.raises(CheckpointError, match=r"here.*unit_checkpoint_bytes"):
        checkpoints.encode_unit(5, "s", None, b"x" * 100, "here", 10)


def write(history: list[int], log: dict[int, str], upto: int) -> tuple[int, dict[str, int]]:
    """A checkpoint at offset ``upto``: units with an event since their last stamp get a new one."""
    stamps: dict[str, int] = {}
    for end in [*history, upto]:
        for unit in set(log.values()):
            seen = [offset for offset, name in log.items() if name == unit and offset < end]
            if seen and max(seen) >= stamps.get(unit, 0):
                stamps[unit] = end
    return upto, stamps


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=40),
    st.lists(st.integers(0, 40), min_size=3, max_size=3),
    st.sets(st.sampled_from("abc")),
    st.sets(st.sampled_from("abc")),
)
def test_torn_checkpoints_and_late_zombies_lose_and_repeat_nothing(
    events: list[str], cuts: list[int], torn: set[str], overwritten: set[str]
) -> None:
    """Three checkpoints of one log; the manifest is the second one's, units are of the third (torn) or of the first
    (written late by an owner that had lost the partition)."""
    log = dict(enumerate(events))
    old, current, new = sorted(min(cut, len(events)) for cut in cuts)
    _, first = write([], log, old)
    _, second = write([old], log, current)
    _, third = write([old, current], log, new)
    held = {
        **second,
        **{u: s for u, s in third.items() if u in torn},
        **{u: s for u, s in first.items() if u in overwritten},
    }
    manifest = checkpoints.decode_manifest(
        checkpoints.encode_manifest(current, {UnitKey(u, "1", None): s for u, s in second.items()}), "here"
    )
    restore = checkpoints.reconcile(manifest, {UnitKey(u, "1", None): s for u, s in held.items()}, "here")
    assert restore is not None
    counted = {u: [o for o, name in log.items() if name == u and o < s] for u, s in held.items()}
    for offset, name in log.items():
        below = restore.skip_below.get(UnitKey(name, "1", None), restore.floor)
        if offset >= restore.seek and offset >= below:
            counted.setdefault(name, []).append(offset)
    assert counted == {u: [o for o, name in log.items() if name == u] for u in set(events) | set(held)}


def test_nothing_to_restore_and_a_unit_that_is_lost() -> None:
    assert checkpoints.reconcile(None, {}, "here") is None
    manifest = checkpoints.decode_manifest(checkpoints.encode_manifest(9, {UnitKey("m", "1", None): 9}), "here")
    with pytest.raises(CheckpointError, match=r"here: unit m/1/ .*checkpoints drop"):
        checkpoints.reconcile(manifest, {}, "here")
