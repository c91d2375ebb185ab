"""Time that ``InferencePublisher.log`` takes in the caller, and the same for what a user would write instead.

    python -m benchmarks.publisher [--bootstrap-servers HOST:PORT] [--events N] [--json]

Without a broker's address it talks to librdkafka's mock broker, which answers on a socket as a real one does; the
caller's cost does not depend on which. Times are of single calls, in microseconds.
"""

import argparse
import asyncio
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import aiokafka
import confluent_kafka
import msgspec
import numpy as np

from stream.publisher import InferencePublisher

NOWHERE = "127.0.0.1:1"


class Row(msgspec.Struct, frozen=True):
    """One line of the table."""

    what: str
    p50_us: float
    p99_us: float
    p999_us: float
    worst_us: float
    calls: int


def measure(what: str, call: Callable[[], object], calls: int, pause_every: int = 1000) -> Row:
    """Times single calls. Short pauses between them let the sender keep up, as it does under real load."""
    spent = np.empty(calls, np.int64)
    clock = time.perf_counter_ns
    for _ in range(1000):
        call()
    for i in range(calls):
        if i % pause_every == 0:
            time.sleep(0.005)
        start = clock()
        call()
        spent[i] = clock() - start
    p50, p99, p999 = (np.percentile(spent, [50, 99, 99.9]) / 1000).tolist()
    return Row(what, round(p50, 2), round(p99, 2), round(p999, 2), round(float(spent.max()) / 1000, 1), calls)


def features(count: int) -> dict[str, float]:
    generator = random.Random(7)
    return {f"feature_{i:02d}": generator.gauss(0, 1) for i in range(count)}


def mixed_features() -> dict[str, object]:
    numeric: dict[str, object] = dict(features(12))
    return numeric | {"country": "NL", "merchant": "m-1042", "weekend": True, "age": None, "embedding": [0.1] * 4}


@contextmanager
def busy_thread() -> Iterator[None]:
    """Another thread of the serving process, which computes in Python and so competes for the interpreter's lock."""
    stop = threading.Event()

    def compute() -> None:
        while not stop.is_set():
            sum(range(500))

    thread = threading.Thread(target=compute, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def ours(servers: str, calls: int) -> list[Row]:
    clean, mixed, wide = features(20), mixed_features(), features(200)
    arrays = {name: np.float64(value) for name, value in clean.items()}
    rows = []
    with InferencePublisher("fraud", "3", bootstrap_servers=servers, close_timeout_seconds=10) as publisher:

        def one(name: str, values: dict[str, object], repeats: int = calls) -> None:
            rows.append(measure(name, lambda: publisher.log(values, 0, scores={"fraud": 0.03}), repeats))

        one("driftline log, 20 numbers", dict(clean))
        one("driftline log, 20 NumPy scalars", dict(arrays))
        one("driftline log, mixed kinds", mixed)
        one("driftline log, 200 numbers", dict(wide), calls // 4)
        with busy_thread():
            one("driftline log, 20 numbers, a busy thread beside", dict(clean), calls // 20)
    away = InferencePublisher("fraud", "3", bootstrap_servers=NOWHERE, max_queue_events=calls // 2)
    rows.append(measure("driftline log, broker away, queue filling up", lambda: away.log(clean, 0), calls))
    away.close(0)
    return rows


def confluent_with_callback(servers: str, calls: int) -> Row:
    producer = confluent_kafka.Producer({"bootstrap.servers": servers, "queue.buffering.max.messages": 1_000_000})
    values = features(20)

    def call() -> None:
        event = {"model": "fraud", "version": "3", "ts": time.time() * 1000, "features": values, "prediction": 0}
        producer.produce("inference-events", json.dumps(event).encode(), on_delivery=lambda error, message: None)
        producer.poll(0)

    row = measure("confluent-kafka produce + poll, json", call, calls)
    producer.flush(10)
    return row


def aiokafka_and_wait(servers: str, calls: int) -> Row:
    async def run() -> Row:
        producer = aiokafka.AIOKafkaProducer(bootstrap_servers=servers)
        await producer.start()
        values = features(20)
        spent = np.empty(calls, np.int64)
        for i in range(calls):
            start = time.perf_counter_ns()
            event = {"model": "fraud", "version": "3", "ts": time.time() * 1000, "features": values, "prediction": 0}
            await producer.send_and_wait("inference-events", json.dumps(event).encode())
            spent[i] = time.perf_counter_ns() - start
        await producer.stop()
        p50, p99, p999 = (np.percentile(spent, [50, 99, 99.9]) / 1000).tolist()
        worst = round(float(spent.max()) / 1000, 1)
        return Row("aiokafka send_and_wait, json", round(p50, 2), round(p99, 2), round(p999, 2), worst, calls)

    return asyncio.run(run())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--bootstrap-servers")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)  # a queue that runs full is part of the measurement
    broker = None
    servers = arguments.bootstrap_servers
    if servers is None:
        from stream.backends.kafka.embedded import EmbeddedBroker

        broker = EmbeddedBroker(partitions=4)
        servers = broker.bootstrap_servers
    rows = ours(servers, arguments.events)
    rows.append(confluent_with_callback(servers, arguments.events))
    rows.append(aiokafka_and_wait(servers, min(2000, arguments.events)))
    if broker is not None:
        broker.close()
    if arguments.json:
        print(json.dumps([msgspec.to_builtins(row) for row in rows], indent=1))
        return
    print(f"{'microseconds in the caller':<50}{'p50':>10}{'p99':>10}{'p99.9':>10}{'worst':>12}{'calls':>10}")
    for row in rows:
        print(f"{row.what:<50}{row.p50_us:>10}{row.p99_us:>10}{row.p999_us:>10}{row.worst_us:>12}{row.calls:>10}")


if __name__ == "__main__":
    main()
