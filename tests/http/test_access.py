"""Who may read and write over HTTP, and that no client can hold, exhaust or fill a worker."""

import asyncio
import logging
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from detectors.errors import SettingsError
from stream.http import access, server
from stream.settings import settings
from stream.settings.layers import Secret
from tests.http.test_server import Site, add_writer, site


def hostile(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> None:
    for name, value in seconds.items():
        monkeypatch.setattr(server, name, value)


async def raw(it: Site, *parts: bytes, seconds: float = 5.0) -> bytes:
    """Everything that the server sends until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", it.server.port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), seconds)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110  # a counter has no event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("token", ["", " ", "\t\n"])
def test_an_empty_token_is_refused_at_the_start(token: str) -> None:
    with pytest.raises(SettingsError, match="token is empty"):
        settings.load(None, {"DRIFTLINE_HTTP__TOKEN": token}, {})


def test_a_token_file_that_is_empty_is_refused_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("\n")
    with pytest.raises(SettingsError, match="token is empty"):
        settings.load(None, {"DRIFTLINE_HTTP__TOKEN_FILE": str(file)}, {})


@pytest.mark.parametrize("host", ["http://a", "a:1", "a b", "", "*"])
def test_an_allowed_host_that_is_none_is_refused_at_the_start(host: str) -> None:
    with pytest.raises(SettingsError, match="allowed_hosts"):
        settings.load(None, {}, {"http.allowed_hosts": [host]})


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Bearer s3cret", 200),
        ("bearer s3cret", 200),
        ("s3cret", 401),
        ("Basic s3cret", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        ("Bearers3cret", 401),
        ("Bearer Bearer s3cret", 401),
        ("Token s3cret", 401),
        ("", 401),
    ],
)
async def test_only_bearer_with_the_token_writes(header: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile(monkeypatch, GUESS_SECONDS=0.0)
    async with (
        site(add_writer, token=Secret("s3cret")) as it,
        it.client.post("/written", headers={"Authorization": header}, data=b"x") as response,
    ):
        assert response.status == status
        assert ("WWW-Authenticate" in response.headers) == (status == 401)


async def test_guesses_are_slowed_counted_and_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Twenty parallel guesses: four are compared, a second late; the others are not compared, the right one among
    them included. Once they are answered, the right token is accepted at once."""
    hostile(monkeypatch, GUESS_SECONDS=0.5)
    async with site(add_writer, token=Secret("s3cret")) as it:

        async def write(token: str) -> int:
            async with it.client.post("/written", headers={"Authorization": f"Bearer {token}"}) as response:
                return response.status

        began = time.monotonic()
        first = [asyncio.create_task(write(f"guess{number}")) for number in range(access.GUESSES_OF_ONE_ADDRESS)]
        await until(lambda: it.refused["token"] == len(first))
        assert [await write(token) for token in [*("more" for _ in range(15)), "s3cret"]] == [429] * 16
        assert await asyncio.gather(*first) == [401] * 4
        assert time.monotonic() - began >= 0.5
        assert await write("s3cret") == 200
    assert it.refused == {"token": 4, "busy": 16}
    (line,) = [record.getMessage() for record in caplog.records if "wrong token" in record.getMessage()]
    assert "127.0.0.1" in line
    assert "guess" not in line


@pytest.mark.parametrize(
    ("bound", "allowed", "host", "accepted"),
    [
        ("127.0.0.1", (), "127.0.0.1:9108", True),
        ("127.0.0.1", (), "localhost:1", True),
        ("127.0.0.1", (), "LOCALHOST.", True),
        ("::1", (), "[::1]:9108", True),
        ("localhost", (), "evil.example", False),
        ("127.0.0.1", (), "evil.example:9108", False),
        ("127.0.0.1", (), "127.0.0.1.evil.example", False),
        ("127.0.0.1", (), "10.0.0.1", False),
        ("127.0.0.1", (), "", False),
        ("127.0.0.1", ("drift.example",), "Drift.Example:443", True),
        ("127.0.0.1", ("drift.example",), "evil.drift.example", False),
        ("0.0.0.0", (), "anything.example", True),
        ("0.0.0.0", ("drift.example",), "drift.example", True),
        ("0.0.0.0", ("drift.example",), "10.0.0.7:9108", True),
        ("0.0.0.0", ("drift.example",), "[fd00::1]:9108", True),
        ("0.0.0.0", ("drift.example",), "evil.example", False),
    ],
)
def test_a_host_that_is_not_ours_is_refused(bound: str, allowed: tuple[str, ...], host: str, accepted: bool) -> None:
    assert access.HostCheck(bound, allowed).accepts([host]) is accepted


async def test_a_page_that_points_its_name_at_this_machine_reads_and_writes_nothing() -> None:
    async with site(add_writer, token=Secret("t")) as it:
        for path in ("/", "/metrics", "/api/v1/models", "/healthz"):
            status, body = await it.get(path, headers={"Host": "evil.example"})
            assert status == 421
            assert "http.allowed_hosts" in body["error"]
        head = {"Host": "evil.example", "Authorization": "Bearer t"}
        async with it.client.post("/written", headers=head) as response:
            assert response.status == 421
        both = await raw(it, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert b" 200 " not in both.splitlines()[0]
        assert (await it.get("/healthz", headers={"Host": "localhost"}))[0] == 200
    assert it.refused["host"] == 5
    async with site(allowed_hosts=("drift.example",)) as it:
        assert (await it.get("/healthz", headers={"Host": "drift.example"}))[0] == 200


HEAD = b"POST /written HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer t\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET",
        b"GET / HTTP/1.1\r\nHost: loc",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea",
        HEAD + b"Content-Length: 10\r\n\r\nabc",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc",
        b"POST /written HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc",
    ],
)
async def test_idle_and_half_sent_requests_end_in_time(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile(monkeypatch, IDLE_SECONDS=0.4, BODY_SECONDS=0.4, GUESS_SECONDS=0.0, LINGER_SECONDS=0.4)
    async with site(add_writer, token=Secret("t")) as it:
        await raw(it, *([sent] if sent else []), seconds=4.0)  # wait_for raises if the connection stays open
        assert (await it.get("/healthz"))[0] == 200


async def test_a_head_that_comes_in_drops_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    hostile(monkeypatch, IDLE_SECONDS=0.5)
    async with site() as it:
        _, writer = await asyncio.open_connection("127.0.0.1", it.server.port)

        async def drip() -> None:
            while True:
                writer.write(b"G")
                await writer.drain()
                await asyncio.sleep(0.05)

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(drip(), 5)
        writer.close()


async def test_a_client_that_does_not_read_its_answer_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    hostile(monkeypatch, SEND_SECONDS=0.4)

    def add(app: web.Application, _: object) -> None:
        async def large(request: web.Request) -> web.Response:
            return web.Response(body=b"x" * 50_000_000)

        app.router.add_get("/large", large)

    async with site(add) as it:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.server.port, limit=1024)
        writer.write(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await writer.drain()
        await until(lambda: it.refused["slow"])
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(50_000_000)
        writer.close()


async def test_more_connections_than_files_do_not_keep_others_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that only wait give their place to new ones; one that serves a request stays."""
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 20)
    async with site() as it:
        polling = asyncio.ensure_future(it.get("/api/v1/changes?since=0"))
        await it.views.waited_for.wait()
        opened = [await asyncio.open_connection("127.0.0.1", it.server.port) for _ in range(200)]
        for _ in range(20):
            status, _ = await it.get("/healthz", headers={"Connection": "close"})
            assert status == 200
        closed = 0
        for reader, writer in opened:
            closed += reader.at_eof() or bool(await _ended(reader))
            writer.close()
        assert closed >= 175
        assert not polling.done()
        await it.server.stop()
        await polling


async def _ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(1), 0.02) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_connections_take_at_most_a_quarter_of_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    for files, most in ((100_000, 512), (1_024, 256), (256, 64), (resource.RLIM_INFINITY, 512)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        assert server.most_connections() == most


MALFORMED = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x00\x00\x00\x00",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"G\x1bT / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /\x1b]0;owned\x07 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET http://[::1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET http://x:99999999/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET //[ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /%ff%fe?a=%ff&=%00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /api/v1/models/%00/%ed%a0%80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 1_000 + b"\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a:b:c\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\nx",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nExpect: odd\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: \xff\xff;q=x;;;,/\r\n\r\n",
    b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /written HTTP/1.1\r\nHost: localhost\r\nAuthorization: \xff\xfe\r\nContent-Length: 0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    HEAD + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    HEAD + b"Content-Encoding: deflate\r\nContent-Length: 3\r\n\r\nabc",
    HEAD + b"Content-Encoding: br\r\nContent-Length: 3\r\n\r\nabc",
    HEAD + b"Content-Length: 100000\r\n\r\n" + b"x" * 100_000,
]


@pytest.mark.parametrize("request_", MALFORMED, ids=range(len(MALFORMED)))
async def test_malformed_requests_leave_no_traceback(
    request_: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hostile(monkeypatch, IDLE_SECONDS=0.3, BODY_SECONDS=0.3, GUESS_SECONDS=0.0, LINGER_SECONDS=0.3)
    caplog.set_level(logging.DEBUG)
    async with site(add_writer, token=Secret("t")) as it:
        answer = await raw(it, request_)
        assert not answer.startswith(b"HTTP/1.1 5"), answer[:200]
        assert (await it.get("/healthz"))[0] == 200
    assert not [record for record in caplog.records if record.exc_info], caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR], caplog.text
    assert "\x1b" not in caplog.text
