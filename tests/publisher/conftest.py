"""A broker for the publisher's tests: the embedded one, or the Kafka in ``DRIFTLINE_TEST_KAFKA``."""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from stream.backends.kafka.embedded import EmbeddedBroker

DEADLINE_SECONDS = 30.0


class Broker:
    """Where to publish to, and what arrived there."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.topic = topic

    def records(self, count: int, topic: str | None = None) -> list[confluent_kafka.Message]:
        """The first ``count`` records of the topic, or fewer if they do not arrive in time."""
        settings = {"bootstrap.servers": self.bootstrap_servers, "group.id": uuid.uuid4().hex, "log_level": 0}
        consumer = confluent_kafka.Consumer({**settings, "auto.offset.reset": "earliest"})
        name = topic or self.topic
        partitions = consumer.list_topics(name, timeout=DEADLINE_SECONDS).topics[name].partitions
        consumer.assign([confluent_kafka.TopicPartition(name, number, 0) for number in partitions])
        found: list[confluent_kafka.Message] = []
        deadline = time.monotonic() + DEADLINE_SECONDS
        try:
            while len(found) < count and time.monotonic() < deadline:
                found += [message for message in consumer.consume(count, 0.1) if message.error() is None]
        finally:
            consumer.close()
        return found

    def events(self, count: int, topic: str | None = None) -> list[dict[str, Any]]:
        return [self.event(message) for message in self.records(count, topic)]

    @staticmethod
    def event(message: confluent_kafka.Message) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(message.value())
        return found


class Gate:
    """A proxy in front of a broker's bootstrap address: while it is closed, the broker is unreachable."""

    def __init__(self, target: str) -> None:
        host, port = target.rsplit(":", 1)
        self._target = (host, int(port))
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def open(self) -> None:
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for held in [self._listener, *self._open]:
            with suppress(OSError):
                held.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="session")
def servers() -> Iterator[str]:
    given = os.environ.get("DRIFTLINE_TEST_KAFKA")
    if given:
        yield given
        return
    with EmbeddedBroker() as embedded:
        yield embedded.bootstrap_servers


@pytest.fixture
def broker(servers: str) -> Broker:
    """A topic of its own in the broker."""
    topic = f"events-{uuid.uuid4().hex}"
    if os.environ.get("DRIFTLINE_TEST_KAFKA"):
        client = AdminClient({"bootstrap.servers": servers})
        for created in client.create_topics([NewTopic(topic, num_partitions=4)]).values():
            created.result(30)
    return Broker(servers, topic)


@pytest.fixture
def gate(servers: str) -> Iterator[Gate]:
    door = Gate(servers)
    yield door
    door.close()


def wait_until(condition: Callable[[], bool], seconds: float = DEADLINE_SECONDS) -> None:
    """Waits for a condition, with a deadline."""
    deadline = time.monotonic() + seconds
    reached = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        reached.wait(0.01)
