"""Slots of event time: the profiles of slots that ended follow from the log alone, and a mark follows all of them."""

import json
import random
from collections.abc import Mapping

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.features import UnitKey
from detectors.profiles import Profile
from stream.formats.clock import NONE_MS, clocks_of
from stream.observe.cuts import Cuts
from stream.observe.effects import Effects
from stream.observe.observer import Observer
from stream.observe.slots import Slots
from stream.topics import checkpoints
from stream.topics.marks import Mark
from stream.topics.record import Partition, Record
from tests.settings.defaults import observe_settings

HERE = Partition("inference-events", 1)
START_MS = 1_763_700_000_000
HOUR_MS = 3_600_000
SETTINGS = observe_settings(look_events=256, late_ms=60_000)
"""Slots of fewer than 2 events are followed by longer ones, of 8 or of 512 by shorter ones."""

Slot = tuple[str, int, int, int, int, int, int]


def log(seed: int, rows: int) -> list[Record]:
    """Units with rates of their own, at a rate that changes: out of order, wild, late, repeated, many in one."""
    chance = random.Random(seed)
    records, now_ms = list[Record](), START_MS
    pace_ms = chance.choice((6, 30, 400))
    for offset in range(rows):
        if chance.random() < 0.01:
            pace_ms = chance.choice((6, 30, 400, 5_000))
        now_ms += chance.randrange(2 * pace_ms)
        time_ms = now_ms - chance.choice((0, 0, 0, chance.randrange(900)))
        if chance.random() < 0.02:
            time_ms = now_ms + chance.choice((HOUR_MS, 20 * HOUR_MS, 400 * HOUR_MS, -70_000, -HOUR_MS))
        event = {
            "id": f"e{chance.randrange(rows * 3)}",
            "model": chance.choice("aaaaabbc"),
            "version": "1",
            "ts": time_ms,
            "features": {"x": chance.gauss(0, 1)},
        }
        more = {**event, "id": f"{event['id']}+", "model": chance.choice("abc"), "ts": time_ms + 300}
        body = [event, more] if chance.random() < 0.05 else event
        record_ms = -1 if chance.random() < 0.01 else now_ms + chance.randrange(20)
        data = b"rubbish" if chance.random() < 0.01 else json.dumps(body).encode()
        records.append(Record(offset, record_ms, None, data))
    return records


def slot_of(profile: Profile) -> Slot:
    assert profile.slot_end_ms is not None
    counts = (profile.events, profile.late, profile.duplicate, profile.next_offset)
    return profile.model, profile.slot_end_ms, profile.slot_level, *counts


def save(observer: Observer, *, acknowledged: bool = True) -> dict[bytes, bytes]:
    run = observer.checkpoint(HERE)
    found = dict(run.encode(unit) for unit in run.dirty)
    found.update([run.manifest()])
    if acknowledged:
        run.acknowledged()
    return found


def begun(records: list[Record], begin: int) -> tuple[Observer, dict[bytes, bytes]]:
    """An observer whose units are all durable, and its checkpoint."""
    observer = Observer(SETTINGS)
    observer.assign(HERE)
    observer.process(HERE, records[:begin])
    store = save(observer)
    return observer, store


class Published:
    """All that an observer published, in order."""

    def __init__(self) -> None:
        self.closed: list[Slot] = []
        self.marks = 0

    def add(self, items: list[Profile | Mark]) -> None:
        for item in items:
            if isinstance(item, Mark):
                self.marks += 1
            elif not item.slot_open:
                self.closed.append(slot_of(item))

    def slots(self) -> list[Slot]:
        """Each once: a restart publishes again what it had published.

        Late events after a slot are published with the end of that slot when no other is open: these are not cuts.
        """
        first: dict[tuple[str, int], Slot] = {}
        for slot in self.closed:
            before = first.get(slot[:2], slot)
            first[slot[:2]] = min(slot, before, key=lambda one: one[-1])
        return sorted(first.values())


