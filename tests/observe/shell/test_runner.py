"""The observe loop over the in-process broker: every event once in what is published, however the process ends."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from detectors.errors import BrokerError, CheckpointError
from stream.backends.memory.broker import Crash, Faults
from stream.backends.memory.clients import MemoryTableReader
from stream.settings.settings import KafkaSettings, LimitSettings, Settings
from stream.topics import marks
from stream.topics.keys import model_partition, parse_profile_key
from stream.topics.record import OutRecord, Partition, Record
from tests.observe.shell.service import Service, StillClock, events, make_broker, newest_profiles, reference

SETTINGS = Settings(checkpoint_interval_seconds=0.1)
COUNT = 600


async def undisturbed() -> dict[bytes, msgspec.Struct]:
    """The profiles that a run without failures publishes."""
    broker = make_broker(SETTINGS)
    broker.append([reference(), *events(COUNT, 2)])
    service = Service(broker, SETTINGS)
    await service.until(lambda: service.read == COUNT)
    await service.end()
    return dict(newest_profiles(broker))


async def test_every_event_is_counted_once_and_a_restart_repeats_none() -> None:
    broker = make_broker(SETTINGS)
    broker.append([reference(), *events(COUNT, 2)])
    first = Service(broker, SETTINGS)
    await first.caught_up()
    await first.end()
    broker.append(events(COUNT, 2, first=COUNT))
    second = Service(broker, SETTINGS)
    await second.caught_up()
    await second.end()
    assert (first.read, second.read) == (COUNT, COUNT)
    assert sum(profile.events for profile in newest_profiles(broker).values()) == 2 * COUNT


async def test_a_profile_lies_where_its_model_is_judged() -> None:
    broker = make_broker(SETTINGS)
    broker.append(events(COUNT, 2))
    service = Service(broker, SETTINGS)
    await service.caught_up()
    await service.end()
    written = broker.records("driftline-profiles")
    assert written
    for place, record in written:
        if (record.key or b"").startswith(marks.KEY):
            continue
        unit, shard = parse_profile_key(record.key or b"")
        assert place.partition == model_partition(unit.model, 3)
        assert shard.topic == "inference-events"


@pytest.mark.parametrize("written", range(14))
async def test_a_crash_after_any_record_changes_nothing_in_the_end(written: int) -> None:
    broker = make_broker(SETTINGS)
    broker.append([reference(), *events(COUNT, 2)])
    broker.crash_after(written)
    crashed = Service(broker, SETTINGS)
    try:
        await crashed.caught_up()
        await crashed.end()
    except Crash:
        broker.kill(crashed.source)
    broker.crash_after(None)
    again = Service(broker, SETTINGS)
    await again.caught_up()
    await again.end()
    assert newest_profiles(broker) == await undisturbed()


async def test_records_written_twice_and_polls_cut_anywhere_change_no_count() -> None:
    broker = make_broker(SETTINGS, seed=7)
    broker.append([reference(), *events(COUNT, 2)])
    broker.faults = Faults(duplicate=0.3, delay=0.3, cut=0.5)
    service = Service(broker, SETTINGS)
    await service.caught_up()
    await service.end()
    assert newest_profiles(broker) == await undisturbed()


async def test_when_a_member_dies_the_other_takes_over_and_counts_go_on() -> None:
    broker = make_broker(SETTINGS, partitions=4)
    broker.append([reference(), *events(COUNT, 4)])
    one, two = Service(broker, SETTINGS), Service(broker, SETTINGS)
    await one.caught_up()
    await two.caught_up()
    broker.kill(one.source)
    with pytest.raises(Crash):
        await one.task
    broker.append(events(COUNT, 4, first=COUNT))
    await two.until(lambda: len(two.runner.lags) == 4)
    await two.caught_up()
    await two.end()
    assert sum(profile.events for profile in newest_profiles(broker).values()) == 2 * COUNT


async def test_an_expired_session_loses_and_repeats_nothing() -> None:
    broker = make_broker(SETTINGS)
    broker.append([reference(), *events(COUNT, 2)])
    service = Service(broker, SETTINGS)
    for n in range(5):
        await service.until(lambda: service.runner.ready)
        broker.expire(service.source)
        broker.append(events(50, 2, first=COUNT + 50 * n))
    await service.caught_up()
    await service.end()
    assert sum(profile.events for profile in newest_profiles(broker).values()) == COUNT + 250


async def test_an_outage_is_waited_for() -> None:
    broker = make_broker(SETTINGS)
    service = Service(broker, SETTINGS)
    await service.until(lambda: service.runner.ready)
    broker.append(events(COUNT, 2))
    await service.until(lambda: service.read > 0)
    broker.outage()
    await service.until(lambda: service.meter.errors["observer.send"] > 1)
    broker.restore()
    await service.caught_up()
    await service.end()
    assert sum(profile.events for profile in newest_profiles(broker).values()) == COUNT


async def test_a_record_that_cannot_be_read_is_a_dead_letter_with_place_and_reason_at_a_bounded_rate() -> None:
    settings = Settings(limits=LimitSettings(dead_letters_per_second=3))
    broker = make_broker(settings)
    bad = [OutRecord("inference-events", b"k", b"not json", (("trace", b"7"),), partition=1) for _ in range(10)]
    broker.append([*bad, *events(20, 2)])
    service = Service(broker, settings)
    await service.caught_up()
    await service.end()
    letters = [record for _, record in broker.records("driftline-dead-letters")]
    assert len(letters) == 3
    assert service.meter.limits["dead_letters_per_second"] == 7
    assert service.meter.outcomes["", "invalid"] == 10
    headers = dict(letters[0].headers)
    assert (letters[0].key, letters[0].value) == (b"inference-events/1", b"not json")
    assert (headers["topic"], headers["partition"], headers["offset"]) == (b"inference-events", b"1", b"0")
    assert headers["reason"]
    assert headers["trace"] == b"7"


async def test_a_reference_that_comes_later_begins_a_new_epoch_and_events_go_on() -> None:
    broker = make_broker(SETTINGS)
    broker.append(events(COUNT, 2))
    clock = StillClock()
    service = Service(broker, SETTINGS, clock)
    await service.caught_up()
    broker.append([reference()])
    broker.append(events(COUNT, 2, first=COUNT))
    await service.until(lambda: service.read == 2 * COUNT)
    clock.ms += 5_000  # the reference may have come after all events; then the new epoch is published by wall time
    await service.until(
        lambda: any(p.epoch.reference for p in newest_profiles(broker).values()) or service.meter.errors.total() > 0
    )
    await service.end()
    profiles = newest_profiles(broker)
    assert not service.meter.errors
    assert sum(profile.events for profile in profiles.values()) == 2 * COUNT
    assert {profile.model for profile in profiles.values() if profile.epoch.reference} == {"fraud"}


class MissingSchemas:
    """A registry that does not answer for a record with this value."""

    def __init__(self, value: bytes) -> None:
        self.value, self.answers = value, False

    async def know(self, records: Sequence[Record]) -> bool:
        await asyncio.sleep(0)
        return self.answers or all(record.value != self.value for record in records)

    async def stop(self) -> None: ...


async def test_a_schema_that_is_missing_holds_up_its_partition_and_neither_others_nor_the_end() -> None:
    broker, sent = make_broker(SETTINGS), events(COUNT, 2)
    broker.append(sent)
    first = next(record.value for record in sent if record.partition == 1)
    assert first is not None
    schemas = MissingSchemas(first)
    service = Service(broker, SETTINGS, schemas=schemas)
    await service.until(lambda: service.read == COUNT // 2)
    await service.end()
    again = Service(broker, SETTINGS, schemas=schemas)
    await again.until(lambda: again.runner.ready)
    schemas.answers = True
    await again.caught_up()
    await again.end()
    assert (service.read, again.read) == (COUNT // 2, COUNT // 2)
    assert sum(profile.events for profile in newest_profiles(broker).values()) == COUNT


class SlowFollower(MemoryTableReader):
    """A reader that never returns records which are added after the start."""

    async def poll(self, timeout_ms: int) -> Sequence[tuple[Partition, Record]]:
        return []


async def test_a_worker_that_is_behind_on_references_goes_on_under_the_one_that_was_saved() -> None:
    broker = make_broker(SETTINGS)
    behind = Service(broker, SETTINGS, tables=SlowFollower)
    await behind.until(lambda: behind.runner.ready)
    ahead = Service(broker, SETTINGS)
    await ahead.until(lambda: ahead.runner.ready)
    broker.append([reference(), *events(COUNT, 2)])
    await ahead.caught_up()
    await ahead.end()
    await behind.caught_up()
    await behind.end()
    epochs = {profile.shard: profile.epoch for profile in newest_profiles(broker).values() if profile.model == "fraud"}
    assert {epoch.reference is not None for epoch in epochs.values()} == {True}
    assert sum(profile.events for profile in newest_profiles(broker).values()) == COUNT


async def test_a_reference_that_cannot_be_read_is_counted_and_left_out() -> None:
    broker = make_broker(SETTINGS)
    broker.append([OutRecord("driftline-references", b"fraud/1", b"{}"), OutRecord("driftline-references", b"x", b"?")])
    broker.append(events(20, 2))
    service = Service(broker, SETTINGS)
    await service.caught_up()
    await service.end()
    assert service.meter.errors["observer.reference"] == 2
    assert service.read == 20


async def test_a_broken_checkpoint_ends_the_process_and_says_where_and_what_helps() -> None:
    broker = make_broker(SETTINGS)
    broker.append(events(COUNT, 2))
    service = Service(broker, SETTINGS)
    await service.caught_up()
    await service.end()
    saved = [
        (place, record) for place, record in broker.records("driftline-checkpoints") if b"fraud" in (record.key or b"")
    ]
    place, record = saved[-1]
    broker.append([OutRecord(place.topic, record.key, (record.value or b"")[:-9], partition=place.partition)])
    broken = Service(broker, SETTINGS)
    with pytest.raises(CheckpointError) as caught:
        await broken.task
    text = str(caught.value)
    assert f"inference-events/{place.partition}" in text
    assert "fraud/1" in text
    assert "driftline checkpoints" in text


async def test_events_that_retention_took_before_they_were_read_end_the_process() -> None:
    broker = make_broker(SETTINGS)
    broker.append(events(COUNT, 2))
    service = Service(broker, SETTINGS)
    await service.caught_up()
    await service.end()
    broker.append(events(COUNT, 2, first=COUNT))
    broker.truncate(Partition("inference-events", 1), COUNT // 2 + 10)
    with pytest.raises(CheckpointError, match=r"inference-events/1"):
        await Service(broker, SETTINGS).task


async def test_without_a_checkpoint_reading_begins_where_the_settings_say() -> None:
    settings = Settings(kafka=KafkaSettings(start_from="latest"))
    broker = make_broker(settings)
    broker.append(events(100, 2))
    service = Service(broker, settings)
    await service.until(lambda: service.runner.ready)
    broker.append(events(30, 2, first=100))
    await service.caught_up()
    await service.end()
    assert service.read == 30


async def test_progress_is_committed_to_the_group_at_the_end() -> None:
    broker = make_broker(SETTINGS)
    broker.append(events(100, 2))
    service = Service(broker, SETTINGS)
    await service.caught_up()
    await service.end()
    assert broker.group("driftline").offsets == {Partition("inference-events", n): 50 for n in range(2)}


async def test_a_topic_that_is_missing_is_named() -> None:
    broker = make_broker(SETTINGS)
    service = Service(broker, Settings(topics=msgspec.structs.replace(SETTINGS.topics, events=("elsewhere",))))
    with pytest.raises(BrokerError, match="elsewhere"):
        await service.task


async def test_wall_time_publishes_what_waits() -> None:
    clock = StillClock()
    broker = make_broker(SETTINGS)
    broker.append(events(20, 2))
    service = Service(broker, SETTINGS, clock)
    await service.caught_up()
    clock.ms += 5_000
    await service.until(lambda: sum(profile.events for profile in newest_profiles(broker).values()) == 20)
    await service.end()


async def test_stop_while_nothing_is_assigned_is_at_once() -> None:
    broker = make_broker(SETTINGS)
    one = Service(broker, SETTINGS)
    await one.until(lambda: one.runner.ready)
    others = [Service(broker, SETTINGS) for _ in range(2)]
    for other in others:
        await other.until(lambda other=other: other.runner.ready)  # type: ignore[misc]
    await asyncio.gather(*(service.end() for service in (one, *others)))


async def test_a_partition_that_was_revoked_leaves_nothing_behind() -> None:
    """Neither its units nor anything to publish; a restart of it begins from the checkpoint."""
    broker = make_broker(SETTINGS)
    broker.append(events(COUNT, 2))
    service = Service(broker, SETTINGS)
    await service.caught_up()
    assert service.runner.units == 4
    broker.leave(service.source, notify=True)
    assert service.runner.units == 0
    assert service.runner.lags == {}
    await service.end()
