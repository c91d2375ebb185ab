"""The events that every program reads: one model version with 20 features, as JSON, evenly over four partitions."""

import time

import confluent_kafka
import numpy as np
import orjson

MODEL, VERSION, FEATURES, PARTITIONS = "fraud", "3", 20, 4
CLEAN, MIXED = "bench-clean", "bench-mixed"
COUNTRIES = ("DE", "FR", "US", "CA", "BR", "JP")
START_MS = 1_763_700_000_000
EVENTS_PER_MS = 50
"""Event time of a stream of 50,000 events a second, which is near what one process can read."""


def names() -> list[str]:
    return [f"feature_{n:02d}" for n in range(FEATURES)]


def columns(topic: str, count: int, seed: int) -> dict[str, list[object]]:
    """Columns of events. Clean topic: 20 floats. Mixed topic: 14 floats with some nulls, 4 texts, 2 booleans."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[object]] = {}
    for n, name in enumerate(names()):
        if topic == MIXED and n >= 18:
            found[name] = (rng.random(count) < 0.2).tolist()
        elif topic == MIXED and n >= 14:
            found[name] = rng.choice(COUNTRIES, count, p=(0.4, 0.2, 0.2, 0.1, 0.05, 0.05)).tolist()
        else:
            values = np.round(rng.gamma(2.0, 10.0, count), 4).tolist()
            if topic == MIXED and n < 4:
                values = [None if gone else v for v, gone in zip(values, rng.random(count) < 0.05, strict=True)]
            found[name] = values
    return found


def publish(servers: str, topic: str, count: int, seed: int = 7) -> float:
    """Writes the events. Returns the mean size of an event in bytes."""
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": servers,
            "linger.ms": 20,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    size, done, block = 0, 0, 20_000
    while done < count:
        rows = min(block, count - done)
        table = columns(topic, rows, seed + done)
        keys = list(table)
        for i, values in enumerate(zip(*table.values(), strict=True)):
            number = done + i
            event = {
                "id": f"{number:08d}",
                "model": MODEL,
                "version": VERSION,
                "ts": START_MS + number // EVENTS_PER_MS,
                "features": dict(zip(keys, values, strict=True)),
                "prediction": 0.5,
            }
            value = orjson.dumps(event)
            size += len(value)
            while True:
                try:
                    producer.produce(topic, value, partition=number % PARTITIONS)
                    break
                except BufferError:
                    producer.poll(0.05)
        done += rows
        producer.poll(0)
    deadline = time.monotonic() + 120
    while producer.flush(1.0):
        if time.monotonic() > deadline:
            raise TimeoutError("the events were not written within 120 s")
    return size / count
