"""Records that are read by the block are those that aiokafka itself returns, and the reader has the same position."""

import gzip
import struct
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import cramjam
import pytest
from aiokafka import TopicPartition
from aiokafka.codec import gzip_decode, snappy_decode, snappy_encode
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from detectors.errors import FormatError
from stream.backends.kafka.fetch_blocks import Fetched
from stream.backends.kafka.unpacking import Bound
from stream.formats.message import Message
from stream.labels.record import read_labels
from stream.topics.record import Partition, Record
from tests.kafka.server import ROOT

PLACE = TopicPartition("events", 3)
GZIP = 1
CONTROL = 0x20

Rows = list[tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]]


class Assignment:
    """The members of aiokafka's subscription state that a fetch result uses."""

    active = True
    paused = False

    def __init__(self, position: int) -> None:
        self.position = position

    def state_value(self, place: TopicPartition) -> "Assignment":
        assert place == PLACE
        return self

    def consumed_to(self, position: int) -> None:
        self.position = position


def block(first: int, rows: Rows, *, codec: int = 0, control: bool = False, producer: int = -1) -> bytes:
    """A record batch at an offset, as a broker stores it; ``rows`` have the offset inside it first."""
    builder = DefaultRecordBatchBuilder(2, codec, int(producer >= 0), producer, -1, 0, 1 << 20)
    for delta, key, value, headers in rows:
        builder.append(delta, 1_763_700_000_000 + first + delta, key, value, headers)
    data = bytearray(builder.build())
    data[:8] = first.to_bytes(8, "big")
    data[22] |= CONTROL if control else 0
    return bytes(data)


def fetched(
    data: bytes, position: int, *, check_crcs: bool = False, aborted: list[tuple[int, int]] | None = None
) -> tuple[FetchResult, Assignment]:
    assignment = Assignment(position)
    level = READ_UNCOMMITTED if aborted is None else READ_COMMITTED
    records = PartitionRecords(PLACE, MemoryRecords(data), aborted, position, None, None, check_crcs, level)
    return FetchResult(PLACE, assignment=assignment, partition_records=records, backoff=0.0), assignment


def by_block(result: FetchResult) -> FetchResult:
    """The result that a fetcher's buffer returns for it."""
    buffer = Fetched()
    buffer[PLACE] = result
    return buffer[PLACE]  # type: ignore[no-any-return]


def plain(message: Any) -> Record:
    return Record(message.offset, message.timestamp, message.key, message.value, message.headers)


texts = st.none() | st.binary(max_size=6)
headers = st.lists(st.tuples(st.text(max_size=3), texts), max_size=2)
row_lists = st.lists(st.tuples(st.integers(1, 3), texts, texts, headers), min_size=1, max_size=8)


@st.composite
def partitions(draw: st.DrawFn) -> bytes:
    """Blocks with gaps inside and between them, as compaction leaves them. Some are compressed, some hold only
    markers."""
    data, at = b"", draw(st.integers(0, 5))
    for rows in draw(st.lists(row_lists, max_size=4)):
        placed, delta = [], -1
        for step, *rest in rows:
            delta += step
            placed.append((delta, *rest))
        placed[0] = (0, *placed[0][1:])
        data += block(at, placed, codec=draw(st.sampled_from((0, GZIP))), control=draw(st.booleans()))
        at += delta + 1 + draw(st.integers(0, 3))
    return data


@given(partitions(), st.integers(0, 12), st.lists(st.none() | st.integers(1, 9), min_size=1, max_size=12))
def test_records_and_positions_are_those_of_aiokafka_however_polls_are_cut(
    data: bytes, position: int, polls: list[int | None]
) -> None:
    theirs, their_place = fetched(data, position)
    ours, our_place = fetched(data, position)
    ours = by_block(ours)
    for most in polls:
        if not theirs.has_more():
            break
        assert ours.getall(most) == [plain(message) for message in theirs.getall(most)]
        assert our_place.position == their_place.position
        assert ours.has_more() == theirs.has_more()


PRODUCERS = (7, 8)


