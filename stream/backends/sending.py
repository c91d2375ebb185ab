"""Sends records with a bounded number of attempts. The one place where driftline retries a write."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from detectors.errors import BrokerError
from stream.backends.ports import Sink
from stream.topics.record import OutRecord

log = logging.getLogger(__name__)

SEND_ATTEMPTS = 5
"""Attempts after errors that waiting may not solve. A worker's sink itself waits for a broker that is away."""

FIRST_PAUSE_SECONDS = 0.2
"""The pause doubles after each failed attempt."""


class Counters(Protocol):
    """The numbers that ``Sender`` counts."""

    def published(self, topic: str, count: int) -> None: ...

    def error(self, component: str) -> None: ...


class Sender:
    """Sends the records of one component, whose name is in the log and in the errors' metric."""

    def __init__(self, sink: Sink, counters: Counters, component: str) -> None:
        self._sink = sink
        self._counters = counters
        self._component = component

    async def send(self, records: Sequence[OutRecord], wanted: Callable[[], bool] = lambda: True) -> None:
        """Returns when all ``records`` are acknowledged, or, without an error, before an attempt for which ``wanted``
        is false.

        Raises BrokerError when the last of SEND_ATTEMPTS attempts fails. A retry sends all records again.
        """
        pause = FIRST_PAUSE_SECONDS
        for attempt in range(1, SEND_ATTEMPTS + 1):
            if not records or not wanted():
                return
            try:
                await self._sink.send(records)
            except BrokerError as error:
                self._counters.error(self._component)
                if attempt == SEND_ATTEMPTS:
                    raise
                log.warning(
                    "%s: %d records were not acknowledged, attempt %d of %d: %s",
                    *(self._component, len(records), attempt, SEND_ATTEMPTS, error),
                )
                await asyncio.sleep(pause)
                pause *= 2
            else:
                break
        for topic, count in Counter(record.topic for record in records).items():
            self._counters.published(topic, count)
