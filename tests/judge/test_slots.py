"""Judging by event time: in whatever order profiles and marks of keyed partitions come, the effects are the same."""

import random
from typing import Any

import msgspec
import numpy as np
import pytest

from detectors.features import UnitKey
from detectors.profiles import Profile
from detectors.reference.reference import Reference
from stream.judge import slot_buffer
from stream.judge.effects import Health, IncidentRecord
from stream.judge.frontier import Frontier
from stream.judge.slot_buffer import SlotBuffer
from stream.observe import slots as cutting
from stream.topics.marks import Mark
from stream.topics.record import Partition
from tests.judge import slotted
from tests.judge.slotted import START_MS, UNIT, Item, give, in_order, mixed, new_judge, plain, records_of

PARTITIONS = 4
SEEDS = range(6)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return slotted.reference_of(PARTITIONS)


def logs(seed: int, *, changed: bool = False, rows: int = 3_000) -> list[dict[str, Any]]:
    """30 s; where ``changed``, y moves by one standard deviation after 15 s."""
    found = slotted.keyed(np.random.default_rng(seed), PARTITIONS, rows, 30)
    for log in found if changed else ():
        log["y"] = log["y"] + (log["at"] >= START_MS + 15_000)
    return found


def sent_of(reference: Reference, seed: int, *, changed: bool = False) -> list[list[Item]]:
    chance = random.Random(seed)
    return [records_of(reference, p, log, PARTITIONS, chance) for p, log in enumerate(logs(seed, changed=changed))]


def incidents(effects: list[Any]) -> dict[str, dict[str, Any]]:
    return {e.id: e.data for e in effects if isinstance(e, IncidentRecord)}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_arrival_changes_no_effect(reference: Reference, seed: int) -> None:
    changed = seed % 2 == 0
    sent = sent_of(reference, seed, changed=changed)
    ordered = new_judge([reference])
    wanted = plain(give(ordered, in_order(sent)))
    for number in range(3):
        judge = new_judge([reference])
        assert plain(give(judge, mixed(sent, random.Random(f"{seed}/{number}")))) == wanted
        assert judge.model_view(UNIT) == ordered.model_view(UNIT)
    [*found] = ordered.incidents(UNIT)
    assert [[f["feature"] for f in one["features"]] for one in found] == ([["y"]] if changed else [])


def test_the_order_of_arrival_does_not_change_what_is_learned(reference: Reference) -> None:
    """The first events of event time become the reference, not those of the partition that came first."""
    sent = [[_learning(item) for item in items] for items in sent_of(reference, 3)]
    wanted = plain(give(new_judge([], learning_events=2_000), in_order(sent)))
    assert len(wanted) >= 2
    for number in range(3):
        judge = new_judge([], learning_events=2_000)
        assert plain(give(judge, mixed(sent, random.Random(number)))) == wanted


def _learning(item: Item) -> Item:
    """A profile without a reference, whose categories are counted exactly."""
    if isinstance(item, Mark):
        return item
    features = [
        msgspec.structs.replace(f, sum1=None, sum2=None, cells=b"", mean=0.0, m2=float(f.count)) for f in item.features
    ]
    return msgspec.structs.replace(
        item, epoch=msgspec.structs.replace(item.epoch, reference=None), features=features, environments={}
    )


def test_a_judge_that_starts_again_reads_again_what_waited(reference: Reference) -> None:
    """Rows hold what was judged; the topic is read again from the oldest profile that was not."""
    sent = sent_of(reference, 2, changed=True)
    items = mixed(sent, random.Random(7))
    wanted = plain(give(new_judge([reference]), in_order(sent)))
    chance = random.Random(5)
    judge, effects, done, place = new_judge([reference]), dict[bytes, None](), set[int](), 0
    for _ in range(12):
        until = min(place + chance.randrange(20, 200), len(items))
        for one in plain(give(judge, items[place:until], first_offset=place)):
            effects[one] = None
        for offsets in judge.drain_judged().values():
            done.update(offsets)
        blob = judge.snapshot(UNIT)
        profiles = [n for n, item in enumerate(items[:until]) if isinstance(item, Profile)]
        place = min((n for n in profiles if n not in done), default=until)
        judge = new_judge([reference])
        judge.restore(UNIT, blob)
    for one in plain(give(judge, items[place:], first_offset=place)):
        effects[one] = None
    assert list(effects) == wanted


