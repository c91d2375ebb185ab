"""The HTTP side of a worker, over a real socket."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from detectors.errors import DriftlineError
from stream.http import api
from stream.http import server as server_module
from stream.http.server import Server
from stream.metrics.exposition import Exposition
from stream.metrics.registry import Metrics
from stream.settings.layers import Secret
from stream.settings.settings import HttpSettings
from stream.topics.views import Views


class WatchedViews(Views):
    """Signals when a request waits."""

    def __init__(self) -> None:
        super().__init__()
        self.waited_for = asyncio.Event()

    async def wait_for_change(self, since: int, timeout_seconds: float) -> int:
        self.waited_for.set()
        return await super().wait_for_change(since, timeout_seconds)


class Health:
    def __init__(self) -> None:
        self.is_alive = True
        self.waiting: list[str] = []

    def alive(self) -> bool:
        return self.is_alive

    def waiting_for(self) -> list[str]:
        return self.waiting

    def status(self) -> dict[str, Any]:
        return {"role": "all"}


class Site:
    def __init__(
        self,
        server: Server,
        views: WatchedViews,
        health: Health,
        client: aiohttp.ClientSession,
        refused: Counter[str],
    ) -> None:
        self.server, self.views, self.health, self.client, self.refused = server, views, health, client, refused

    async def get(self, path: str, **more: Any) -> tuple[int, Any]:
        async with self.client.get(path, **more) as response:
            body = await response.read()
            return response.status, orjson.loads(body) if response.content_type == "application/json" else body


@asynccontextmanager
async def site(
    add_pages: Callable[[web.Application, Views], None] | None = None, **settings: Any
) -> AsyncIterator[Site]:
    views, health = WatchedViews(), Health()
    refused: Counter[str] = Counter()
    server = Server(
        HttpSettings(port=0, **settings), views, health, Exposition(Metrics()), add_pages, None,
        lambda reason: refused.update([reason]),
    )  # fmt: skip
    await server.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as client:
            yield Site(server, views, health, client, refused)
    finally:
        await server.stop()


def put(views: Views, model: str, version: str = "1", segment: str | None = None, **more: object) -> None:
    detail = {"model": model, "version": version, "segment": segment, "state": "stable", "features": [], **more}
    views.apply_view(f"{model}/{version}/{segment}".encode(), orjson.dumps(detail))


async def test_models_and_their_detail() -> None:
    async with site() as it:
        put(it.views, "fraud", "3", events=10)
        status, body = await it.get("/api/v1/models")
        assert status == 200
        assert body["models"] == [{"model": "fraud", "version": "3", "segment": None, "state": "stable", "events": 10}]
        status, body = await it.get("/api/v1/models/fraud/3")
        assert (status, body["features"], body["segments"]) == (200, [], [None])


async def test_names_with_slashes_and_spaces_are_reached_percent_encoded() -> None:
    async with site() as it:
        put(it.views, "team/fraud ü", "v 1/2")
        url = aiohttp.client.URL(
            f"http://127.0.0.1:{it.server.port}/api/v1/models/team%2Ffraud%20%C3%BC/v%201%2F2", encoded=True
        )
        async with it.client.get(url) as response:
            assert response.status == 200
            assert (await response.json())["model"] == "team/fraud ü"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/models/none/1", 404),
        ("/api/v1/incidents/none", 404),
        ("/api/v1/nothing", 404),
        ("/api/v1/incidents?state=odd", 400),
        ("/api/v1/incidents?limit=-1", 400),
        ("/api/v1/incidents?limit=99999999999999999999", 400),
        ("/api/v1/changes?since=x", 400),
    ],
)
async def test_errors_are_json_that_says_what_is_wrong(path: str, status: int) -> None:
    async with site() as it:
        got, body = await it.get(path)
        assert got == status
        assert list(body) == ["error"]
        assert body["error"]


async def test_incidents_by_model_state_and_segment() -> None:
    async with site() as it:
        for identifier, segment, resolved in (("1", None, None), ("2", "de", 5)):
            record = {"id": identifier, "model": "m", "version": "1", "segment": segment, "opened_at_ms": 1}
            it.views.apply_incident(identifier.encode(), orjson.dumps({**record, "resolved_at_ms": resolved}))

        async def ids(query: str) -> list[str]:
            return sorted(i["id"] for i in (await it.get(f"/api/v1/incidents?{query}"))[1]["incidents"])

        assert await ids("") == ["1", "2"]
        assert await ids("state=open") == ["1"]
        assert await ids("segment=de") == ["2"]
        assert await ids("segment=") == ["1"]
        assert await ids("model=other") == []
        assert (await it.get("/api/v1/incidents/2"))[1]["segment"] == "de"


async def test_health_and_readiness_are_two_questions() -> None:
    async with site() as it:
        assert await it.get("/healthz") == (200, {"status": "ok"})
        assert await it.get("/readyz") == (200, {"ready": True, "waiting_for": []})
        it.health.waiting = ["inference-events/0"]
        assert await it.get("/readyz") == (503, {"ready": False, "waiting_for": ["inference-events/0"]})
        assert (await it.get("/healthz"))[0] == 200
        it.health.is_alive = False
        assert await it.get("/healthz") == (503, {"status": "stuck"})


async def test_a_long_poll_ends_with_the_next_change() -> None:
    async with site() as it:
        waiting = asyncio.ensure_future(it.get("/api/v1/changes?since=0"))
        await it.views.waited_for.wait()
        put(it.views, "a")
        assert await waiting == (200, {"generation": 1})


async def test_a_long_poll_does_not_hold_up_the_end() -> None:
    async with site() as it:
        waiting = asyncio.ensure_future(it.get("/api/v1/changes?since=0"))
        await it.views.waited_for.wait()
        await asyncio.wait_for(it.server.stop(), api.LONG_POLL_SECONDS - 5)
        assert await waiting == (200, {"generation": 0})


async def write(it: Site, token: str | None) -> int:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with it.client.post("/written", headers=headers, data=b"x" * 10) as response:
        await response.read()
        return response.status


def add_writer(app: web.Application, _: Views) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    app.router.add_post("/written", handler)


async def test_nothing_is_written_without_a_configured_token() -> None:
    async with site(add_writer) as it:
        assert await write(it, None) == 403
        assert await write(it, "") == 403


async def test_writing_needs_the_right_token() -> None:
    async with site(add_writer, token=Secret("s3cret")) as it:
        assert await write(it, None) == 401
        assert await write(it, "wrong") == 401
        assert await write(it, "s3crets") == 401
        assert await write(it, "s3cret") == 200


async def test_a_body_beyond_the_limit_is_refused() -> None:
    async with site(add_writer, token=Secret("t"), max_request_bytes=1024) as it:
        headers = {"Authorization": "Bearer t"}
        async with it.client.post("/written", headers=headers, data=b"x" * 5000) as response:
            assert response.status == 413


async def test_every_answer_forbids_what_is_not_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    async with site() as it:
        for path in ("/metrics", "/api/v1/models", "/api/v1/models/a/1"):
            async with it.client.get(path) as response:
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        monkeypatch.setattr(server_module, "MAX_REQUESTS_AT_ONCE", 0)
        assert await it.get("/healthz") == (503, {"error": "too many requests at once"})


async def test_a_taken_port_is_named() -> None:
    async with site() as it:
        other = Server(HttpSettings(port=it.server.port), Views(), Health(), Exposition(Metrics()))
        with pytest.raises(DriftlineError, match=f"http.port {it.server.port}"):
            await other.start()
