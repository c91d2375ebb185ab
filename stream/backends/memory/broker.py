"""A broker in memory: topics, partitions, groups, compaction, and faults that depend on a seed.

It passes the same contract suite as the Kafka backend. For tests and simulations, in one event loop.
"""

import asyncio
import random
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Protocol

import msgspec

from detectors.errors import BrokerError
from stream.backends.ports import Clock
from stream.topics.keys import partition_of
from stream.topics.record import OutRecord, Partition, Record

_offset = attrgetter("offset")


class Crash(Exception):
    """The process that wrote or polled ends here; see ``MemoryBroker.crash_after``. The product never catches it."""


class Faults(msgspec.Struct, frozen=True):
    """The probability of each fault. ``duplicate``: a record is written twice, as after a lost acknowledgement.
    ``delay``: a poll leaves a partition out. ``cut``: a poll returns fewer records of a partition."""

    duplicate: float = 0.0
    delay: float = 0.0
    cut: float = 0.0


class _Log:
    """One partition: records by offset, with gaps where compaction removed some."""

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
        """Keeps the newest record of each key, no tombstones, and the last record, as in Kafka's active segment."""
        newest = {record.key: record for record in self.records}
        self.records = [
            record
            for record in self.records
            if newest[record.key] is record and (record.value is not None or record.offset == self.end - 1)
        ]

    def truncate(self, first: int) -> None:
        self.first = max(self.first, min(first, self.end))
        self.records = self.read(self.first, len(self.records))


class Member(Protocol):
    """A member of a consumer group, as the broker sees it."""

    @property
    def topics(self) -> Sequence[str]: ...

    @property
    def group_id(self) -> str: ...

    def assign(self, partitions: list[Partition]) -> None:
        """Gives the member these partitions, which are paused."""
        ...

    def revoke(self) -> None:
        """Takes all partitions from the member and calls its listener."""
        ...

    def forget(self) -> None:
        """Takes all partitions from the member without a call of its listener."""
        ...

    def kill(self) -> None:
        """Makes the member's next poll raise Crash, as if its process had ended."""
        ...


class _Group:
    """The members in the order in which they joined, and the committed offsets."""

    __slots__ = ("members", "notes", "offsets")

    def __init__(self) -> None:
        self.members: list[Member] = []
        self.offsets: dict[Partition, int] = {}
        self.notes: dict[Partition, str] = {}


class MemoryBroker:
    """The broker. Without ``clock`` a record's time is the number of records before it: runs can be repeated."""

    def __init__(self, seed: int = 0, faults: Faults | None = None, clock: Clock | None = None) -> None:
        self.faults = faults or Faults()
        self.random = random.Random(seed)
        self._clock = clock
        self._logs: dict[str, list[_Log]] = {}
        self._created = 0
        self._ids: dict[str, str] = {}
        self._groups: dict[str, _Group] = {}
        self._changed = asyncio.Event()
        self._crash_after: int | None = None
        self.written = 0
        self.available = True

    def create_topic(self, name: str, partitions: int = 4) -> None:
        """Raises BrokerError if the topic exists."""
        if name in self._logs:
            raise BrokerError(f"topic {name} exists")
        self._logs[name] = [_Log() for _ in range(partitions)]
        self._created += 1
        self._ids[name] = f"topic-{self._created}"

    def delete_topic(self, name: str) -> None:
        """Deletes a topic and what groups have committed of it. Raises BrokerError if there is no such topic."""
        self._topic(name)
        del self._logs[name], self._ids[name]
        for group in self._groups.values():
            group.offsets = {place: at for place, at in group.offsets.items() if place.topic != name}
        self._wake()

    def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        """The ids of those of ``topics`` that exist."""
        return {topic: self._ids[topic] for topic in topics if topic in self._ids}

    def partitions(self, topic: str) -> int:
        return len(self._topic(topic))

    def log(self, place: Partition) -> _Log:
        """The log of a partition. Raises BrokerError if there is no such partition."""
        logs = self._topic(place.topic)
        if not 0 <= place.partition < len(logs):
            raise BrokerError(f"{place}: no such partition; the topic has {len(logs)}")
        return logs[place.partition]

    def records(self, topic: str) -> list[tuple[Partition, Record]]:
        """All records of a topic, partition by partition."""
        return [(Partition(topic, n), record) for n, log in enumerate(self._topic(topic)) for record in log.records]

    def append(self, records: Iterable[OutRecord]) -> None:
        """Writes records as a producer does, with faults. Raises Crash if ``crash_after`` asked for it."""
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
        """Lets ``records`` more records be written; writing the next one raises Crash. None: no crash."""
        self._crash_after = None if records is None else self.written + records

    def outage(self) -> None:
        """Refuses every read, write and commit until ``restore``."""
        self.available = False

    def restore(self) -> None:
        self.available = True
        self._wake()

    def compact(self, topic: str) -> None:
        for log in self._topic(topic):
            log.compact()

    def truncate(self, place: Partition, first: int) -> None:
        """Deletes the records below ``first``, as retention does."""
        self.log(place).truncate(first)

    def kill(self, source: Member) -> None:
        """Ends the member's process; the group rebalances, as after a session timeout."""
        source.kill()
        self.leave(source, notify=False)

    def group(self, group_id: str) -> _Group:
        return self._groups.setdefault(group_id, _Group())

    def join(self, source: Member) -> None:
        self.group(source.group_id).members.append(source)
        self._rebalance(source.group_id)

    def leave(self, source: Member, *, notify: bool) -> None:
        """Removes a member from its group. ``notify``: calls its listener, which aiokafka never does at ``stop``."""
        members = self.group(source.group_id).members
        if source in members:
            members.remove(source)
            if notify:
                source.revoke()
            source.forget()
            self._rebalance(source.group_id)

    def expire(self, source: Member) -> None:
        """Treats the member as silent for longer than its session timeout: calls its listener and lets it join
        again."""
        self.leave(source, notify=True)
        self.join(source)

    def require(self) -> None:
        if not self.available:
            raise BrokerError("the broker is unreachable")

    async def wait(self, timeout_ms: int) -> bool:
        """Waits for a change of the broker; returns whether one came before the timeout."""
        self._changed.clear()
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _rebalance(self, group_id: str) -> None:
        """Revokes all partitions, then assigns them as evenly as possible, as an eager rebalance does."""
        members = self.group(group_id).members
        for member in members:
            member.revoke()
        wanted = sorted({topic for member in members for topic in member.topics})
        shares: dict[Member, list[Partition]] = {member: [] for member in members}
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
