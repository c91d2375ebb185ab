"""Follows the topics that every worker with the judge's role reads: references, requests, incidents and views."""

import asyncio
import logging
from collections.abc import Callable, Mapping

from detectors.errors import BrokerError
from stream.backends.ports import TableReader
from stream.topics.record import Record

log = logging.getLogger(__name__)

Apply = Callable[[bytes, bytes | None], None]

POLL_MS = 500

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0


class Follower:
    """Calls the function of each topic with its records: first the newest of each key, then new ones as they come.

    After a broker's downtime the topics are read again from their beginning; applying a record twice changes nothing.
    ``caught_up`` is set when all topics were read to their end once.
    """

    def __init__(self, open_reader: Callable[[], TableReader], topics: Mapping[str, Apply]) -> None:
        self._open_reader = open_reader
        self._topics = topics
        self.caught_up = asyncio.Event()

    async def run(self) -> None:
        """Runs until it is cancelled."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            reader = self._open_reader()
            try:
                await self._catch_up(reader)
                pause = FIRST_PAUSE_SECONDS
                while True:
                    for partition, record in await reader.poll(POLL_MS):
                        self._apply(partition.topic, record)
            except BrokerError as error:
                log.warning("cannot follow %s: %s; trying again in %.1f s", ", ".join(self._topics), error, pause)
            finally:
                await reader.stop()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _catch_up(self, reader: TableReader) -> None:
        for topic, apply in self._topics.items():
            for key, record in (await reader.read_to_end(topic)).items():
                apply(key, record.value)
        self.caught_up.set()

    def _apply(self, topic: str, record: Record) -> None:
        if record.key is not None:
            self._topics[topic](record.key, record.value)
