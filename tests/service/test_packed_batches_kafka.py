"""Batches that are small on the wire and unpack to hundreds of megabytes, before a whole worker."""

import json
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.kafka.server import Cluster
from tests.service.processes import Deployment, WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

MOST_MORE_BYTES = 200_000_000


def peak_bytes(worker: WorkerProcess) -> int:
    status = Path(f"/proc/{worker.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def send(deployment: Deployment, codec: str, values: list[bytes]) -> None:
    limits = {"message.max.bytes": 1_000_000_000, "linger.ms": 0}
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers, "compression.type": codec, **limits})
    for value in values:
        producer.produce(deployment.topics["events"][0], value, partition=0)
        producer.flush(120)


@pytest.mark.parametrize("codec", ["zstd", "gzip"])
async def test_ten_batches_of_a_hundred_megabytes_cost_little_memory_red_packed_batch(
    kafka: Cluster, tmp_path: Path, codec: str
) -> None:
    """The case red-packed-batch: events, ten packed records of 100 MB, events. Every event counts, each of the ten is
    one dead letter, and the worker goes on."""
    deployment = Deployment(kafka.bootstrap_servers, tmp_path)
    await deployment.prepare()
    events = [
        json.dumps({"id": str(n), "model": "m", "version": "1", "features": {"x": n % 7}}).encode() for n in range(40)
    ]
    with WorkerProcess(deployment) as worker:
        worker.until_ready()
        send(deployment, codec, events[:20])
        worker.until_events("m", "1", 20)
        before = peak_bytes(worker)
        bomb = b'{"model":"m","x":"' + b"0" * 100_000_000 + b'"}'
        send(deployment, codec, [bomb] * 10)
        send(deployment, codec, events[20:])
        worker.until_events("m", "1", 40)
        more = peak_bytes(worker) - before
        assert more < MOST_MORE_BYTES
        assert worker.log.read_text().count("does not unpack within 33554432 bytes; they are left out") == 10
        assert worker.terminate()[0] == 0
    letters = await deployment.headers_of("dead_letters")
    reasons = [dict(headers)["reason"].decode() for headers in letters]
    assert len(reasons) == 10
    assert all("does not unpack within" in reason for reason in reasons)
