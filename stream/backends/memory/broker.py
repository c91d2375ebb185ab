"""A broker inside the process: topics, partitions, groups, compaction, and faults that a seed decides.

Not a mock: it passes the contract suite that the Kafka backend passes. Used by tests and simulations; one event loop.
"""

import asyncio
import random
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter

import msgspec

from detectors.errors import BrokerError
from stream.topics.keys import keep_newest, partition_of
from stream.topics.record import Clock, OutRecord, Partition, Rebalance, Record

_offset = attrgetter("offset")


class Crash(Exception):
    """The process that wrote ended here, as told by ``MemoryBroker.crash_after``. Never caught by the product."""


class Faults(msgspec.Struct, frozen=True):
    """How often what goes wrong; shares of 1. ``duplicate``: a record is written twice, as after a lost
    acknowledgement. ``delay``: a partition's records come only at a later poll. ``cut``: a poll ends early."""

    duplicate: float = 0.0
    delay: float = 0.0
    cut: float = 0.0


class _Log:
    """One partition: records by offset, with gaps where compaction took some."""

    __slots__ = ("end", "first", "records")

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.first = 0
        self.end = 0

    def append(self, timestamp_ms: int, record: OutRecord) -> None:
        self.records.append(Record(self.end, timestamp_ms, record.key, record.value, record.headers))
        self.end += 1

    def read(self, offset: int, limit: int) -> list[Record]:
        start = bisect_left(self.records, offset, key=_offset)
        return self.records[start : start + limit]

    def compact(self) -> None:
        """Of each key the newest; no tombstones, but the last record stays, as in Kafka's active segment."""
        newest = {record.key: record for record in self.records}
        self.records = [
            record
            for record in self.records
            if newest[record.key] is record and (record.value is not None or record.offset == self.end - 1)
        ]

    def truncate(self, first: int) -> None:
        self.first = max(self.first, min(first, self.end))
        self.records = self.read(self.first, len(self.records))


class _Group:
    """Members in the order they joined, and the offsets they committed."""

    __slots__ = ("members", "offsets")

    def __init__(self) -> None:
        self.members: list[MemorySource] = []
        self.offsets: dict[Partition, int] = {}


class MemoryBroker:
    """Holds everything. Time comes from ``clock`` or else counts the records written, so that it repeats."""

    def __init__(self, seed: int = 0, faults: Faults | None = None, clock: Clock | None = None) -> None:
        self.faults = faults or Faults()
        self.random = random.Random(seed)
        self._clock = clock
        self._logs: dict[str, list[_Log]] = {}
        self._groups: dict[str, _Group] = {}
        self._changed = asyncio.Event()
        self._crash_after: int | None = None
        self.written = 0
        self.available = True

    def create_topic(self, name: str, partitions: int = 4) -> None:
        """Raises BrokerError where it exists."""
        if name in self._logs:
            raise BrokerError(f"topic {name} exists")
        self._logs[name] = [_Log() for _ in range(partitions)]

    def partitions(self, topic: str) -> int:
        return len(self._topic(topic))

    def log(self, place: Partition) -> _Log:
        """A partition's log. Raises BrokerError where there is none."""
        logs = self._topic(place.topic)
        if not 0 <= place.partition < len(logs):
            raise BrokerError(f"{place}: no such partition; the topic has {len(logs)}")
        return logs[place.partition]

    def records(self, topic: str) -> list[tuple[Partition, Record]]:
        """Everything in it, partition by partition."""
        return [(Partition(topic, n), record) for n, log in enumerate(self._topic(topic)) for record in log.records]

    def append(self, records: Iterable[OutRecord]) -> None:
        """Writes as a producer does, faults and crash included."""
        for record in records:
            if self._crash_after is not None and self.written >= self._crash_after:
                self._crash_after = None
                raise Crash
            logs = self._topic(record.topic)
            chosen = record.partition
            if chosen is None:
                key = record.key
                chosen = self.random.randrange(len(logs)) if key is None else partition_of(key, len(logs))
            twice = self.random.random() < self.faults.duplicate
            for _ in range(2 if twice else 1):
                now_ms = self.written if self._clock is None else self._clock.now_ms()
                self.log(Partition(record.topic, chosen)).append(now_ms, record)
            self.written += 1
        self._wake()

    def crash_after(self, records: int | None) -> None:
        """Lets so many more records be written; the next raises Crash in whoever writes it. None: no crash."""
        self._crash_after = None if records is None else self.written + records

    def outage(self) -> None:
        """Nothing is read, written or committed until ``restore``."""
        self.available = False

    def restore(self) -> None:
        self.available = True
        self._wake()

    def compact(self, topic: str) -> None:
        for log in self._topic(topic):
            log.compact()

    def truncate(self, place: Partition, first: int) -> None:
        """Retention: what is below ``first`` is gone."""
        self.log(place).truncate(first)

    def kill(self, source: "MemorySource") -> None:
        """The member's process is gone; the group notices, as after a session timeout."""
        source.dead = True
        self.leave(source, told=False)

    def group(self, group_id: str) -> _Group:
        return self._groups.setdefault(group_id, _Group())

    def join(self, source: "MemorySource") -> None:
        self.group(source.group_id).members.append(source)
        self._rebalance(source.group_id)

    def leave(self, source: "MemorySource", *, told: bool) -> None:
        """``told``: the member itself hears that it lost its partitions; by aiokafka's rule never at ``stop``."""
        members = self.group(source.group_id).members
        if source in members:
            members.remove(source)
            if told:
                source.revoke()
            source.forget()
            self._rebalance(source.group_id)

    def expire(self, source: "MemorySource") -> None:
        """The member was silent for longer than its session; it hears so, and joins again."""
        self.leave(source, told=True)
        self.join(source)

    def require(self) -> None:
        if not self.available:
            raise BrokerError("the broker is away")

    async def wait(self, timeout_ms: int) -> bool:
        """Whether something was written meanwhile."""
        self._changed.clear()
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _rebalance(self, group_id: str) -> None:
        """Eager: everyone gives up everything, then gets a share, as even as can be."""
        members = self.group(group_id).members
        for member in members:
            member.revoke()
        wanted = sorted({topic for member in members for topic in member.topics})
        shares: dict[MemorySource, list[Partition]] = {member: [] for member in members}
        turn = 0
        for topic in wanted:
            entitled = [member for member in members if topic in member.topics]
            for number in range(self.partitions(topic)):
                shares[entitled[turn % len(entitled)]].append(Partition(topic, number))
                turn += 1
        for member, share in shares.items():
            member.assign(share)
        self._wake()

    def _topic(self, name: str) -> list[_Log]:
        if name not in self._logs:
            raise BrokerError(f"no topic {name}")
        return self._logs[name]

    def _wake(self) -> None:
        self._changed.set()


