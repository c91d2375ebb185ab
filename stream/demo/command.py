"""``driftline demo``: the whole service with three models and three injected changes, on a broker in this process.

This module puts the parts together. Publisher, clients, Faust and topics are the real ones. Only the broker is the
mock cluster of librdkafka instead of Apache Kafka, so that nothing has to be installed. ``story`` has the injected
changes and decides whether they were found.
"""

import asyncio
import json
import signal
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from rich.console import Console

from detectors.errors import BrokerError
from detectors.reference import reference as references
from detectors.reference.builder import build_reference
from stream.backends.clock import SystemClock
from stream.backends.kafka.embedded import EmbeddedBroker
from stream.backends.kafka.sink import KafkaSink
from stream.backends.kafka.tables import KafkaTableReader
from stream.demo import table
from stream.demo import traffic as demo_traffic
from stream.demo.models import DeployedModel
from stream.demo.story import STORY, Collector, Injected, Report, Summary, judge
from stream.demo.traffic import Traffic
from stream.service.worker import Worker
from stream.settings import settings as config
from stream.settings.settings import Settings
from stream.terminal.exit_status import ExitStatus
from stream.terminal.live import Screen, brief, open_screen
from stream.topics import keys
from stream.topics.record import OutRecord

DEFAULT_SECONDS = 60.0
DEFAULT_PORT = 9108
PARTITIONS = 4
SEED = 2026
READY_SECONDS = 60.0
LAST_REPORTS_SECONDS = 5.0
"""Longest wait after the traffic has ended, for reports that are still on their way."""
FALSE_REPORTS_SECONDS = 1.0
"""Shortest wait after the traffic has ended, so that a false report would be seen."""
VIEW_SECONDS = 0.25
STOP_SECONDS = 15.0
CLOCK = SystemClock()


def main(seconds: float | None = None, port: int | None = None, headless: bool = False) -> int:
    """Runs the demo. Exit status 0: every injected change was found and nothing else was reported; 1: otherwise."""
    console = Console()
    plain = headless or not console.is_terminal
    return asyncio.run(_demo(console, DEFAULT_SECONDS if seconds is None else seconds, port, plain))


async def _demo(console: Console, seconds: float, port: int | None, plain: bool) -> int:
    stop = asyncio.Event()
    with suppress(NotImplementedError, ValueError):
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    _print(console, "training three models on real data (image regions, web pages) ...")
    models = demo_traffic.train(SEED)
    broker = EmbeddedBroker(partitions=PARTITIONS)
    try:
        settings = _settings(broker.bootstrap_servers, port)
        await _publish_references(settings, models)
        async with _worker(settings) as worker:
            traffic = Traffic(models, STORY, seconds, broker.bootstrap_servers, CLOCK.now_ms)
            base = f"http://{settings.http.host}:{worker.port}"
            _print(console, f"web page {base}/   metrics {base}/metrics   JSON {base}/api/v1/models")
            screen = open_screen(console, f"driftline demo · {base}/", plain)
            try:
                summary = await _Play(settings, worker, traffic, screen).run(stop)
            finally:
                await asyncio.to_thread(traffic.stop)
                screen.close()
    finally:
        broker.close()
    table.show(console, summary, traffic.logged, traffic.dropped)
    return ExitStatus.OK if summary.passed else ExitStatus.DRIFT


class _Play:
    """One run of the demo: the traffic, the reports from the topic of drift events, and the view."""

    def __init__(self, settings: Settings, worker: Worker, traffic: Traffic, screen: Screen) -> None:
        self._settings = settings
        self._worker = worker
        self._traffic = traffic
        self._screen = screen
        self._collector = Collector()
        self._shown = 0
        self._caught_up = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> Summary:
        reading = asyncio.create_task(self._read_reports())
        try:
            await self._caught_up.wait()
            self._traffic.start()
            while self._traffic.running and not stop.is_set():
                await self._turn(reading)
            await asyncio.to_thread(self._traffic.stop)
            ended = time.monotonic()
            while not stop.is_set():
                waited = time.monotonic() - ended
                if waited > LAST_REPORTS_SECONDS or (waited > FALSE_REPORTS_SECONDS and self._summary().passed):
                    break
                await self._turn(reading)
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
        return self._summary()

    def _summary(self) -> Summary:
        return judge(STORY, self._traffic.made, self._collector.reports)

    async def _turn(self, reading: "asyncio.Task[None]") -> None:
        if reading.done():
            reading.result()
        if self._worker.failed.done():
            raise self._worker.failed.result()
        if self._traffic.crash is not None:
            raise self._traffic.crash
        made: Sequence[Injected] = self._traffic.made
        for injected in made[self._shown :]:
            self._screen.report(
                f"{_at(self._traffic)} injected into {injected.injection.model}: {injected.injection.what}"
            )
        self._shown = len(made)
        self._screen.show(self._worker.views.models(), self._worker.views.incidents())
        await asyncio.sleep(VIEW_SECONDS)

    async def _read_reports(self) -> None:
        """Reads the topic of drift events as any other consumer would."""
        topic = self._settings.topics.drift_events
        reader = KafkaTableReader(self._settings.kafka)
        try:
            await reader.read_to_end(topic)
            self._caught_up.set()
            while True:
                for _, record in await reader.poll(200):
                    if record.value is not None:
                        self._show_report(self._collector.on_event(json.loads(record.value), CLOCK.now_ms()))
        finally:
            await reader.stop()

    def _show_report(self, report: Report | None) -> None:
        if report is not None:
            named = brief(report.features) or str(report.incident.get("summary") or "")
            self._screen.report(f"{_at(self._traffic)} INCIDENT {report.model}: {report.verdict} ({named})")


@asynccontextmanager
async def _worker(settings: Settings) -> AsyncIterator[Worker]:
    """A worker that is ready, until the block ends."""
    worker = Worker(settings, "all")
    try:
        await worker.start()
        deadline = time.monotonic() + READY_SECONDS
        while not worker.ready:
            if worker.failed.done():
                raise worker.failed.result()
            if time.monotonic() > deadline:
                waiting = ", ".join(worker.waiting_for())
                raise BrokerError(f"the worker was not ready within {READY_SECONDS:.0f} s; it is waiting for {waiting}")
            await asyncio.sleep(0.05)
        yield worker
    finally:
        await asyncio.wait_for(worker.stop(), STOP_SECONDS)


def _settings(bootstrap_servers: str, port: int | None) -> Settings:
    if port is None:
        port = DEFAULT_PORT if _free(DEFAULT_PORT) else 0
    flags = {
        "kafka.bootstrap_servers": bootstrap_servers,
        "kafka.group_id": "driftline-demo",
        "kafka.create_topics": False,  # this broker creates a topic on its first use
        "http.port": port,
        "detection.season": "none",  # the demo is over before a season or dependence could be learned
        "log_level": "error",
    }
    return config.load(None, {}, flags)


def _free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


async def _publish_references(settings: Settings, models: Sequence[DeployedModel]) -> None:
    """Publishes the references of the models, as ``driftline reference publish`` does."""
    records = []
    for model in models:
        reference = build_reference(
            model.model,
            model.version,
            model.reference_columns(),
            environment=model.environment,
            source={"demo": "rows of river's datasets that the model was trained on"},
        )
        key = keys.reference_key(reference.model_key)
        records.append(OutRecord(settings.topics.references, key, references.encode(reference)))
    sink = KafkaSink(settings.kafka)
    await sink.start()
    try:
        await sink.send(records)
    finally:
        await sink.stop()


def _print(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _at(traffic: Traffic) -> str:
    return f"{traffic.elapsed:5.1f} s"
