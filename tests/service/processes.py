"""A driftline worker as a process, with its surroundings: events in, drift events out, HTTP."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import yaml
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from detectors.reference import reference as references
from detectors.reference.builder import build_reference
from stream.backends.kafka.cluster import KafkaCluster
from stream.settings import settings as config
from stream.settings.settings import TopicSettings
from stream.topics import keys, rules
from tests.kafka.server import free_ports

DRIFTLINE = Path(sys.executable).parent / "driftline"

PARTITIONS = 4

TOKEN = "sesame"
STEP_MS = 20
"""Event time between two events: fifty a second."""

DISORDER_MS = 50
"""``publish_events`` keeps the order of event time. Its events are minutes old, so a partition without records counts
as idle after forty times the disorder: two seconds."""


def topic_names(prefix: str) -> dict[str, Any]:
    """Topics that only one test uses."""
    own = {name: f"{prefix}-{name.replace('_', '-')}" for name in TopicSettings.__struct_fields__}
    return {**own, "events": [f"{prefix}-events"], "labels": [f"{prefix}-labels"]}


class Deployment:
    """A group of workers on one broker, with topics, settings and a consumer group of its own."""

    def __init__(self, bootstrap_servers: str, folder: Path, **settings: Any) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.folder = folder
        self.prefix = f"t{uuid4().hex[:8]}"
        self.topics = topic_names(self.prefix)
        self.port = free_ports(1)[0]
        kafka = {"bootstrap_servers": bootstrap_servers, "group_id": self.prefix, "session_timeout_ms": 6_000}
        kafka.update(settings.pop("kafka", {}))
        self.config = {
            "kafka": kafka,
            "topics": self.topics,
            "http": {"port": self.port},
            "checkpoint_interval_seconds": 1,
            **settings,
            "detection": {"disorder_ms": DISORDER_MS, **settings.get("detection", {})},
        }
        self.path = folder / "driftline.yaml"
        self.path.write_text(yaml.safe_dump(self.config))
        self.clock_ms = time.time_ns() // 1_000_000 - 600_000

    def let_write(self) -> None:
        """Lets people with ``TOKEN`` change incidents of workers that start from now on."""
        self.config["http"]["token"] = TOKEN
        self.path.write_text(yaml.safe_dump(self.config))

    async def prepare(self) -> None:
        """Creates the topics, as a worker would, so that records can be published before it starts."""
        settings = config.load(self.path, {})
        rules.refuse(await rules.ensure(settings, KafkaCluster(settings.kafka), create=True))

    async def publish_reference(self, model: str, version: str, columns: Mapping[str, Any]) -> None:
        reference = build_reference(model, version, columns)
        key = keys.reference_key(reference.model_key)
        await self._send([(self.topics["references"], key, references.encode(reference), None)])

    async def publish_events(
        self, model: str, version: str, columns: Mapping[str, Any], *, labels: Sequence[Any] | None = None
    ) -> int:
        """Publishes rows, one after the other over all partitions, fifty a second of event time. Returns their number.
        ``labels``: each event predicts true, and these labels follow all events."""
        records, following = [], []
        count = len(next(iter(columns.values())))
        for row in range(count):
            features = {name: _plain(values[row]) for name, values in columns.items()}
            event = {"id": uuid4().hex, "model": model, "version": version, "ts": self.clock_ms, "features": features}
            if labels is not None:
                event["prediction"] = True
                label = {"id": event["id"], "model": model, "label": labels[row], "ts": self.clock_ms}
                following.append((self.topics["labels"][0], None, json.dumps(label).encode(), None))
            self.clock_ms += STEP_MS
            records.append((self.topics["events"][0], None, json.dumps(event).encode(), row % PARTITIONS))
        await self._send([*records, *following])
        return count

    async def publish_rows(self, topic: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Publishes flat rows to a topic of any name."""
        await self._send([(topic, None, json.dumps(row).encode(), 0) for row in rows])

    async def publish_raw(self, *values: bytes | None) -> None:
        await self._send([(self.topics["events"][0], None, value, 0) for value in values])

    async def read_all(self, topic: str) -> list[dict[str, Any]]:
        """Everything on one of driftline's topics up to now, parsed."""
        return [json.loads(record.value) for record in await self._records(topic) if record.value]

    async def headers_of(self, topic: str) -> list[Sequence[tuple[str, bytes]]]:
        """The headers of everything on one of driftline's topics up to now."""
        return [record.headers for record in await self._records(topic)]

    async def _records(self, topic: str) -> list[Any]:
        consumer = AIOKafkaConsumer(
            self.topics[topic],
            bootstrap_servers=self.bootstrap_servers,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        try:
            partitions = consumer.assignment()
            ends = await consumer.end_offsets(partitions)
            found: list[Any] = []
            while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found.extend(records)
            return found
        finally:
            with suppress(asyncio.CancelledError):  # aiokafka lets its own cancelled task's error through
                await consumer.stop()

    async def _send(self, records: list[tuple[str, bytes | None, bytes | None, int | None]]) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap_servers, linger_ms=5)
        await producer.start()
        try:
            sent = [await producer.send(topic, value, key, partition) for topic, key, value, partition in records]
            for future in sent:
                await future
        finally:
            await producer.stop()