@st.composite
def transactions(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, int]]]:
    """Blocks of two producers, whose transactions are committed, aborted or open, between blocks without one; and the
    aborted ones, as a broker lists them: producer and first offset."""
    data, at = b"", 0
    begun: dict[int, int] = {}
    aborted: list[tuple[int, int]] = []
    for step in draw(st.lists(st.sampled_from(("plain", "begin", "commit", "abort")), max_size=12)):
        producer = draw(st.sampled_from(PRODUCERS))
        rows: Rows = [(delta, b"k", b"%d" % producer, []) for delta in range(draw(st.integers(1, 3)))]
        if step == "plain":
            data += block(at, rows, codec=draw(st.sampled_from((0, GZIP))))
        elif step == "begin":
            begun.setdefault(producer, at)
            data += block(at, rows, producer=producer, codec=draw(st.sampled_from((0, GZIP))))
        else:
            rows = [(0, struct.pack(">hh", 0, step == "commit"), struct.pack(">hi", 0, 0), [])]
            data += block(at, rows, producer=producer, control=True)
            first = begun.pop(producer, None)
            if step == "abort" and first is not None:
                aborted.append((producer, first))
        at += len(rows) + draw(st.integers(0, 2))
    return data, aborted


@given(transactions(), st.integers(0, 12), st.lists(st.none() | st.integers(1, 5), min_size=1, max_size=12))
def test_records_of_aborted_transactions_are_left_out_as_aiokafka_does(
    made: tuple[bytes, list[tuple[int, int]]], position: int, polls: list[int | None]
) -> None:
    data, aborted = made
    theirs, their_place = fetched(data, position, aborted=aborted)
    ours, our_place = fetched(data, position, aborted=aborted)
    ours = by_block(ours)
    for most in polls:
        if not theirs.has_more():
            break
        assert ours.getall(most) == [plain(message) for message in theirs.getall(most)]
        assert our_place.position == their_place.position
        assert ours.has_more() == theirs.has_more()


def test_records_of_the_old_formats_are_read_too() -> None:
    builder = LegacyRecordBatchBuilder(1, 0, 1 << 16)
    for offset in range(3):
        builder.append(offset, timestamp=7, key=None, value=b"v%d" % offset)
    result, _ = fetched(bytes(builder.build()), 0)
    assert by_block(result).getall(10) == [Record(offset, 7, None, b"v%d" % offset) for offset in range(3)]


@pytest.mark.parametrize("good", [0, 1])
def test_a_damaged_block_is_an_error_and_is_fetched_again_rather_than_passed_over(good: int) -> None:
    row: Rows = [(0, None, b"value", [])]
    damaged = bytearray(block(good, row))
    damaged[-2] ^= 1
    data = b"".join(block(offset, row) for offset in range(good)) + bytes(damaged) + block(good + 1, row)
    result, assignment = fetched(data, 0, check_crcs=True)
    result = by_block(result)
    with pytest.raises(CorruptRecordException):
        result.getall(10)
    assert result.getall(10) == []
    assert not result.has_more()
    assert assignment.position == 0


def test_nothing_comes_of_a_partition_that_was_paused_or_sought_meanwhile() -> None:
    for change in ({"paused": True}, {"position": 5}, {"active": False}):
        result, assignment = fetched(block(0, [(0, None, b"value", [])]), 0)
        vars(assignment).update(change)
        result = by_block(result)
        assert result.getall(10) == []
        assert not result.has_more()


def test_what_was_fetched_is_freed_at_once_read_or_not() -> None:
    """Blocks are freed without the garbage collector, which counts objects and not their size."""
    for read in (False, True):
        result, _ = fetched(block(0, [(0, None, b"value", [])]), 0)
        freed = [weakref.ref(result), weakref.ref(result._partition_records)]
        by_block(result)
        if read:
            assert len(result.getall()) == 1
        del result
        assert [one() for one in freed] == [None, None]


def packed(first: int, values: list[bytes], codec: int) -> bytes:
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, 0, 1 << 30)
    for delta, value in enumerate(values):
        builder.append(delta, 1_763_700_000_000 + delta, None, value, [])
    data = bytearray(builder.build())
    data[:8] = first.to_bytes(8, "big")
    return bytes(data)


def pages(data: bytes, most_bytes: int, most: int = 1_000) -> tuple[list[list[Record]], Any]:
    """The records of each poll until no more are left, and the assignment."""
    buffer = Fetched(most_bytes)
    result, assignment = fetched(data, 0)
    buffer[PLACE] = result
    found = []
    while result.has_more():
        assert list(buffer.keys()) == [PLACE]
        found.append(result.getall(most))
    return found, assignment


CODECS = pytest.mark.parametrize("codec", [1, 2, 3, 4], ids=["gzip", "snappy", "lz4", "zstd"])


