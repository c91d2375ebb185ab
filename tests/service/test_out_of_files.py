"""Running out of file descriptors ends no worker, whoever takes them."""

import resource
import socket
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from tests.kafka.server import Cluster, Server
from tests.service.processes import Deployment, WorkerProcess, population

pytestmark = pytest.mark.kafka

LIMITED = (
    "import os, resource, sys; n = int(sys.argv[1]); resource.setrlimit(resource.RLIMIT_NOFILE, (n, n)); "
    "os.execvp(sys.argv[2], sys.argv[2:])"
)


async def test_more_connections_than_files_neither_end_a_worker_nor_keep_others_out(
    kafka: Cluster, tmp_path: Path
) -> None:
    """A worker that may open 128 files, and 200 clients that connect and send half of a request, again and again."""
    deployment = Deployment(kafka.bootstrap_servers, tmp_path)
    with WorkerProcess(deployment, before=[sys.executable, "-c", LIMITED, "128"]) as worker, ExitStack() as stack:
        worker.until_ready()
        count = 0
        for _ in range(2):
            for _ in range(200):
                client = stack.enter_context(socket.create_connection(("127.0.0.1", worker.port), 5))
                client.sendall(b"GET /healthz HT")
            count += await deployment.publish_events("m", "1", population(np.random.default_rng(1), 200))
            worker.until_events("m", "1", count)
            assert worker.get("/healthz") == {"status": "ok"}
        text = worker.log.read_text()
        assert "Traceback" not in text, worker.text()
        assert len(text.splitlines()) < 60, worker.text()
        assert worker.terminate()[0] == 0, worker.text()


async def test_a_worker_that_can_open_no_file_at_all_waits_and_goes_on(
    restartable_kafka: Server, tmp_path: Path
) -> None:
    """The limit falls below what is open, then the broker is restarted: no connection can be made until it rises."""
    random = np.random.default_rng(2)
    deployment = Deployment(restartable_kafka.bootstrap_servers, tmp_path, kafka={"request_timeout_ms": 5_000})
    with WorkerProcess(deployment) as worker:
        worker.until_ready()
        count = await deployment.publish_events("m", "1", population(random, 200))
        worker.until_events("m", "1", count)
        limits = resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, (8, limits[1]))
        restartable_kafka.kill()
        restartable_kafka.start()
        until = time.monotonic() + 15
        with ExitStack() as stack:
            while time.monotonic() < until:
                stack.enter_context(socket.create_connection(("127.0.0.1", worker.port), 5))
                assert worker.process.poll() is None, worker.text()
                time.sleep(0.5)  # noqa: ASYNC251  # the worker is another process
        resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, limits)
        count += await deployment.publish_events("m", "1", population(random, 200))
        assert worker.until_events("m", "1", count, 90.0)["events"] == count
        assert len(worker.log.read_text().splitlines()) < 150, worker.text()
        assert worker.terminate()[0] == 0, worker.text()
