"""A headless Chromium, controlled over its DevTools protocol. Only what the tests need."""

import asyncio
import base64
import itertools
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
DEADLINE_SECONDS = 30.0


def executable() -> str | None:
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )


class Chromium:
    """One process with its own profile, for many tests. No test sees what another one stored, since each serves its
    site on its own port."""

    def __init__(self, profile: Path) -> None:
        program = executable()
        assert program is not None
        command = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port = profile / "DevToolsActivePort"
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not port.exists() or "\n" not in port.read_text():
            assert self._process.poll() is None, "Chromium ended at once"
            assert time.monotonic() < deadline, "Chromium does not listen"
            time.sleep(0.05)
        self.address = f"http://127.0.0.1:{port.read_text().splitlines()[0]}"

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(DEADLINE_SECONDS)


class Browser:
    """One test's tabs in a Chromium."""

    def __init__(self, chromium: Chromium) -> None:
        self._address = chromium.address
        self._session: aiohttp.ClientSession | None = None
        self._pages: list[Page] = []

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close_pages()
        if self._session is not None:
            await self._session.close()

    async def _close_pages(self) -> None:
        for page in self._pages:
            if not page.left:
                await page.close()

    @asynccontextmanager
    async def visiting(self, site: AbstractAsyncContextManager[str]) -> AsyncIterator[str]:
        """A site while it is served. Every tab leaves the site before it ends: a script that continues its requests
        would keep a connection open."""
        async with site as url:
            try:
                yield url
            finally:
                await self._close_pages()

    async def open(self, url: str, width: int = 1280, height: int = 900, *, dark: bool = False) -> "Page":
        assert self._session is not None
        async with self._session.put(f"{self._address}/json/new?about:blank") as response:
            target = await response.json()
        page = Page(await self._session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0))
        self._pages.append(page)
        await page.prepare(width, height, dark=dark)
        await page.go(url)
        return page


class Page:
    """A tab. ``complaints`` are console errors, uncaught exceptions, refused resources and policy violations.
    ``agrees`` is its answer to a confirmation; ``asked`` are the texts of the confirmations."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reader = asyncio.ensure_future(self._read())
        self._loaded = asyncio.Event()
        self.complaints: list[str] = []
        self.requested: list[str] = []
        self.agrees = True
        self.asked: list[str] = []
        self._answers: set[asyncio.Future[Any]] = set()

    async def _read(self) -> None:
        async for message in self._socket:
            told = message.json()
            if "id" in told:
                future = self._waiting.pop(told["id"])
                if "error" in told:
                    future.set_exception(AssertionError(str(told["error"])))
                else:
                    future.set_result(told["result"])
            else:
                self._note(told["method"], told["params"])

    def _note(self, method: str, given: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loaded.set()
        elif method == "Page.javascriptDialogOpening":
            self.asked.append(given["message"])
            self._answers.add(asyncio.ensure_future(self.send("Page.handleJavaScriptDialog", accept=self.agrees)))
        elif method == "Network.requestWillBeSent":
            self.requested.append(given["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(given["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and given["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(given["args"]))
        elif method == "Log.entryAdded" and given["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{given['entry']['text']} {given['entry'].get('url', '')}")

    async def send(self, method: str, **given: Any) -> Any:
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": given})
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self._waiting[number]

    async def prepare(self, width: int, height: int, *, dark: bool) -> None:
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.send(f"{domain}.enable")
        await self.resize(width, height)
        await self.send(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )

    async def resize(self, width: int, height: int) -> None:
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    async def go(self, url: str) -> None:
        self._loaded.clear()
        await self.send("Page.navigate", url=url)
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._loaded.wait()

    async def value(self, expression: str) -> Any:
        told = await self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    async def until(self, expression: str) -> None:
        """Waits until the expression is true; a deadline, not a guess."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not await self.value(f"Boolean({expression})"):  # noqa: ASYNC110 - it is in another process
                await asyncio.sleep(0.05)

    async def press(self, key: str, code: int = 0, text: str | None = None) -> None:
        more = {"text": text} if text is not None else {}
        await self.send("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code, **more)
        await self.send("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)

    async def type(self, text: str) -> None:
        await self.send("Input.insertText", text=text)

    async def screenshot(self, file: Path, *, whole: bool = True) -> None:
        told = await self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        await asyncio.to_thread(file.write_bytes, base64.b64decode(told["data"]))

    @property
    def left(self) -> bool:
        return self._socket.closed

    async def close(self) -> None:
        """Stops the requests of the page, then closes the tab."""
        await self.go("about:blank")
        await self.send("Page.close")
        await self._socket.close()
        self._reader.cancel()
        await asyncio.gather(self._reader, *self._answers, return_exceptions=True)
