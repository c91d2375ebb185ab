"""Topics as files: ``FOLDER/TOPIC/PARTITION.jsonl`` with one record a line, whose number is the offset.

For logs that are kept, inspected and read again without a broker. One process at a time; a group has one member.
"""

import asyncio
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from detectors.errors import BrokerError
from stream.backends.ports import Clock, Rebalance
from stream.topics.keys import keep_newest, partition_of
from stream.topics.record import OutRecord, Partition, Record


class _Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A record as a line; a key or value that is not UTF-8 is in base64."""

    timestamp_ms: int
    key: str | None = None
    value: str | None = None
    key_base64: bytes | None = None
    value_base64: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Line).decode
_committed = msgspec.json.Decoder(dict[str, int]).decode


class FileBroker:
    """A folder with one folder for each topic."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self._clock = clock
        self._marks: dict[Partition, tuple[int, int]] = {}

    def create_topic(self, name: str, partitions: int = 1) -> None:
        """Raises BrokerError if the topic exists."""
        try:
            (self.folder / name).mkdir(parents=True)
        except FileExistsError:
            raise BrokerError(f"topic {name} exists in {self.folder}") from None
        for number in range(partitions):
            self._path(Partition(name, number)).touch()

    def partitions(self, topic: str) -> int:
        count = sum(1 for _ in (self.folder / topic).glob("*.jsonl"))
        if not count:
            raise BrokerError(f"no topic {topic} in {self.folder}")
        return count

    def read(self, place: Partition, offset: int, limit: int | None = None) -> list[Record]:
        """Records of complete lines from ``offset`` on; a line that is still being written is left out."""
        found: list[Record] = []
        number, at = self._mark(place, offset)
        with self._open(place) as lines:
            lines.seek(at)
            for line in lines:
                if not line.endswith(b"\n") or len(found) == limit:
                    break
                if number >= offset:
                    found.append(_record(place, number, line))
                number, at = number + 1, at + len(line)
        self._marks[place] = (number, at)
        return found

    def end(self, place: Partition) -> int:
        """The offset after the last complete line. Cost: counts the lines after the last one that was read."""
        number, at = self._mark(place)
        with self._open(place) as lines:
            lines.seek(at)
            return number + sum(line.endswith(b"\n") for line in lines)

    def _mark(self, place: Partition, offset: int | None = None) -> tuple[int, int]:
        """Number and position of a line at or before ``offset``: the one that was read last, or the first."""
        number, at = self._marks.get(place, (0, 0))
        return (number, at) if offset is None or number <= offset else (0, 0)

    def _open(self, place: Partition) -> BinaryIO:
        try:
            return self._path(place).open("rb")
        except FileNotFoundError:
            raise BrokerError(f"{place}: no such partition in {self.folder}") from None

    def append(self, records: Sequence[OutRecord]) -> None:
        """Writes records; they are on disk when it returns."""
        lines: dict[Partition, list[bytes]] = {}
        for record in records:
            count = self.partitions(record.topic)
            number = record.partition
            if number is None:
                number = 0 if record.key is None else partition_of(record.key, count)
            if not 0 <= number < count:
                raise BrokerError(f"{record.topic}/{number}: no such partition; the topic has {count}")
            lines.setdefault(Partition(record.topic, number), []).append(self._line(record))
        for place, block in lines.items():
            with self._path(place).open("ab") as file:
                file.write(b"".join(block))
                file.flush()
                os.fsync(file.fileno())

    def offsets(self, group: str) -> dict[str, int]:
        try:
            return _committed((self.folder / f"{group}.offsets.json").read_bytes())
        except FileNotFoundError:
            return {}

    def commit(self, group: str, offsets: Mapping[str, int]) -> None:
        path = self.folder / f"{group}.offsets.json"
        fresh = path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode({**self.offsets(group), **offsets}))
        fresh.replace(path)

    def _path(self, place: Partition) -> Path:
        return self.folder / place.topic / f"{place.partition}.jsonl"

    def _line(self, record: OutRecord) -> bytes:
        key, key_base64 = _text(record.key)
        value, value_base64 = _text(record.value)
        line = _Line(self._clock.now_ms(), key, value, key_base64, value_base64, record.headers)
        return _encode(line) + b"\n"


