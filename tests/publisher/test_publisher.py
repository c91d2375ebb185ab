"""The publisher never blocks, never raises, and counts the result of every event."""

import datetime
import gc
import logging
import os
import random
import sys
import threading
import time
import weakref
from decimal import Decimal
from typing import Any

import confluent_kafka
import numpy as np
import pytest

from detectors.errors import SettingsError
from stream import publisher as publisher_module
from stream.backends.kafka.embedded import EmbeddedBroker
from stream.publisher import InferencePublisher
from tests.publisher.conftest import Broker, Gate, wait_until

NOWHERE = "127.0.0.1:1"


def make(broker: Broker, **more: Any) -> InferencePublisher:
    settings = {"topic": broker.topic, "environment": {"python": "3"}, "close_timeout_seconds": 30, **more}
    return InferencePublisher("fraud", "3", bootstrap_servers=broker.bootstrap_servers, **settings)


def away(**more: Any) -> InferencePublisher:
    return InferencePublisher("fraud", "3", bootstrap_servers=NOWHERE, **more)


def assert_balanced(publisher: InferencePublisher) -> None:
    stats = publisher.stats()
    assert stats.logged == stats.delivered + stats.queued + sum(stats.dropped.values())


def test_an_event_arrives_with_everything_that_was_logged(broker: Broker) -> None:
    with make(broker) as publisher:
        identity = publisher.log(
            {"amount": 12.5, "country": "NL", "weekend": True, "age": None, "embedding": [0.5, 1.5]},
            1,
            scores={"fraud": 0.9},
            segment="NL",
            latency_ms=3.5,
            error=False,
            ts=1763700000000,
        )
    (event,) = broker.events(1)
    assert event == {
        "id": identity,
        "model": "fraud",
        "version": "3",
        "ts": 1763700000000,
        "features": {"amount": 12.5, "country": "NL", "weekend": True, "age": None, "embedding": [0.5, 1.5]},
        "prediction": 1,
        "scores": {"fraud": 0.9},
        "segment": "NL",
        "latency_ms": 3.5,
        "error": False,
        "env": {"python": "3"},
    }


def test_leaving_the_block_delivers_everything(broker: Broker) -> None:
    with make(broker) as publisher:
        for number in range(5000):
            publisher.log({"x": number})
    stats = publisher.stats()
    assert (stats.logged, stats.delivered, stats.queued, stats.dropped) == (5000, 5000, 0, {})
    assert sorted(event["features"]["x"] for event in broker.events(5000)) == list(range(5000))


def test_events_are_spread_over_the_partitions(broker: Broker) -> None:
    with make(broker, client={"linger.ms": 0, "sticky.partitioning.linger.ms": 1}) as publisher:
        for number in range(400):
            publisher.log({"x": number})
            if number % 10 == 0:
                publisher.flush(30)
    assert len({message.partition() for message in broker.records(400)}) > 1


def test_ids_and_times_are_given_or_made(broker: Broker) -> None:
    before = time.time_ns() // 1_000_000
    moment = datetime.datetime(2025, 11, 21, 4, 40, tzinfo=datetime.UTC)
    with make(broker) as publisher:
        made = [publisher.log({"x": number}) for number in range(100)]
        assert publisher.log({"x": 0}, id="mine", ts=moment) == "mine"
    events = {event["id"]: event for event in broker.events(101)}
    assert set(events) == {*made, "mine"}
    assert len(set(made)) == 100
    assert before <= events[made[0]]["ts"] <= time.time_ns() // 1_000_000
    assert events["mine"]["ts"] == "2025-11-21T04:40:00+00:00"


def test_the_environment_goes_with_the_first_event_and_again_after_the_interval(broker: Broker) -> None:
    with make(broker, environment_interval_seconds=0.05) as publisher:
        for number in range(200):
            publisher.log({"x": number})
        wait_until(lambda: time.time_ns() // 1_000_000 >= publisher._environment_due_ms)
        publisher.log({"x": 200})
    events = sorted(broker.events(201), key=lambda event: event["features"]["x"])
    assert "env" in events[0]
    assert "env" in events[200]
    assert sum("env" in event for event in events) < 100


def test_by_default_the_fingerprint_names_the_libraries_in_use() -> None:
    with away(close_timeout_seconds=0) as publisher:
        assert publisher.environment["numpy"] == np.__version__
        assert publisher.environment["python"].startswith("3.")


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (np.float64(1.5), 1.5),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.array([1.0, 2.0]), [1.0, 2.0]),
        (np.array(["a", "b"]), ["a", "b"]),
        (float("nan"), None),
        (float("inf"), None),
        (np.float64("nan"), None),
        (Decimal("1.25"), 1.25),
        (2**70, 2**70),
        ("\ud800", "\ud800"),
        ({1: 2.0, "x": float("nan")}, {"1": 2.0, "x": None}),
        ((1, 2), [1, 2]),
    ],
    ids=repr,
)
def test_values_of_other_libraries_arrive_as_plain_json(broker: Broker, value: Any, arrives: Any) -> None:
    with make(broker) as publisher:
        publisher.log({"x": value})
    (event,) = broker.events(1)
    assert event["features"]["x"] == arrives
    assert publisher.stats().dropped == {}


