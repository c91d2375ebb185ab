"""Reads the topics of references and requests: to their ends before the first event, and then what is added to them."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from detectors.errors import DriftlineError, FormatError, ReferenceError
from detectors.reference import reference
from stream.backends.ports import TableReader
from stream.observe.observer import Observer
from stream.observe.shell.outbox import Outbox
from stream.observe.shell.telemetry import Telemetry
from stream.settings.settings import TopicSettings
from stream.topics import requests
from stream.topics.keys import parse_reference_key
from stream.topics.record import Partition, Record
from stream.topics.requests import ForgetRequest, ReleaseRequest

log = logging.getLogger(__name__)


class References:
    """Hands every reference, and every request to release a unit, to the observer. ``tables`` makes the reader;
    ``stop`` stops it."""

    def __init__(
        self,
        topics: TopicSettings,
        tables: Callable[[], TableReader],
        observer: Observer,
        outbox: Outbox,
        telemetry: Telemetry,
    ) -> None:
        self._topic, self._actions = topics.references, topics.actions
        self._tables = tables
        self._observer = observer
        self._outbox = outbox
        self._telemetry = telemetry
        self._reader: TableReader | None = None
        self._reading = asyncio.Lock()  # the reader serves one caller at a time

    @property
    def known(self) -> bool:
        """Whether the topic was read to its end."""
        return self._reader is not None

    async def read_to_end(self) -> None:
        """Reads the whole topic. It must happen before the first event, or a known model would begin by learning."""
        reader = self._tables()
        try:
            found = await reader.read_to_end(self._topic)
            actions = await reader.read_to_end(self._actions)
        except BaseException:
            await reader.stop()
            raise
        self._reader = reader
        for key, record in found.items():
            self._apply(key, record.value)
        for key, record in actions.items():
            self._apply_request(key, record.value)

    async def follow(self) -> None:
        """Applies what was added since the last call. Does nothing while ``catch_up`` reads."""
        assert self._reader is not None
        if self._reading.locked():
            return
        async with self._reading:
            for place, record in await self._reader.poll(0):
                self._apply_record(place, record)

    async def catch_up(self) -> None:
        """Applies everything that is in the topic now.

        The worker that saved an epoch had read its reference before. So a restore that catches up first never begins
        an epoch under an older reference.
        """
        assert self._reader is not None
        async with self._reading:
            await self._reader.catch_up(self._apply_record)

    async def stop(self) -> None:
        """Stops the reader."""
        if self._reader is not None:
            await self._reader.stop()

    def _apply_record(self, place: Partition, record: Record) -> None:
        if record.key is not None:
            apply = self._apply_request if place.topic == self._actions else self._apply
            apply(record.key, record.value)

    def _apply_request(self, key: bytes, value: bytes | None) -> None:
        """Applies a request to release or forget a unit. Others, and those that cannot be read, are the judge's."""
        if value is None or not key.startswith((requests.RELEASE_KEY, requests.FORGET_KEY)):
            return
        with suppress(FormatError):
            request = requests.decode(key, value, self._actions)
            if isinstance(request, ReleaseRequest):
                self._observer.release(request.unit, request.id)
            elif isinstance(request, ForgetRequest):
                self._observer.forget(request.unit, request.at_ms)

    def _apply(self, key: bytes, value: bytes | None) -> None:
        """Sets or removes a reference. One that cannot be read is logged and counted; the one before stays in use."""
        where = f"{self._topic}, key {key.decode(errors='replace')}"
        try:
            if value is None:
                last = self._observer.set_reference(remove=parse_reference_key(key))
            else:
                last = self._observer.set_reference(reference.decode(value, where))
        except Exception as error:  # one record never ends the reading
            if not isinstance(error, ReferenceError):
                kind = "" if isinstance(error, DriftlineError) else f"unexpected {type(error).__name__}: "
                error = ReferenceError(f"{where}: {kind}{error}")
            self._telemetry.error("observer.reference")
            log.error("a reference is left out: %s", error)
            return
        self._outbox.enqueue_profiles(last)
