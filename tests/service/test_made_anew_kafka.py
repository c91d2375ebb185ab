"""Topics that are deleted and made again under a whole worker and between two runs of it, on a real broker."""

import json
import time
from contextlib import suppress
from pathlib import Path

import pytest
from aiokafka.errors import TopicAlreadyExistsError
from confluent_kafka import Producer

from tests.kafka.server import Cluster
from tests.service.processes import PARTITIONS, Deployment, WorkerProcess, metric_lines

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]


def send(deployment: Deployment, prefix: str, count: int) -> None:
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers, "enable.idempotence": True})
    for number in range(count):
        event = {
            "model": "anew", "version": "1", "id": f"{prefix}{number}", "ts": int(time.time() * 1000),
            "features": {"x": number * 7919 % 1000 / 1000},
        }  # fmt: skip
        producer.produce(deployment.topics["events"][0], json.dumps(event), partition=number % PARTITIONS)
    producer.flush(30)


async def remake(kafka: Cluster, deployment: Deployment) -> None:
    """Deletes the topic of the events and makes it again. A client that still asks for it may make it first, with the
    broker's own number of partitions."""
    topic = deployment.topics["events"][0]
    for _ in range(20):
        await kafka.delete_topics(topic)
        with suppress(TopicAlreadyExistsError):
            await kafka.create_topics({topic: PARTITIONS})
            return
    raise AssertionError("the topic is always there already")


def interruptions(worker: WorkerProcess) -> list[str]:
    return list(metric_lines(worker.get("/metrics") or "", "interruptions_total{"))


def interrupted(worker: WorkerProcess) -> int:
    detail = worker.model("anew", "1")
    assert detail is not None
    return int(detail["interruptions"].get("topic_made_anew", 0))


@pytest.mark.parametrize("after", [5_000, 1_000], ids=["more", "fewer"])
async def test_a_topic_made_anew_under_a_worker_is_counted_whole_field_topic_made_anew(
    kafka: Cluster, tmp_path: Path, after: int
) -> None:
    """The case field-topic-made-anew: 2,000 events, the topic anew, then 5,000 or 1,000 events; then a restart, the
    topic anew once more while no worker runs, and 1,000 events."""
    deployment = Deployment(kafka.bootstrap_servers, tmp_path, learning_events=500)
    await deployment.prepare()
    with WorkerProcess(deployment) as worker:
        worker.until_ready()
        send(deployment, "before-", 2_000)
        worker.until_events("anew", "1", 2_000)
        await remake(kafka, deployment)
        send(deployment, "after-", after)
        detail = worker.until_events("anew", "1", 2_000 + after)
        assert detail["events"] == 2_000 + after
        assert len(interruptions(worker)) == 1
        assert "was made anew" in worker.log.read_text()
        assert worker.terminate()[0] == 0
    await remake(kafka, deployment)
    send(deployment, "again-", 1_000)
    with WorkerProcess(deployment) as worker:
        worker.until_ready()
        detail = worker.until_events("anew", "1", 3_000 + after)
        assert detail["events"] == 3_000 + after
        worker.until(lambda: interrupted(worker) >= 2 * PARTITIONS, "interruptions in the model's view")
        assert len(interruptions(worker)) == 1
        assert worker.terminate()[0] == 0
