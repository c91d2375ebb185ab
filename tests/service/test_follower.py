"""Following compacted topics through outages."""

import asyncio
from collections.abc import Sequence

import pytest

from detectors.errors import BrokerError
from stream.service import follower as follower_module
from stream.service.follower import Follower
from stream.topics.record import Partition, Record


def record(offset: int, key: bytes | None, value: bytes | None) -> Record:
    return Record(offset, 0, key, value)


class Reader:
    """A table reader with given topics, which fails on request."""

    def __init__(self, table: dict[bytes, Record], later: list[list[tuple[Partition, Record]] | None]) -> None:
        self._table = table
        self._later = later
        self.stopped = False

    async def read_to_end(self, topic: str, partitions: Sequence[int] | None = None) -> dict[bytes, Record]:
        return {} if topic == "empty" else self._table

    async def poll(self, timeout_ms: int) -> Sequence[tuple[Partition, Record]]:
        if not self._later:
            await asyncio.Event().wait()
        batch = self._later.pop(0)
        if batch is None:
            raise BrokerError("gone")
        return batch

    async def stop(self) -> None:
        self.stopped = True


async def follow(readers: list[Reader], count: int) -> list[tuple[bytes, bytes | None]]:
    """Waits until ``count`` records were applied, and returns them."""
    applied: list[tuple[bytes, bytes | None]] = []
    enough = asyncio.Event()

    def apply(key: bytes, value: bytes | None) -> None:
        applied.append((key, value))
        if len(applied) >= count:
            enough.set()

    left = list(readers)
    following = Follower(lambda: left.pop(0), {"t": apply, "empty": apply})
    task = asyncio.create_task(following.run())
    await asyncio.wait_for(enough.wait(), 30)
    assert following.caught_up.is_set()
    task.cancel()
    await asyncio.wait((task,))
    return applied


async def test_newest_first_then_what_comes_with_tombstones_and_without_keyless_records() -> None:
    place = Partition("t", 0)
    later = [[(place, record(1, b"k", b"2")), (place, record(2, None, b"x")), (place, record(3, b"k", None))]]
    reader = Reader({b"k": record(0, b"k", b"1")}, later)
    assert await follow([reader], 3) == [(b"k", b"1"), (b"k", b"2"), (b"k", None)]
    assert reader.stopped


async def test_a_broker_that_goes_away_is_waited_for_and_all_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower_module, "FIRST_PAUSE_SECONDS", 0.001)
    gone = Reader({b"k": record(0, b"k", b"1")}, [None])
    back = Reader({b"k": record(0, b"k", b"1"), b"n": record(1, b"n", b"2")}, [])
    assert await follow([gone, back], 3) == [(b"k", b"1"), (b"k", b"1"), (b"n", b"2")]
    assert gone.stopped
