"""Delay from the first event that is different to the drift event: a worker with both roles under a steady load.

Events are written at a fixed rate; one by one the models' first feature moves by three standard deviations for good.
A model's clock starts when its first such event is handed to the producer and stops when a consumer of drift-events has
the first record about it: a detector's signal of that feature, and later the incident. Nothing is subtracted: what the
evidence has to wait for is in it.
"""

import asyncio
import json
import threading
import time
from pathlib import Path
from typing import NamedTuple

import confluent_kafka
import numpy as np

from benchmarks.scale import load as loads
from benchmarks.scale.load import Load
from benchmarks.scale.runs import Busy, cpu_seconds, publish_references
from benchmarks.throughput.traffic import PARTITIONS
from stream.settings.settings import DetectionSettings
from stream.topics.drift_events import EventType
from tests.kafka.server import Cluster
from tests.service.processes import Deployment, WorkerProcess

MOVED = "feature_000"
SHIFT = 42.0
"""Three standard deviations of the load's gamma distribution."""
SETTLED_SECONDS, BETWEEN_SECONDS, PATIENCE_SECONDS = 10.0, 0.4, 10.0
"""Seconds before the first shift, between two shifts, and after the last."""
TURN_SECONDS = 0.002
ORDER = 1_000_003
"""A prime number, so that no model gets its rows in the same order twice."""
CHECKPOINT_SECONDS = 5.0


class Latency(NamedTuple):
    """Seconds to an incident, and to the first signal of the feature, for the models that had one.

    ``early``: incidents before the shift. ``worker_cpu_micros``: of the whole worker, both roles, per event.
    """

    incident: list[float]
    signal: list[float]
    models: int
    early: int
    per_second: float
    worker_cpu_micros: float
    busy: float


class Listener:
    """Reads drift-events in a thread. Notes when each kind came for each model; signals only of the moved feature."""

    def __init__(self, servers: str, topic: str) -> None:
        self.came: dict[tuple[str, str], list[float]] = {}
        self._stop = threading.Event()
        settings = {"bootstrap.servers": servers, "group.id": topic, "fetch.wait.max.ms": 10}
        self._consumer = confluent_kafka.Consumer(settings)
        self._consumer.assign([confluent_kafka.TopicPartition(topic, n, 0) for n in range(PARTITIONS)])
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._stop.is_set():
            message = self._consumer.poll(0.2)
            at = time.perf_counter()
            if message is not None and message.error() is None:
                event = json.loads(message.value())
                if event["type"] != EventType.SIGNAL or event["data"]["feature"] == MOVED:
                    self.came.setdefault((event["data"]["model"], event["type"]), []).append(at)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()


class Publisher:
    """Writes the load at a steady rate, and notes when the first moved event of each model was written."""

    def __init__(self, servers: str, load: Load, per_second: float) -> None:
        self._to = loads.producer(servers)
        self._load, self._rate = load, per_second
        self._plain = loads.bodies(load.features, 7)
        self._moved = loads.bodies(load.features, 8, shifted={MOVED: SHIFT})
        # in random order: in turn a model would get the same few rows again and again, which is a change
        self._rows = np.random.default_rng(9).integers(loads.POOL, size=ORDER).tolist()
        self.sent = 0
        self.moved_at: dict[int, float] = {}

    def run(self) -> None:
        """Moves all models one after the other, then continues the load until the last one is found."""
        began, last = time.perf_counter(), self._load.models
        seconds = SETTLED_SECONDS + last * BETWEEN_SECONDS + PATIENCE_SECONDS
        while (passed := time.perf_counter() - began) < seconds:
            moved = min(int(max(0.0, passed - SETTLED_SECONDS) / BETWEEN_SECONDS), last)
            self._turn(int(passed * self._rate), moved)
            time.sleep(TURN_SECONDS)
        self._to.flush(10)

    def _turn(self, until: int, moved: int) -> None:
        now_ms = time.time_ns() // 1_000_000
        for number in range(self.sent, until):
            model, partition = self._load.place(number)
            if model < moved:
                self.moved_at.setdefault(model, time.perf_counter())
            body = (self._moved if model < moved else self._plain)[self._rows[number % ORDER]]
            self._to.produce(self._load.topic, loads.event(number, model, now_ms, body), partition=partition)
        self.sent = until
        self._to.poll(0)


def measure(cluster: Cluster, folder: Path, models: int, per_second: float) -> Latency:
    servers = cluster.bootstrap_servers
    deployment = Deployment(
        servers,
        folder,
        checkpoint_interval_seconds=CHECKPOINT_SECONDS,
        detection={"disorder_ms": DetectionSettings().disorder_ms},
    )
    load = Load(deployment.topics["events"][0], models)
    asyncio.run(deployment.prepare())
    asyncio.run(publish_references(servers, deployment.topics["references"], load))
    publisher = Publisher(servers, load, per_second)
    with WorkerProcess(deployment) as worker:
        worker.until_ready()
        listener = Listener(servers, deployment.topics["drift_events"])
        busy, began = Busy(), cpu_seconds(worker.process.pid)
        try:
            publisher.run()
            share, spent = busy.share(), cpu_seconds(worker.process.pid) - began
        finally:
            listener.stop()
        worker.terminate()
    return Latency(
        incident=_delays(publisher, listener, EventType.INCIDENT_OPENED),
        signal=_delays(publisher, listener, EventType.SIGNAL),
        models=models,
        early=_early(publisher, listener),
        per_second=per_second,
        worker_cpu_micros=1e6 * spent / publisher.sent,
        busy=share,
    )


def percentiles(seconds: list[float], wanted: int) -> tuple[float, float]:
    """p50 and p99 over all moved models; a missing event counts as infinite."""
    every = np.sort([*seconds, *[np.inf] * (wanted - len(seconds))])
    return float(every[int(0.5 * (wanted - 1))]), float(every[int(np.ceil(0.99 * (wanted - 1)))])


def _moved(publisher: Publisher, listener: Listener, kind: EventType) -> list[tuple[float, list[float]]]:
    """For each model: when it moved, and when its drift events came."""
    return [(at, listener.came.get((f"model_{model}", kind), [])) for model, at in publisher.moved_at.items()]


def _delays(publisher: Publisher, listener: Listener, kind: EventType) -> list[float]:
    """Seconds from each move to the first drift event after it, where there is one."""
    later = [[one - moved for one in came if one >= moved] for moved, came in _moved(publisher, listener, kind)]
    return [found[0] for found in later if found]


def _early(publisher: Publisher, listener: Listener) -> int:
    return sum(one < moved for moved, came in _moved(publisher, listener, EventType.INCIDENT_OPENED) for one in came)
