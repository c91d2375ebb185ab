"""The HTTP side of a worker: metrics, health, readiness and the JSON of contracts.md. Read-only without a token.

Loopback unless the settings say otherwise. Pages are added by whoever owns them, through ``add_pages``.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any, Protocol
from uuid import uuid4

import orjson
from aiohttp import web
from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder

from detectors.errors import BrokerError, DriftlineError, FormatError
from detectors.features import UnitKey
from detectors.incidents.incident import NOTES_KEPT, Change
from stream.backends.clock import SystemClock
from stream.backends.ports import Clock
from stream.metrics.gauges import Gauge
from stream.settings.settings import HttpSettings
from stream.topics import requests
from stream.topics import views as views_module
from stream.topics.requests import Request
from stream.topics.views import Json, Views

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Record = Callable[[Request], Awaitable[None]]
"""Writes a change to its topic; BrokerError when it cannot."""

RECORD_SECONDS = 8.0
"""Less than those who ask wait for an answer."""

MAX_REQUESTS_AT_ONCE = 256
"""Each long poll holds one; at 64 KB of request they bound the memory of requests to 16 MB."""

LONG_POLL_SECONDS = 25.0
"""Below the 30 s after which many proxies give up."""

MAX_INCIDENTS_PER_ANSWER = 1_000

SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'none'; connect-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
}


class Health(Protocol):
    """What the server asks of the worker around it."""

    def alive(self) -> bool:
        """The loops turn, whether Kafka can be reached or not."""
        ...

    def waiting_for(self) -> list[str]:
        """What stands between now and readiness; empty when ready."""
        ...

    def status(self) -> Json: ...


class Exposed(Protocol):
    """The families that /metrics shows: those read at once, and those read in a thread, one at a time."""

    def quick(self) -> Iterable[Metric]: ...

    def slow(self) -> Iterable[Metric]: ...


class Server:
    """Serves until ``stop``. ``port`` is the bound one after ``start``."""

    def __init__(
        self,
        settings: HttpSettings,
        views: Views,
        health: Health,
        metrics: Exposed,
        add_pages: Callable[[web.Application, Views], None] | None = None,
        record: Record | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._views = views
        self._health = health
        self._exposed = metrics
        self._scraping = asyncio.Lock()
        self._record = record
        self._running = 0
        self._stopping = asyncio.Event()
        self._app = web.Application(middlewares=[self._guard], client_max_size=settings.max_request_bytes)
        self._app.on_response_prepare.append(_secure)
        self._app.add_routes(self._routes())
        if record is not None:
            self._app.add_routes(
                [
                    web.post("/api/v1/incidents/{id}/{action}", self._act),
                    web.post("/api/v1/models/{model}/{version}/forget", self._forget),
                ]
            )
        if add_pages is not None:
            add_pages(self._app, views)
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=1.0, handle_signals=False)
        self._now_ms = (clock or SystemClock()).now_ms
        self.port = settings.port

    async def start(self) -> None:
        """Binds; DriftlineError names the address that cannot be bound."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._settings.host, self._settings.port, reuse_address=True)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise DriftlineError(
                f"cannot listen on http.host {self._settings.host}, http.port {self._settings.port}: "
                f"{error.strerror or error}; set http.port to a free one (0: any)"
            ) from None
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        self._stopping.set()
        await self._runner.cleanup()

    def _routes(self) -> list[web.RouteDef]:
        return [
            web.get("/metrics", self._metrics),
            web.get("/healthz", self._healthz),
            web.get("/readyz", self._readyz),
            web.get("/api/v1/models", self._models),
            web.get("/api/v1/models/{model}/{version}", self._model),
            web.get("/api/v1/incidents", self._incidents),
            web.get("/api/v1/incidents/{id}", self._incident),
            web.get("/api/v1/changes", self._changes),
            web.get("/api/v1/status", self._status),
        ]

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Limits, the token, and one shape for every error."""
        if self._running >= MAX_REQUESTS_AT_ONCE:
            return _error(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests at once")
        self._running += 1
        try:
            refused = self._refusal(request)
            return refused if refused is not None else await handler(request)
        except web.HTTPException as error:
            if error.status < HTTPStatus.BAD_REQUEST or not request.path.startswith("/api/"):
                raise
            return _error(HTTPStatus(error.status), error.reason)
        finally:
            self._running -= 1

    def _refusal(self, request: web.Request) -> web.Response | None:
        """Why this request may not write; None when it does not or may."""
        if request.method in SAFE_METHODS:
            return None
        token = self._settings.token
        if token is None:
            return _error(HTTPStatus.FORBIDDEN, "read-only: no http.token is configured")
        given = request.headers.get("Authorization", "").removeprefix("Bearer ").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, token.reveal().encode()):
            return _error(HTTPStatus.UNAUTHORIZED, "needs the header 'Authorization: Bearer <http.token>'")
        return None

    async def _metrics(self, request: web.Request) -> web.Response:
        encoder, content_type = choose_encoder(request.headers.get("Accept", ""))
        quick = list(self._exposed.quick())  # in the loop that changes it
        async with self._scraping:
            body = await asyncio.to_thread(_text, quick, self._exposed.slow(), encoder)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _healthz(self, _: web.Request) -> web.Response:
        alive = self._health.alive()
        return _json({"status": "ok" if alive else "stuck"}, 200 if alive else 503)

    async def _readyz(self, _: web.Request) -> web.Response:
        waiting = self._health.waiting_for()
        return _json({"ready": not waiting, "waiting_for": waiting}, 503 if waiting else 200)

    async def _status(self, _: web.Request) -> web.Response:
        return _json(self._health.status())

    async def _models(self, _: web.Request) -> web.Response:
        return _json({"models": self._views.models(), "generation": self._views.generation})

    async def _model(self, request: web.Request) -> web.Response:
        model, version = request.match_info["model"], request.match_info["version"]
        segment = request.query.get("segment") or None
        detail = self._views.detail(model, version, segment)
        if detail is None:
            of_segment = "" if segment is None else f" segment {segment!r}"
            return _error(HTTPStatus.NOT_FOUND, f"no model {model!r} version {version!r}{of_segment}")
        return _json({**detail, "segments": self._views.segments(model, version)})

    async def _incidents(self, request: web.Request) -> web.Response:
        query = request.query
        state = query.get("state", "all")
        if state not in ("open", "resolved", "all"):
            return _error(HTTPStatus.BAD_REQUEST, f"state {state!r} is not open, resolved or all")
        limit = _whole(query.get("limit"), 200)
        if limit is None:
            return _error(HTTPStatus.BAD_REQUEST, f"limit {query['limit']!r} is not a whole number")
        # An empty segment is the whole population, which has none.
        segment = query["segment"] or None if "segment" in query else views_module.AnySegment.ANY
        found = self._views.incidents(
            query.get("model"), query.get("version"), segment, state, min(limit, MAX_INCIDENTS_PER_ANSWER)
        )
        return _json({"incidents": found, "generation": self._views.generation})

    async def _incident(self, request: web.Request) -> web.Response:
        incident = self._views.incident(request.match_info["id"])
        if incident is None:
            return _error(HTTPStatus.NOT_FOUND, f"no incident {request.match_info['id']!r}")
        return _json(incident)

    async def _act(self, request: web.Request) -> web.Response:
        """Answers when the change is recorded; the judge of the model takes it in within a second."""
        incident, name = self._views.incident(request.match_info["id"]), request.match_info["action"]
        if incident is None:
            return _error(HTTPStatus.NOT_FOUND, f"no incident {request.match_info['id']!r}")
        if name not in list(Change):
            return _error(HTTPStatus.NOT_FOUND, f"no action {name!r}: {', '.join(Change)}")
        change = Change(name)
        if incident.get("resolved_at_ms") is not None and change is not Change.NOTE:
            return _error(HTTPStatus.CONFLICT, "it is resolved; only notes can be added")
        if len(incident.get("notes") or ()) >= NOTES_KEPT and change not in (Change.RESOLVE, Change.ACCEPT):
            return _error(HTTPStatus.CONFLICT, f"it has {NOTES_KEPT} notes; it can only be resolved or accepted")
        try:
            body, at_ms = await request.read(), self._now_ms()
            action = requests.incident_request(incident["id"], change, body, at_ms, str(uuid4()))
        except FormatError as error:
            return _error(HTTPStatus.BAD_REQUEST, str(error))
        answer = {"id": action.id, "incident": action.incident, "action": name, "at_ms": action.at_ms}
        return await self._recorded([action], answer)

    async def _forget(self, request: web.Request) -> web.Response:
        """Every segment of a model version, or the one that ``segment`` names; an empty one is the whole population."""
        model, version = request.match_info["model"], request.match_info["version"]
        found = self._views.segments(model, version)
        if "segment" in request.query:
            wanted = request.query["segment"] or None
            found = [segment for segment in found if segment == wanted]
        if not found:
            return _error(
                HTTPStatus.NOT_FOUND, f"no model {model!r} version {version!r} with such a segment is watched"
            )
        body, at_ms, new_id = await request.read(), self._now_ms(), str(uuid4())
        try:
            words = [
                requests.forget_request(UnitKey(model, version, segment), body, at_ms, new_id) for segment in found
            ]
        except FormatError as error:
            return _error(HTTPStatus.BAD_REQUEST, str(error))
        answer = {"id": words[0].id, "model": model, "version": version, "segments": found, "at_ms": at_ms}
        return await self._recorded(words, answer)

    async def _recorded(self, changes: Sequence[Request], answer: Json) -> web.Response:
        """``answer`` once all of them are acknowledged."""
        assert self._record is not None
        failed = {"id": changes[0].id}
        try:
            async with asyncio.timeout(RECORD_SECONDS):
                for change in changes:
                    await self._record(change)
        except TimeoutError:
            text = f"Kafka did not acknowledge it in {RECORD_SECONDS:.0f} s; ask again with the same id"
            return _json({"error": text, **failed}, HTTPStatus.SERVICE_UNAVAILABLE.value)
        except BrokerError as error:
            return _json({"error": str(error), **failed}, HTTPStatus.SERVICE_UNAVAILABLE.value)
        return _json(answer, HTTPStatus.ACCEPTED.value)

    async def _changes(self, request: web.Request) -> web.Response:
        since = _whole(request.query.get("since"), 0)
        if since is None:
            return _error(HTTPStatus.BAD_REQUEST, "since is not a whole number")
        change = asyncio.ensure_future(self._views.wait_for_change(since, LONG_POLL_SECONDS))
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((change, stop), return_when=asyncio.FIRST_COMPLETED)
        finally:
            change.cancel()
            stop.cancel()
        return _json({"generation": self._views.generation})


async def _secure(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)


class _Collected:
    """What an encoder expects of a registry."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _text(quick: list[Metric], slow: Iterable[Metric], encoder: Callable[[Any], bytes]) -> bytes:
    """Gauges first: what the library writes ends with the end of the text."""
    gauges: list[str] = []
    for family in slow:
        if isinstance(family, Gauge):
            gauges.append(family.text())
        else:
            quick.append(family)
    return "".join(gauges).encode() + encoder(_Collected(quick))


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(
        body=orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _error(status: HTTPStatus, text: str) -> web.Response:
    return _json({"error": text}, status.value)


def _whole(text: str | None, default: int) -> int | None:
    """A number of at least 0; None for what is none."""
    if text is None:
        return default
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
