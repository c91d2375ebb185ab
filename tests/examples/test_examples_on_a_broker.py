"""The examples that need nothing but Kafka, against a broker."""

import json
import sys
import uuid

import confluent_kafka
import pytest

from examples import drift_events, publish, retrain_requests
from tests.kafka import server
from tests.publisher.conftest import Broker

EVENT = {
    "id": "a",
    "time": "2025-11-21T04:40:00.123Z",
    "type": "io.driftline.retrain.requested.v1",
    "data": {"model": "m"},
}


def send(broker: Broker, *events: dict[str, object]) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap_servers})
    for event in events:
        producer.produce(broker.topic, json.dumps(event), partition=0)
    assert producer.flush(10) == 0


def test_the_smallest_publisher_publishes(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["publish", "--bootstrap-servers", broker.bootstrap_servers, "--events", "50"])
    publish.main()
    events = [event for event in broker.events(50, "inference-events") if event["model"] == "fraud"]
    assert {"amount", "country", "age"} == set(events[0]["features"])
    assert 0 <= events[0]["scores"]["fraud"] <= 1


@pytest.fixture
async def kafka_broker(kafka: server.Cluster) -> Broker:
    """Runs on Apache Kafka, because groups of the mock cluster are slow when members join and leave."""
    topic = f"events-{uuid.uuid4().hex}"
    await kafka.create_topics({topic: 1})
    return Broker(kafka.bootstrap_servers, topic)


@pytest.mark.kafka
def test_a_consumer_sees_every_id_once_and_goes_on_where_it_was(kafka_broker: Broker) -> None:
    broker = kafka_broker
    send(broker, {"id": "a"}, {"id": "b"}, {"id": "a"})
    follow = drift_events.follow
    assert [event["id"] for event in follow(broker.bootstrap_servers, broker.topic, broker.topic, 8)] == ["a", "b"]
    send(broker, {"id": "c"})
    assert [event["id"] for event in follow(broker.bootstrap_servers, broker.topic, broker.topic, 8)] == ["c"]


@pytest.mark.kafka
def test_a_request_that_fails_is_handed_over_again(kafka_broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = kafka_broker
    send(broker, EVENT)
    words = [
        "--bootstrap-servers",
        broker.bootstrap_servers,
        "--topic",
        broker.topic,
        "--idle-seconds",
        "8",
        "run",
        "--",
    ]
    monkeypatch.setattr(sys, "argv", ["retrain_requests", *words, sys.executable, "-c", "raise SystemExit(1)"])
    with pytest.raises(Exception, match="exit status 1"):
        retrain_requests.main()
    handed: list[str] = []
    monkeypatch.setattr(retrain_requests, "handler_of", lambda _: lambda request: handed.append(request["model"]))
    retrain_requests.main()
    assert handed == ["m"]