def test_labels_arrive_on_their_own_topic(broker: Broker) -> None:
    with make(broker, labels_topic=broker.topic + "-labels") as publisher:
        publisher.log_label("e1", 1, ts=5)
    assert broker.events(1, broker.topic + "-labels") == [{"id": "e1", "model": "fraud", "label": 1, "ts": 5}]


def test_a_broker_that_is_away_at_the_start_gets_everything_once_it_is_there(broker: Broker, gate: Gate) -> None:
    settings = {"reconnect.backoff.max.ms": 100}
    with make(Broker(gate.address, broker.topic), client=settings) as publisher:
        for number in range(500):
            publisher.log({"x": number})
        wait_until(lambda: publisher.stats().last_error is not None)
        assert publisher.stats().queued == 500
        gate.open()
    assert publisher.stats().delivered == 500
    assert len(broker.events(500)) == 500


def test_a_broker_that_goes_away_later_costs_nothing_while_the_queue_holds() -> None:
    settings = {"reconnect.backoff.max.ms": 100}
    with EmbeddedBroker() as embedded:
        broker = Broker(embedded.bootstrap_servers, "events")
        with make(broker, client=settings) as publisher:
            publisher.log({"x": 0})
            assert publisher.flush(30)
            embedded.down()
            for number in range(1, 500):
                publisher.log({"x": number})
            assert not publisher.flush(0.1)
            embedded.up()
        assert publisher.stats().delivered == 500
        assert sorted(event["features"]["x"] for event in broker.events(500)) == list(range(500))


def test_a_full_queue_drops_and_counts_and_never_waits() -> None:
    publisher = away(max_queue_events=100)
    began = time.perf_counter()
    for number in range(5000):
        publisher.log({"x": number})
    assert time.perf_counter() - began < 20.0
    stats = publisher.stats()
    assert (stats.queued, stats.dropped) == (100, {publisher_module.QUEUE_FULL: 4900})
    assert_balanced(publisher)
    publisher.close(0)


def test_the_queue_is_bounded_in_bytes_too() -> None:
    publisher = away(max_queue_bytes=256 * 1024)
    for _ in range(100):
        publisher.log({"x": "a" * 10_000})
    stats = publisher.stats()
    assert stats.queued < 30
    assert stats.dropped == {publisher_module.QUEUE_FULL: 100 - stats.queued}
    publisher.close(0)


def test_closing_keeps_its_deadline_and_counts_what_was_left() -> None:
    publisher = away()
    for number in range(50):
        publisher.log({"x": number})
    began = time.perf_counter()
    publisher.close(0.2)
    assert time.perf_counter() - began < 20.0
    assert publisher.stats().dropped == {publisher_module.CLOSED: 50}
    assert_balanced(publisher)


def test_logging_after_close_is_counted_and_closing_twice_is_harmless(broker: Broker) -> None:
    publisher = make(broker)
    publisher.close()
    publisher.log({"x": 1})
    publisher.close()
    assert publisher.stats().dropped == {publisher_module.CLOSED: 1}


def test_what_cannot_be_delivered_in_time_is_given_up() -> None:
    publisher = away(delivery_timeout_seconds=0.1, client={"linger.ms": 0})
    publisher.log({"x": 1})
    wait_until(lambda: publisher.stats().dropped == {publisher_module.UNDELIVERED: 1})
    assert_balanced(publisher)
    publisher.close(0)


def test_an_event_larger_than_a_message_is_dropped_alone(broker: Broker) -> None:
    with make(broker) as publisher:
        publisher.log({"x": "a" * 2_000_000})
        publisher.log({"x": "small"})
    assert publisher.stats().dropped == {publisher_module.TOO_LARGE: 1}
    assert [event["features"]["x"] for event in broker.events(1)] == ["small"]


class Refuses:
    """A value that cannot be encoded, and whose attributes raise."""

    def tolist(self) -> None:
        raise RuntimeError("no")


