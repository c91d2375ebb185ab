"""Runs of the observe stage over a load: the cost of an event with one and several workers, the time of a restore."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.scale import load as loads
from benchmarks.scale.load import Load
from benchmarks.scale.observing import Done, Observing, Order, Ready
from benchmarks.throughput.ours import own_topics
from benchmarks.throughput.traffic import PARTITIONS
from detectors.reference import reference
from stream.backends.kafka.sink import KafkaSink
from stream.settings.settings import KafkaSettings
from stream.topics import keys
from stream.topics.record import OutRecord
from tests.kafka.server import Cluster, Server

SKIPPED = 0.25
"""Share of the events before the measurement, in which units are made, shapes are learned and buffers grow."""


ARITHMETIC = "sum(number * number for number in range(10_000_000))"


class Cost(NamedTuple):
    """Cost of an event over all workers.

    ``broker_micros``: processor time of the broker, 0 when the benchmark did not start it. ``busy``: the share of the
    machine's processors that was in use, by any process.
    """

    micros: float
    cpu_micros: float
    broker_micros: float
    busy: float
    done: tuple[Done, ...]


class Busy:
    """The share of all processors that is in use, from /proc/stat; 0 without that file."""

    def __init__(self) -> None:
        self._idle, self._all = self._read()

    def share(self) -> float:
        idle, total = self._read()
        return 1 - (idle - self._idle) / (total - self._all) if total > self._all else 0.0

    @staticmethod
    def _read() -> tuple[int, int]:
        stat = Path("/proc/stat")
        if not stat.exists():
            return 0, 0
        ticks = [int(word) for word in stat.read_text().split("\n", 1)[0].split()[1:]]
        return ticks[3] + ticks[4], sum(ticks[:8])


def cpu_seconds(pid: int) -> float:
    """Processor seconds of a process until now, from /proc."""
    words = (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def arithmetic_ratio() -> float:
    """Speed of two processes against one that only do arithmetic, the best of three runs.

    More the machine cannot give. On virtual processors it changes from hour to hour.
    """

    def seconds(count: int) -> float:
        began = time.perf_counter()
        for process in [subprocess.Popen([sys.executable, "-c", ARITHMETIC]) for _ in range(count)]:
            process.wait(60)
        return time.perf_counter() - began

    return max(2 * seconds(1) / seconds(2) for _ in range(3))


def _broker_seconds(cluster: Cluster) -> float:
    return cpu_seconds(cluster.pid) if isinstance(cluster, Server) else 0.0


def prepare(cluster: Cluster, load: Load, count: int) -> float:
    """Writes the load's events to a topic of its own. Returns the mean size of an event in bytes."""
    asyncio.run(cluster.create_topics({load.topic: PARTITIONS}))
    return loads.publish(cluster.bootstrap_servers, load, count)


def deploy(cluster: Cluster, load: Load, name: str) -> str:
    """Creates the topics of a group of workers that reads the load, with its references. Returns their mark."""
    mark = f"{load.topic}-{name}-{os.getpid()}"
    own = own_topics(load.topic, mark)
    asyncio.run(_create(cluster, [own.references, own.profiles, own.checkpoints, own.dead_letters]))
    asyncio.run(publish_references(cluster.bootstrap_servers, own.references, load))
    return mark


async def _create(cluster: Cluster, names: list[str]) -> None:
    compacted = {"cleanup.policy": "compact", "max.message.bytes": "4194304"}
    await cluster.create_topics(dict.fromkeys(names, PARTITIONS), compacted)


async def publish_references(servers: str, topic: str, load: Load) -> None:
    found = loads.references(load)
    records = [OutRecord(topic, keys.reference_key(one.model_key), reference.encode(one)) for one in found]
    sink = KafkaSink(KafkaSettings(bootstrap_servers=servers))
    await sink.start()
    try:
        for at in range(0, len(records), 100):
            await sink.send(records[at : at + 100])
    finally:
        await sink.stop()


def observe(cluster: Cluster, load: Load, mark: str, events: int, workers: int = 1, skip: float = SKIPPED) -> Cost:
    """Runs several workers that share the partitions equally. ``skip``: the share of the events that warms up."""
    own = events // workers
    order = Order(cluster.bootstrap_servers, load.topic, mark, workers, own, int(skip * own))
    processes = [Observing(order) for _ in range(workers)]
    try:
        for process in processes:
            process.ready()
        busy, broker = Busy(), _broker_seconds(cluster)
        for process in processes:
            process.go()
        done = tuple(process.done() for process in processes)
        share, broker = busy.share(), _broker_seconds(cluster) - broker
        for process in processes:
            process.leave()
    finally:
        for process in processes:
            process.end()
    measured = sum(one.events for one in done)
    seconds = max(one.ended for one in done) - min(one.began for one in done)
    spent = sum(one.cpu_seconds for one in done)
    return Cost(1e6 * seconds / measured, 1e6 * spent / measured, 1e6 * broker / events, share, done)


def restore(cluster: Cluster, load: Load, mark: str) -> Ready:
    """Restores all partitions of a deployment that ran before, in one new worker."""
    process = Observing(Order(cluster.bootstrap_servers, load.topic, mark))
    try:
        ready = process.ready()
        process.leave()
    finally:
        process.end()
    return ready
