"""Polls the source, one poll at a time, without holding up the loop."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from detectors.errors import DriftlineError
from stream.backends.ports import Source
from stream.topics.record import Partition, Record

POLL_MS = 50
"""How long a poll waits for records. So whatever is due is at most this late while no records arrive."""

TURN_SECONDS = 0.25
"""How long ``poll`` waits. aiokafka answers no poll while the group changes; the loop goes on all the same."""


class Polling:
    """The polls of one source, and whether the group changed since the newest of them began."""

    def __init__(self, source: Source, most_records: int) -> None:
        self._source = source
        self._most_records = most_records
        self._polling: asyncio.Task[Mapping[Partition, list[Record]]] | None = None
        self._woken = asyncio.Event()
        self._generation = 0
        self._polled_generation = 0

    @property
    def outdated(self) -> bool:
        """Whether the group has changed since the newest poll began."""
        return self._polled_generation != self._generation

    def group_changed(self) -> None:
        """The group changes: what a poll that began before returns may not be processed."""
        self._generation += 1

    def wake(self) -> None:
        """Ends the wait of every ``poll`` from now on."""
        self._woken.set()

    async def poll(self) -> Mapping[Partition, list[Record]]:
        """New records; none when TURN_SECONDS have passed or ``wake`` was called.

        A poll that is not answered by then goes on, and the next call waits for it.
        """
        if self._polling is None:
            self._polled_generation = self._generation
            self._polling = asyncio.create_task(self._next_batches())
        waking = asyncio.create_task(self._woken.wait())
        await asyncio.wait((self._polling, waking), timeout=TURN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        waking.cancel()
        if not self._polling.done():
            return {}
        polled, self._polling = self._polling, None
        return polled.result()

    async def stop(self) -> None:
        """Cancels a poll that is not answered."""
        if self._polling is not None:
            self._polling.cancel()
            with suppress(asyncio.CancelledError, DriftlineError):
                await self._polling
            self._polling = None

    async def _next_batches(self) -> Mapping[Partition, list[Record]]:
        return await self._source.poll(POLL_MS, self._most_records)
