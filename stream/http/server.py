"""The HTTP server of a worker: limits, the token, health, readiness and metrics. The JSON is in ``http.api``.

Without a token nothing can be written. The server listens on the loopback address unless the settings name another.
"""

import asyncio
import logging
import resource
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any, Protocol

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from detectors.errors import DriftlineError
from stream.http.access import GUESS_SECONDS, HostCheck, TokenCheck
from stream.http.answers import add_security_headers, error_answer, json_answer
from stream.http.api import ReadApi, WriteApi
from stream.topics.views import Json, Views

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MAX_REQUESTS_AT_ONCE = 256
"""Each long poll holds one. At 64 KB a request this bounds the memory of requests to 16 MB."""

IDLE_SECONDS = 30.0
"""A connection is closed when it has not sent a whole head of a request for this long."""

LINGER_SECONDS = 5.0
"""How long a body that nothing reads may still arrive after the answer, so that the client reads the answer."""

BODY_SECONDS = 15.0
"""The body of a request must have arrived this long after its head."""

SEND_SECONDS = 60.0
"""The client must have received the answer this long after it was made."""

MAX_CONNECTIONS = 512
BACKLOG = 64
"""Most connections that are open, and most that wait to be accepted at once."""

SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))


class Token(Protocol):
    """A secret that shows its text only when it is asked to."""

    def reveal(self) -> str: ...


class Access(Protocol):
    """Where the server listens, and which requests it accepts; the ``http`` section of the settings is one."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int:
        """0 for any free port."""
        ...

    @property
    def token(self) -> Token | None:
        """The token that a request must have in order to write; None: nothing can be written."""
        ...

    @property
    def max_request_bytes(self) -> int: ...

    @property
    def allowed_hosts(self) -> Sequence[str]:
        """Names of this server besides the loopback ones."""
        ...


class Health(Protocol):
    """What the server must know about its worker."""

    def alive(self) -> bool:
        """Whether the worker's loops run, even while Kafka is unreachable."""
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


