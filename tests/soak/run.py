"""A worker under a steady load, with models that come and go; memory, threads and open files watched from outside."""

import asyncio
import json
import random
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from aiokafka import AIOKafkaProducer

from tests.kafka.server import Server
from tests.service.processes import PARTITIONS, Deployment, WorkerProcess

MODELS_AT_ONCE = 10
MODELS = 40
"""Names that come, go and come again: what is remembered of a model stays within the limits."""
SWITCH_SECONDS = 5.0
SAMPLE_SECONDS = 2.0
WARM_SHARE = 0.4
"""Of the run, after which nothing may grow any more: every model has been there."""
GROWTH_SHARE, GROWTH_MEGABYTES = 0.1, 20.0
NOISE = ("is rebalancing",)
"""What a group says when it is as it should be."""


class Sample(NamedTuple):
    """Measurements of the worker's process."""

    seconds: float
    megabytes: float
    threads: int
    files: int


class Soak(NamedTuple):
    """The result. ``said``: warnings and errors in the worker's log."""

    sent: int
    counted: int
    samples: list[Sample]
    said: list[str]

    @property
    def settled(self) -> tuple[Sample, Sample]:
        """Means of the first and the last quarter of the measurements after the warm-up."""
        late = self.samples[int(len(self.samples) * WARM_SHARE) :]
        quarter = max(1, len(late) // 4)
        return _mean(late[:quarter]), _mean(late[-quarter:])

    @property
    def faults(self) -> list[str]:
        first, last = self.settled
        found = [f"{self.sent} events were sent, {self.counted} counted"] if self.sent != self.counted else []
        if last.megabytes - first.megabytes > max(GROWTH_MEGABYTES, GROWTH_SHARE * first.megabytes):
            found.append(f"memory grew from {first.megabytes:.0f} to {last.megabytes:.0f} MB")
        if last.threads > first.threads + 2:
            found.append(f"threads grew from {first.threads} to {last.threads}")
        if last.files > first.files + 5:
            found.append(f"open files grew from {first.files} to {last.files}")
        return found + self.said[:5]


def _mean(samples: list[Sample]) -> Sample:
    count = len(samples)
    return Sample(
        sum(s.seconds for s in samples) / count,
        sum(s.megabytes for s in samples) / count,
        round(sum(s.threads for s in samples) / count),
        round(sum(s.files for s in samples) / count),
    )


async def soak(broker: Server, folder: Path, seconds: float, per_second: int, seed: int) -> Soak:
    """Runs on a broker that is already running."""
    deployment = Deployment(broker.bootstrap_servers, folder, checkpoint_interval_seconds=5, learning_events=500)
    await deployment.prepare()
    samples: list[Sample] = []
    with WorkerProcess(deployment) as worker:
        await asyncio.to_thread(worker.until_ready)
        started = len(worker.log.read_bytes())  # lines that are logged while groups form on a new broker do not count
        watching = asyncio.create_task(_watch(worker, samples))
        try:
            sent = await _send(deployment, seconds, per_second, random.Random(seed))
            counted = await _counted(worker, sent)
        finally:
            watching.cancel()
        await asyncio.to_thread(worker.terminate)
        lines = worker.log.read_bytes()[started:].decode(errors="replace").splitlines()
    said = [line for line in lines if (" WARNING " in line or " ERROR " in line) and not any(n in line for n in NOISE)]
    return Soak(sent, counted, samples, said)


async def _watch(worker: WorkerProcess, samples: list[Sample]) -> None:
    began, process = time.monotonic(), Path("/proc") / str(worker.process.pid)
    while True:
        with suppress(OSError, StopIteration):
            status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
            files = sum(1 for _ in (process / "fd").iterdir())
            megabytes = int(status["VmRSS"].split()[0]) / 1024
            samples.append(Sample(time.monotonic() - began, megabytes, int(status["Threads"]), files))
        await asyncio.sleep(SAMPLE_SECONDS)


async def _send(deployment: Deployment, seconds: float, per_second: int, chance: random.Random) -> int:
    """Ten models at a time out of forty, others every five seconds."""
    producer = AIOKafkaProducer(bootstrap_servers=deployment.bootstrap_servers, linger_ms=20)
    await producer.start()
    began, sent = time.monotonic(), 0
    try:
        while (passed := time.monotonic() - began) < seconds:
            first = int(passed / SWITCH_SECONDS) * 3
            for _ in range(max(0, int(per_second * passed) - sent)):
                model = f"model-{(first + chance.randrange(MODELS_AT_ONCE)) % MODELS}"
                features = {"a": chance.gauss(0, 1), "b": chance.expovariate(1), "c": chance.choice("xyz")}
                now_ms = time.time_ns() // 1_000_000
                event = {"id": f"e{sent}", "model": model, "version": "1", "ts": now_ms, "features": features}
                topic = deployment.topics["events"][0]
                await producer.send(topic, json.dumps(event).encode(), partition=chance.randrange(PARTITIONS))
                sent += 1
            await asyncio.sleep(0.05)
        await producer.flush()
    finally:
        await producer.stop()
    return sent


async def _counted(worker: WorkerProcess, wanted: int) -> int:
    """The number of events of all models in the API, as soon as it has the expected value, or after a minute."""
    deadline = time.monotonic() + 60
    while True:
        answer = await asyncio.to_thread(worker.get, "/api/v1/models") or {"models": []}
        counted = sum(int(model["events"]) for model in answer["models"])
        if counted == wanted or time.monotonic() > deadline:
            return counted
        await asyncio.sleep(0.5)


def table(result: Soak) -> str:
    first, last = result.settled
    return "\n".join(
        [
            "| | after warming up | at the end |",
            "|---|---|---|",
            f"| memory | {first.megabytes:.0f} MB | {last.megabytes:.0f} MB |",
            f"| threads | {first.threads} | {last.threads} |",
            f"| open files | {first.files} | {last.files} |",
            f"| events | {result.sent} sent | {result.counted} counted |",
            f"| warnings and errors in the log | | {len(result.said)} |",
            *result.faults,
        ]
    )
