"""Topics that are deleted and made again, and checkpoints that are gone: no event is skipped, none counts twice."""

import msgspec
import pytest

from stream.backends.memory.broker import Crash, MemoryBroker
from stream.settings.settings import Settings
from stream.topics.checkpoints import Manifest
from stream.topics.generations import LOST, MADE_ANEW, Generation, offset_of
from stream.topics.record import Partition
from tests.observe.shell.service import Service, events, make_broker, newest_profiles, reference
from tests.observe.shell.test_label_reader import LABELS, joined, labels, tallied

SETTINGS = Settings(checkpoint_interval_seconds=0.1)
TOPIC = "inference-events"
COUNT = 600


def remake(broker: MemoryBroker, topic: str = TOPIC, partitions: int = 2) -> None:
    broker.delete_topic(topic)
    broker.create_topic(topic, partitions)


def counted(broker: MemoryBroker) -> int:
    return sum(profile.events for profile in newest_profiles(broker).values())


def manifests(broker: MemoryBroker) -> dict[bytes, Manifest]:
    records = [record for _, record in broker.records("driftline-checkpoints")]
    return {
        record.key: msgspec.msgpack.decode(record.value, type=Manifest)
        for record in records
        if record.key is not None and record.value is not None and record.key.startswith(b"manifest/")
    }


@pytest.mark.parametrize("after", [COUNT // 4, COUNT, 2 * COUNT], ids=["fewer", "as many", "more"])
async def test_a_topic_that_is_made_anew_under_a_running_worker_is_read_from_its_start(after: int) -> None:
    broker = make_broker(SETTINGS)
    broker.append([reference(), *events(COUNT, 2)])
    service = Service(broker, SETTINGS)
    await service.until(lambda: service.read == COUNT)
    remake(broker)
    broker.append(events(after, 2, first=COUNT))
    await service.until(lambda: service.read == COUNT + after)
    await service.caught_up()
    await service.end()
    assert counted(broker) == COUNT + after
    assert service.meter.interruptions == {(TOPIC, MADE_ANEW): 2}
    again = Service(broker, SETTINGS)
    await again.caught_up()
    broker.append(events(COUNT, 2, first=COUNT + after))
    await again.until(lambda: again.read == COUNT)
    await again.end()
    assert counted(broker) == 2 * COUNT + after
    assert not again.meter.interruptions


async def test_what_no_checkpoint_holds_is_kept_by_a_worker_that_sees_the_topic_made_anew() -> None:
    broker = make_broker(SETTINGS)
    rare = msgspec.structs.replace(SETTINGS, checkpoint_interval_seconds=1_000.0)
    broker.append([reference(), *events(COUNT, 2)])
    service = Service(broker, rare)
    await service.until(lambda: service.read == COUNT)
    broker.append(events(COUNT, 2, first=COUNT))
    await service.until(lambda: service.read == 2 * COUNT)
    remake(broker)
    broker.append(events(COUNT, 2, first=2 * COUNT))
    await service.until(lambda: bool(service.meter.interruptions))
    await service.caught_up()
    await service.end()
    assert counted(broker) == 3 * COUNT


@pytest.mark.parametrize("times", [1, 2])
async def test_a_topic_that_is_made_anew_between_two_runs_is_read_from_its_start(times: int) -> None:
    broker = make_broker(SETTINGS)
    broker.append([reference(), *events(COUNT, 2)])
    total = COUNT
    for _ in range(times):
        service = Service(broker, SETTINGS)
        await service.caught_up()
        await service.end()
        remake(broker)
        broker.append(events(COUNT, 2, first=total))
        total += COUNT
    service = Service(broker, SETTINGS)
    await service.until(lambda: service.read == COUNT)
    await service.end()
    assert counted(broker) == total
    assert service.meter.interruptions == {(TOPIC, MADE_ANEW): 2}
    profiles = list(newest_profiles(broker).values())
    assert all(profile.suppressed[MADE_ANEW] == times for profile in profiles)
    assert max(offset_of(profile.next_offset) for profile in profiles) == COUNT // 2
    assert {generation.number for m in manifests(broker).values() for generation in m.topics.values()} == {times}


@pytest.mark.parametrize("written", range(12))
async def test_a_crash_after_any_record_after_the_topic_was_made_anew_changes_nothing_in_the_end(written: int) -> None:
    broker = make_broker(SETTINGS)
    broker.append([reference(), *events(COUNT, 2)])
    first = Service(broker, SETTINGS)
    await first.caught_up()
    await first.end()
    remake(broker)
    broker.append(events(COUNT, 2, first=COUNT))
    broker.crash_after(written)
    crashed = Service(broker, SETTINGS)
    try:
        await crashed.until(lambda: crashed.read == COUNT)
        await crashed.end()
    except Crash:
        broker.kill(crashed.source)
    broker.crash_after(None)
    again = Service(broker, SETTINGS)
    await again.caught_up()
    await again.end()
    assert counted(broker) == 2 * COUNT
    assert {m.topics[TOPIC] for m in manifests(broker).values()} == {Generation(broker.topic_ids([TOPIC])[TOPIC], 1)}


async def test_a_topic_that_is_away_for_a_while_is_read_from_its_start_when_it_is_back() -> None:
    broker = make_broker(SETTINGS)
    broker.append([reference(), *events(COUNT, 2)])
    service = Service(broker, SETTINGS)
    await service.until(lambda: service.read == COUNT)
    broker.delete_topic(TOPIC)
    turned = service.runner.turned_at_ms
    service.clock.ms += 1
    await service.until(lambda: service.runner.turned_at_ms > turned)
    broker.create_topic(TOPIC, 2)
    broker.append(events(COUNT, 2, first=COUNT))
    await service.until(lambda: service.read == 2 * COUNT)
    await service.end()
    assert counted(broker) == 2 * COUNT


async def test_a_label_topic_that_is_made_anew_is_read_from_its_start() -> None:
    broker = make_broker(SETTINGS)
    broker.create_topic(LABELS, 3)
    broker.append([reference(), *events(COUNT, 2), *labels(200)])
    service = Service(broker, SETTINGS, labels=True)
    await joined(service, broker, 200)
    remake(broker, LABELS, 3)
    broker.append(labels(100, first=200))
    await joined(service, broker, 300)
    assert service.meter.interruptions == {(LABELS, MADE_ANEW): 1}
    await service.end()
    remake(broker, LABELS, 3)
    broker.append(labels(50, first=300))
    again = Service(broker, SETTINGS, labels=True)
    await joined(again, broker, 350)
    await again.end()
    assert tallied(broker).correct == sum(n % 4 != 0 for n in range(350))
    assert again.meter.interruptions == {(LABELS, MADE_ANEW): 2}


async def test_a_checkpoint_that_is_gone_while_the_group_had_committed_is_reported() -> None:
    broker = make_broker(SETTINGS)
    broker.append([reference(), *events(COUNT, 2)])
    first = Service(broker, SETTINGS)
    await first.caught_up()
    await first.end()
    assert not first.meter.interruptions
    remake(broker, "driftline-checkpoints")
    broker.truncate(Partition(TOPIC, 0), 100)
    again = Service(broker, SETTINGS)
    await again.until(lambda: again.read == COUNT - 100)
    await again.end()
    assert again.meter.interruptions == {(TOPIC, LOST): 2}
    assert all(profile.suppressed == {LOST: 1} for profile in newest_profiles(broker).values())
