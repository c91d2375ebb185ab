"""The HTTP server of a worker: limits, the token, health, readiness and metrics. The JSON is in ``http.api``.

Without a token nothing can be written. The server listens on the loopback address unless the settings name another.
"""

import hmac
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Protocol

from aiohttp import web

from detectors.errors import DriftlineError
from stream.http.answers import add_security_headers, error_answer, json_answer
from stream.http.api import ReadApi, WriteApi
from stream.topics.views import Json, Views

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MAX_REQUESTS_AT_ONCE = 256
"""Each long poll holds one. At 64 KB a request this bounds the memory of requests to 16 MB."""

SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))


class Token(Protocol):
    """A secret that shows its text only when it is asked to."""

    def reveal(self) -> str: ...


class Access(Protocol):
    """Where the server listens and what it lets in; the ``http`` section of the settings is one."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int:
        """0 for any free port."""
        ...

    @property
    def token(self) -> Token | None:
        """What a request that writes must carry; None: nothing can be written."""
        ...

    @property
    def max_request_bytes(self) -> int: ...


class Health(Protocol):
    """What the server asks of the worker around it."""

    def alive(self) -> bool:
        """Whether the worker's loops turn, even while Kafka is unreachable."""
        ...

    def waiting_for(self) -> list[str]:
        """What the worker still waits for before it is ready; empty when it is ready."""
        ...

    def status(self) -> Json: ...


class Exposition(Protocol):
    """The worker's metrics as text."""

    async def text(self, accept: str) -> tuple[bytes, str]:
        """The text and its content type, in the format that the header ``accept`` prefers."""
        ...


class Server:
    """Serves until ``stop``. After ``start``, ``port`` is the bound port."""

    def __init__(
        self,
        access: Access,
        views: Views,
        health: Health,
        metrics: Exposition,
        add_pages: Callable[[web.Application, Views], None] | None = None,
        write_api: WriteApi | None = None,
    ) -> None:
        self._access = access
        self._health = health
        self._metrics = metrics
        self._read_api = ReadApi(views)
        self._running = 0
        self._app = web.Application(middlewares=[self._guard], client_max_size=access.max_request_bytes)
        self._app.on_response_prepare.append(add_security_headers)
        self._app.add_routes(self._routes())
        self._app.add_routes(self._read_api.routes())
        if write_api is not None:
            self._app.add_routes(write_api.routes())
        if add_pages is not None:
            add_pages(self._app, views)
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=1.0, handle_signals=False)
        self.port = access.port

    async def start(self) -> None:
        """Binds the port. Raises DriftlineError naming an address that cannot be bound."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._access.host, self._access.port, reuse_address=True)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise DriftlineError(
                f"cannot listen on http.host {self._access.host}, http.port {self._access.port}: "
                f"{error.strerror or error}; set http.port to a free port (0: any free port)"
            ) from None
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Ends long polls, closes connections and frees the port."""
        self._read_api.stop()
        await self._runner.cleanup()

    def _routes(self) -> list[web.RouteDef]:
        return [
            web.get("/metrics", self._show_metrics),
            web.get("/healthz", self._healthz),
            web.get("/readyz", self._readyz),
            web.get("/api/v1/status", self._status),
        ]

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Applies the limits and the token, and gives every error of the API the same shape."""
        if self._running >= MAX_REQUESTS_AT_ONCE:
            return error_answer(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests at once")
        self._running += 1
        try:
            refused = self._refusal(request)
            return refused if refused is not None else await handler(request)
        except web.HTTPException as error:
            if error.status < HTTPStatus.BAD_REQUEST or not request.path.startswith("/api/"):
                raise
            return error_answer(HTTPStatus(error.status), error.reason)
        finally:
            self._running -= 1

    def _refusal(self, request: web.Request) -> web.Response | None:
        """The answer to a request that writes without the right token; None for every other request."""
        if request.method in SAFE_METHODS:
            return None
        token = self._access.token
        if token is None:
            return error_answer(
                HTTPStatus.FORBIDDEN, "this worker is read-only: set http.token in its settings to allow changes"
            )
        given = request.headers.get("Authorization", "").removeprefix("Bearer ").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, token.reveal().encode()):
            return error_answer(
                HTTPStatus.UNAUTHORIZED, "missing or wrong token: send the header 'Authorization: Bearer <http.token>'"
            )
        return None

    async def _show_metrics(self, request: web.Request) -> web.Response:
        body, content_type = await self._metrics.text(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _healthz(self, _: web.Request) -> web.Response:
        alive = self._health.alive()
        status = HTTPStatus.OK if alive else HTTPStatus.SERVICE_UNAVAILABLE
        return json_answer({"status": "ok" if alive else "stuck"}, status)

    async def _readyz(self, _: web.Request) -> web.Response:
        waiting = self._health.waiting_for()
        status = HTTPStatus.SERVICE_UNAVAILABLE if waiting else HTTPStatus.OK
        return json_answer({"ready": not waiting, "waiting_for": waiting}, status)

    async def _status(self, _: web.Request) -> web.Response:
        return json_answer(self._health.status())
