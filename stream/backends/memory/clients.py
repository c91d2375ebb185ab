"""Source, sink and table reader of the broker in memory."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

from detectors.errors import BrokerError
from stream.backends.memory.broker import Crash, MemoryBroker
from stream.backends.ports import Rebalance
from stream.topics.generations import begin_of, offset_of
from stream.topics.keys import keep_newest
from stream.topics.record import OutRecord, Partition, Record


class MemorySource:
    """A member of a consumer group of the broker in memory."""

    def __init__(self, broker: MemoryBroker, topics: Sequence[str], group_id: str = "driftline") -> None:
        self.topics = tuple(topics)
        self.group_id = group_id
        self.dead = False
        self._broker = broker
        self._listener: Rebalance | None = None
        self._positions: dict[Partition, int] = {}
        self._paused: set[Partition] = set()
        self._ids: dict[str, str] = {}
        self._turn = 0

    async def start(self, listener: Rebalance) -> None:
        self._broker.require()
        for topic in self.topics:
            self._broker.partitions(topic)
        self._listener = listener
        self._broker.join(self)

    async def topic_ids(self, topics: Collection[str]) -> dict[str, str]:
        self._broker.require()
        self._ids = self._broker.topic_ids(topics)
        return dict(self._ids)

    async def poll(self, timeout_ms: int, max_records: int) -> Mapping[Partition, list[Record]]:
        came = self._fetch(max_records)
        if not came:
            await self._broker.wait(timeout_ms)
            came = self._fetch(max_records)
        else:
            await asyncio.sleep(0)
        return came

    def seek(self, partition: Partition, offset: int) -> None:
        self._own(partition)
        self._positions[partition] = offset

    def resume(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            self._own(partition)
            self._paused.discard(partition)

    def pause(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            self._own(partition)
            self._paused.add(partition)

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        self._broker.require()
        mine = {place: offset_of(at) for place, at in offsets.items() if place in self._positions}
        group = self._broker.group(self.group_id)
        group.offsets.update(mine)
        group.notes.update(dict.fromkeys(mine, ""))

    async def committed(self, partition: Partition) -> int | None:
        self._broker.require()
        return self._broker.group(self.group_id).offsets.get(partition)

    async def note(self, notes: Mapping[Partition, str]) -> None:
        self._broker.require()
        group = self._broker.group(self.group_id)
        for place, text in notes.items():
            if place in self._positions:
                group.offsets.setdefault(place, 0)
                group.notes[place] = text

    async def noted(self, partition: Partition) -> str | None:
        self._broker.require()
        group = self._broker.group(self.group_id)
        return group.notes.get(partition, "") if partition in group.offsets else None

    async def beginning_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        self._broker.require()
        return {partition: self._broker.log(partition).first for partition in partitions}

    async def end_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        self._broker.require()
        return {partition: self._broker.log(partition).end for partition in partitions}

    def high_water(self, partition: Partition) -> int | None:
        position = self._positions.get(partition)
        if position is None or not self._broker.topic_ids([partition.topic]):
            return None
        return begin_of(position) + self._broker.log(partition).end

    def high_water_ms(self, partition: Partition) -> int | None:
        """None: ``high_water`` is the end as of now."""
        return None

    async def stop(self) -> None:
        self._broker.leave(self, notify=False)

    def assign(self, partitions: list[Partition]) -> None:
        """Called by the broker. The partitions are paused, as the port requires."""
        self._positions = dict.fromkeys(partitions, 0)
        self._paused = set(partitions)
        assert self._listener is not None, "not started"
        self._listener.assigned(partitions)

    def revoke(self) -> None:
        """Called by the broker: the partitions are lost, and the listener is called."""
        lost = sorted(self._positions)
        self.forget()
        assert self._listener is not None, "not started"
        self._listener.revoked(lost)

    def kill(self) -> None:
        """Called by the broker: the process ended, so the next poll raises Crash."""
        self.dead = True

    def forget(self) -> None:
        """Is called by the broker: drops the partitions without a call of the listener."""
        self._positions = {}
        self._paused = set()

    def _own(self, partition: Partition) -> None:
        if partition not in self._positions:
            raise BrokerError(f"{partition} is not assigned")

    def _fetch(self, max_records: int) -> dict[Partition, list[Record]]:
        broker, faults = self._broker, self._broker.faults
        if self.dead:
            raise Crash
        came: dict[Partition, list[Record]] = {}
        left = max_records
        if not broker.available:
            return came
        now = broker.topic_ids(self._ids)
        anew = [topic for topic, known in self._ids.items() if now.get(topic, known) != known]
        if anew:
            self._ids.update(now)
            assert self._listener is not None, "not started"
            self._paused.update(place for place in self._positions if place.topic in anew)
            self._listener.made_anew(anew)
            return came
        self._turn += 1
        places = list(self._positions)
        begin = self._turn % max(1, len(places))
        for place in places[begin:] + places[:begin]:  # else many records in the first would keep the others waiting
            position = self._positions[place]
            if place.topic not in broker.topic_ids([place.topic]):
                continue
            if place in self._paused or left <= 0 or (faults.delay and broker.random.random() < faults.delay):
                continue
            log, begin = broker.log(place), begin_of(position)
            if offset_of(position) < log.first:
                raise BrokerError(f"{place} at offset {position}: these records are no longer on the broker")
            limit = left
            if faults.cut and broker.random.random() < faults.cut:
                limit = broker.random.randint(1, left)
            records = log.read(offset_of(position), limit)
            if begin:
                records = [record._replace(offset=begin + record.offset) for record in records]
            if records:
                came[place] = records
                self._positions[place] = records[-1].offset + 1
                left -= len(records)
        return came


class MemorySink:
    """A producer of the broker in memory."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def start(self) -> None:
        self._broker.require()

    async def send(self, records: Sequence[OutRecord]) -> None:
        self._broker.require()
        self._broker.append(records)
        await asyncio.sleep(0)

    async def partitions(self, topic: str) -> int:
        return self._broker.partitions(topic)

    async def stop(self) -> None:
        """Does nothing: there is no connection."""