class MemorySource:
    """A member of a group of the broker."""

    def __init__(self, broker: MemoryBroker, topics: Sequence[str], group_id: str = "driftline") -> None:
        self.topics = tuple(topics)
        self.group_id = group_id
        self.dead = False
        self._broker = broker
        self._listener: Rebalance | None = None
        self._positions: dict[Partition, int] = {}
        self._paused: set[Partition] = set()
        self._turn = 0

    async def start(self, listener: Rebalance) -> None:
        self._broker.require()
        for topic in self.topics:
            self._broker.partitions(topic)
        self._listener = listener
        self._broker.join(self)

    async def poll(self, timeout_ms: int, max_records: int) -> Mapping[Partition, list[Record]]:
        came = self._take(max_records)
        if not came:
            await self._broker.wait(timeout_ms)
            came = self._take(max_records)
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
        mine = {place: offset for place, offset in offsets.items() if place in self._positions}
        self._broker.group(self.group_id).offsets.update(mine)

    async def committed(self, partition: Partition) -> int | None:
        self._broker.require()
        return self._broker.group(self.group_id).offsets.get(partition)

    async def beginning_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        self._broker.require()
        return {partition: self._broker.log(partition).first for partition in partitions}

    async def end_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        self._broker.require()
        return {partition: self._broker.log(partition).end for partition in partitions}

    def high_water(self, partition: Partition) -> int | None:
        return self._broker.log(partition).end if partition in self._positions else None

    async def stop(self) -> None:
        self._broker.leave(self, told=False)

    def assign(self, partitions: list[Partition]) -> None:
        """By the broker: paused, as the port promises."""
        self._positions = dict.fromkeys(partitions, 0)
        self._paused = set(partitions)
        assert self._listener is not None, "not started"
        self._listener.assigned(partitions)

    def revoke(self) -> None:
        """By the broker."""
        lost = sorted(self._positions)
        self.forget()
        assert self._listener is not None, "not started"
        self._listener.revoked(lost)

    def forget(self) -> None:
        self._positions = {}
        self._paused = set()

    def _own(self, partition: Partition) -> None:
        if partition not in self._positions:
            raise BrokerError(f"{partition} is not assigned")

    def _take(self, max_records: int) -> dict[Partition, list[Record]]:
        broker, faults = self._broker, self._broker.faults
        if self.dead:
            raise Crash
        came: dict[Partition, list[Record]] = {}
        left = max_records
        if not broker.available:
            return came
        self._turn += 1
        places = list(self._positions)
        begin = self._turn % max(1, len(places))
        for place in places[begin:] + places[:begin]:  # or the first one's flood would starve the others
            position = self._positions[place]
            if place in self._paused or left <= 0 or (faults.delay and broker.random.random() < faults.delay):
                continue
            log = broker.log(place)
            if position < log.first:
                raise BrokerError(f"{place} at offset {position}: these records are no longer on the broker")
            limit = left
            if faults.cut and broker.random.random() < faults.cut:
                limit = broker.random.randint(1, left)
            records = log.read(position, limit)
            if records:
                came[place] = records
                self._positions[place] = records[-1].offset + 1
                left -= len(records)
        return came


class MemorySink:
    """A producer of the broker."""

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
        """Nothing is open."""


class MemoryTableReader:
    """Reads topics of the broker without a group."""

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
        came = self._take()
        if not came:
            await self._broker.wait(timeout_ms)
            came = self._take()
        return came

    async def catch_up(self, take: Callable[[Partition, Record], None]) -> None:
        self._broker.require()
        for place, record in self._take():
            take(place, record)
        await asyncio.sleep(0)

    async def stop(self) -> None:
        self._next = {}

    def _take(self) -> list[tuple[Partition, Record]]:
        came: list[tuple[Partition, Record]] = []
        if self._broker.available:
            for place, position in self._next.items():
                records = self._broker.log(place).read(position, 1 << 62)
                if records:
                    self._next[place] = records[-1].offset + 1
                    came.extend((place, record) for record in records)
        return came
