"""The Kafka that the benchmarks measure on: an existing one, or one that is started for the run."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.kafka.server import Cluster, Server, Unavailable

HEAP = "1g"


def on_kafka(bootstrap_servers: str | None, measure: Callable[[Cluster], int]) -> int:
    """The exit status: that of ``measure``, or 2 when there is no Kafka and none can be started."""
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