def whole(records: list[Record], begin: int) -> list[Slot]:
    """The slots when everything is read at once."""
    observer, _ = begun(records, begin)
    found = Published()
    found.add(list(observer.profiles_due(0, at_end=())))
    found.add(list(observer.process(HERE, records[begin:]).profiles))
    found.add(list(observer.mark(HERE, 4, 0, read_to_end=True)))
    return found.slots()


def read(observer: Observer, records: list[Record]) -> list[Profile | Mark]:
    effects = Effects()
    for _ in observer.steps(HERE, records, effects):
        """Nothing comes between."""
    return list(effects.profiles)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 100_000))
def test_slots_end_at_the_same_rows_however_the_log_is_read_saved_and_restored(seed: int) -> None:
    records, chance = log(seed, 500), random.Random(seed)
    wanted = whole(records, 60)
    observer, store = begun(records, 60)
    found, at, older = Published(), 60, dict(store)
    while at < len(records):
        count = chance.choice((1, 3, 40, 150))
        found.add(read(observer, records[at : at + count]))
        at = min(at + count, len(records))
        event = chance.random()
        if event < 0.3:
            found.add(list(observer.mark(HERE, 4, at, read_to_end=chance.random() < 0.5)))
        elif event < 0.5:
            found.add(list(observer.profiles_due(at * 1_000, at_end=chance.choice(((), (HERE,))))))
        elif event < 0.7:
            older = dict(store)
            store.update(save(observer))
        elif event < 0.9:
            torn = {key: (older if chance.random() < 0.3 else store)[key] for key in store}
            observer = Observer(SETTINGS)
            seek = observer.assign(HERE, torn)
            assert seek is not None
            at = seek
    found.add(list(observer.mark(HERE, 4, 0, read_to_end=True)))
    assert found.slots() == wanted
    assert wanted


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 100_000))
def test_a_mark_follows_the_profile_of_every_slot_that_ends_by_its_clock(seed: int) -> None:
    records, chance = log(seed, 400), random.Random(seed)
    wanted = whole(records, 60)
    observer, _ = begun(records, 60)
    found, at, clock_ms = Published(), 60, 0
    while at < len(records):
        count = chance.choice((1, 20, 100))
        found.add(read(observer, records[at : at + count]))
        at += count
        published = list(observer.mark(HERE, 4, at, read_to_end=True))
        found.add(published)
        mark = published[-1]
        assert isinstance(mark, Mark)
        assert clock_ms <= mark.clock_ms
        clock_ms = mark.clock_ms
        assert [slot for slot in wanted if slot[1] <= clock_ms] == [s for s in found.slots() if s[1] <= clock_ms]


def test_a_mark_says_read_to_end_only_when_every_open_slot_is_published() -> None:
    observer, _ = begun(log(2, 100), 100)
    *_, mark = observer.mark(HERE, 4, 7, read_to_end=True)
    assert isinstance(mark, Mark)
    assert (mark.topic, mark.partition, mark.partitions, mark.at_ms, mark.read_to_end) == (*HERE, 4, 7, False)
    opened = list(observer.profiles_due(10_000, at_end=[HERE], force=True))
    assert any(profile.slot_open for profile in opened)
    for read_to_end in (True, False):
        *_, mark = observer.mark(HERE, 4, 8, read_to_end=read_to_end)
        assert isinstance(mark, Mark)
        assert mark.read_to_end is read_to_end
    assert list(observer.profiles_due(20_000, at_end=[HERE], force=True)) == []


def test_an_open_slot_is_published_only_where_the_partition_is_read_to_its_end() -> None:
    observer, _ = begun(log(2, 100), 100)
    assert not any(profile.slot_open for profile in observer.profiles_due(10_000, at_end=[], force=True))
    assert any(profile.slot_open for profile in observer.profiles_due(10_000, at_end=[HERE], force=True))


def test_a_mark_of_an_empty_partition_says_that_it_is_read_to_its_end() -> None:
    observer = Observer(SETTINGS)
    observer.assign(HERE)
    (mark,) = observer.mark(HERE, 4, 7, read_to_end=True)
    assert mark == Mark(1, *HERE, 4, 0, 7, read_to_end=True)


