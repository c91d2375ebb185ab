"""Requests to the HTTP handlers of a worker, pages included, without a socket, which is a thousand times as fast."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader
from aiohttp.test_utils import make_mocked_request

from detectors.features import UnitKey
from stream.http.api import WriteApi
from stream.http.page import routes
from stream.http.server import Server
from stream.metrics.exposition import Exposition
from stream.metrics.registry import Metrics
from stream.settings.layers import Secret
from stream.settings.settings import HttpSettings
from stream.topics import keys
from stream.topics import requests as actions
from stream.topics.requests import ForgetRequest, IncidentRequest
from stream.topics.views import Views
from tests.fuzz.http import Health
from tests.fuzz.targets import Target

METHODS = ("GET", "POST", "HEAD", "PUT")
CORPUS = [
    b"GET /api/v1/models/fraud/3?segment=de\n",
    b"GET /api/v1/incidents?state=open&limit=10&model=m&version=1&segment=\n",
    b"GET /api/v1/incidents/i1\n",
    b"GET /models/m/1/features/amount?segment=de\n",
    b"GET /incidents?state=open&page=2&model=m\n",
    b"GET /incidents/i1\n",
    b"GET /static/driftline.css\n",
    b"GET /metrics\n",
    b'POST /api/v1/incidents/i1/ack\n{"by":"ann","note":"seen","id":"00000000-0000-4000-8000-000000000000"}',
    b'POST /api/v1/incidents/i1/silence\n{"by":"ann","silence_hours":2}',
    b'POST /api/v1/incidents/i1/note\n{"by":"ann","note":"x"}',
    b'POST /api/v1/models/m/1/forget\n{"by":"ann","note":"retired","id":"00000000-0000-4000-8000-000000000000"}',
    b'POST /api/v1/models/m/1/forget?segment=de\n{"by":"ann"}',
]
LARGEST_TARGET = 8_190
"""Most bytes of a request line; aiohttp itself refuses a longer one."""


@contextmanager
def requests() -> Iterator[Target]:
    """An answer 2xx or 3xx counts as accepted. An error in a handler, or an answer 5xx, is a finding.

    Server and loop end with it.
    """
    loop = asyncio.new_event_loop()
    recorded: list[IncidentRequest | ForgetRequest] = []

    async def record(change: IncidentRequest | ForgetRequest) -> None:
        recorded.append(change)

    def add_pages(app: web.Application, views: Views) -> None:
        routes.add_pages(app, views, lambda: 1_000)

    views = Views()
    incident = {"id": "i1", "model": "m", "version": "1", "segment": None, "opened_at_ms": 1}
    views.apply_incident(b"i1", orjson.dumps(incident))
    for segment in (None, "de"):
        view = {"model": "m", "version": "1", "segment": segment, "state": "blind"}
        views.apply_view(keys.unit_key(UnitKey("m", "1", segment)), orjson.dumps(view))
    settings = HttpSettings(port=0, token=Secret("sesame"))
    server = Server(settings, views, Health(), Exposition(Metrics()), add_pages, WriteApi(views, record, lambda: 1_000))
    loop.run_until_complete(server.start())  # freezes the routes

    async def answer(data: bytes) -> int:
        line, _, body = data.partition(b"\n")
        name, _, target = line.decode("latin-1").partition(" ")
        if not target.startswith("/") or len(target) > LARGEST_TARGET or "changes" in target:
            return 0  # aiohttp answers these itself; the last one is a long poll
        stream = StreamReader(BaseProtocol(loop), settings.max_request_bytes, loop=loop)
        stream.feed_data(body)
        stream.feed_eof()
        try:
            request = make_mocked_request(
                name if name in METHODS else METHODS[len(line) % len(METHODS)],
                target,
                headers={"Authorization": "Bearer sesame"},
                app=server._app,
                payload=stream,
                client_max_size=settings.max_request_bytes,
            )
        except ValueError:
            return 0  # not a URL: aiohttp answers it itself
        response = await server._app._handle(request)
        return response.status

    def run(data: bytes) -> bool:
        recorded.clear()
        try:
            status = loop.run_until_complete(answer(data))
        except web.HTTPException as error:
            status = error.status
        assert status < 500, f"answered with {status}"
        for change in recorded:
            assert len(change.note) <= actions.MAX_NOTE, "a note without bounds"
            assert 0 < len(change.by) <= actions.MAX_NAME, "a name without bounds"
            assert _read_back(change) == change, "recorded and not read again"
        return 200 <= status < 400

    try:
        yield Target("requests", 0.03, CORPUS, run)
    finally:
        loop.run_until_complete(server.stop())
        loop.close()


def _read_back(change: IncidentRequest | ForgetRequest) -> IncidentRequest | ForgetRequest:
    return actions.decode(actions.key(change), actions.encode(change), "fuzz")
