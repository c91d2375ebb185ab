"""Bytes to the HTTP side of a worker over a real socket: it never answers 5xx, and it continues to serve."""

import asyncio
import random
from contextlib import suppress

from stream.http.server import Server
from stream.metrics.exposition import Exposition
from stream.metrics.registry import Metrics
from stream.settings.settings import HttpSettings
from stream.topics.views import Views
from tests.fuzz.mutate import mutated

CORPUS = [
    b"GET /api/v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /api/v1/models/fraud/3?segment=de HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /api/v1/incidents?state=open&limit=10&model=a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: application/openmetrics-text\r\nConnection: close\r\n\r\n",
    b"POST /api/v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\nContent-Length: 2\r\n\r\n{}",
    b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
]
ANSWER_SECONDS = 0.5
"""Seconds to wait for the answer to a broken request, which may be half of one."""
SERVED_SECONDS = 30.0
AT_ONCE = 16


class Health:
    def alive(self) -> bool:
        return True

    def waiting_for(self) -> list[str]:
        return []

    def status(self) -> dict[str, object]:
        return {}


async def fuzz(inputs: int, seed: int) -> tuple[int, list[tuple[bytes, str]]]:
    """Sends requests. Returns how many were answered with 2xx, and the findings."""
    chance, findings, accepted = random.Random(seed), list[tuple[bytes, str]](), 0
    server = Server(HttpSettings(port=0), Views(), Health(), Exposition(Metrics()))
    await server.start()
    try:
        for start in range(0, inputs, AT_ONCE):
            batch = [mutated(chance, CORPUS) for _ in range(min(AT_ONCE, inputs - start))]
            batch = [data for data in batch if b"/changes" not in data]  # a long poll, which waits
            for data, status in zip(
                batch, await asyncio.gather(*(_ask(server.port, data) for data in batch)), strict=True
            ):
                accepted += status.startswith(b"HTTP/1.1 2")
                if status.startswith((b"HTTP/1.1 5", b"HTTP/1.0 5")):
                    findings.append((data, status.decode(errors="replace")))
        if not (await _ask(server.port, CORPUS[0], SERVED_SECONDS)).startswith(b"HTTP/1.1 200"):
            findings.append((CORPUS[0], "does not serve any more"))
    finally:
        await server.stop()
    return accepted, findings


async def _ask(port: int, data: bytes, seconds: float = ANSWER_SECONDS) -> bytes:
    """The first line of the answer; empty when the connection was closed, or the worker waits for more bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        with suppress(OSError):
            async with asyncio.timeout(seconds):
                return await reader.readline()
        return b""
    except (TimeoutError, ValueError):
        return b""
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
