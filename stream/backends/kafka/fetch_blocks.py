"""Makes Records from whole blocks that aiokafka fetched, without a step of a generator for each record.

``getmany`` takes 1.6 us a record to make ConsumerRecords; one pass over a whole block makes Records in 1.0 us. aiokafka
still decides what is fetched and when, and handles positions, pauses, rebalances and errors. It has no public way to do
this, so this module depends on ``FetchResult.getall`` of the pinned version; the contract suite runs over it.
"""

import logging
import sys
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from operator import attrgetter
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.memory_records import MemoryRecords

from detectors.errors import FormatError
from stream.backends.kafka.unpacking import Bound
from stream.topics.record import UNREADABLE, Record

log = logging.getLogger(__name__)

UNPACKED = 8
"""A packed batch may unpack to this many times ``kafka.max_message_bytes``."""

_record = partial(tuple.__new__, Record)
_ATTRIBUTES = tuple(map(attrgetter, ("offset", "timestamp", "key", "value")))
_headers = attrgetter("headers")


class Fetched(OrderedDict[TopicPartition, Any]):
    """Replaces a fetcher's buffer: results that are put into it return Records.

    ``begins``: by partition the position of offset 0; absent: 0. ``count``: how many results were put into it.
    """

    def __init__(self, most_bytes: int = sys.maxsize) -> None:
        super().__init__()
        self._unpacking = Unpacking(most_bytes)
        self.begins: dict[TopicPartition, int] = {}
        self.count = 0

    def __setitem__(self, place: TopicPartition, result: Any) -> None:
        if type(result) is FetchResult:
            begin = self.begins.get(place, 0)
            result._partition_records = Blocks(result._partition_records, self._unpacking, begin)
            result.getall = partial(
                _getall, weakref.proxy(result)
            )  # no cycle, so megabytes are freed as soon as they are read
        self.count += 1
        super().__setitem__(place, result)

    def keys(self) -> Any:
        """The partitions. The fetcher asks for them once when it begins to collect the records of a poll: these may
        again take ``most_bytes``."""
        self._unpacking.left = self._unpacking.most_bytes
        return super().keys()

    def begin(self, place: TopicPartition, position: int) -> None:
        """Records that are fetched from now on have positions after this one. What was fetched before is dropped."""
        if self.begins.get(place, 0) != position:
            self.begins[place] = position
            self.pop(place, None)


