"""How long a judge of many models takes to be ready: ``driftline worker --role judge`` with an existing table.

A first one judges a profile of every model and is ended in order, with all rows written. A second one is timed from the
beginning of its process: references read and made ready, the group joined, the changelog read back into the table, and
every row taken up.
"""

import asyncio
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.scale import memory
from benchmarks.scale.load import Load
from benchmarks.scale.runs import cpu_seconds, publish_references
from detectors.profiles import Profile
from stream.backends.kafka.sink import KafkaSink
from stream.observe.shell.outbox import Outbox
from stream.observe.shell.telemetry import Unmeasured
from stream.settings import settings as config
from tests.kafka.server import Cluster
from tests.service.processes import Deployment, WorkerProcess, metric_lines

BATCH = 50
PATIENCE_SECONDS = 300.0
SHUTDOWN_SECONDS = 25


class Restored(NamedTuple):
    """``seconds``: from the start of the process until it is ready; ``empty_seconds``: the same with an empty table."""

    seconds: float
    cpu_seconds: float
    empty_seconds: float
    row_bytes: float


def measure(cluster: Cluster, folder: Path, models: int) -> Restored:
    deployment = Deployment(cluster.bootstrap_servers, folder, shutdown_seconds=SHUTDOWN_SECONDS)
    asyncio.run(deployment.prepare())
    load = Load(deployment.topics["events"][0], models)
    asyncio.run(publish_references(cluster.bootstrap_servers, deployment.topics["references"], load))
    empty_seconds, _ = _started(deployment)
    asyncio.run(_publish_profiles(deployment, load))
    with WorkerProcess(deployment, "--role", "judge") as first:
        first.until(
            lambda: len((first.get("/api/v1/models") or {"models": []})["models"]) == models, "models", PATIENCE_SECONDS
        )
        first.terminate()
    seconds, spent = _started(deployment)
    with WorkerProcess(deployment, "--role", "judge") as third:
        third.until_ready()
        metrics = third.until(lambda: third.get("/metrics"), "metrics")
        line = next(line for line in metric_lines(metrics, "state_bytes") if '"judge"' in line)
    return Restored(seconds, spent, empty_seconds, float(line.split()[-1]))


def _judged(worker: WorkerProcess) -> int:
    found = worker.get("/api/v1/models")
    return 0 if found is None else len(found["models"])


def _started(deployment: Deployment) -> tuple[float, float]:
    """Seconds until a judge is ready, and the processor seconds that it took."""
    began = time.perf_counter()
    with WorkerProcess(deployment, "--role", "judge") as worker:
        worker.until(lambda: worker.get("/readyz"), "readiness", PATIENCE_SECONDS)
        seconds, spent = time.perf_counter() - began, cpu_seconds(worker.process.pid)
        worker.terminate()
    return seconds, spent


async def _publish_profiles(deployment: Deployment, load: Load) -> None:
    settings = config.load(deployment.path, {})
    sink = KafkaSink(settings.kafka)
    outbox = Outbox(settings, sink, Unmeasured())
    await sink.start()
    try:
        await outbox.open()
        found: list[Profile] = []
        for profiles in memory.fold(memory.observing(load), memory.HERE, load, 2 * memory.LOOK_EVENTS):
            found += profiles
        for at in range(0, len(found), BATCH):
            outbox.enqueue_profiles(found[at : at + BATCH])
            await outbox.acknowledged()
    finally:
        await sink.stop()
