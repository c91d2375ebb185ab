"""The web pages: their routes, headers and cache. Each page is made in a module of its own in this folder."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from importlib import resources

from aiohttp import web

from stream.http.answers import SECURITY_HEADERS
from stream.http.page import feature, fleet, frame, incident, model
from stream.http.page.history import History
from stream.http.page.markup import Markup, element
from stream.topics.views import Views

STATIC_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

SAMPLE_SECONDS = 1.0
QUIET_SECONDS = 5.0
"""A sample is taken this often even without a change, so that the rate of a silent model falls to zero."""

MAX_CACHED_PAGES = 64
"""Most pages in the cache. A page of 100 models or 50 features has about 150 KB, so they use 10 MB at most."""

QUERY_NAMES = ("q", "state", "sort", "page", "segment")
MAX_QUERY_LENGTH = 200

Rendered = tuple[str, Markup] | None


def add_pages(app: web.Application, views: Views, now_ms: Callable[[], int]) -> None:
    """Adds ``/``, the pages below it and ``/static/``, and a task that samples the views while ``app`` runs."""
    pages = Pages(views, now_ms)
    app.add_routes(
        [
            web.get("/", pages.fleet),
            web.get("/models/{model}/{version}", pages.model),
            web.get("/models/{model}/{version}/features/{feature}", pages.feature),
            web.get("/incidents", pages.incidents),
            web.get("/incidents/{id}", pages.incident),
            web.get("/static/{name}", pages.static),
        ]
    )
    app.cleanup_ctx.append(pages.sampling)


class Pages:
    """The handlers of the pages. A page is rendered once per change and second, for any number of viewers."""

    def __init__(self, views: Views, now_ms: Callable[[], int]) -> None:
        self._views = views
        self._now_ms = now_ms
        self._history = History()
        self._cache: OrderedDict[tuple[str, int, int], tuple[str, int]] = OrderedDict()
        self._static = _static_files()

    async def sampling(self, app: web.Application) -> AsyncIterator[None]:
        """Runs the sampling task while the application runs."""
        task = asyncio.ensure_future(self._sample())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _sample(self) -> None:
        generation = -1
        while True:
            generation = await self._views.wait_for_change(generation, QUIET_SECONDS)
            self._history.note_all(self._views, self._now_ms())
            await asyncio.sleep(SAMPLE_SECONDS)

    async def fleet(self, request: web.Request) -> web.Response:
        query = _query(request)
        return self._page(request, "Fleet", lambda now: fleet.render(self._views, self._history, query, now))

    async def model(self, request: web.Request) -> web.Response:
        query, writable = _query(request), _is_writable(request.app)

        def render(now: int) -> Rendered:
            detail = self._views.detail(
                request.match_info["model"], request.match_info["version"], query.get("segment")
            )
            if detail is None:
                return None
            return model.render(detail, self._views, self._history, query, now, writable=writable)

        return self._page(request, "Fleet", render)

    async def feature(self, request: web.Request) -> web.Response:
        query, names = _query(request), request.match_info

        def render(now: int) -> Rendered:
            detail = self._views.detail(names["model"], names["version"], query.get("segment"))
            return feature.render(detail, names["feature"], self._history, now) if detail is not None else None

        return self._page(request, "Fleet", render)

    async def incidents(self, request: web.Request) -> web.Response:
        query = _query(request)
        return self._page(request, "Incidents", lambda now: incident.render_list(self._views, query, now))

    async def incident(self, request: web.Request) -> web.Response:
        writable = _is_writable(request.app)

        def render(now: int) -> Rendered:
            found = self._views.incident(request.match_info["id"])
            if found is None:
                return None
            detail = self._views.detail(str(found.get("model")), str(found.get("version")), found.get("segment"))
            return incident.render(found, detail, now, writable=writable)

        return self._page(request, "Incidents", render)

    async def static(self, request: web.Request) -> web.Response:
        found = self._static.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        body, content_type, tag = found
        headers = {"ETag": tag, "Cache-Control": "no-cache", **SECURITY_HEADERS}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=headers)

    def _page(self, request: web.Request, section: str, render: Callable[[int], Rendered]) -> web.Response:
        now_ms = self._now_ms()
        key = (request.path_qs, self._views.generation, now_ms // 1000)
        cached = self._cache.get(key)
        if cached is None:
            rendered = render(now_ms)
            title, body = rendered if rendered is not None else _not_found()
            text = frame.document(title, body, self._views.generation, section)
            cached = (text, 200 if rendered is not None else 404)
            if len(request.path_qs) <= 2 * MAX_QUERY_LENGTH:
                self._cache[key] = cached
            while len(self._cache) > MAX_CACHED_PAGES:
                self._cache.popitem(last=False)
        headers = {**SECURITY_HEADERS, "Cache-Control": "no-store"}
        return web.Response(text=cached[0], status=cached[1], content_type="text/html", headers=headers)


def _query(request: web.Request) -> dict[str, str]:
    """The query parameters that the pages use, each cut to ``MAX_QUERY_LENGTH`` characters."""
    return {name: request.query[name][:MAX_QUERY_LENGTH] for name in QUERY_NAMES if name in request.query}


def _is_writable(app: web.Application) -> bool:
    """Whether the application has routes that change an incident."""
    return any(
        route.method == "POST"
        and route.resource is not None
        and route.resource.canonical.startswith("/api/v1/incidents/{")
        for route in app.router.routes()
    )


def _not_found() -> tuple[str, Markup]:
    body = [
        element("h1", "Not found"),
        element(
            "p",
            "This worker knows no model, feature or incident with that name. "
            "It may not have arrived yet, or it may have been removed.",
            class_="lead",
        ),
        element("p", element("a", "Back to the fleet", href="/")),
    ]
    return "Not found", element("section", body)


def _static_files() -> dict[str, tuple[bytes, str, str]]:
    """The content, type and tag of every static file; read once at start."""
    found = {}
    for file in resources.files("stream.http").joinpath("static").iterdir():
        suffix = file.name[file.name.rfind(".") :]
        if suffix in STATIC_TYPES:
            body = file.read_bytes()
            found[file.name] = (body, STATIC_TYPES[suffix], f'"{hashlib.sha256(body).hexdigest()[:16]}"')
    return found
