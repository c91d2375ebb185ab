"""Labels through the whole observe half over the in-process broker: crashes and moving partitions change no number."""

import asyncio

import orjson
import pytest

from detectors.outcomes import NOTHING, Tally
from stream.backends.memory.broker import Crash, Faults, MemoryBroker
from stream.backends.memory.clients import MemoryTableReader
from stream.observe.observer import Observer
from stream.observe.shell.label_reader import LabelReader
from stream.observe.shell.settings import observe_settings
from stream.settings.settings import Settings
from stream.topics.record import OutRecord, Partition
from tests.observe.shell.service import START_MS, Meter, Service, events, make_broker, newest_profiles, reference

SETTINGS = Settings(checkpoint_interval_seconds=0.05)
COUNT = 400
LABELS = "inference-labels"


def label(number: int, value: object, *, ts: int = START_MS + 60_000, partition: int = 0) -> OutRecord:
    row = {"id": str(number), "model": ("fraud", "churn")[number % 5 == 0], "label": value, "ts": ts}
    return OutRecord(LABELS, None, orjson.dumps(row), partition=partition)


def labels(count: int, first: int = 0) -> list[OutRecord]:
    """Labels of every event: three in four equal the prediction, and every tenth comes twice."""
    wanted = [n for number in range(first, first + count) for n in [number] * (2 if number % 10 == 0 else 1)]
    return [label(n, n % 2 if n % 4 else 1 - n % 2, partition=n % 3) for n in wanted]


def broker_with_labels(seed: int = 0) -> MemoryBroker:
    broker = make_broker(SETTINGS, seed=seed)
    broker.create_topic(LABELS, 3)
    return broker


def tallied(broker: MemoryBroker) -> Tally:
    total = NOTHING
    for profile in newest_profiles(broker).values():
        assert profile.outcomes is not None
        total = total.plus(profile.outcomes.total)
    return total


async def joined(service: Service, broker: MemoryBroker, count: int) -> None:
    """Waits until this many are published, with a second of the clock between two checks."""

    def published() -> bool:
        service.clock.ms += 1_000
        return bool(newest_profiles(broker)) and tallied(broker).labelled == count

    await service.until(published)


