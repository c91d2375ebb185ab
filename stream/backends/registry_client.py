"""Fetches schemas from a registry with Confluent's interface."""

import asyncio
import base64
import logging
import ssl
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

import aiohttp

from detectors.errors import BrokerError
from stream.backends.ports import Clock
from stream.formats.schemas import Schema, Schemas
from stream.settings.settings import SchemaRegistrySettings
from stream.topics.record import Record

log = logging.getLogger(__name__)

REQUEST_SECONDS = 3.0
FIRST_WAIT_MS, LONGEST_WAIT_MS = 250, 5_000
"""Between two attempts while the registry does not answer; the wait doubles."""

TURN_SECONDS = 0.25
"""How long ``know`` waits where schemas are missing. So the caller, who tries again, does not do that all the time."""

LOG_MS = 10_000
"""Between two lines about a registry that does not answer."""


class RegistryClient:
    """Keeps ``schemas`` complete: each schema is fetched once."""

    def __init__(self, settings: SchemaRegistrySettings, schemas: Schemas, clock: Clock) -> None:
        self._settings, self._schemas, self._clock = settings, schemas, clock
        self._session: aiohttp.ClientSession | None = None
        self._logged_ms: int | None = None
        self._wait_ms, self._next_ms = FIRST_WAIT_MS, 0

    async def fetch(self, names: Iterable[str]) -> None:
        """Fetches schemas. Raises BrokerError when the registry does not answer, or refuses."""
        for name in sorted(names):
            self._schemas.put(name, await self._ask(name))

    async def know(self, records: Sequence[Record]) -> bool:
        """Fetches the schemas of the records that are missing; returns whether all are known now.

        It is tried once. While the registry does not answer, the caller leaves the records unread and tries again.
        """
        names = self._schemas.missing(records)
        if not names:
            return True
        if self._clock.now_ms() >= self._next_ms:
            try:
                await self.fetch(names)
            except BrokerError as error:
                self._report(error)
            else:
                self._wait_ms, self._next_ms = FIRST_WAIT_MS, 0
                return True
        await asyncio.sleep(TURN_SECONDS)
        return False

    def _report(self, error: BrokerError) -> None:
        """Logs an error, at most once in LOG_MS, and chooses when the next attempt is made."""
        now_ms = self._clock.now_ms()
        if self._logged_ms is None or now_ms - self._logged_ms >= LOG_MS:
            log.warning("%s; events wait for it", error)
            self._logged_ms = now_ms
        self._next_ms, self._wait_ms = now_ms + self._wait_ms, min(2 * self._wait_ms, LONGEST_WAIT_MS)

    async def stop(self) -> None:
        """Closes its connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask(self, name: str) -> Schema | None:
        url = f"{(self._settings.url or '').rstrip('/')}/schemas/{_path(name)}"
        if self._session is None:
            self._session = self._opened()
        try:
            async with self._session.get(url) as answer:
                if answer.status == 404:
                    return None
                if answer.status != 200:
                    raise BrokerError(f"schema registry: {url}: status {answer.status}")
                body: Any = await answer.json(content_type=None)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise BrokerError(f"schema registry: {url}: {error or type(error).__name__}") from error
        if not isinstance(body, dict) or not isinstance(body.get("schema"), str):
            raise BrokerError(f"schema registry: {url}: the answer holds no schema")
        return Schema(str(body.get("schemaType") or "AVRO").upper(), body["schema"])

    def _opened(self) -> aiohttp.ClientSession:
        settings, headers = self._settings, {}
        if settings.token is not None:
            headers["Authorization"] = f"Bearer {settings.token.reveal()}"
        if settings.username is not None and settings.password is not None:
            login = base64.b64encode(f"{settings.username}:{settings.password.reveal()}".encode())
            headers["Authorization"] = f"Basic {login.decode()}"
        context = None if settings.ssl_cafile is None else ssl.create_default_context(cafile=settings.ssl_cafile)
        connector = aiohttp.TCPConnector(limit=4, ssl=True if context is None else context)
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        return aiohttp.ClientSession(headers=headers, connector=connector, timeout=timeout)


def _path(name: str) -> str:
    """The path of a schema: by its number, or by its GUID."""
    return f"ids/{name}" if name.isdigit() else f"guids/{quote(name, safe='')}"