class WorkerProcess:
    """``driftline worker`` with a deployment's settings. ``log`` keeps what it wrote. ``before``: a program that runs
    the worker's command."""

    def __init__(
        self, deployment: Deployment, *arguments: str, port: int | None = None, before: Sequence[str] = ()
    ) -> None:
        self.port = port or deployment.port
        self.log = deployment.folder / f"worker-{uuid4().hex[:6]}.log"
        command = [str(DRIFTLINE), "worker", "--config", str(deployment.path), "--port", str(self.port), *arguments]
        command = [*before, *command]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("DRIFTLINE_")}
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, env=environ, cwd=deployment.folder)

    def __enter__(self) -> "WorkerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)

    def get(self, path: str) -> Any:
        """The answer's JSON or text; None while the worker does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as answer:
                body = answer.read()
                return json.loads(body) if "json" in answer.headers["Content-Type"] else body.decode()
        except urllib.error.HTTPError as error:
            with error:
                return None
        except OSError:
            return None

    def post(self, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
        """Status and JSON of the answer to a request of Ann, with the token (see ``Deployment.let_write``)."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            json.dumps({"by": "ann", **body}).encode(),
            {"Authorization": f"Bearer {TOKEN}"},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read())

    def until(self, true: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
        """The result of ``true`` once it is true; fails with the worker's log if the worker ends or the time has
        passed."""
        deadline = time.monotonic() + seconds
        while True:
            found = true()
            if found:
                return found
            assert self.process.poll() is None, f"the worker ended while waiting for {what}:\n{self.text()}"
            assert time.monotonic() < deadline, f"no {what} after {seconds:.0f} s:\n{self.text()}"
            time.sleep(0.05)

    def until_ready(self) -> None:
        self.until(lambda: self.get("/readyz"), "readiness")

    def incidents(self, query: str = "") -> list[dict[str, Any]]:
        found = self.get(f"/api/v1/incidents?{query}")
        return [] if found is None else list(found["incidents"])

    def model(self, model: str, version: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.get(f"/api/v1/models/{model}/{version}")
        return found

    def until_events(self, model: str, version: str, count: int, seconds: float = 60.0) -> dict[str, Any]:
        """The model's detail once it has counted this many events."""

        def counted() -> dict[str, Any] | None:
            detail = self.model(model, version)
            return detail if detail is not None and detail["events"] >= count else None

        found: dict[str, Any] = self.until(
            counted, f"{count} events of {model} (now {self.model(model, version)})", seconds
        )
        return found

    def terminate(self) -> tuple[int, float]:
        """Sends SIGTERM; returns the exit status and the seconds until the end."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(30)
        return status, time.monotonic() - began

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)

    def text(self) -> str:
        """The end of the log, without the lines that an extension module writes as its process ends."""
        lines = self.log.read_text(errors="replace").splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith((" - leaked ", "nanobind:")))[-6000:]


def population(random: np.random.Generator, rows: int, shift: float = 0.0) -> dict[str, Any]:
    """Four independent features; ``shift`` moves the first two, in their standard deviations."""
    return {
        "amount": random.normal(50.0 + 10.0 * shift, 10.0, rows),
        "age": random.normal(40.0 + 8.0 * shift, 8.0, rows),
        "score": random.normal(0.0, 1.0, rows),
        "country": random.choice(["de", "fr", "it"], rows, p=[0.5, 0.3, 0.2]).tolist(),
    }


def metric_lines(text: str, name: str) -> Iterator[str]:
    return (line for line in text.splitlines() if line.startswith(f"driftline_{name}"))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