def test_marks_may_be_lost_and_repeated(reference: Reference) -> None:
    sent = sent_of(reference, 4, changed=True)
    wanted = plain(give(new_judge([reference]), in_order(sent)))
    for number in range(3):
        chance = random.Random(number)
        items: list[Item] = []
        for item in mixed(sent, chance):
            if isinstance(item, Mark) and item.clock_ms != slotted.FAR_MS:
                items += [item] * chance.choice((0, 0, 1, 2))
                items += [m for m in items[-50:-49] if isinstance(m, Mark)]
            else:
                items.append(item)
        assert plain(give(new_judge([reference]), items)) == wanted


def test_a_frozen_partition_holds_the_looks_back_and_is_named(reference: Reference) -> None:
    """No incident, then blind, then judged in order when it comes."""
    sent = sent_of(reference, 1)
    wanted = [one for one in plain(give(new_judge([reference]), in_order(sent))) if b"model.state" not in one]
    judge, now_ms = new_judge([reference]), START_MS
    cut = len(sent[2]) // 3
    effects = give(judge, mixed([*sent[:2], sent[2][:cut], sent[3]], random.Random(1)), now_ms)
    looked_ms = judge.model_view(UNIT)["judged_ms"]
    assert judge.model_view(UNIT)["waiting_for"] is None
    for _ in range(8):
        now_ms += 500
        effects += judge.on_tick(now_ms)
    waiting = judge.model_view(UNIT)["waiting_for"]
    assert waiting["partition"] == "inference-events/2"
    assert waiting["behind_ms"] > 1_000
    assert judge.waiting() == [UNIT]
    assert judge.state(UNIT) == "stable"
    now_ms += 60_000
    effects += judge.on_tick(now_ms)
    assert judge.state(UNIT) == "blind"
    assert judge.model_view(UNIT)["reason"].startswith("waiting for inference-events/2, ")
    assert judge.model_view(UNIT)["reason"].endswith(" s behind")
    assert judge.model_view(UNIT)["judged_ms"] == looked_ms
    effects += give(judge, sent[2][cut:], now_ms)
    effects += judge.on_tick(now_ms + 500)
    assert judge.model_view(UNIT)["waiting_for"] is None
    assert judge.state(UNIT) == "stable"
    assert [one for one in plain(effects) if b"model.state" not in one] == wanted
    assert not judge.incidents(UNIT)


def test_a_change_while_half_of_the_partitions_lag_is_one_incident_of_the_right_feature(reference: Reference) -> None:
    sent = sent_of(reference, 6, changed=True)
    items = [*mixed(sent[:2], random.Random(1)), *mixed(sent[2:], random.Random(2))]
    judge = new_judge([reference])
    effects = give(judge, items)
    [incident] = incidents(effects).values()
    assert [f["feature"] for f in incident["features"]] == ["y"]
    assert abs(incident["began_at_ms"] - (START_MS + 15_000)) < 1_500


def test_a_unit_that_was_never_judged_goes_on_to_learn(reference: Reference) -> None:
    sent = sent_of(reference, 1)
    judge = new_judge([reference])
    assert give(judge, sent[0]) == []
    for at_ms in (START_MS, START_MS + 5_000, START_MS + 100_000):
        assert judge.on_tick(at_ms, Health()) == []
    assert judge.state(UNIT) == "learning"
    assert judge.model_view(UNIT)["waiting_for"] == {"partition": "inference-events/1", "behind_ms": None}
    assert judge.model_view(UNIT)["events"] == 0
    again = new_judge([reference])
    again.restore(UNIT, judge.snapshot(UNIT))
    assert plain(give(again, mixed(sent, random.Random(1)))) == plain(give(new_judge([reference]), in_order(sent)))


