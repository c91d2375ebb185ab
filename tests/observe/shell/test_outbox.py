"""One batch on its way, in the order of the queue; what is acknowledged has arrived."""

import asyncio
from collections.abc import Sequence

import pytest

from detectors.errors import BrokerError
from detectors.profiles import SCHEMA, Epoch, Profile
from stream.backends import sending
from stream.observe.shell.outbox import Outbox
from stream.settings.settings import KafkaSettings, Settings
from stream.topics import dead_letters, keys, marks
from stream.topics.marks import Mark
from stream.topics.record import OutRecord
from tests.observe.shell.service import Meter

PARTITIONS = 3


class Sink:
    """Accepts a batch once ``open`` is set, or refuses it while ``away``."""

    def __init__(self) -> None:
        self.batches: list[list[OutRecord]] = []
        self.open = asyncio.Event()
        self.away = False

    async def start(self) -> None: ...

    async def send(self, records: Sequence[OutRecord]) -> None:
        await self.open.wait()
        if self.away:
            raise BrokerError("away")
        self.batches.append(list(records))

    async def partitions(self, topic: str) -> int:
        return PARTITIONS

    async def stop(self) -> None: ...


def profile(version: str) -> Profile:
    return Profile(SCHEMA, "m", version, None, "inference-events", 0, Epoch(None, "s", 0), 5, 5, 5, [])


async def opened(settings: Settings | None = None) -> tuple[Outbox, Sink, Meter]:
    sink, meter = Sink(), Meter()
    outbox = Outbox(settings or Settings(), sink, meter)
    await outbox.open()
    return outbox, sink, meter


async def test_nothing_is_acknowledged_before_it_has_arrived() -> None:
    outbox, sink, _ = await opened()
    outbox.enqueue_profiles([profile("1")])
    waiting = asyncio.create_task(outbox.acknowledged())
    done, _ = await asyncio.wait((waiting,), timeout=0.05)
    assert not done
    sink.open.set()
    await waiting
    assert len(sink.batches) == 1


async def test_a_second_batch_follows_the_first_and_takes_all_that_came_meanwhile() -> None:
    outbox, sink, _ = await opened()
    outbox.enqueue_profiles([profile("1")])
    await outbox.flush()
    outbox.enqueue_profiles([profile("2")])
    second = asyncio.create_task(outbox.flush())
    outbox.enqueue_profiles([profile("3")])
    sink.open.set()
    await second
    await outbox.acknowledged()
    sent = [[keys.parse_profile_key(record.key or b"")[0].version for record in batch] for batch in sink.batches]
    assert sent == [["1"], ["2", "3"]]


async def test_versions_share_a_partition_and_a_mark_follows_in_every_one() -> None:
    outbox, sink, _ = await opened()
    sink.open.set()
    outbox.enqueue_profiles([profile("1"), profile("2")])
    outbox.enqueue_mark(Mark(1, "inference-events", 0, 4, 0, 0, read_to_end=True))
    await outbox.acknowledged()
    home = keys.model_partition("m", PARTITIONS)
    found = [(record.partition, (record.key or b"").startswith(marks.KEY)) for record in sink.batches[0]]
    assert found == [(home, False), (home, False), *((number, True) for number in range(PARTITIONS))]


async def test_the_error_of_a_batch_is_that_of_whoever_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "FIRST_PAUSE_SECONDS", 0.0)
    outbox, sink, _ = await opened()
    sink.away = True
    sink.open.set()
    outbox.enqueue_profiles([profile("1")])
    with pytest.raises(BrokerError, match="away"):
        await outbox.acknowledged()


async def test_a_profile_above_the_limit_is_counted_and_the_others_are_sent() -> None:
    outbox, sink, meter = await opened(
        Settings(kafka=KafkaSettings(max_message_bytes=dead_letters.HEADROOM_BYTES + 1_000))
    )
    sink.open.set()
    outbox.enqueue_profiles([profile("1"), profile("2" * 1_000), profile("3")])
    await outbox.acknowledged()
    assert len(sink.batches[0]) == 2
    assert meter.limits["message_bytes"] == 1