@CODECS
def test_red_packed_batch_is_not_unpacked_and_becomes_one_record_with_a_reason(codec: int) -> None:
    """A batch at the limit is read, one above it is not, and what is behind it is read."""
    small = [b"a" * 400, b"b" * 400]
    data = packed(0, small, codec) + packed(2, [b"0" * 3_000_000, b"1"], codec) + packed(4, [b"x" * 9_000], codec)
    found, assignment = pages(data + packed(5, small, codec), 10_000)
    records = [record for page in found for record in page]
    assert [record.offset for record in records] == [0, 1, 3, 4, 5, 6]
    assert [record.value for record in records if record.offset != 3] == [*small, b"x" * 9_000, *small]
    with pytest.raises(FormatError, match=r"offsets 2 to 3: a batch packed by .* does not unpack within 10000 bytes"):
        Message(PLACE.topic, records[2], 1_000).data()
    with pytest.raises(FormatError, match="offsets 2 to 3"):
        read_labels(Partition("labels", 0), records[2], 1_000)
    assert assignment.position == 7


@pytest.mark.parametrize("codec", [0, 1, 2, 3, 4])
def test_one_poll_returns_packed_batches_up_to_the_limit_and_the_next_one_goes_on(codec: int) -> None:
    found, assignment = pages(b"".join(packed(2 * n, [b"a" * 4_000, b"b"], codec) for n in range(10)), 10_000)
    assert sum(map(len, found)) == assignment.position == 20
    assert max(map(len, found)) == (6 if codec else 20)  # what is not packed is bounded by the fetch


def test_a_packed_batch_that_is_broken_becomes_one_record_with_a_reason() -> None:
    data = bytearray(packed(0, [b"a" * 400], 4) + packed(1, [b"b"], 4))
    data[70] ^= 255
    found, _ = pages(bytes(data), 10_000)
    assert [record.value for page in found for record in page] == [b"", b"b"]


@CODECS
def test_a_batch_that_another_thread_reads_meanwhile_is_not_bounded_and_is_read_right(codec: int) -> None:
    """The judge reads in a thread of its own, and a thread that unpacks lets others run."""
    values = [bytes([65 + n]) * 3_000 for n in range(8)]

    def read_elsewhere() -> list[bytes]:
        batch = MemoryRecords(packed(0, values, codec)).next_batch()
        return [record.value for record in batch]

    with ThreadPoolExecutor(1) as pool:
        with Bound(1_000):
            found = pool.submit(read_elsewhere).result()
        assert found == values
        stop = Event()
        busy = pool.submit(lambda: [read_elsewhere() == values for _ in iter(stop.is_set, True)])
        for _ in range(200):
            [page], _ = pages(packed(0, values, codec), 100_000)
            assert [record.value for record in page] == values
        stop.set()
        assert all(busy.result())


def test_raw_snappy_and_gzip_of_several_members_are_unpacked() -> None:
    bound = Bound(1_000)
    raw, members = (
        bytes(cramjam.snappy.compress_raw(b"a" * 1_000)),
        gzip.compress(b"a" * 500) + gzip.compress(b"b" * 500),
    )
    assert bound.unpack("snappy", raw, snappy_decode) == b"a" * 1_000
    assert bound.unpack("gzip", members, gzip_decode) == b"a" * 500 + b"b" * 500
    for codec, broken in (
        ("snappy", bytes(cramjam.snappy.compress_raw(b"a" * 1_001))),
        ("gzip", gzip.compress(b"a" * 500) + gzip.compress(b"b" * 501)),
        ("gzip", gzip.compress(b"a" * 500)[:-9]),
        ("snappy", snappy_encode(b"a" * 500)[:-3]),
        ("lz4", b"no frame"),
    ):
        with pytest.raises(FormatError, match=codec):
            bound.unpack(codec, broken, snappy_decode)


@CODECS
def test_the_memory_for_a_batch_above_the_limit_is_never_taken(codec: int) -> None:
    """A process of its own reads a batch of 400 MB, packed, with a limit of 10 MB."""
    code = (
        "import resource, sys\n"
        "from tests.backends.kafka.test_fetch_blocks import pages\n"
        "data = sys.stdin.buffer.read()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "found, _ = pages(data, 10_000_000)\n"
        "assert [len(page) for page in found] == [1], found\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    data = packed(0, [b"0" * 400_000_000], codec)
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True, cwd=ROOT)
    assert int(done.stdout) < 60_000, done.stdout  # KB


@pytest.mark.parametrize("codec", [1, 2, 3], ids=["gzip", "snappy", "lz4"])
def test_packed_records_of_the_old_formats_are_bounded_too(codec: int) -> None:
    builder = LegacyRecordBatchBuilder(1, codec, 1 << 30)
    for offset in range(3):
        builder.append(offset, timestamp=7, key=None, value=b"0" * 400_000)
    data = bytes(builder.build())
    assert [record.value for page in pages(data, 2_000_000)[0] for record in page] == [b"0" * 400_000] * 3
    assert [record.value for page in pages(data, 1_000_000)[0] for record in page] == [b""]