def test_profiles_without_slots_are_judged_when_they_come(reference: Reference) -> None:
    """Also beside those with slots, while workers are replaced one by one."""
    [first, *_] = (item for item in sent_of(reference, 1)[0] if isinstance(item, Profile) and not item.slot_open)
    old = msgspec.structs.replace(first, slot_end_ms=None, slot_level=0)
    judge = new_judge([reference])
    assert judge.on_profile(old, START_MS, 0)
    assert judge.model_view(UNIT)["events"] == old.events
    assert judge.drain_judged() == {}
    sent = sent_of(reference, 1)
    give(judge, mixed(sent, random.Random(1)), first_offset=1)
    assert judge.model_view(UNIT)["events"] == 3_000 * PARTITIONS
    assert judge.state(UNIT) == "stable"


def test_marks_of_another_partition_of_the_profiles_topic_say_nothing(reference: Reference) -> None:
    sent = sent_of(reference, 1)
    judge = new_judge([reference])
    give(judge, [item for items in sent for item in items if isinstance(item, Profile)])
    for partition in range(PARTITIONS):
        assert judge.on_mark(slotted.last_mark(partition, PARTITIONS), partition=1) == []
    assert judge.model_view(UNIT)["events"] == 0
    judge.read_again()
    effects = [e for p in range(PARTITIONS) for e in judge.on_mark(slotted.last_mark(p, PARTITIONS))]
    assert effects
    assert judge.model_view(UNIT)["events"] == 3_000 * PARTITIONS


def test_units_share_the_budget_from_their_first_slot_on(reference: Reference) -> None:
    """A second version that begins later halves the budget from then on, whichever is read first."""
    other = UnitKey("m", "1", "second")
    ends = []
    for p, (log, later) in enumerate(zip(logs(1), logs(5), strict=True)):
        begun = {name: values[later["at"] >= START_MS + 10_000] for name, values in later.items()}
        items = [
            *(_of(i, "second") for i in records_of(reference, p, begun, PARTITIONS)),
            *records_of(reference, p, log, 4),
        ]
        profiles = sorted((i for i in items if isinstance(i, Profile)), key=lambda i: i.slot_end_ms or 0)
        ends.append([*profiles, slotted.last_mark(p, PARTITIONS)])
    wanted = None
    for number in range(3):
        judge = new_judge([reference])
        effects = give(judge, mixed(ends, random.Random(number)))
        found = plain(effects), plain(effects, other), judge.evidence_log10(UNIT), judge.model_view(UNIT)
        assert wanted is None or found == wanted
        wanted = found
        assert judge.model_view(UNIT)["threshold_log10"] == judge.model_view(other)["threshold_log10"]


def _of(item: Item, segment: str) -> Item:
    return item if isinstance(item, Mark) else msgspec.structs.replace(item, segment=segment)


def closed(reference: Reference) -> list[Profile]:
    items = records_of(reference, 0, logs(1, rows=6_000)[0], 1)
    return [item for item in items if isinstance(item, Profile)]


def test_too_many_waiting_profiles_are_joined_and_none_is_lost(
    reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot_buffer, "FULL", 16)
    judge = new_judge([reference])
    profiles = closed(reference)
    for offset, profile in enumerate(profiles):
        judge.on_profile(profile, START_MS, offset)
        assert judge.model_view(UNIT)["events"] == 0
    judge.on_mark(Mark(1, "inference-events", 0, 1, slotted.FAR_MS, START_MS, False))
    assert judge.drain_joined() > 0
    assert judge.drain_joined() == 0
    assert judge.model_view(UNIT)["events"] == profiles[-1].events
    assert sorted(judge.drain_judged()[UNIT]) == list(range(len(profiles)))


