"""Events of producers that use transactions, and partitions that are added, on a real broker."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from confluent_kafka import Producer

from stream.backends.kafka.cluster import KafkaCluster
from stream.settings import settings as config
from tests.kafka.server import Cluster
from tests.service.processes import Deployment, WorkerProcess, metric_lines, population

pytestmark = pytest.mark.kafka

LATE_MS = 120_000


@contextmanager
def transaction(bootstrap_servers: str) -> Iterator[Producer]:
    """A producer in a transaction, which is aborted unless it was committed before the end."""
    producer = Producer({"bootstrap.servers": bootstrap_servers, "transactional.id": uuid4().hex})
    producer.init_transactions(30)
    producer.begin_transaction()
    yield producer
    producer.flush(30)


def send(producer: Producer, deployment: Deployment, prefix: str, count: int, partitions: int = 4) -> None:
    now_ms = int(time.time() * 1000) - LATE_MS
    for number in range(count):
        event = {
            "id": f"{prefix}{number}", "model": "m", "version": "1", "ts": now_ms,
            "features": {"x": number % 100 / 100}, "prediction": 1.0,
        }  # fmt: skip
        producer.produce(deployment.topics["events"][0], json.dumps(event), partition=number % partitions)
    producer.flush(30)


def send_labels(deployment: Deployment, prefix: str, count: int) -> None:
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers})
    for number in range(count):
        label = {"id": f"{prefix}{number}", "model": "m", "label": 1.0}
        producer.produce(deployment.topics["labels"][0], json.dumps(label))
    producer.flush(30)


def lags(worker: WorkerProcess) -> list[float]:
    lines = metric_lines(worker.get("/metrics") or "", "consumer_lag{")
    return [float(line.rsplit(" ", 1)[1]) for line in lines]


def labels(worker: WorkerProcess, outcome: str) -> float:
    lines = metric_lines(worker.get("/metrics") or "", "labels_total{")
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if f'outcome="{outcome}"' in line)


@pytest.mark.parametrize("how", ["plain", "committed", "aborted after"])
async def test_end_marks_of_transactions_are_no_lag_and_hold_no_labels_red_transaction_marker(
    kafka: Cluster, tmp_path: Path, how: str
) -> None:
    """The case red-transaction-marker: 400 events whose end is the mark of a transaction, then their labels. The mark
    of an aborted transaction does the same, and its events count nowhere."""
    deployment = Deployment(kafka.bootstrap_servers, tmp_path)
    with WorkerProcess(deployment) as worker:
        worker.until_ready()
        if how == "plain":
            send(Producer({"bootstrap.servers": kafka.bootstrap_servers}), deployment, "e", 400)
        else:
            with transaction(kafka.bootstrap_servers) as producer:
                send(producer, deployment, "e", 400)
                producer.commit_transaction(30)
        if how == "aborted after":
            with transaction(kafka.bootstrap_servers) as producer:
                send(producer, deployment, "never", 400)
                producer.abort_transaction(30)
        worker.until_events("m", "1", 400)
        send_labels(deployment, "e", 400)
        worker.until(lambda: labels(worker, "matched") == 400, "the labels")
        worker.until(lambda: len(lags(worker)) == 4 and not any(lags(worker)), f"no lag, now {lags(worker)}")
        assert worker.model("m", "1")["events"] == 400  # type: ignore[index]
        assert worker.model("m", "1")["state"] != "blind"  # type: ignore[index]
        assert worker.terminate()[0] == 0


async def test_an_open_transaction_is_lag_and_its_events_count_once_it_is_committed(
    kafka: Cluster, tmp_path: Path
) -> None:
    deployment = Deployment(kafka.bootstrap_servers, tmp_path)
    with WorkerProcess(deployment) as worker:
        worker.until_ready()
        with transaction(kafka.bootstrap_servers) as producer:
            send(producer, deployment, "e", 100)
            worker.until(lambda: sum(lags(worker)) == 100, "the lag of the open transaction")
            assert worker.model("m", "1") is None
            producer.commit_transaction(30)
        worker.until_events("m", "1", 100)
        worker.until(lambda: not any(lags(worker)), "no lag")


async def test_events_of_aborted_transactions_count_where_the_settings_say_so(kafka: Cluster, tmp_path: Path) -> None:
    deployment = Deployment(kafka.bootstrap_servers, tmp_path, kafka={"isolation_level": "read_uncommitted"})
    with WorkerProcess(deployment) as worker:
        worker.until_ready()
        with transaction(kafka.bootstrap_servers) as producer:
            send(producer, deployment, "e", 100)
            producer.abort_transaction(30)
        worker.until_events("m", "1", 100)
        worker.until(lambda: not any(lags(worker)), "no lag")


@pytest.mark.timeout(400)
@pytest.mark.parametrize("create", [True, False], ids=["adds them", "may not add them"])
async def test_partitions_that_are_added_are_taken_up_field_partitions_added(
    kafka: Cluster, tmp_path: Path, create: bool
) -> None:
    """The case field-partitions-added: four partitions become six, and 600 events go to the sixth."""
    deployment = Deployment(kafka.bootstrap_servers, tmp_path)
    await deployment.prepare()
    if not create:
        deployment.config["kafka"]["create_topics"] = False
        deployment.path.write_text(json.dumps(deployment.config))
    with WorkerProcess(deployment) as worker:
        worker.until_ready()
        count = await deployment.publish_events("m", "1", population(np.random.default_rng(1), 400))
        worker.until_events("m", "1", count)
        cluster = KafkaCluster(config.load(deployment.path, {}).kafka)
        await cluster.start()
        await cluster.grow(deployment.topics["events"][0], 6)
        await cluster.stop()
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
        for number in range(600):
            event = {"id": f"s{number}", "model": "m", "version": "1", "features": {"amount": number % 7}}
            producer.produce(deployment.topics["events"][0], json.dumps(event), partition=5)
        producer.flush(30)
        if create:
            worker.until_events("m", "1", count + 600, 120.0)
            worker.until_ready()
            assert "partitions were added" in worker.log.read_text()
            status, _ = worker.terminate()
            assert status == 0, worker.text()
            with WorkerProcess(deployment) as again:
                again.until_ready()
                assert again.until_events("m", "1", count + 600)["events"] == count + 600
        else:
            deadline = time.monotonic() + 120
            while worker.process.poll() is None:
                assert time.monotonic() < deadline, worker.text()
                await asyncio.sleep(0.2)
            last = worker.log.read_text().strip().splitlines()
            assert worker.process.returncode == 2
            text = "\n".join(last[-3:])
            assert deployment.topics["checkpoints"] in text
            assert "4 partitions" in text
            assert "6" in text
            assert "driftline check" in text