class MemoryTableReader:
    """Reads topics of the broker in memory as tables, without a group."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._next: dict[Partition, int] = {}

    async def read_to_end(self, topic: str, partitions: Sequence[int] | None = None) -> dict[bytes, Record]:
        self._broker.require()
        found: dict[bytes, Record] = {}
        numbers = range(self._broker.partitions(topic)) if partitions is None else partitions
        for place in (Partition(topic, number) for number in numbers):
            log = self._broker.log(place)
            self._next[place] = log.end
            keep_newest(found, log.records)
        await asyncio.sleep(0)
        return found

    async def read_from(self, topics: Sequence[str], offsets: Mapping[Partition, int]) -> None:
        places = [Partition(t, n) for t in topics for n in range(self._broker.partitions(t))]
        logs = zip(places, map(self._broker.log, places), strict=True)
        self._next = {p: min(max(offsets.get(p, 0), log.first), log.end) for p, log in logs}

    async def poll(self, timeout_ms: int) -> Sequence[tuple[Partition, Record]]:
        came = self._fetch()
        if not came:
            await self._broker.wait(timeout_ms)
            came = self._fetch()
        return came

    async def catch_up(self, apply: Callable[[Partition, Record], None]) -> None:
        self._broker.require()
        for place, record in self._fetch():
            apply(place, record)
        await asyncio.sleep(0)

    async def topic_ids(self, topics: Collection[str]) -> dict[str, str]:
        self._broker.require()
        return self._broker.topic_ids(topics)

    async def stop(self) -> None:
        self._next = {}

    def _fetch(self) -> list[tuple[Partition, Record]]:
        came: list[tuple[Partition, Record]] = []
        if self._broker.available:
            for place, position in self._next.items():
                if place.topic not in self._broker.topic_ids([place.topic]):
                    continue
                records = self._broker.log(place).read(position, 1 << 62)
                if records:
                    self._next[place] = records[-1].offset + 1
                    came.extend((place, record) for record in records)
        return came