def test_the_newest_of_two_profiles_of_a_slot_is_judged_and_both_are_done(reference: Reference) -> None:
    first, second = closed(reference)[:2]
    buffer = SlotBuffer(1_000)
    buffer.put(msgspec.structs.replace(second, slot_end_ms=first.slot_end_ms), 8)
    buffer.put(first, 7)
    assert first.slot_end_ms is not None
    assert buffer.due(first.slot_end_ms - 1) is None
    due = buffer.due(first.slot_end_ms)
    assert due is not None
    assert [p.events for p in due.profiles] == [second.events]
    assert due.offsets == [7, 8]
    assert len(buffer) == 0


def test_a_profile_for_a_passed_slot_joins_the_next_look_and_is_counted(reference: Reference) -> None:
    sent = [[i for i in items if isinstance(i, Profile)] for items in sent_of(reference, 1)]
    marks = [slotted.last_mark(p, PARTITIONS) for p in range(PARTITIONS)]
    judge = new_judge([reference])
    give(judge, [*(i for items in sent[:3] for i in items), *marks])
    assert judge.model_view(UNIT)["behind"] == 0
    give(judge, sent[3], first_offset=10_000)
    assert judge.model_view(UNIT)["behind"] > 0
    assert judge.model_view(UNIT)["events"] == 3_000 * PARTITIONS


def test_the_first_slot_of_a_shard_waits_for_its_next_one_or_for_a_mark(reference: Reference) -> None:
    """The first slot of another version may end there, too, and come later: it shares the budget from that look on."""
    first, second = closed(reference)[:2]
    for again in (False, True):
        judge = new_judge([reference])
        judge.on_mark(Mark(1, "inference-events", 0, 1, START_MS - 5_000, START_MS, False))
        judge.on_profile(first, START_MS, 0)
        if again:
            judge.on_profile(first, START_MS, 1)
        assert judge.model_view(UNIT)["events"] == 0
        judge.on_profile(second, START_MS, 2)
        assert judge.model_view(UNIT)["events"] > 0


def test_a_partition_that_was_added_is_waited_for_whoever_knows_of_it(reference: Reference) -> None:
    judge = new_judge([reference])
    judge.on_mark(Mark(1, "inference-events", 3, 1, START_MS - 5_000, START_MS, False))
    judge.on_mark(Mark(1, "inference-events", 0, 1, slotted.FAR_MS, START_MS, False))
    give(judge, closed(reference))
    assert judge.model_view(UNIT)["events"] == 0
    for partition in (1, 2, 3):
        judge.on_mark(Mark(1, "inference-events", partition, 1, slotted.FAR_MS, START_MS, False))
    assert judge.model_view(UNIT)["events"] == 6_000


def test_a_claimed_level_is_bounded(reference: Reference) -> None:
    judge = new_judge([reference])
    profile = msgspec.structs.replace(closed(reference)[0], slot_level=1 << 40)
    mark = Mark(1, "inference-events", 0, 1, slotted.FAR_MS, START_MS, False)
    give(judge, [profile, mark, *closed(reference), mark])
    assert judge.model_view(UNIT)["events"] == 6_000


def test_judge_and_shards_mean_the_same_slots() -> None:
    assert (slot_buffer.PER_LOOK, slot_buffer.LEVELS) == (cutting.PER_LOOK, cutting.LEVELS)


def test_a_partition_that_was_read_to_its_end_counts_as_far_as_the_others_less_the_disorder() -> None:
    frontier = Frontier((slotted.TOPIC,), 1_000)
    frontier.mark(Mark(1, slotted.TOPIC, 0, 2, slotted.START_MS, slotted.START_MS, read_to_end=False))
    frontier.mark(Mark(1, slotted.TOPIC, 1, 2, 0, slotted.START_MS + 300, read_to_end=True))
    assert frontier.of({}) == (slotted.START_MS + 300 - 1_000, Partition(slotted.TOPIC, 1))