def most_connections() -> int:
    """How many connections may be open: MAX_CONNECTIONS, or a quarter of the files that this process may open."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if files == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, max(8, files // 4))


class RequestLog(logging.LoggerAdapter[logging.Logger]):
    """The log of aiohttp's server, in which a malformed request leaves no traceback.

    :param malformed: is called for every request that cannot be parsed; nothing is logged of it, since its text is
        that of whoever sent it.
    """

    def __init__(self, malformed: Callable[[], None]) -> None:
        super().__init__(log)
        self._malformed = malformed

    def exception(self, msg: object, *args: object, exc_info: Any = True, **more: Any) -> None:
        if isinstance(exc_info, (HttpProcessingError, web.RequestPayloadError)):
            self._malformed()
        else:
            super().exception(msg, *args, exc_info=exc_info, **more)

    def debug(self, msg: object, *args: object, exc_info: Any = None, **more: Any) -> None:
        if isinstance(exc_info, HttpProcessingError):
            self._malformed()


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
        refused: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """``refused`` is called with the reason for every request that is refused: ``host``, ``token``, ``busy``,
        ``malformed`` or ``slow``."""
        self._access = access
        self._refused = refused
        self._hosts = HostCheck(access.host, access.allowed_hosts)
        self._token: TokenCheck | None = None
        self._health = health
        self._metrics = metrics
        self._read_api = ReadApi(views)
        self._running = 0
        self._serving: set[object] = set()
        self._listener: asyncio.Server | None = None
        self._app = web.Application(middlewares=[self._guard], client_max_size=access.max_request_bytes)
        self._app.on_response_prepare.append(add_security_headers)
        self._app.add_routes(self._routes())
        self._app.add_routes(self._read_api.routes())
        if write_api is not None:
            self._app.add_routes(write_api.routes())
        if add_pages is not None:
            add_pages(self._app, views)
        self._runner = web.AppRunner(
            self._app,
            access_log=None,
            shutdown_timeout=1.0,
            handle_signals=False,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=LINGER_SECONDS,
            logger=RequestLog(lambda: refused("malformed")),
        )
        self.port = access.port

    async def start(self) -> None:
        """Binds the port. Raises DriftlineError naming an address that cannot be bound."""
        if self._access.token is not None:
            now = asyncio.get_running_loop().time
            self._token = TokenCheck(self._access.token.reveal(), lambda: self._refused("token"), now)
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(
                self._accept, self._access.host, self._access.port, reuse_address=True, backlog=BACKLOG
            )
        except OSError as error:
            await self._runner.cleanup()
            raise DriftlineError(
                f"cannot listen on http.host {self._access.host}, http.port {self._access.port}: "
                f"{error.strerror or error}; set http.port to a free port (0: any free port)"
            ) from None
        self.port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Ends long polls, closes connections and frees the port."""
        self._read_api.stop()
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()

    def _accept(self) -> asyncio.Protocol:
        """The protocol of a new connection. If there are too many, the oldest one that serves no request is closed, so
        that connections which only wait neither keep others out nor take the files that Kafka's connections need."""
        server = self._runner.server
        assert server is not None
        connections = server.connections
        if len(connections) >= most_connections():
            waiting = next((one for one in connections if one not in self._serving), None)
            if waiting is not None:
                waiting.force_close()
        return server()

    def _routes(self) -> list[web.RouteDef]:
        return [
            web.get("/metrics", self._show_metrics),
            web.get("/healthz", self._healthz),
            web.get("/readyz", self._readyz),
            web.get("/api/v1/status", self._status),
        ]

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Applies the limits, the host and the token, and gives every error of the API the same shape."""
        try:
            response = await self._limited(request, handler)
        except web.HTTPException as error:
            if error.status < HTTPStatus.BAD_REQUEST or not request.path.startswith("/api/"):
                await self._send(request, error)
                raise
            response = error_answer(HTTPStatus(error.status), error.reason)
        await self._send(request, response)
        return response

    async def _limited(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._hosts.accepts(request.headers.getall("Host", [])):
            self._refused("host")
            return error_answer(
                HTTPStatus.MISDIRECTED_REQUEST,
                "this server has another name: add the name in the header 'Host' to http.allowed_hosts",
            )
        if self._running >= MAX_REQUESTS_AT_ONCE:
            self._refused("busy")
            return error_answer(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests at once")
        self._running += 1
        self._serving.add(request.protocol)
        try:
            if request.method not in SAFE_METHODS:
                refused = await self._write_refusal(request) or await self._body_refusal(request)
                if refused is not None:
                    return refused
            return await handler(request)
        finally:
            self._running -= 1
            self._serving.discard(request.protocol)

    async def _write_refusal(self, request: web.Request) -> web.Response | None:
        """The answer to a request that writes without the right token; None with it."""
        token = self._token
        if token is None:
            return error_answer(
                HTTPStatus.FORBIDDEN, "this worker is read-only: set http.token in its settings to allow changes"
            )
        address = request.remote or ""
        if token.busy(address):
            self._refused("busy")
            answer = error_answer(HTTPStatus.TOO_MANY_REQUESTS, "too many wrong tokens; try again in a second")
            answer.headers["Retry-After"] = "1"
            return answer
        if token.accepts(request.headers.get("Authorization", "")):
            return None
        token.hold(address)
        try:
            await asyncio.sleep(GUESS_SECONDS)
        finally:
            token.release(address)
        answer = error_answer(
            HTTPStatus.UNAUTHORIZED, "missing or wrong token: send the header 'Authorization: Bearer <http.token>'"
        )
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer

    async def _body_refusal(self, request: web.Request) -> web.Response | None:
        """Reads the body, which the handler then finds in memory. The answer if it does not arrive; None otherwise."""
        try:
            async with asyncio.timeout(BODY_SECONDS):
                await request.read()
        except TimeoutError:
            self._refused("slow")
            answer = error_answer(
                HTTPStatus.REQUEST_TIMEOUT, f"the body of the request did not arrive within {BODY_SECONDS:.0f} s"
            )
        except ConnectionError:
            raise web.HTTPBadRequest(reason="the client left") from None
        except (HttpProcessingError, web.RequestPayloadError, ValueError):
            self._refused("malformed")
            answer = error_answer(HTTPStatus.BAD_REQUEST, "the body of the request cannot be read")
        else:
            return None
        answer.force_close()
        return answer

    async def _send(self, request: web.Request, response: web.StreamResponse | web.HTTPException) -> None:
        """Sends the answer, and drops the connection of a client that does not receive it in time."""
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError:
            self._refused("slow")
            if request.transport is not None:
                request.transport.abort()
        except ConnectionError:
            pass  # the client left

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
