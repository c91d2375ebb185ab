"""The Kafka that the benchmarks measure on: one that is there already, or one of our own for as long as they run."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.kafka.server import Cluster, Server, Unavailable

HEAP = "1g"


def on_kafka(bootstrap_servers: str | None, measure: Callable[[Cluster], int]) -> int:
    """The status to exit with: what ``measure`` gives, or 2 where no Kafka can be had."""
    if bootstrap_servers:
        return measure(Cluster(bootstrap_servers))
    with tempfile.TemporaryDirectory() as folder:
        try:
            print("starting Apache Kafka 4.1.0 on loopback ...", flush=True)
            server = Server(Path(folder) / "kafka", heap=HEAP, quick=False)
            server.start()
        except Unavailable as reason:
            print(f"no Kafka to measure on: {reason}", file=sys.stderr)
            return 2
        try:
            return measure(server)
        finally:
            server.stop()
