"""Programs that a user could write instead of driftline, each in the style of its library's documentation; and limits.

A limit is a program that only reads, or only reads and decodes. Every program reads ``count`` events from the beginning
of the topic and returns the wall and processor seconds between the first and the last batch.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Any

import orjson

from benchmarks.throughput.river_detectors import river_detectors
from benchmarks.throughput.spent import Spent, emit, now, since


def _faust(servers: str, topic: str, count: int, work: Callable[[Any], None]) -> Spent:
    import faust

    app = faust.App(
        f"bench-{os.getpid()}",
        broker=f"kafka://{servers}",
        value_serializer="raw",
        store="memory://",
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        web_enabled=False,
    )
    app._create_directories = lambda: None
    seen, began = 0, now()
    finished: asyncio.Future[Spent]

    async def agent(stream: Any) -> None:
        nonlocal seen, began
        async for value in stream:
            if not seen:
                began = now()
            work(orjson.loads(value))
            seen += 1
            if seen == count:
                finished.set_result(since(began))

    app.agent(app.topic(topic, value_type=bytes, value_serializer="raw"))(agent)

    async def run() -> None:
        nonlocal finished
        finished = asyncio.get_running_loop().create_future()
        worker = faust.Worker(
            app,
            loop=asyncio.get_running_loop(),
            redirect_stdouts=False,
            override_logging=False,
            quiet=True,
            daemon=False,
        )
        worker.install_signal_handlers = lambda: None
        worker.spinner = None
        await worker.start()
        emit(await finished)

    asyncio.run(run())
    raise AssertionError("it ends by itself")


def faust_river(servers: str, topic: str, count: int) -> Spent:
    update = river_detectors()
    return _faust(servers, topic, count, lambda event: update(event["features"]))


def faust_only(servers: str, topic: str, count: int) -> Spent:
    return _faust(servers, topic, count, lambda event: None)


def _aiokafka(servers: str, topic: str, count: int, work: Callable[[list[Any]], None]) -> Spent:
    from aiokafka import AIOKafkaConsumer

    async def run() -> Spent:
        consumer = AIOKafkaConsumer(
            topic, bootstrap_servers=servers, group_id=f"bench-{os.getpid()}", auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            seen, began = 0, now()
            while seen < count:
                batches = await consumer.getmany(timeout_ms=1_000, max_records=5_000)
                if batches and not seen:
                    began = now()
                for records in batches.values():
                    work(records)
                    seen += len(records)
            return since(began)
        finally:
            await consumer.stop()

    return asyncio.run(run())


def aiokafka_river(servers: str, topic: str, count: int) -> Spent:
    update = river_detectors()

    def work(records: list[Any]) -> None:
        for record in records:
            update(orjson.loads(record.value)["features"])

    return _aiokafka(servers, topic, count, work)


def aiokafka_decode(servers: str, topic: str, count: int) -> Spent:
    import msgspec

    fields = [(f"feature_{n:02d}", float | None, None) for n in range(20)]
    features = msgspec.defstruct("Features", fields)
    event = msgspec.defstruct(
        "Event",
        [("id", str), ("model", str), ("version", str), ("ts", int), ("features", features), ("prediction", float)],
    )
    decode = msgspec.json.Decoder(event).decode

    def work(records: list[Any]) -> None:
        for record in records:
            decode(record.value)

    return _aiokafka(servers, topic, count, work)


def aiokafka_count(servers: str, topic: str, count: int) -> Spent:
    return _aiokafka(servers, topic, count, lambda records: None)


def _confluent(servers: str, topic: str, count: int, work: Callable[[list[Any]], None]) -> Spent:
    import confluent_kafka

    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": f"bench-{os.getpid()}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    try:
        seen, began = 0, now()
        while seen < count:
            messages = consumer.consume(5_000, 0.2)
            if messages and not seen:
                began = now()
            work(messages)
            seen += len(messages)
        return since(began)
    finally:
        consumer.close()


def confluent_river(servers: str, topic: str, count: int) -> Spent:
    update = river_detectors()

    def work(messages: list[Any]) -> None:
        for message in messages:
            update(orjson.loads(message.value())["features"])

    return _confluent(servers, topic, count, work)


def confluent_count(servers: str, topic: str, count: int) -> Spent:
    return _confluent(servers, topic, count, lambda messages: None)
