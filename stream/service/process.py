"""A worker as a process: logging, signals, garbage collection and the exit status."""

import asyncio
import errno
import gc
import logging
import os
import resource
import signal
import sys
import threading
from contextlib import suppress
from typing import Any

from detectors.errors import DriftlineError
from stream.backends.kafka import connection
from stream.service.worker import Worker
from stream.settings.settings import Settings
from stream.terminal import logs
from stream.terminal.exit_status import ExitStatus
from stream.terminal.printable import message

log = logging.getLogger(__name__)

FLOODS = ("aiokafka", "faust", "kafka", "mode")

QUIET = {"faust": logging.WARNING, "aiokafka": logging.WARNING, "kafka": logging.WARNING, "mode": logging.ERROR}
"""Lowest level that is logged of libraries, unless log_level is debug. mode warns of every timer that is a bit late."""

MOST_FILES = 65_536

OUT_OF_FILES_SECONDS = 30.0

RESTART_SECONDS = 2.0
"""Pause before a worker follows one that a broker's downtime ended."""

STOP_SECONDS = 1.5
"""Time after ``shutdown_seconds`` in which the process must have ended."""


def main(settings: Settings, role: str = "all") -> int:
    """Runs a worker until SIGTERM or SIGINT. Exit status 0 after a clean stop, 2 after an error, which is printed."""
    logs.configure(settings.log_level, () if settings.log_level == "debug" else FLOODS)
    if settings.log_level != "debug":
        for name, level in QUIET.items():
            logging.getLogger(name).setLevel(level)
    collect_seldom()
    raise_file_limit()
    try:
        asyncio.run(_run_until_signal(settings, role))
    except DriftlineError as error:
        sys.stderr.write(message(f"driftline: {error}") + "\n")
        return ExitStatus.ERROR
    return ExitStatus.OK


def raise_file_limit() -> None:
    """Lets this process open as many files as it is allowed to ask for, up to MOST_FILES. Where asking is forbidden,
    the limit stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class LoopErrors:
    """The event loop's handler of errors outside of any awaited task. It logs running out of files once in
    OUT_OF_FILES_SECONDS: the loop stops accepting connections for a second and then tries again."""

    def __init__(self) -> None:
        self._logged_at = float("-inf")

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in (errno.EMFILE, errno.ENFILE):
            loop.default_exception_handler(context)
        elif loop.time() - self._logged_at >= OUT_OF_FILES_SECONDS:
            self._logged_at = loop.time()
            log.error("no connection is accepted until a file is closed: %s; raise the limit of open files", error)


def collect_seldom() -> None:
    """Lets Python collect garbage less often, which saves 4 to 13 % of the processor's time.

    Imported objects stay for ever, and the hot path makes many objects but little garbage.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


async def run(settings: Settings, role: str, stop: asyncio.Event) -> None:
    """Runs a worker until ``stop`` is set. Raises the error that ended it otherwise.

    A worker that a broker's downtime ended is followed by another one in the same process, which continues from the
    last checkpoint and the last rows. Most of a downtime is waited for inside the worker; a few steps of the client
    libraries cannot be repeated there.
    """
    worker: Worker | None = None
    while True:
        worker = Worker(settings, role, before=worker)
        try:
            return await _run_one(worker, role, stop)
        except Exception as error:
            if not connection.is_away(error):
                raise
            log.warning("%s; this worker starts again from its last checkpoint", error)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), RESTART_SECONDS)
            return None


async def _run_one(worker: Worker, role: str, stop: asyncio.Event) -> None:
    stopped = asyncio.ensure_future(stop.wait())
    try:
        starting = asyncio.ensure_future(worker.start())
        await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
        if stopped.done() and not starting.done():
            starting.cancel()
            return
        await starting
        log.info("driftline worker, role %s: http://%s:%d", role, worker.host, worker.port)
        await asyncio.wait((worker.failed, stopped), return_when=asyncio.FIRST_COMPLETED)
        if worker.failed.done():
            raise worker.failed.result()
    finally:
        stopped.cancel()
        await worker.stop()


async def _run_until_signal(settings: Settings, role: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(LoopErrors())

    def on_signal() -> None:
        if stop.is_set():
            os._exit(ExitStatus.ERROR)  # a second signal ends the process at once
        stop.set()
        # Threads of the client libraries can outlive an unreachable broker and keep the interpreter from ending.
        watchdog = threading.Timer(settings.shutdown_seconds + STOP_SECONDS, os._exit, (ExitStatus.OK,))
        watchdog.daemon = True
        watchdog.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    await run(settings, role, stop)