def steady(rows: int, first: int = 0) -> list[Record]:
    """One unit, an event a second."""
    event = {"model": "a", "version": "1", "features": {"x": 1.0}}
    times = [START_MS + 1_000 * row for row in range(first, first + rows)]
    return [
        Record(first + at, ms, None, json.dumps({**event, "id": str(ms), "ts": ms}).encode())
        for at, ms in enumerate(times)
    ]


def test_slots_that_end_before_the_epoch_is_durable_are_kept_hold_marks_back_and_come_once_it_is() -> None:
    observer = Observer(SETTINGS)
    observer.assign(HERE)
    assert observer.process(HERE, steady(80)).profiles == []
    (mark,) = observer.mark(HERE, 1, 0, read_to_end=True)
    assert isinstance(mark, Mark)
    store = save(observer)
    again = Observer(SETTINGS)
    again.assign(HERE, store)
    for one in (observer, again):
        kept = list(one.profiles_due(0, at_end=[]))
        assert [profile.slot_open for profile in kept] == [False] * len(kept)
        assert kept
        assert mark.clock_ms < (kept[0].slot_end_ms or 0)
        assert not mark.read_to_end
        *_, later = one.mark(HERE, 1, 0, read_to_end=True)
        assert isinstance(later, Mark)
        assert later.clock_ms == START_MS + 79_000


def test_all_slots_are_kept_until_the_epoch_is_durable_and_are_counted() -> None:
    observer = Observer(observe_settings(look_events=256, late_ms=10 * HOUR_MS))
    observer.assign(HERE)
    records = [
        Record(at, START_MS + at * 100_000, None, json.dumps(
            {"id": str(at), "model": "a", "version": "1", "ts": START_MS + at * 100_000, "features": {"x": 1.0}}
        ).encode())
        for at in range(100)
    ]  # fmt: skip
    observer.process(HERE, records)
    assert observer.kept(HERE) == 99
    save(observer)
    kept = list(observer.profiles_due(0, at_end=[]))
    assert [profile.events for profile in kept] == list(range(1, 100))
    assert observer.kept(HERE) == 0


@pytest.mark.parametrize("restored", [False, True])
def test_the_first_slot_of_a_sibling_is_published_before_a_later_slot_of_another_unit_of_the_model(
    restored: bool,
) -> None:
    """It decides from which look on the sibling shares the budget of the model."""
    event = {"model": "a", "features": {"x": 1.0}}
    lines = [(0, "1"), (100, "2"), (70_000, "1"), (200_000, "1"), (200_100, "2")]
    records = [
        Record(at, START_MS + ms, None, json.dumps(
            {**event, "version": version, "id": str(at), "ts": START_MS + ms}
        ).encode())
        for at, (ms, version) in enumerate(lines)
    ]  # fmt: skip
    observer = Observer(SETTINGS)
    observer.assign(HERE)
    observer.process(HERE, records[:1])
    store = save(observer)
    assert observer.process(HERE, records[1:3]).profiles == []  # the sibling's epoch is not durable
    store.update(save(observer))
    if restored:
        observer = Observer(SETTINGS)
        observer.assign(HERE, store)
    published = list(observer.process(HERE, records[3:4]).profiles)
    assert [profile.version for profile in published] == ["1", "2", "1"]
    assert published == sorted(published, key=lambda profile: profile.slot_end_ms or 0)
    assert [profile.version for profile in observer.process(HERE, records[4:]).profiles] == []


