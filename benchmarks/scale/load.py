"""The events of the scale rows: how many models and features, and over how many partitions a model's events go."""

import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import confluent_kafka
import cramjam
import msgspec
import numpy as np
import orjson

from benchmarks.throughput.traffic import EVENTS_PER_MS, PARTITIONS, START_MS
from detectors.reference.builder import build_reference
from detectors.reference.reference import Reference

VERSION = "3"
REFERENCE_ROWS = 20_000
POOL = 2_000
"""Rows that are made once and written in turn. The number of events matters more than their values."""


class Load(NamedTuple):
    """``spread``: a model's events go to all partitions, as the publisher sends them; otherwise each model has one."""

    topic: str
    models: int = 1
    features: int = 20
    spread: bool = True

    @property
    def units(self) -> int:
        """Number of units of all partitions."""
        return self.models * (PARTITIONS if self.spread else 1)

    def place(self, number: int) -> tuple[int, int]:
        """Model and partition of an event. Both take turns, so that all have the same number of events."""
        model = number % self.models
        return model, (number // self.models if self.spread else model) % PARTITIONS


def columns(features: int, rows: int, seed: int) -> dict[str, list[float]]:
    rng = np.random.default_rng(seed)
    return {f"feature_{n:03d}": np.round(rng.gamma(2.0, 10.0, rows), 4).tolist() for n in range(features)}


def references(load: Load) -> Iterator[Reference]:
    """One reference for each model, of the same rows."""
    built = build_reference("", VERSION, columns(load.features, REFERENCE_ROWS, 1))
    for model in range(load.models):
        yield msgspec.structs.replace(built, model=f"model_{model}")


def bodies(features: int, seed: int, rows: int = POOL, shifted: Mapping[str, float] | None = None) -> list[bytes]:
    """The bytes of each event after its time, ready to be written. ``shifted``: is added to a feature."""
    table = columns(features, rows, seed)
    for name, shift in (shifted or {}).items():
        table[name] = [round(value + shift, 4) for value in table[name]]
    found = zip(*table.values(), strict=True)
    return [b'"features":%b,"prediction":0.5}' % orjson.dumps(dict(zip(table, row, strict=True))) for row in found]


def event(number: int, model: int, at_ms: int, body: bytes) -> bytes:
    return b'{"id":"%08d","model":"model_%d","version":"3","ts":%d,%b' % (number, model, at_ms, body)


def stored_bytes(load: Load, batch: int = 200) -> float:
    """Bytes of an event in a batch as ``InferencePublisher`` compresses it."""
    rows = bodies(load.features, 7, rows=batch)
    events = b"".join(event(number, 0, START_MS + number, body) for number, body in enumerate(rows))
    return len(cramjam.lz4.compress(events)) / batch


def producer(servers: str) -> confluent_kafka.Producer:
    """A producer that waits for a full batch as long as ``InferencePublisher`` does."""
    wanted = {"linger.ms": 20, "batch.size": 1_000_000, "queue.buffering.max.messages": 1_000_000}
    return confluent_kafka.Producer({"bootstrap.servers": servers, **wanted})


def publish(servers: str, load: Load, count: int, seed: int = 7) -> float:
    """Writes the events. Returns the mean size of an event in bytes."""
    to, rows, size = producer(servers), bodies(load.features, seed), 0
    for number in range(count):
        model, partition = load.place(number)
        value = event(number, model, START_MS + number // EVENTS_PER_MS, rows[number % POOL])
        size += len(value)
        while True:
            try:
                to.produce(load.topic, value, partition=partition)
                break
            except BufferError:
                to.poll(0.05)
        if number % 10_000 == 0:
            to.poll(0)
    deadline = time.monotonic() + 120
    while to.flush(1.0):
        if time.monotonic() > deadline:
            raise TimeoutError("the events were not written within 120 s")
    return size / count
