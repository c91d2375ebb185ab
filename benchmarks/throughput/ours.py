"""driftline's observe stage with everything on, through the same runner that the worker uses."""

import asyncio
import os
import sys
from collections.abc import Sequence

from benchmarks.throughput import traffic
from benchmarks.throughput.spent import Spent, now, since
from detectors.columns import Floats
from detectors.reference import reference as references
from detectors.reference.builder import build_reference
from stream.backends.clock import SystemClock
from stream.backends.kafka.sink import KafkaSink
from stream.backends.kafka.source import KafkaSource
from stream.backends.kafka.tables import KafkaTableReader
from stream.observe.observer import Observer
from stream.observe.shell.runner import Runner
from stream.observe.shell.settings import observe_settings
from stream.service import process
from stream.settings.settings import KafkaSettings, Settings, TopicSettings
from stream.topics import keys
from stream.topics.record import OutRecord
from tests.kafka.server import Cluster

REFERENCE_ROWS = 20_000
CHECKPOINT_SECONDS = 2.0
"""15 times as often as by default, so that a short run has at least its share of checkpoints."""


def own_topics(topic: str, mark: str) -> TopicSettings:
    """Topics that only this run uses."""
    return TopicSettings(
        events=(topic,),
        references=f"{mark}-references",
        profiles=f"{mark}-profiles",
        checkpoints=f"{mark}-checkpoints",
        dead_letters=f"{mark}-dead-letters",
    )


class Meter:
    """Telemetry that measures the time from about the ``skip``-th event to the last one.

    Events of many models wait for more of their unit. As many wait at the end as at the beginning of the measurement.
    """

    def __init__(self, count: int, done: asyncio.Event, skip: int = 0) -> None:
        self._count, self._done, self._skip = count, done, skip
        self.read = self.measured = self._skipped = 0
        self.began = self.spent = Spent(0.0, 0.0)
        self.stages: dict[str, list[float]] = {}
        self.written: dict[str, int] = {}
        self.other: dict[str, int] = {}

    def counted(self, model: str, outcome: str, count: int) -> None:
        if outcome != "accepted":
            self.other[outcome] = self.other.get(outcome, 0) + count

    def staged(self, stage: str, seconds: float) -> None:
        if stage == "process" and not self.began.seconds and self.read >= self._skip:
            self.began = Spent(*(at - seconds for at in now()))
            self._skipped = self.read
        self.stages.setdefault(stage, []).append(seconds)

    def aged(self, models: Sequence[str], rows: Sequence[int], seconds: Floats) -> None:
        self.read += len(seconds)
        if self.read >= self._count and not self._done.is_set():
            self.spent, self.measured = since(self.began), self.read - self._skipped
            self._done.set()

    def published(self, topic: str, count: int) -> None:
        self.written[topic] = self.written.get(topic, 0) + count

    def error(self, component: str) -> None:
        self.other[component] = self.other.get(component, 0) + 1

    def rebalanced(self) -> None:
        """Does not count."""

    def limited(self, limit: str, count: int) -> None:
        self.other[limit] = self.other.get(limit, 0) + count


async def _run(servers: str, topic: str, count: int) -> Spent:
    kafka = KafkaSettings(bootstrap_servers=servers, group_id=f"bench-{os.getpid()}")
    settings = Settings(
        kafka=kafka, topics=own_topics(topic, f"{topic}-{os.getpid()}"), checkpoint_interval_seconds=CHECKPOINT_SECONDS
    )
    reference = build_reference(traffic.MODEL, traffic.VERSION, traffic.columns(topic, REFERENCE_ROWS, 1))
    cluster = Cluster(servers)
    own = settings.topics
    made = dict.fromkeys((own.references, own.profiles, own.checkpoints, own.dead_letters), traffic.PARTITIONS)
    await cluster.create_topics(made, {"cleanup.policy": "compact"})
    sink = KafkaSink(kafka)
    await sink.start()
    key = keys.reference_key(reference.model_key)
    await sink.send([OutRecord(settings.topics.references, key, references.encode(reference))])
    await sink.stop()
    done = asyncio.Event()
    meter = Meter(count, done)
    runner = Runner(
        settings,
        Observer(observe_settings(settings)),
        KafkaSource(kafka, settings.topics.event_names),
        KafkaSink(kafka),
        lambda: KafkaTableReader(kafka),
        SystemClock(),
        meter,
    )
    running = asyncio.create_task(runner.run(done))
    await running
    _report(meter, settings)
    return meter.spent


def _report(meter: Meter, settings: Settings) -> None:
    stages = "; ".join(
        f"{name} {len(times)} x, {sum(times):.2f} s, longest {max(times) * 1000:.1f} ms"
        for name, times in sorted(meter.stages.items())
    )
    written = ", ".join(f"{name.split('-', 3)[-1]} {count}" for name, count in sorted(meter.written.items()))
    print(f"  driftline: {stages}; written: {written}; not accepted: {meter.other or 'none'}", file=sys.stderr)


def run(servers: str, topic: str, count: int) -> Spent:
    process.collect_seldom()  # as the worker does
    return asyncio.run(_run(servers, topic, count))