class Unpacking:
    """Opens packed batches, within bounds. ``most_bytes``: what one batch may unpack to. ``left``: what may still be
    unpacked in this poll; it is looked at before each batch, so a poll may take that of one batch more."""

    __slots__ = ("_bound", "left", "most_bytes")

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = self.left = most_bytes
        self._bound = Bound(most_bytes)

    def rows(self, block: Any, place: TopicPartition) -> Iterator[Any]:
        """The records of a block. One record without a value, and with the reason in a header, stands for a block that
        unpacks to too much, or cannot be unpacked."""
        rows = chain(block)  # the block's iterator can be made only once
        packed = getattr(block, "compression_type", True)
        if not packed or self.most_bytes == sys.maxsize:
            return rows
        try:
            with self._bound:
                first = list(islice(rows, 1))  # this unpacks the block
        except FormatError as error:
            last = block.next_offset - 1
            # blocks of the old formats have neither
            first_offset = getattr(block, "base_offset", last)
            at_ms = getattr(block, "max_timestamp", time.time_ns() // 1_000_000)
            reason = f"offsets {first_offset} to {last}: {error}"
            log.warning("%s/%d, %s; they are left out", place.topic, place.partition, reason)
            return iter((_Unread(last, at_ms, None, b"", ((UNREADABLE, reason.encode()),)),))
        self.left -= self._bound.size
        return chain(first, rows)


class _Unread(NamedTuple):
    """The record that stands for a block that cannot be unpacked, at its last offset."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


def read_blocks(consumer: AIOKafkaConsumer, max_message_bytes: int) -> Fetched:
    """Makes ``getmany`` of this started consumer return lists of Record. Records that were already fetched are fetched
    again. Returns the buffer.

    A packed batch that unpacks to more than UNPACKED times ``max_message_bytes`` becomes one record without a value,
    with the reason in its header ``UNREADABLE``. One poll returns packed batches of that size, and at most one more.
    """
    consumer._fetcher._records = fetched = Fetched(UNPACKED * max_message_bytes)
    return fetched


class Standing(NamedTuple):
    """Where the reading of a partition stands.

    ``position``: the next offset to fetch; ``end``: that of the next record to be written; ``stable``: the first offset
    of an open transaction, or ``end``. The last two are as of the last fetch.
    """

    position: int
    end: int | None
    stable: int | None


def standing(consumer: AIOKafkaConsumer, place: TopicPartition) -> Standing | None:
    """Where the reading of a partition stands, without a request. None if it is not assigned, or has no position."""
    subscription = consumer._subscription.subscription
    assignment = None if subscription is None else subscription.assignment
    if assignment is None or place not in assignment.tps:
        return None
    state = assignment.state_value(place)
    return Standing(state.position, state.highwater, state.lso) if state.has_valid_position else None


def answered_fetches(consumer: AIOKafkaConsumer) -> Mapping[TopicPartition, int]:
    """When the last fetch of each partition that was answered had been sent, in ms of wall time; it follows this
    started consumer.

    aiokafka notes when it reads an answer. A process that was frozen reads an answer from before: the end of the
    partition in it is not the present one.
    """
    fetcher = consumer._fetcher
    process, sent = fetcher._proc_fetch_request, dict[TopicPartition, int]()

    async def dated(assignment: Any, node_id: int, request: Any) -> Any:
        sent_ms = time.time_ns() // 1_000_000
        found = await process(assignment, node_id, request)
        for topic, partitions in request.topics:
            for place in (TopicPartition(topic, number) for number, *_ in partitions):
                state = assignment.state_value(place) if place in assignment.tps else None
                if state is not None and state.timestamp is not None and state.timestamp >= sent_ms:
                    sent[place] = sent_ms
        return found

    fetcher._proc_fetch_request = dated
    return sent


def _getall(result: Any, max_records: int | None = None) -> list[Record]:
    """``FetchResult.getall`` with Records. ``max_records`` None: all."""
    if not result.check_assignment(result._topic_partition) or not result.has_more():
        return []
    most = sys.maxsize if max_records is None else max_records
    found: list[Record] = result._partition_records.read(most)
    result._update_position()
    if result._partition_records.exhausted:
        result._partition_records = None
    return found


class Blocks:
    """The fetched blocks of one partition. ``next_fetch_offset``: the offset of the next record to return. ``begin``:
    the position of offset 0. ``exhausted``: no record is left."""

    __slots__ = ("_aborted", "_aborting", "_begin", "_block", "_check_crcs", "_place", "_rows", "_unpacking", "_unread",
                 "exhausted", "next_fetch_offset")  # fmt: skip

    def __init__(self, fetched: PartitionRecords, unpacking: Unpacking, begin: int = 0) -> None:
        self._unpacking, self._begin = unpacking, begin
        self.exhausted = False
        self._place, self._unread, self._check_crcs = fetched._tp, fetched._records, fetched._check_crcs
        committed = fetched._isolation_level == READ_COMMITTED
        # producer and first offset of each aborted transaction, by offset; None: they are read like all others
        self._aborted: list[tuple[int, int]] | None = list(fetched._aborted_transactions) if committed else None
        self._aborting: set[int] = set()
        fetched._records_iterator = None  # a cycle would keep megabytes until the garbage collection
        self._block: Any = None
        self._rows: Iterator[Any] = iter(())
        self.next_fetch_offset: int = fetched.next_fetch_offset

    def read(self, most: int) -> list[Record]:
        """Returns at most ``most`` records; fewer if no more are left (``exhausted``), or no more may be unpacked in
        this poll. Raises CorruptRecordException."""
        found: list[Record] = []
        while len(found) < most:
            if self._block is None:
                if self._unpacking.left <= 0:
                    break
                self._block = self._opened()
                if self._block is None:
                    self.exhausted = True
                    break
                self._rows = self._unpacking.rows(self._block, self._place)
            wanted = most - len(found)
            rows = list(islice(self._rows, wanted))
            records, wanted_from = _records(rows, self._begin), self._begin + self.next_fetch_offset
            if records and records[0].offset < wanted_from:  # blocks are fetched whole, so the first may start earlier
                records = [record for record in records if record.offset >= wanted_from]
            found += records
            if len(rows) < wanted:
                self.next_fetch_offset = (
                    self._block.next_offset
                )  # also beyond records at its end that compaction removed
                self._block = None
            elif records:
                self.next_fetch_offset = records[-1].offset - self._begin + 1
        return found

    def _opened(self) -> Any:
        """The next block; None at the end. Nothing after a damaged block is read, since it is fetched again."""
        while self._unread.has_next():
            block = self._unread.next_batch()
            if self._check_crcs and not block.validate_crc():
                self._unread = MemoryRecords(b"")
                raise CorruptRecordException(f"Invalid CRC - {self._place}")
            if not self._is_aborted(block) and not block.is_control_batch:
                return block
            self.next_fetch_offset = block.next_offset
        return None

    def _is_aborted(self, block: Any) -> bool:
        """Whether the block belongs to a transaction that was aborted. Its end is a control block, which has to be
        asked about too. The order is that of ``PartitionRecords``."""
        if self._aborted is None or block.producer_id is None:
            return False
        while self._aborted and self._aborted[0][1] <= block.base_offset:
            self._aborting.add(self._aborted.pop(0)[0])
        if block.is_control_batch and ControlRecord.parse(next(block).key) == ABORT_MARKER:
            self._aborting.discard(block.producer_id)
        return bool(block.is_transactional and block.producer_id in self._aborting)


def _records(rows: Sequence[Any], begin: int = 0) -> list[Record]:
    """The hot path of every event: columns are made inside ``map``, so that no line of Python runs for each record."""
    offsets, *columns = (map(attribute, rows) for attribute in _ATTRIBUTES)
    positions = map(begin.__add__, offsets) if begin else offsets
    return list(map(_record, zip(positions, *columns, map(tuple, map(_headers, rows)), strict=True)))
