"""The JSON API below ``/api/v1``: models and incidents, the next change, and the requests that people make."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from uuid import uuid4

from aiohttp import web

from detectors.errors import BrokerError, FormatError
from detectors.features import UnitKey
from detectors.incidents.incident import NOTES_KEPT, Change
from stream.http.answers import error_answer, json_answer
from stream.topics import requests
from stream.topics.requests import ForgetRequest, ReleaseRequest, Request
from stream.topics.views import AnySegment, Json, Views

Record = Callable[[Request], Awaitable[None]]
"""Writes a request to its topic. Raises BrokerError when Kafka does not acknowledge it."""

RECORD_SECONDS = 8.0
"""Shorter than the 10 s for which the command line waits for an answer."""

LONG_POLL_SECONDS = 25.0
"""Shorter than the 30 s after which many proxies close an idle request."""

MAX_INCIDENTS_PER_ANSWER = 1_000


class ReadApi:
    """The routes that only read: models, incidents, and the long poll that reports the next change."""

    __slots__ = ("_stopping", "_views")

    def __init__(self, views: Views) -> None:
        self._views = views
        self._stopping = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        """The routes to add to the application."""
        return [
            web.get("/api/v1/models", self._models),
            web.get("/api/v1/models/{model}/{version}", self._model),
            web.get("/api/v1/refused", self._refused),
            web.get("/api/v1/incidents", self._incidents),
            web.get("/api/v1/incidents/{id}", self._incident),
            web.get("/api/v1/changes", self._changes),
        ]

    def stop(self) -> None:
        """Ends the long polls that are waiting, so that the server can stop at once."""
        self._stopping.set()

    async def _models(self, _: web.Request) -> web.Response:
        return json_answer({"models": self._views.models(), "generation": self._views.generation})

    async def _refused(self, _: web.Request) -> web.Response:
        """The units for which there is no room, with the limit."""
        found = [model for model in self._views.models() if model.get("refused")]
        return json_answer(
            {"refused": [{**{n: m[n] for n in ("model", "version", "segment")}, **m["refused"]} for m in found]}
        )

    async def _model(self, request: web.Request) -> web.Response:
        model, version = request.match_info["model"], request.match_info["version"]
        segment = request.query.get("segment") or None
        detail = self._views.detail(model, version, segment)
        if detail is None:
            of_segment = "" if segment is None else f" segment {segment!r}"
            return error_answer(HTTPStatus.NOT_FOUND, f"no model {model!r} version {version!r}{of_segment}")
        return json_answer({**detail, "segments": self._views.segments(model, version)})

    async def _incidents(self, request: web.Request) -> web.Response:
        query = request.query
        state = query.get("state", "all")
        if state not in ("open", "resolved", "all"):
            return error_answer(HTTPStatus.BAD_REQUEST, f"state must be open, resolved or all, not {state!r}")
        limit = _whole_number(query.get("limit"), 200)
        if limit is None:
            return error_answer(HTTPStatus.BAD_REQUEST, f"limit must be a whole number, not {query['limit']!r}")
        # An empty segment selects the whole population, which has no segment.
        segment = query["segment"] or None if "segment" in query else AnySegment.ANY
        found = self._views.incidents(
            query.get("model"), query.get("version"), segment, state, min(limit, MAX_INCIDENTS_PER_ANSWER)
        )
        return json_answer({"incidents": found, "generation": self._views.generation})

    async def _incident(self, request: web.Request) -> web.Response:
        incident = self._views.incident(request.match_info["id"])
        return _no_incident(request) if incident is None else json_answer(incident)

    async def _changes(self, request: web.Request) -> web.Response:
        since = _whole_number(request.query.get("since"), 0)
        if since is None:
            return error_answer(HTTPStatus.BAD_REQUEST, f"since must be a whole number, not {request.query['since']!r}")
        change = asyncio.ensure_future(self._views.wait_for_change(since, LONG_POLL_SECONDS))
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((change, stop), return_when=asyncio.FIRST_COMPLETED)
        finally:
            change.cancel()
            stop.cancel()
        return json_answer({"generation": self._views.generation})


class WriteApi:
    """The routes that record a request of a person: what to do with an incident, and which model to stop monitoring.

    An answer is sent when Kafka has acknowledged the request. The judge of the model carries it out within a second.
    """

    __slots__ = ("_now_ms", "_record", "_views")

    def __init__(self, views: Views, record: Record, now_ms: Callable[[], int]) -> None:
        self._views, self._record, self._now_ms = views, record, now_ms

    def routes(self) -> list[web.RouteDef]:
        """The routes to add to the application. The server checks the token before it calls one."""
        return [
            web.post("/api/v1/incidents/{id}/{action}", self._change_incident),
            web.post("/api/v1/models/{model}/{version}/forget", self._forget_model),
            web.post("/api/v1/models/{model}/{version}/release", self._release_model),
        ]

    async def _change_incident(self, request: web.Request) -> web.Response:
        incident, name = self._views.incident(request.match_info["id"]), request.match_info["action"]
        if incident is None:
            return _no_incident(request)
        if name not in list(Change):
            return error_answer(HTTPStatus.NOT_FOUND, f"no action {name!r}; the actions are {', '.join(Change)}")
        change = Change(name)
        if incident.get("resolved_at_ms") is not None and change is not Change.NOTE:
            return error_answer(HTTPStatus.CONFLICT, "the incident is resolved; only notes can be added")
        if len(incident.get("notes") or ()) >= NOTES_KEPT and change not in (Change.RESOLVE, Change.ACCEPT):
            return error_answer(
                HTTPStatus.CONFLICT, f"the incident has {NOTES_KEPT} notes; it can only be resolved or accepted"
            )
        try:
            body, at_ms = await request.read(), self._now_ms()
            action = requests.incident_request(incident["id"], change, body, at_ms, str(uuid4()))
        except FormatError as error:
            return error_answer(HTTPStatus.BAD_REQUEST, str(error))
        answer = {"id": action.id, "incident": action.incident, "action": name, "at_ms": action.at_ms}
        return await self._recorded([action], answer)

    async def _forget_model(self, request: web.Request) -> web.Response:
        """Records a request to forget a model version with all its segments, or only the one that ``segment`` names. An
        empty ``segment`` names the whole population."""
        return await self._record_for_units(request, ForgetRequest, self._segments(request))

    async def _release_model(self, request: web.Request) -> web.Response:
        """Records a request to end the quarantine of a model version with all its segments, or only of one."""
        model, version = request.match_info["model"], request.match_info["version"]
        segments = self._segments(request)
        held = [s for s in segments if (self._views.detail(model, version, s) or {}).get("quarantined")]
        if segments and not held:
            return error_answer(HTTPStatus.CONFLICT, f"model {model!r} version {version!r} is not in quarantine")
        return await self._record_for_units(request, ReleaseRequest, held)

    def _segments(self, request: web.Request) -> list[str | None]:
        """The segments that a request is about."""
        found = self._views.segments(request.match_info["model"], request.match_info["version"])
        if "segment" not in request.query:
            return found
        return [segment for segment in found if segment == (request.query["segment"] or None)]

    async def _record_for_units(
        self, request: web.Request, kind: type[ForgetRequest | ReleaseRequest], segments: list[str | None]
    ) -> web.Response:
        """Records one request of that kind for each of ``segments``."""
        model, version = request.match_info["model"], request.match_info["version"]
        if not segments:
            wanted = request.query.get("segment")
            of_segment = "" if wanted is None else f" segment {wanted!r}" if wanted else " without a segment"
            return error_answer(HTTPStatus.NOT_FOUND, f"no model {model!r} version {version!r}{of_segment}")
        body, at_ms, new_id = await request.read(), self._now_ms(), str(uuid4())
        try:
            asked = [
                requests.unit_request(kind, UnitKey(model, version, segment), body, at_ms, new_id)
                for segment in segments
            ]
        except FormatError as error:
            return error_answer(HTTPStatus.BAD_REQUEST, str(error))
        answer = {"id": asked[0].id, "model": model, "version": version, "segments": segments, "at_ms": at_ms}
        return await self._recorded(asked, answer)

    async def _recorded(self, asked: Sequence[Request], answer: Json) -> web.Response:
        """Writes all of ``asked`` and returns ``answer``, or an error with the id under which to try again."""
        failed = {"id": asked[0].id}
        try:
            async with asyncio.timeout(RECORD_SECONDS):
                for one in asked:
                    await self._record(one)
        except TimeoutError:
            text = f"Kafka did not acknowledge the request within {RECORD_SECONDS:.0f} s; try again with the same id"
            return json_answer({"error": text, **failed}, HTTPStatus.SERVICE_UNAVAILABLE)
        except BrokerError as error:
            return json_answer({"error": str(error), **failed}, HTTPStatus.SERVICE_UNAVAILABLE)
        return json_answer(answer, HTTPStatus.ACCEPTED)


def _no_incident(request: web.Request) -> web.Response:
    return error_answer(HTTPStatus.NOT_FOUND, f"no incident {request.match_info['id']!r}")


def _whole_number(text: str | None, default: int) -> int | None:
    """``text`` as a number of at least 0, ``default`` where it is None; None if it is not such a number."""
    if text is None:
        return default
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
