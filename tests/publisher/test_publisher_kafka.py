"""The publisher against Apache Kafka: a logged event arrives once, through every failure of the broker."""

import uuid

import pytest

from stream.publisher import InferencePublisher
from tests.kafka import server
from tests.publisher.conftest import Broker, wait_until

pytestmark = pytest.mark.kafka


async def topic_on(cluster: server.Cluster) -> Broker:
    topic = f"events-{uuid.uuid4().hex}"
    await cluster.create_topics({topic: 4})
    return Broker(cluster.bootstrap_servers, topic)


async def test_every_event_arrives_once_spread_over_the_partitions(kafka: server.Cluster) -> None:
    broker = await topic_on(kafka)
    with InferencePublisher("fraud", "3", bootstrap_servers=broker.bootstrap_servers, topic=broker.topic) as publisher:
        for number in range(20_000):
            publisher.log({"x": number}, 0)
            if number % 2000 == 0:
                publisher.flush(10)
    assert publisher.stats().delivered == 20_000
    records = broker.records(20_000)
    assert sorted(event["features"]["x"] for event in map(Broker.event, records)) == list(range(20_000))
    assert len({record.partition() for record in records}) > 1


async def test_a_broker_that_is_killed_and_comes_back_loses_and_doubles_nothing(
    restartable_kafka: server.Server,
) -> None:
    broker = await topic_on(restartable_kafka)
    settings = {"reconnect.backoff.max.ms": 200}
    with InferencePublisher(
        "fraud",
        "3",
        bootstrap_servers=broker.bootstrap_servers,
        topic=broker.topic,
        client=settings,
        close_timeout_seconds=60,
    ) as publisher:
        for number in range(2000):
            publisher.log({"x": number})
        wait_until(lambda: publisher.stats().delivered > 0)
        restartable_kafka.kill()
        for number in range(2000, 4000):
            publisher.log({"x": number})
        wait_until(lambda: publisher.stats().last_error is not None)
        assert publisher.stats().queued > 0
        restartable_kafka.start()
        for number in range(4000, 6000):
            publisher.log({"x": number})
    assert publisher.stats().delivered == 6000
    events = broker.events(6000)
    assert sorted(event["features"]["x"] for event in events) == list(range(6000))
