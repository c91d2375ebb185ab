"""Which of the records that were read are processed next, and when."""

from collections.abc import Callable, Sequence
from typing import Protocol

from stream.observe.effects import DeadLetter
from stream.observe.observer import Observer
from stream.observe.shell import pace
from stream.observe.shell.attempts import Attempts
from stream.observe.shell.saver import Saver
from stream.topics.record import Partition, Record

MOST_KEPT = 256
"""Profiles that one partition keeps until a checkpoint holds their epochs: some 3 MB."""


class SchemaSource(Protocol):
    """Knows the schemas of records."""

    async def know(self, records: Sequence[Record]) -> bool:
        """Tries to make the schemas of the records known; returns whether they are."""
        ...

    async def stop(self) -> None: ...


class NoSchemas:
    """No registry: no schema is waited for."""

    async def know(self, records: Sequence[Record]) -> bool:
        return True

    async def stop(self) -> None: ...


class Gate:
    """Hands out records in chunks whose processing takes about as long as a break may wait."""

    def __init__(self, observer: Observer, saver: Saver, schemas: SchemaSource | None, attempts: Attempts) -> None:
        self._observer, self._saver, self._attempts = observer, saver, attempts
        self._schemas = schemas or NoSchemas()
        self._size = 256

    async def next(
        self, place: Partition, records: Sequence[Record], at: int, ours: Callable[[], bool]
    ) -> Sequence[Record] | None:
        """The records from ``at`` on that are to be processed now; None when they are not ours any more, or when a
        schema of them is not known yet.

        Waits for a checkpoint while many profiles of slots need it before they may be published.
        """
        while self._observer.kept(place) > MOST_KEPT:
            self._saver.save_if_due()
            await self._saver.written()
            if not ours():
                return None
        chunk = records[at : at + self._size]
        if not await self._schemas.know(chunk):
            return None
        if self._attempts.drain_left_out():
            await self._saver.finish()
            if not ours():
                return None
        chunk = await self._attempts.admit(place, chunk)
        return chunk if ours() else None

    async def rest(self, place: Partition) -> None:
        """Is called when all records of a poll were handed out and processed."""
        if self._attempts.careful(place):
            await self._attempts.rest()

    async def leave(self, places: Sequence[Partition]) -> None:
        """Is called when the worker ends in order."""
        await self._attempts.leave(places)

    def settle(self, place: Partition) -> None:
        """Is called after each chunk. Where a partition is read carefully, its rows are folded in at once: an end of
        the process belongs to the records that are noted."""
        if self._attempts.careful(place):
            self._observer.fold_in(place)

    def letters(self, place: Partition, found: Sequence[DeadLetter]) -> list[tuple[Record, str]]:
        """The dead letters of a chunk: each record as it came, and the reason."""
        return [(self._attempts.original(place, letter.record), letter.reason) for letter in found]

    def fit(self, records: int, longest: float) -> None:
        """Chooses the length of the next chunk: the last one had ``records``, and its longest step took ``longest``
        seconds."""
        self._size = pace.fitted(self._size, records, longest)

    async def stop(self) -> None:
        """Closes the connections to the registry."""
        await self._schemas.stop()