def test_an_event_without_json_form_is_dropped_and_the_caller_does_not_notice(broker: Broker) -> None:
    circle: list[Any] = []
    circle.append(circle)
    with make(broker) as publisher:
        publisher.log({"x": circle})
        publisher.log({"x": Refuses()})
        publisher.log({"x": 1})
    assert publisher.stats().dropped == {publisher_module.UNENCODABLE: 2}
    assert publisher.stats().delivered == 1


def test_what_the_caller_changes_afterwards_does_not_change_the_event(broker: Broker) -> None:
    features = {"x": 1, "list": [1]}
    with make(broker) as publisher:
        publisher.log(features)
        features["x"] = 2
        features["list"].append(2)  # type: ignore[attr-defined]
    (event,) = broker.events(1)
    assert event["features"] == {"x": 1, "list": [1]}


def test_a_wrong_client_setting_is_told_at_once() -> None:
    with pytest.raises(SettingsError, match="compression"):
        away(client={"compression.type": "zip"})
    with pytest.raises(SettingsError, match=r"no\.such"):
        away(client={"no.such": 1})


def test_several_threads_may_log_at_once(broker: Broker) -> None:
    def log_some(publisher: InferencePublisher, worker: int) -> None:
        for number in range(500):
            publisher.log({"worker": worker, "x": number})

    with make(broker) as publisher:
        threads = [threading.Thread(target=log_some, args=(publisher, worker)) for worker in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert publisher.stats().delivered == 4000
    events = broker.events(4000)
    assert len({event["id"] for event in events}) == 4000


def test_a_forked_child_has_a_queue_of_its_own(broker: Broker) -> None:
    """Runs in an interpreter of its own: a fork of one with tests, threads and brokers can hang."""
    code = f"""
import os
from stream.publisher import InferencePublisher
publisher = InferencePublisher("fraud", "3", bootstrap_servers={broker.bootstrap_servers!r}, topic={broker.topic!r})
publisher.log({{"x": "parent"}})
child = os.fork()
publisher.log({{"x": "child" if child == 0 else "parent"}})
publisher.close(30)
stats = publisher.stats()
assert (stats.logged, stats.delivered) == ((1, 1) if child == 0 else (2, 2)), stats
if child != 0:
    _, status = os.waitpid(child, 0)
    assert status == 0, status
"""
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0
    assert sorted(event["features"]["x"] for event in broker.events(3)) == ["child", "parent", "parent"]


def test_a_process_that_ends_without_close_still_sends(broker: Broker) -> None:
    code = f"""
from stream.publisher import InferencePublisher
publisher = InferencePublisher("fraud", "3", bootstrap_servers={broker.bootstrap_servers!r}, topic={broker.topic!r})
publisher.log({{"x": "first"}})
assert publisher.flush(30)  # connected: the two seconds at the end are for what is queued
for number in range(100):
    publisher.log({{"x": number}})
"""
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0
    assert len(broker.events(101)) == 101


def test_a_forgotten_publisher_is_collected_with_its_thread() -> None:
    publisher = away(client={"linger.ms": 0}, delivery_timeout_seconds=1)
    link = publisher._link
    gone = weakref.ref(publisher)
    del publisher
    gc.collect()
    assert gone() is None
    wait_until(lambda: not link._thread.is_alive())


def test_a_broker_that_stays_away_is_logged_once_and_drops_are_summed_up(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "driftline.publisher"):
        publisher = away(max_queue_events=10)
        for number in range(1000):
            publisher.log({"x": number})
        wait_until(lambda: publisher.stats().last_error is not None)
        publisher.close(0)
    texts = [record.getMessage() for record in caplog.records]
    assert sum("wait in the queue" in text for text in texts) == 1
    assert any("dropped 1000 events" in text for text in texts)
    assert len(texts) < 6


def test_a_producer_that_lost_its_place_is_replaced(broker: Broker) -> None:
    with make(broker) as publisher:
        publisher.log({"x": 1})
        publisher.flush(30)
        before = publisher._link.producer
        publisher._link._on_error(confluent_kafka.KafkaError(confluent_kafka.KafkaError._FATAL, "out of order", True))
        wait_until(lambda: publisher._link.producer is not before)
        publisher.log({"x": 2})
    assert publisher.stats().delivered == 2


def test_any_sequence_of_calls_adds_up(broker: Broker) -> None:
    generator = random.Random(11)
    publisher = make(broker, max_queue_events=50)
    for _ in range(300):
        publisher.log({"x": generator.choice([1, "a" * 1_500_000, Refuses()])})
        if generator.random() < 0.05:
            publisher.flush(30)
        assert_balanced(publisher) if generator.random() < 0.1 else None
    publisher.close(30)
    stats = publisher.stats()
    assert stats.logged == 300
    assert stats.queued == 0
    assert_balanced(publisher)