class FileSource:
    """Reads all partitions of its topics, as the only member of its group. Commits are kept on disk."""

    def __init__(self, broker: FileBroker, topics: Sequence[str], group_id: str = "driftline") -> None:
        self._broker = broker
        self._topics = tuple(topics)
        self._group = group_id
        self._positions: dict[Partition, int] = {}
        self._running: set[Partition] = set()
        self._turn = 0

    async def start(self, listener: Rebalance) -> None:
        places = [Partition(name, n) for name in self._topics for n in range(self._broker.partitions(name))]
        self._positions = dict.fromkeys(places, 0)
        listener.assigned(places)

    async def topic_ids(self, topics: Collection[str]) -> dict[str, str]:
        """None: files have no ids."""
        return {}

    async def poll(self, timeout_ms: int, max_records: int) -> Mapping[Partition, list[Record]]:
        came = self._fetch(max_records)
        if not came:
            await asyncio.sleep(timeout_ms / 1000)
            came = self._fetch(max_records)
        return came

    def seek(self, partition: Partition, offset: int) -> None:
        self._positions[partition] = offset

    def resume(self, partitions: Sequence[Partition]) -> None:
        self._running.update(partitions)

    def pause(self, partitions: Sequence[Partition]) -> None:
        self._running.difference_update(partitions)

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        self._broker.commit(self._group, {str(place): offset for place, offset in offsets.items()})

    async def committed(self, partition: Partition) -> int | None:
        return self._broker.offsets(self._group).get(str(partition))

    async def note(self, notes: Mapping[Partition, str]) -> None:
        """Does nothing: there is no place for it."""

    async def noted(self, partition: Partition) -> str | None:
        return None

    async def beginning_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        return {place: self._broker.end(place) for place in partitions}

    def high_water(self, partition: Partition) -> int | None:
        return self._broker.end(partition) if partition in self._positions else None

    def high_water_ms(self, partition: Partition) -> int | None:
        """None: ``high_water`` is the end as of now."""
        return None

    async def stop(self) -> None:
        self._positions, self._running = {}, set()

    def _fetch(self, max_records: int) -> dict[Partition, list[Record]]:
        came: dict[Partition, list[Record]] = {}
        self._turn += 1
        places = sorted(self._running)
        begin = self._turn % max(1, len(places))
        for place in places[begin:] + places[:begin]:  # else many records in the first would keep the others waiting
            records = self._broker.read(place, self._positions[place], max_records) if max_records > 0 else []
            if records:
                came[place] = records
                self._positions[place] = records[-1].offset + 1
                max_records -= len(records)
        return came


class FileSink:
    """Appends records to files. Acknowledged means on disk."""

    def __init__(self, broker: FileBroker) -> None:
        self._broker = broker

    async def start(self) -> None:
        """Does nothing: there is no connection."""

    async def send(self, records: Sequence[OutRecord]) -> None:
        await asyncio.to_thread(self._broker.append, records)

    async def partitions(self, topic: str) -> int:
        return self._broker.partitions(topic)

    async def stop(self) -> None:
        """Does nothing: there is no connection."""


class FileTableReader:
    """Reads topics as tables: the newest value of each key."""

    def __init__(self, broker: FileBroker) -> None:
        self._broker = broker
        self._next: dict[Partition, int] = {}

    async def read_to_end(self, topic: str, partitions: Sequence[int] | None = None) -> dict[bytes, Record]:
        numbers = range(self._broker.partitions(topic)) if partitions is None else partitions
        found: dict[bytes, Record] = {}
        for place in (Partition(topic, number) for number in numbers):
            records = self._broker.read(place, 0)
            self._next[place] = len(records)
            keep_newest(found, records)
        return found

    async def read_from(self, topics: Sequence[str], offsets: Mapping[Partition, int]) -> None:
        places = [Partition(topic, number) for topic in topics for number in range(self._broker.partitions(topic))]
        self._next = {place: min(offsets.get(place, 0), self._broker.end(place)) for place in places}

    async def poll(self, timeout_ms: int) -> Sequence[tuple[Partition, Record]]:
        came = self._fetch()
        if not came and timeout_ms:
            await asyncio.sleep(timeout_ms / 1000)
            came = self._fetch()
        return came

    async def catch_up(self, apply: Callable[[Partition, Record], None]) -> None:
        for place, record in self._fetch():
            apply(place, record)

    async def topic_ids(self, topics: Collection[str]) -> dict[str, str]:
        """None: files have no ids."""
        return {}

    async def stop(self) -> None:
        self._next = {}

    def _fetch(self) -> list[tuple[Partition, Record]]:
        came: list[tuple[Partition, Record]] = []
        for place, position in self._next.items():
            records = self._broker.read(place, position)
            self._next[place] = position + len(records)
            came.extend((place, record) for record in records)
        return came


def _text(data: bytes | None) -> tuple[str | None, bytes | None]:
    if data is None:
        return None, None
    try:
        return data.decode("utf-8"), None
    except UnicodeDecodeError:
        return None, data


def _record(place: Partition, number: int, line: bytes) -> Record:
    try:
        found = _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BrokerError(f"{place}, line {number + 1}: is not a record: {error}") from None
    key = found.key_base64 if found.key is None else found.key.encode()
    value = found.value_base64 if found.value is None else found.value.encode()
    return Record(number, found.timestamp_ms, key, value, found.headers)