async def test_every_label_is_joined_once_counted_once_and_a_restart_repeats_none() -> None:
    broker = broker_with_labels()
    broker.append([reference(), *events(COUNT, 2), *labels(COUNT)])
    first = Service(broker, SETTINGS, labels=True)
    await joined(first, broker, COUNT)
    await first.end()
    assert tallied(broker).correct == COUNT * 3 // 4
    by_outcome = {name: sum(n for (_, kind), n in first.meter.labels.items() if kind == name) for name in
                  ("read", "matched", "duplicate", "replaced")}  # fmt: skip
    assert by_outcome == {"read": COUNT + COUNT // 10, "matched": COUNT, "duplicate": COUNT // 10, "replaced": 0}
    broker.append([*events(COUNT, 2, first=COUNT), *labels(COUNT, first=COUNT)])
    second = Service(broker, SETTINGS, labels=True)
    await joined(second, broker, 2 * COUNT)
    await second.end()
    assert sum(n for (_, kind), n in second.meter.labels.items() if kind == "read") == COUNT + COUNT // 10


@pytest.mark.parametrize("written", range(0, 14, 2))
async def test_a_crash_after_any_record_changes_no_outcome_in_the_end(written: int) -> None:
    broker = broker_with_labels()
    broker.append([reference(), *events(COUNT, 2), *labels(COUNT)])
    broker.crash_after(written)
    first = Service(broker, SETTINGS, labels=True)
    with pytest.raises(Crash):
        await first.until(lambda: False)
    broker.crash_after(None)
    broker.restore()
    second = Service(broker, SETTINGS, labels=True)
    await joined(second, broker, COUNT)
    await second.end()
    assert (tallied(broker).events, tallied(broker).correct) == (COUNT, COUNT * 3 // 4)


async def test_partitions_that_move_take_their_labels_along() -> None:
    broker = broker_with_labels()
    broker.append([*events(COUNT, 2), *labels(COUNT)])
    first = Service(broker, SETTINGS, labels=True)
    await joined(first, broker, COUNT)
    second = Service(broker, SETTINGS, first.clock, labels=True)
    await second.until(lambda: len(second.runner.lags) == 1)
    broker.append([*labels(COUNT, first=COUNT), *events(COUNT, 2, first=COUNT)])
    await joined(second, broker, 2 * COUNT)
    assert tallied(broker).correct == 2 * COUNT * 3 // 4
    await second.end()
    await first.end()


async def test_a_label_read_before_its_event_is_joined_when_the_event_comes() -> None:
    broker = broker_with_labels()
    broker.append([*events(10, 2), *labels(COUNT)])
    service = Service(broker, SETTINGS, labels=True)
    await joined(service, broker, 10)
    await service.until(lambda: sum(n for (_, kind), n in service.meter.labels.items() if kind == "read") == 440)
    broker.append(events(COUNT - 10, 2, first=10))
    await joined(service, broker, COUNT)
    await service.end()


async def test_what_is_no_label_is_a_dead_letter_counted_once_and_labels_go_on() -> None:
    broker = broker_with_labels()
    broker.append([*events(COUNT, 2), OutRecord(LABELS, None, b"rubbish", partition=1), *labels(COUNT)])
    first = Service(broker, SETTINGS, labels=True)
    second = Service(broker, SETTINGS, first.clock, labels=True)
    await joined(first, broker, COUNT)
    await first.until(lambda: bool(broker.records("driftline-dead-letters")))
    await first.end()
    await second.end()
    [(_, letter)] = broker.records("driftline-dead-letters")
    assert (letter.value, dict(letter.headers)["topic"]) == (b"rubbish", LABELS.encode())
    assert first.meter.labels["", "invalid"] + second.meter.labels["", "invalid"] == 1


async def test_labels_that_cannot_be_read_are_said_and_hold_up_no_event() -> None:
    broker = make_broker(SETTINGS)  # without their topic
    broker.append(events(COUNT, 2))
    service = Service(broker, SETTINGS, labels=True)
    await service.until(lambda: service.read == COUNT)
    await service.until(lambda: service.meter.errors["observer.labels"] > 0)
    await service.end()


async def test_polls_cut_anywhere_change_no_outcome() -> None:
    broker = broker_with_labels(seed=3)
    broker.faults = Faults(cut=0.7, delay=0.3)
    broker.append([*events(COUNT, 2), *labels(COUNT)])
    service = Service(broker, SETTINGS, labels=True)
    await joined(service, broker, COUNT)
    await service.end()
    assert tallied(broker).correct == COUNT * 3 // 4


async def test_labels_are_joined_only_up_to_the_brokers_time_up_to_which_events_are_read() -> None:
    broker = broker_with_labels()
    observer = Observer(observe_settings(SETTINGS))
    reader = LabelReader([LABELS], lambda: MemoryTableReader(broker), observer, Meter())
    broker.append(labels(20))  # without a clock their times are their numbers: 0 to 21
    observer.assign(Partition("inference-events", 0))
    reader.rewind()
    reading = asyncio.create_task(reader.run())
    joined: list[object] = []

    def noted(place: Partition) -> bool:
        joined.append(place)
        return False

    while not reader._held:  # noqa: ASYNC110 - the reader has no event for it
        await asyncio.sleep(0)
    total = len(reader._held)
    reader.join_until(-1.0, noted)
    assert (joined, len(reader._held)) == ([], total)
    newest = sorted(record.timestamp_ms for _, record in reader._held)
    reader.join_until(float(newest[-1]), noted)
    assert joined
    assert len(reader._held) == 0
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
