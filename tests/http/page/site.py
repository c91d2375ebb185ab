"""The page on a real port, beside the real server's JSON."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from stream.http.page import routes
from stream.http.server import Server
from stream.metrics.exposition import Exposition
from stream.metrics.registry import Metrics
from stream.settings.settings import HttpSettings
from stream.topics.views import Views
from tests.http.page import sample_views


class Health:
    """A worker that is well, as far as the server asks."""

    def __init__(self) -> None:
        self.waiting: list[str] = []

    def alive(self) -> bool:
        return True

    def waiting_for(self) -> list[str]:
        return self.waiting

    def status(self) -> dict[str, Any]:
        return {"ready": not self.waiting, "waiting_for": self.waiting}


@asynccontextmanager
async def served(views: Views, now_ms: int = sample_views.NOW_MS) -> AsyncIterator[str]:
    server = Server(
        HttpSettings(host="127.0.0.1", port=0),
        views,
        Health(),
        Exposition(Metrics()),
        lambda app, shown: routes.add_pages(app, shown, lambda: now_ms),
    )
    await server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        await server.stop()


@asynccontextmanager
async def running(app: web.Application) -> AsyncIterator[str]:
    """An application of a test's own."""
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
