"""A keyed topic on a real broker: each partition has customers of its own, and is read at its own pace."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from detectors.reference import reference as references
from detectors.reference.builder import build_reference
from stream.settings.settings import DetectionSettings
from stream.topics import keys
from tests.kafka.server import free_ports
from tests.service.processes import PARTITIONS, Deployment, WorkerProcess

MODEL, VERSION = "keyed", "1"
SPREAD = 0.8
"""How far the means of neighbouring partitions are apart, in standard deviations."""

FEATURES = tuple(f"f{at}" for at in range(4))
PER_SECOND = 400
"""Events of all partitions in a second of event time."""

CHANGED, SIGMA = "f2", 3.0
Rows = list[list[bytes]]


class KeyedTopic(Deployment):
    """Events whose distribution depends on their partition; the same seed makes the same log."""

    def __init__(self, bootstrap_servers: str, folder: Path, seed: int, **settings: Any) -> None:
        disorder_ms = DetectionSettings().disorder_ms  # partitions are published one after the other
        super().__init__(
            bootstrap_servers, folder, checkpoint_interval_seconds=1, detection={"disorder_ms": disorder_ms}, **settings
        )
        self._random = np.random.default_rng(seed)
        self.sent = 0

    async def publish_keyed_reference(self, rows: int = 20_000) -> None:
        """A reference of all partitions together, with the rows of the partitions in turn."""
        columns = [self._columns(partition, rows // PARTITIONS, 0.0) for partition in range(PARTITIONS)]
        reference = build_reference(
            MODEL, VERSION, {name: np.stack([c[name] for c in columns], axis=1).ravel() for name in columns[0]}
        )
        key = keys.reference_key(reference.model_key)
        await self._send([(self.topics["references"], key, references.encode(reference), None)])

    def rows(self, seconds: int, *, shift: float = 0.0) -> Rows:
        """The events of the next ``seconds`` of event time, by partition. ``shift``: of the feature CHANGED."""
        count = seconds * PER_SECOND // PARTITIONS
        found: Rows = []
        for partition in range(PARTITIONS):
            columns = self._columns(partition, count, shift)
            times = self.clock_ms + np.arange(count) * (1_000 * PARTITIONS // PER_SECOND) + partition
            found.append([
                json.dumps({
                    "id": f"{partition}-{self.sent + row}", "model": MODEL, "version": VERSION, "ts": int(times[row]),
                    "features": {name: v[row].item() for name, v in columns.items()},
                }).encode()
                for row in range(count)
            ])  # fmt: skip
        self.clock_ms += 1_000 * seconds
        self.sent += count
        return found

    async def publish_keyed(self, rows: Rows) -> None:
        """Publishes one partition after the other: the last one is empty while the first one is read."""
        topic = self.topics["events"][0]
        await self._send([(topic, None, value, at) for at, values in enumerate(rows) for value in values])

    def _columns(self, partition: int, rows: int, shift: float) -> dict[str, Any]:
        mean = SPREAD * (partition - (PARTITIONS - 1) / 2)
        columns: dict[str, Any] = {
            name: np.round(self._random.normal(mean + shift * (name == CHANGED), 1.0, rows), 5) for name in FEATURES
        }
        own = "DE" if partition < PARTITIONS // 2 else "FR"
        columns["country"] = np.where(self._random.random(rows) < 0.8, own, "XX")
        return columns

    def worker(self) -> WorkerProcess:
        """One more worker of the group, with a port of its own."""
        return WorkerProcess(self, port=free_ports(1)[0])


@contextmanager
def two_workers(topic: KeyedTopic) -> Iterator[tuple[WorkerProcess, WorkerProcess]]:
    """Two workers of the group, both ready."""
    with topic.worker() as first, topic.worker() as second:
        first.until_ready()
        second.until_ready()
        yield first, second


def freeze(worker: WorkerProcess) -> None:
    worker.process.send_signal(signal.SIGSTOP)


def wake(worker: WorkerProcess) -> None:
    worker.process.send_signal(signal.SIGCONT)


async def published(topic: KeyedTopic) -> list[tuple[str, list[str], str]]:
    """What was published about incidents, in order: type, blamed features, event time at which it began."""
    events = await topic.read_all("drift_events")
    return [
        (e["type"].split(".")[-2], sorted(f["feature"] for f in e["data"]["features"]), str(e["data"].get("began_at")))
        for e in events
        if e["type"].startswith("io.driftline.incident.")
    ]
