"""One suite for memory, files, the embedded broker and Apache Kafka: all fulfil the contract of the ports."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from detectors.errors import BrokerError
from stream.backends.files import FileSource
from stream.backends.ports import Source
from stream.topics.generations import Generation
from stream.topics.keys import partition_of
from stream.topics.record import OutRecord, Partition, Record
from tests.backends import contract
from tests.backends.contract import Backend, Listener

DEADLINE = 30.0


@pytest.fixture(params=["memory", "files", "embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    opened = {
        "memory": contract.memory,
        "files": lambda: contract.files(request.getfixturevalue("tmp_path")),
        "embedded": contract.embedded,
        "kafka": lambda: contract.real(request.getfixturevalue("kafka")),
    }[request.param]()
    async with opened as found:
        yield found


async def until(condition: Callable[[], bool], work: Callable[[], Awaitable[object]]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await work()


async def read(source: Source, count: int) -> dict[Partition, list[Record]]:
    """Polls until ``count`` records have arrived."""
    found: dict[Partition, list[Record]] = {}

    async def poll() -> None:
        for place, records in (await source.poll(100, 1_000)).items():
            found.setdefault(place, []).extend(records)

    await until(lambda: sum(map(len, found.values())) >= count, poll)
    return found


async def started(backend: Backend, group: str | None = None) -> tuple[Source, Listener]:
    listener = Listener()
    source = await backend.source(listener, group)
    await until(lambda: bool(listener.owned), lambda: source.poll(50, 10))
    return source, listener


def numbered(topic: str, count: int, partition: int | None = None) -> list[OutRecord]:
    return [
        OutRecord(topic, b"key-%d" % n, b"value-%d" % n, (("n", b"%d" % n),), partition=partition) for n in range(count)
    ]


async def test_records_come_back_as_written_and_in_order_per_partition(backend: Backend) -> None:
    await backend.create(backend.topic, 3)
    sink = await backend.sink()
    source, listener = await started(backend)
    await sink.send(numbered(backend.topic, 60))
    for place in listener.owned:
        source.seek(place, 0)
    source.resume(list(listener.owned))
    found = await read(source, 60)
    assert {place.partition for place in listener.owned} == {0, 1, 2}
    for place, records in found.items():
        assert [record.offset for record in records] == list(range(len(records)))
        numbers = [int(record.headers[0][1]) for record in records]
        assert numbers == sorted(numbers)
        for record, n in zip(records, numbers, strict=True):
            assert (record.key, record.value) == (b"key-%d" % n, b"value-%d" % n)
            assert partition_of(record.key or b"", 3) == place.partition


async def test_nothing_comes_of_a_partition_that_was_not_sought_and_resumed(backend: Backend) -> None:
    await backend.create(backend.topic, 2)
    sink = await backend.sink()
    await sink.send([*numbered(backend.topic, 5, 0), *numbered(backend.topic, 5, 1)])
    source, _ = await started(backend)
    for _ in range(3):
        assert await source.poll(100, 100) == {}
    first, second = Partition(backend.topic, 0), Partition(backend.topic, 1)
    source.seek(first, 2)
    source.resume([first])
    found = await read(source, 3)
    assert [record.offset for record in found[first]] == [2, 3, 4]
    assert second not in found


async def test_a_seek_backwards_gives_the_same_records_again(backend: Backend) -> None:
    await backend.create(backend.topic, 1)
    sink = await backend.sink()
    await sink.send(numbered(backend.topic, 10))
    source, _ = await started(backend)
    place = Partition(backend.topic, 0)
    source.seek(place, 0)
    source.resume([place])
    once = await read(source, 10)
    source.seek(place, 0)
    assert await read(source, 10) == once


async def test_a_poll_gives_at_most_what_was_asked_for(backend: Backend) -> None:
    await backend.create(backend.topic, 1)
    sink = await backend.sink()
    await sink.send(numbered(backend.topic, 50))
    source, _ = await started(backend)
    place = Partition(backend.topic, 0)
    source.seek(place, 0)
    source.resume([place])
    sizes: list[int] = []

    async def poll() -> None:
        sizes.extend(map(len, (await source.poll(100, 7)).values()))

    await until(lambda: sum(sizes) >= 50, poll)
    assert max(sizes) <= 7
    assert sum(sizes) == 50


async def test_a_flood_in_one_partition_does_not_keep_the_others_waiting(backend: Backend) -> None:
    await backend.create(backend.topic, 2)
    sink = await backend.sink()
    await sink.send([*numbered(backend.topic, 1_000, 0), *numbered(backend.topic, 5, 1)])
    source, _ = await started(backend)
    quiet = Partition(backend.topic, 1)
    for place in (Partition(backend.topic, 0), quiet):
        source.seek(place, 0)
        source.resume([place])
    polls = came = 0
    while came < 5:
        await sink.send(numbered(backend.topic, 100, 0))
        came += len((await source.poll(100, 50)).get(quiet, []))
        polls += 1
        assert polls < 60, "starved"


async def test_offsets_of_begin_end_and_commit(backend: Backend) -> None:
    await backend.create(backend.topic, 2)
    sink = await backend.sink()
    await sink.send(numbered(backend.topic, 4, 1))
    source, _ = await started(backend)
    first, second = Partition(backend.topic, 0), Partition(backend.topic, 1)
    assert await source.beginning_offsets([first, second]) == {first: 0, second: 0}
    assert await source.end_offsets([first, second]) == {first: 0, second: 4}
    assert await source.committed(second) is None
    await source.commit({second: 3})
    assert await source.committed(second) == 3


async def test_a_second_member_takes_over_what_the_first_leaves(
    backend: Backend, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["backend"] in ("embedded", "files"):
        pytest.skip("groups of the embedded broker and of files hold one member")
    await backend.create(backend.topic, 4)
    group = backend.topic + "-group"
    source, listener = await started(backend, group)
    assert len(listener.owned) == 4
    other = Listener()
    joining = asyncio.ensure_future(backend.source(other, group))
    await until(
        lambda: joining.done() and len(listener.owned) == 2 and len(other.owned) == 2,
        lambda: asyncio.wait_for(source.poll(50, 10), DEADLINE),
    )
    assert not listener.owned & other.owned
    second = await joining
    await source.stop()
    await until(lambda: len(other.owned) == 4, lambda: asyncio.wait_for(second.poll(50, 10), DEADLINE))


async def test_a_table_is_the_newest_value_of_each_key(backend: Backend) -> None:
    await backend.create(backend.topic, 3)
    sink = await backend.sink()
    old = [OutRecord(backend.topic, b"k%d" % n, b"old") for n in range(10)]
    new = [OutRecord(backend.topic, b"k%d" % n, b"new") for n in range(5)]
    await sink.send([*old, *new, OutRecord(backend.topic, b"k9", None), OutRecord(backend.topic, None, b"\xff no key")])
    table = backend.table()
    found = await table.read_to_end(backend.topic)
    assert {key: record.value for key, record in found.items()} == {
        **{b"k%d" % n: b"new" for n in range(5)},
        **{b"k%d" % n: b"old" for n in range(5, 9)},
    }


async def test_a_table_of_one_partition_holds_that_partition_only(backend: Backend) -> None:
    await backend.create(backend.topic, 2)
    sink = await backend.sink()
    await sink.send(
        [OutRecord(backend.topic, b"a", b"0", partition=0), OutRecord(backend.topic, b"b", b"1", partition=1)]
    )
    assert set(await backend.table().read_to_end(backend.topic, [1])) == {b"b"}


async def test_a_table_is_followed_from_where_it_was_read_to_tombstones_included(backend: Backend) -> None:
    await backend.create(backend.topic, 2)
    await backend.create(backend.topic + "-more", 1)
    sink = await backend.sink()
    await sink.send([OutRecord(backend.topic, b"a", b"1")])
    table = backend.table()
    await table.read_to_end(backend.topic)
    assert await table.read_to_end(backend.topic + "-more") == {}
    await sink.send([OutRecord(backend.topic, b"a", None), OutRecord(backend.topic + "-more", b"b", b"2")])
    came: list[tuple[str, bytes | None, bytes | None]] = []

    async def poll() -> None:
        came.extend((place.topic, record.key, record.value) for place, record in await table.poll(100))

    await until(lambda: len(came) >= 2, poll)
    assert sorted(came) == [(backend.topic, b"a", None), (backend.topic + "-more", b"b", b"2")]


async def test_a_table_catches_up_to_the_end_as_of_the_call(backend: Backend) -> None:
    await backend.create(backend.topic, 2)
    sink = await backend.sink()
    await sink.send([OutRecord(backend.topic, b"a", b"1")])
    table = backend.table()
    await table.read_to_end(backend.topic)
    came: list[tuple[bytes | None, bytes | None]] = []
    for count in (0, 3):
        await sink.send([OutRecord(backend.topic, b"k%d" % n, b"%d" % n, partition=n % 2) for n in range(count)])
        await table.catch_up(lambda _, record: came.append((record.key, record.value)))
        assert sorted(came) == [(b"k%d" % n, b"%d" % n) for n in range(count)]
    assert await table.poll(0) == []


async def test_a_sink_knows_partitions_and_refuses_one_that_is_not_there(backend: Backend) -> None:
    await backend.create(backend.topic, 3)
    sink = await backend.sink()
    assert await sink.partitions(backend.topic) == 3
    with pytest.raises(BrokerError, match=backend.topic):
        await sink.send([OutRecord(backend.topic, b"k", b"v", partition=7)])


async def test_topics_are_read_from_the_offsets_that_are_wanted_and_again_when_asked(backend: Backend) -> None:
    await backend.create(backend.topic, 2)
    sink = await backend.sink()
    await sink.send([*numbered(backend.topic, 5, 0), *numbered(backend.topic, 3, 1)])
    table = backend.table()
    came: list[tuple[int, int]] = []

    async def poll() -> None:
        came.extend((place.partition, record.offset) for place, record in await table.poll(100))

    await table.read_from([backend.topic], {Partition(backend.topic, 0): 3, Partition(backend.topic, 1): 99})
    await until(lambda: len(came) >= 2, poll)
    await sink.send(numbered(backend.topic, 1, 1))
    await until(lambda: len(came) >= 3, poll)
    assert sorted(came) == [(0, 3), (0, 4), (1, 3)]
    came.clear()
    await table.read_from([backend.topic], {Partition(backend.topic, 0): 4})
    await until(lambda: len(came) >= 5, poll)
    assert sorted(came) == [(0, 4), (1, 0), (1, 1), (1, 2), (1, 3)]


async def test_a_note_lies_beside_the_committed_offset_until_the_next_commit(backend: Backend) -> None:
    await backend.create(backend.topic, 1)
    source, listener = await started(backend, f"{backend.topic}-notes")
    (place,) = listener.owned
    if isinstance(source, FileSource):
        assert await source.noted(place) is None
        return
    assert await source.noted(place) is None
    await source.note({place: "about to read"})
    assert (await source.noted(place), await source.committed(place)) == ("about to read", 0)
    await source.commit({place: 3})
    assert (await source.noted(place), await source.committed(place)) == ("", 3)
    await source.note({place: "left"})
    assert (await source.noted(place), await source.committed(place)) == ("left", 3)


async def test_records_have_positions_in_the_generation_that_was_sought(backend: Backend) -> None:
    await backend.create(backend.topic, 1)
    source, listener = await started(backend)
    if isinstance(source, FileSource):
        pytest.skip("files have no ids of topics")
    (place,) = listener.owned
    await (await backend.sink()).send(numbered(backend.topic, 5, 0))
    begin = Generation("b", 3).begin
    source.seek(place, begin + 2)
    source.resume([place])
    found = (await read(source, 3))[place]
    assert [record.offset for record in found] == [begin + 2, begin + 3, begin + 4]
    assert [record.value for record in found] == [b"value-2", b"value-3", b"value-4"]
    await source.commit({place: begin + 5})
    assert await source.committed(place) == 5
    assert await source.end_offsets([place]) == {place: 5}


async def test_a_topic_that_is_made_anew_has_another_id_and_none_of_its_records_is_returned_before_it_is_asked_for(
    backend: Backend,
) -> None:
    if backend.remake is None:
        pytest.skip("files and the embedded broker have no ids of topics")
    await backend.create(backend.topic, 1)
    source, listener = await started(backend)
    (place,) = listener.owned
    before = await source.topic_ids([backend.topic, "no-such-topic"])
    assert before.keys() == {backend.topic}
    sink = await backend.sink()
    await sink.send(numbered(backend.topic, 3, 0))
    source.seek(place, 0)
    source.resume([place])
    assert len((await read(source, 3))[place]) == 3
    await backend.remake(backend.topic)
    await (await backend.sink()).send(numbered(backend.topic, 10, 0))
    came: list[object] = []

    async def poll() -> None:
        came.extend((await source.poll(100, 1_000)).values())

    await until(lambda: bool(listener.anew), poll)
    assert listener.anew == {backend.topic}
    assert came == []
    after = await source.topic_ids([backend.topic])
    assert after != before
    assert await backend.table().topic_ids([backend.topic]) == after
    await until(lambda: place in listener.owned, lambda: source.poll(50, 10))
    source.seek(place, Generation("b", 1).begin)
    source.resume([place])
    assert [record.value for record in (await read(source, 10))[place]] == [b"value-%d" % n for n in range(10)]
