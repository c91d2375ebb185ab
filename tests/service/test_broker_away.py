"""A broker that is away, at any moment, is waited for, and ends no worker; the log stays short."""

import asyncio
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.kafka.server import Server
from tests.service.processes import DRIFTLINE, Deployment, WorkerProcess, population

pytestmark = pytest.mark.kafka

LINES_A_SECOND = 3
"""Of both workers' logs together, at most, while the broker is away. The client libraries write thousands."""


@contextmanager
def workers(deployment: Deployment, folder: Path) -> Iterator[tuple[WorkerProcess, WorkerProcess]]:
    """An observe worker and a judge worker."""
    with ExitStack() as stack:
        observer = stack.enter_context(WorkerProcess(deployment, "--role", "observe", port=deployment.port + 1))
        judge = stack.enter_context(WorkerProcess(deployment, "--role", "judge"))
        yield observer, judge


def lines(*found: WorkerProcess) -> int:
    return sum(len(worker.log.read_text(errors="replace").splitlines()) for worker in found)


def away(seconds: float, *found: WorkerProcess) -> None:
    """Watches workers while the broker is away: they run and answer, are not ready, and log little."""
    before, until = lines(*found), time.monotonic() + seconds
    while time.monotonic() < until:
        for worker in found:
            assert worker.process.poll() is None, worker.text()
        time.sleep(0.5)
    for worker in found:
        assert worker.get("/healthz") == {"status": "ok"}, worker.text()
    assert lines(*found) - before < seconds * LINES_A_SECOND, found[0].text() + found[1].text()


async def test_a_broker_that_comes_late_stops_dies_and_freezes_ends_neither_an_observer_nor_a_judge(
    restartable_kafka: Server, tmp_path: Path
) -> None:
    """The broker is started after the workers, then stopped, killed and frozen, each for longer than a session. Every
    event counts once, in the same processes."""
    random = np.random.default_rng(3)
    deployment = Deployment(restartable_kafka.bootstrap_servers, tmp_path, kafka={"request_timeout_ms": 5_000})
    restartable_kafka.stop()
    with workers(deployment, tmp_path) as (observer, judge):
        away(12.0, observer, judge)
        assert judge.get("/readyz") is None
        assert observer.get("/readyz") is None
        restartable_kafka.start()
        observer.until_ready()
        judge.until_ready()
        count = await deployment.publish_events("m", "1", population(random, 600))
        judge.until_events("m", "1", count)
        for end, begin in (
            (restartable_kafka.stop, restartable_kafka.start),
            (restartable_kafka.kill, restartable_kafka.start),
            (restartable_kafka.pause, restartable_kafka.resume),
        ):
            end()
            away(15.0, observer, judge)
            begin()
            count += await deployment.publish_events("m", "1", population(random, 600))
            judge.until_events("m", "1", count, 90.0)
            assert judge.model("m", "1")["events"] == count  # type: ignore[index]
        observer.until_ready()
        judge.until_ready()
        for worker in (observer, judge):
            assert "Traceback" not in worker.log.read_text(), worker.text()
            status, seconds = worker.terminate()
            assert (status, seconds < 12.0) == (0, True), worker.text()


async def test_many_short_restarts_of_a_broker_end_no_worker(restartable_kafka: Server, tmp_path: Path) -> None:
    """One restart of a broker in three ended a worker before. Six in a row, while events arrive."""
    random = np.random.default_rng(4)
    deployment = Deployment(restartable_kafka.bootstrap_servers, tmp_path, kafka={"request_timeout_ms": 5_000})
    count = 0
    with WorkerProcess(deployment) as worker:
        worker.until_ready()
        for turn in range(6):
            count += await deployment.publish_events("m", "1", population(random, 200))
            await asyncio.sleep(0.3 * turn)
            restartable_kafka.kill() if turn % 2 else restartable_kafka.stop()
            await asyncio.sleep(0.5 * turn)
            restartable_kafka.start()
        count += await deployment.publish_events("m", "1", population(random, 200))
        assert worker.until_events("m", "1", count, 90.0)["events"] == count
        assert worker.terminate()[0] == 0, worker.text()


@pytest.mark.parametrize("role", ["observe", "judge", "all"])
def test_a_worker_that_may_not_wait_for_ever_ends_with_the_setting_in_its_message(role: str, tmp_path: Path) -> None:
    deployment = Deployment("127.0.0.1:1", tmp_path, kafka={"outage_seconds": 2.0})
    began = time.monotonic()
    done = subprocess.run(
        [str(DRIFTLINE), "worker", "--config", str(deployment.path), "--role", role],
        capture_output=True, text=True, check=False, timeout=90,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert re.search(r"^driftline: .*127\.0\.0\.1:1.*kafka\.outage_seconds", done.stderr, re.MULTILINE), done.stderr
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("role", ["observe", "judge"])
def test_a_worker_that_waits_for_a_broker_ends_at_once_when_it_is_asked_to(role: str, tmp_path: Path) -> None:
    deployment = Deployment("127.0.0.1:1", tmp_path)
    with WorkerProcess(deployment, "--role", role) as worker:
        worker.until(lambda: worker.get("/healthz"), "the server")
        away(6.0, worker, worker)
        text: Any = worker.log.read_text()
        assert text.count("waiting for the broker") >= 1
        status, seconds = worker.terminate()
        assert (status, seconds < 12.0) == (0, True), worker.text()