def test_a_partition_with_a_slot_that_is_kept_back_is_not_read_to_its_end() -> None:
    lines = [("a", 0), ("b", 70_000)]
    records = [
        Record(at, START_MS + ms, None, json.dumps(
            {"id": str(at), "model": model, "version": "1", "ts": START_MS + ms, "features": {"x": 1.0}}
        ).encode())
        for at, (model, ms) in enumerate(lines)
    ]  # fmt: skip
    observer = Observer(SETTINGS)
    observer.assign(HERE)
    observer.process(HERE, records)
    (mark,) = observer.mark(HERE, 1, 0, read_to_end=True)
    assert isinstance(mark, Mark)
    assert not mark.read_to_end
    assert mark.clock_ms < START_MS + 64_000
    observer._partitions[HERE].units[UnitKey("b", "1", None)].publish(0)  # only the ended slot is left
    (mark,) = observer.mark(HERE, 1, 0, read_to_end=True)
    assert isinstance(mark, Mark)
    assert not mark.read_to_end
    save(observer)
    *profiles, mark = (*observer.profiles_due(10_000, at_end=[HERE]), *observer.mark(HERE, 1, 0, read_to_end=True))
    assert isinstance(mark, Mark)
    assert mark.read_to_end
    assert {one.model for one in profiles if isinstance(one, Profile)} >= {"a"}


def without_slots(store: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """A checkpoint as the version without slots wrote it."""
    found = {}
    for key, value in store.items():
        _, unit = checkpoints.parse_key(key)
        if unit is None:
            manifest = msgspec.msgpack.decode(value)
            found[key] = msgspec.msgpack.encode(manifest[:5])
            continue
        record = checkpoints.decode_unit(value, "")
        state = msgspec.msgpack.decode(checkpoints.unit_blob(record, ""))
        del state["cuts"]
        plain = msgspec.msgpack.encode(state)
        found[key] = checkpoints.encode_unit(record.stamp, record.settings, record.reference, plain, "", 1 << 22)
    return found


def test_a_checkpoint_of_a_version_without_slots_is_restored_and_slots_begin_afresh() -> None:
    records = steady(40)
    observer, store = begun(records, 20)
    again = Observer(SETTINGS)
    assert again.assign(HERE, without_slots(store)) == 20
    (first, *_) = again.profiles_due(0, force=True)
    assert (first.slot_end_ms, first.slot_open) == (None, False)
    observer.process(HERE, records[20:])
    again.process(HERE, records[20:])
    newest = [{profile.model: profile for profile in one.profiles_due(10**6, force=True)} for one in (observer, again)]
    counts = [{model: (found.events, found.late) for model, found in each.items()} for each in newest]
    assert counts[0] == counts[1]
    assert all(profile.slot_end_ms is not None for profile in newest[1].values())


@pytest.mark.parametrize("before", [None, 7, 100])
def test_the_clock_never_falls_and_no_time_beyond_its_records_moves_it(before: int | None) -> None:
    newest = np.array([5, NONE_MS, 900, 4, 12])
    record = np.array([6, 7, 8, 9, -1])
    clock = clocks_of(newest, record, before).tolist()
    floor = 0 if before is None else before
    assert clock == [max(floor, ms) for ms in (5, 5, 8, 8, 12)]


def test_an_event_at_the_end_of_a_slot_counts_in_the_next_one() -> None:
    slots = Slots(1_000, 256, 0)  # begins with slots of one look
    clocks_ms = np.array([1_000, 1_999, 2_000, 2_001])
    assert slots.split(clocks_ms, 0) == 2
    slots.count(1_000, 2)
    assert slots.cut().end_ms == 2_000
    assert slots.split(clocks_ms, 2) == 4


def test_a_longer_slot_begins_where_one_of_its_length_begins() -> None:
    levels = []
    slots = Slots(1_000, 256, 0)  # two events make a slot of one look; one is few
    for clock_ms in (500, 1_500, 2_500):
        slots.count(clock_ms, 1)
        levels.append(slots.cut().level)
    assert levels == [2, 2, 3]


def test_slots_that_end_beyond_the_clock_are_kept() -> None:
    """A checkpoint may hold a unit further than the partition was read."""
    records = steady(400)
    observer, _ = begun(records, 400)
    (unit,) = observer._partitions[HERE].units.values()
    made = Cuts(1_000, 256, 0)
    profile = unit.publish(0)
    for end_ms in (1_000, 2_000, 3_000):
        made.kept.append(msgspec.structs.replace(profile, slot_end_ms=end_ms))
    assert [one.slot_end_ms for one in made.hand_out(2_500)] == [1_000, 2_000]
    assert [one.slot_end_ms for one in made.hand_out()] == [3_000]
