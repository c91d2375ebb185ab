"""Profiles of one shard from two owners may arrive in any order: no event is merged twice, and the furthest one is
held."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.merging import Step, place
from detectors.profiles import Epoch, Profile
from stream.judge.shard import Shard
from stream.judge.shards import Shards

LOG = 30


def profile(epoch: int, next_offset: int) -> Profile:
    """One event a record; epoch ``n`` begins at offset ``n``."""
    return Profile(
        schema=1,
        model="m",
        version="1",
        segment=None,
        topic="t",
        partition=0,
        epoch=Epoch(f"r{epoch}", "s", epoch),
        next_offset=next_offset,
        events=next_offset,
        epoch_events=next_offset - epoch,
        features=[],
    )


profiles = st.tuples(st.integers(0, LOG), st.integers(0, LOG)).map(lambda pair: profile(min(pair), max(pair)))


@settings(max_examples=400, deadline=None)
@given(st.lists(profiles, min_size=1, max_size=25))
def test_no_event_is_merged_twice_in_any_order_of_epochs(arriving: list[Profile]) -> None:
    shard, merged = Shard(arriving[0], []), set(range(arriving[0].epoch.first_offset, arriving[0].next_offset))
    for came in arriving[1:]:
        how = shard.step(came)
        before = shard.profile
        if how is not Step.IGNORED:
            shard.hold(came)
        if how in (Step.NEXT, Step.FULL):
            begin = before.next_offset if how is Step.NEXT else came.epoch.first_offset
            new = set(range(begin, came.next_offset))
            assert merged.isdisjoint(new), f"{sorted(merged & new)} again by {came.epoch} at {came.next_offset}"
            merged |= new
        assert shard.reached >= place(shard.profile)


def test_an_epoch_that_begins_behind_what_was_merged_counts_from_where_that_ended() -> None:
    """Found by simulation: the record at 19 became the base although 20 was merged under the epoch before."""
    shard = Shard(profile(0, 20), [])
    steps = []
    for came in (profile(2, 19), profile(2, 25), profile(2, 28)):
        steps.append(shard.step(came))
        shard.hold(came)
    assert steps == [Step.BASE, Step.BASE, Step.NEXT]


def test_an_epoch_that_was_left_does_not_come_back_by_records_that_are_read_again() -> None:
    """Found by simulation: the new epoch's first record was far behind, so that the old epoch's records seemed new
    again."""
    shard = Shard(profile(0, 28), [])
    assert shard.step(profile(5, 5)) is Step.BASE
    shard.hold(profile(5, 5))
    assert shard.step(profile(0, 20)) is Step.IGNORED
    assert shard.step(profile(0, 28)) is Step.IGNORED
    assert shard.step(profile(0, 29)) is Step.BASE  # the other one has stopped


def test_an_epoch_that_was_left_does_not_come_back_though_it_began_later() -> None:
    """The other owner began earlier and is further now; records of the one that was left are read again."""
    shard = Shard(profile(3, 18), [])
    assert shard.step(profile(1, 25)) is Step.BASE
    shard.hold(profile(1, 25))
    assert shard.step(profile(3, 20)) is Step.IGNORED
    assert shard.step(profile(3, 18)) is Step.IGNORED


def test_a_snapshot_holds_every_shard_in_whatever_epoch_it_is() -> None:
    shards = Shards(1_000)
    for partition, came in enumerate((profile(0, 5), profile(2, 9), profile(4, 7))):
        own = msgspec.structs.replace(came, partition=partition)
        shards.fold_in(own, Step.FULL, None)
    for judged in (None, "r0", "r4"):
        restored = Shards(1_000)
        restored.restore(shards.snapshot(judged), with_evidence=judged is not None)
        assert restored.newest == shards.newest


def test_of_two_owners_that_end_at_the_same_place_the_later_epoch_stays() -> None:
    """Found by simulation: a zombie was ahead for a short time, and its old epoch stayed until the next event."""
    shard = Shard(profile(1, 18), [])
    for came in (profile(3, 18), profile(1, 25)):
        assert shard.step(came) is Step.BASE
        shard.hold(came)
    assert shard.step(profile(3, 25)) is Step.BASE
    shard.hold(profile(3, 25))
    assert shard.step(profile(1, 25)) is Step.IGNORED


def epoch(reference: str, first_offset: int, next_offset: int) -> Profile:
    return msgspec.structs.replace(
        profile(first_offset, next_offset), epoch=Epoch(reference, "s", first_offset), events=next_offset
    )


@settings(max_examples=200, deadline=None)
@given(
    st.permutations([("A", 3, 8), ("B", 5, 10), ("C", 5, 10), ("A", 7, 10), ("B", 8, 10)]),
    st.integers(1, 5),
)
def test_of_owners_that_end_at_the_same_place_the_newest_reference_stays_whoever_comes_last(
    arriving: list[tuple[str, int, int]], count: int
) -> None:
    """Two references between two events: B and C begin at offset 5, and perhaps no event follows that decides between
    them."""
    came = arriving[:count]
    shard = Shard(epoch(*came[0]), [])
    for one in came[1:]:
        if shard.step(epoch(*one), "C") is not Step.IGNORED:
            shard.hold(epoch(*one))
    furthest = [one for one in came if one[2] == max(one[2] for one in came)]
    wanted = max(furthest, key=lambda one: (one[0] == "C", one[1]))
    assert shard.profile == epoch(*wanted)
