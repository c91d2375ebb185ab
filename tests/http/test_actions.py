"""Changes to incidents over HTTP: who may make them, what is refused, what is recorded."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from detectors.errors import BrokerError, FormatError
from detectors.incidents.incident import NOTES_KEPT, Change
from stream.http.api import WriteApi
from stream.http.page import routes
from stream.http.server import Server
from stream.metrics.exposition import Exposition
from stream.metrics.registry import Metrics
from stream.settings.layers import Secret
from stream.settings.settings import HttpSettings
from stream.topics import requests
from stream.topics.requests import IncidentRequest, ReleaseRequest
from stream.topics.views import Views

TOKEN = {"Authorization": "Bearer sesame"}


class Health:
    def alive(self) -> bool:
        return True

    def waiting_for(self) -> list[str]:
        return []

    def status(self) -> dict[str, Any]:
        return {}


def now_ms() -> int:
    return 1_000


def add_pages(app: web.Application, views: Views) -> None:
    routes.add_pages(app, views, now_ms)


class Site:
    """A server with two incidents; what it recorded, and what it fails with."""

    def __init__(self) -> None:
        self.recorded: list[IncidentRequest] = []
        self.failure: BrokerError | None = None
        self.views = Views()
        self.client: aiohttp.ClientSession
        members: dict[str, dict[str, Any]] = {
            "i1": {},
            "over": {"resolved_at_ms": 5},
            "full": {"notes": [{}] * NOTES_KEPT},
        }
        for name, more in members.items():
            incident = {"id": name, "model": "m", "version": "1", "segment": None, "opened_at_ms": 1, **more}
            self.views.apply_incident(name.encode(), orjson.dumps(incident))

    async def record(self, action: IncidentRequest) -> None:
        if self.failure is not None:
            raise self.failure
        self.recorded.append(action)

    async def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        given = TOKEN if headers is None else headers
        async with self.client.post(f"/api/v1/incidents/{path}", data=data, headers=given) as response:
            return response.status, orjson.loads(await response.read())


@asynccontextmanager
async def served(token: str | None = "sesame", *, writes: bool = True) -> AsyncIterator[Site]:
    site = Site()
    settings = HttpSettings(port=0, token=None if token is None else Secret(token))
    write_api = WriteApi(site.views, site.record, now_ms) if writes else None
    server = Server(settings, site.views, Health(), Exposition(Metrics()), add_pages, write_api)
    await server.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as site.client:
            yield site
    finally:
        await server.stop()


@pytest.mark.parametrize("change", list(Change))
async def test_a_change_is_recorded_with_who_when_and_why(change: Change) -> None:
    hours = {"silence_hours": 2.0} if change is Change.SILENCE else {}
    async with served() as site:
        status, told = await site.post(f"i1/{change}", {"by": " ann ", "note": "new card", **hours})
        [action] = site.recorded
    assert (status, told) == (202, {"id": action.id, "incident": "i1", "action": change.value, "at_ms": 1_000})
    until = 1_000 + 7_200_000 if hours else None
    assert action == IncidentRequest(requests.SCHEMA, action.id, "i1", change, "ann", 1_000, "new card", until)


async def test_without_the_token_nothing_is_recorded() -> None:
    async with served() as site:
        assert (await site.post("i1/ack", {"by": "a"}, {}))[0] == 401
        assert (await site.post("i1/ack", {"by": "a"}, {"Authorization": "Bearer wrong"}))[0] == 401
        assert site.recorded == []
    async with served(token=None) as site:
        assert (await site.post("i1/ack", {"by": "a"}))[0] == 403
        assert site.recorded == []


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("nobody/ack", {"by": "a"}, 404),
        ("i1/burn", {"by": "a"}, 404),
        ("over/ack", {"by": "a"}, 409),
        ("full/note", {"by": "a", "note": "x"}, 409),
        ("i1/ack", {}, 400),
        ("i1/ack", b"nonsense", 400),
        ("i1/ack", {"by": "  "}, 400),
        ("i1/ack", {"by": "a" * 101}, 400),
        ("i1/ack", {"by": "a", "note": "x" * 2_001}, 400),
        ("i1/ack", {"by": "a", "surprise": 1}, 400),
        ("i1/ack", {"by": "a", "id": ""}, 400),
        ("i1/note", {"by": "a"}, 400),
        ("i1/silence", {"by": "a"}, 400),
        ("i1/silence", {"by": "a", "silence_hours": 721}, 400),
        ("i1/silence", {"by": "a", "silence_hours": -1}, 400),
        ("i1/resolve", {"by": "a", "silence_hours": 1}, 400),
    ],
)
async def test_what_makes_no_sense_is_refused_with_the_reason(path: str, body: Any, status: int) -> None:
    async with served() as site:
        got, told = await site.post(path, body)
        assert (got, site.recorded) == (status, [])
        assert told["error"]


async def test_a_resolved_incident_takes_notes_and_a_full_one_its_end() -> None:
    async with served() as site:
        assert (await site.post("over/note", {"by": "a", "note": "post mortem"}))[0] == 202
        assert (await site.post("full/resolve", {"by": "a"}))[0] == 202


async def test_what_kafka_did_not_take_is_said_with_the_id_to_ask_again_by() -> None:
    async with served() as site:
        site.failure = BrokerError("broker away")
        status, told = await site.post("i1/ack", {"by": "a", "id": "mine"})
        assert (status, told) == (503, {"error": "broker away", "id": "mine"})
        site.failure = None
        assert (await site.post("i1/ack", {"by": "a", "id": "mine"}))[1]["id"] == "mine"


async def test_the_page_offers_changes_only_where_they_can_be_made() -> None:
    for writes in (True, False):
        async with served(writes=writes) as site, site.client.get("/incidents/i1") as page:
            assert ('id="actions"' in await page.text()) is writes


async def test_a_release_is_recorded_for_what_is_in_quarantine_and_refused_for_all_else() -> None:
    async with served() as site:
        held = {"ignored": 3, "places": {"judge": {"reason": "judging: x", "ignored": 3}}}
        for segment, quarantined in (("de", held), ("fr", None)):
            view = {"model": "m", "version": "1", "segment": segment, "quarantined": quarantined, "refused": None}
            site.views.apply_view(str(segment).encode(), orjson.dumps(view))
        body = {"by": "ann", "id": "r1"}
        assert (await site.post("../models/m/1/release", body))[0] == 202
        (recorded,) = site.recorded
        assert isinstance(recorded, ReleaseRequest)
        assert (recorded.unit.segment, recorded.id) == ("de", "r1")
        status, answer = await site.post("../models/m/1/release?segment=fr", body)
        assert (status, answer["error"]) == (409, "model 'm' version '1' is not in quarantine")
        assert (await site.post("../models/m/2/release", body))[0] == 404
        assert (await site.post("../models/m/1/release", {}))[0] == 400
        assert (await site.post("../models/m/1/release", body, headers={}))[0] == 401


async def test_refused_models_are_listed_with_their_limit() -> None:
    async with served() as site:
        for version, refused in (("10", None), ("11", {"limit": "versions", "ignored": 400})):
            view = {"model": "m", "version": version, "segment": None, "refused": refused}
            site.views.apply_view(version.encode(), orjson.dumps(view))
        async with site.client.get("/api/v1/refused") as response:
            assert orjson.loads(await response.read()) == {
                "refused": [{"model": "m", "version": "11", "segment": None, "limit": "versions", "ignored": 400}]
            }


def test_a_request_to_release_keeps_its_form_in_its_record() -> None:
    made = ReleaseRequest(requests.SCHEMA, "r1", "m", "1", None, "ann", 5)
    assert requests.key(made).startswith(b"release/")
    assert requests.decode(requests.key(made), requests.encode(made), "here") == made
    with pytest.raises(FormatError, match="here: is no request to release a model"):
        requests.decode(requests.key(made), b"{}", "here")


def test_what_is_no_action_is_named() -> None:
    with pytest.raises(FormatError, match="where: is no request to change an incident"):
        requests.decode(b"i/1", b"{}", "where")
    action = IncidentRequest(requests.SCHEMA + 1, "1", "i", Change.ACK, "a", 1)
    with pytest.raises(FormatError, match="schema 2"):
        requests.decode(requests.key(action), requests.encode(action), "where")
