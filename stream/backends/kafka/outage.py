"""Waits for a broker that is away: how long, and what is logged meanwhile."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from detectors.errors import BrokerAway, BrokerError
from stream.settings.settings import KafkaSettings

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 2.0

REPORT_SECONDS = 5.0
"""Time between two log lines about a broker that is away, for all that waits for it in this process."""

T = TypeVar("T")


class Outage:
    """What waits for a broker in this process, since when, and the log lines about it."""

    def __init__(self) -> None:
        self._waiting = 0
        self._since = 0.0
        self._reported = float("-inf")

    @property
    def lasting(self) -> bool:
        """Whether something waits for a broker now."""
        return self._waiting > 0

    def begin(self) -> None:
        """Notes that one more task waits."""
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting += 1

    def report(self, error: BaseException) -> None:
        """Logs why, at most once in REPORT_SECONDS."""
        now = time.monotonic()
        if now - self._reported >= REPORT_SECONDS:
            self._reported = now
            log.warning("waiting for the broker, for %.0f s so far: %s", now - self._since, error)

    def end(self) -> None:
        """Notes that a task waits no longer."""
        self._waiting -= 1
        if not self._waiting:
            log.info("no longer waiting for the broker, after %.1f s", time.monotonic() - self._since)


OUTAGE = Outage()
"""That of this process. Only health, readiness and the log read it."""


async def wait_out(kafka: KafkaSettings, attempt: Callable[[], Awaitable[T]], outage: Outage = OUTAGE) -> T:
    """Repeats ``attempt`` while it raises BrokerAway, for ``kafka.outage_seconds``. Raises BrokerError after that."""
    began, pause = 0.0, FIRST_PAUSE_SECONDS
    try:
        while True:
            try:
                return await attempt()
            except BrokerAway as error:
                if not began:
                    began = time.monotonic()
                    outage.begin()
                most = kafka.outage_seconds
                if most is not None and time.monotonic() - began >= most:
                    raise BrokerError(f"{error}; this lasts for longer than kafka.outage_seconds, {most:g} s") from None
                outage.report(error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
    finally:
        if began:
            outage.end()
