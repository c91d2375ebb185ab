"""The Kafka settings of compose on a real broker: it starts, and the topics job accepts it."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from stream.backends.kafka.cluster import KafkaCluster
from stream.settings import settings
from stream.settings.settings import KafkaSettings
from stream.topics import rules
from tests.deploy import paths
from tests.deploy.test_deployment import services
from tests.kafka.server import Cluster, Server, answers, free_ports

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

NOT_PROPERTIES = ("KAFKA_HEAP_OPTS",)


class ComposeServer(Server):
    """Kafka with the environment of compose, turned into properties as the image does; only paths and ports differ."""

    def _plain(self) -> Iterator[str]:
        inside, controller = free_ports(2)
        places = {"kafka:19092": f"127.0.0.1:{inside}", "kafka:9093": f"127.0.0.1:{controller}"}
        places |= {"127.0.0.1:9092": self.bootstrap_servers, "//:19092": f"//127.0.0.1:{inside}"}
        places |= {"//:9092": f"//{self.bootstrap_servers}", "//:9093": f"//127.0.0.1:{controller}"}
        environment = services()["kafka"]["environment"]
        for name, value in environment.items():
            if not name.startswith("KAFKA_") or name in NOT_PROPERTIES:
                continue
            for theirs, ours in places.items():
                value = value.replace(theirs, ours)
            if name == "KAFKA_LOG_DIRS":
                value = str(self._folder / "data")
            yield f"{name.removeprefix('KAFKA_').lower().replace('_', '.')}={value}"


async def test_the_simulated_models_of_the_demo_profile_publish(kafka: Cluster, tmp_path: Path) -> None:
    program = paths.DEPLOY / "compose" / "simulate.py"
    command = [sys.executable, str(program), kafka.bootstrap_servers, "3"]
    cluster = KafkaCluster(KafkaSettings(bootstrap_servers=kafka.bootstrap_servers))
    await rules.ensure(settings.Settings(), cluster, create=True)
    before = await asyncio.to_thread(written, kafka.bootstrap_servers)
    process = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, env={"PYTHONPATH": str(paths.ROOT)})
    assert await process.wait() == 0
    assert await asyncio.to_thread(written, kafka.bootstrap_servers) > before + 300


def written(bootstrap_servers: str) -> int:
    """Number of records on the input topic so far."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "counting"})
    try:
        name = settings.Settings().topics.event_names[0]
        partitions = consumer.list_topics(name, 10).topics[name].partitions
        return sum(consumer.get_watermark_offsets(TopicPartition(name, number), 10)[1] for number in partitions)
    finally:
        consumer.close()


def test_the_broker_of_compose_starts_and_the_topics_job_accepts_it(kafka: Cluster, tmp_path: Path) -> None:
    """The fixture ``kafka`` skips, or fails where CI is set, if no Kafka is available."""
    broker = ComposeServer(tmp_path / "kafka")
    broker.start()
    try:
        assert answers(broker.bootstrap_servers)
        command = services()["topics"]["command"]
        driftline = Path(sys.executable).parent / "driftline"
        arguments = [broker.bootstrap_servers if part == "kafka:19092" else part for part in command]
        for _ in range(2):
            answer = subprocess.run([driftline, *arguments], capture_output=True, text=True, check=False, cwd=tmp_path)
            assert answer.returncode == 0, answer.stdout + answer.stderr
    finally:
        broker.stop()
