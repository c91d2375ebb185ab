"""The same detectors in stream-processing frameworks, each in the style of the framework's documentation.

The frameworks need libraries that conflict with ours. So they run in an environment of their own (``environment``), and
of the project they import only river's detectors and the clock.
"""

import os
from typing import Any

from benchmarks.throughput.river_detectors import river_detectors
from benchmarks.throughput.spent import Spent, emit, now, since


class Timed:
    """Updates river's detectors, and ends the process after the last event."""

    def __init__(self, count: int) -> None:
        self._count, self._seen = count, 0
        self._began = now()
        self._update = river_detectors()

    def __call__(self, event: dict[str, Any]) -> None:
        if not self._seen:
            self._began = now()
        self._update(event["features"])
        self._seen += 1
        if self._seen == self._count:
            emit(since(self._began))


def quix_river(servers: str, topic: str, count: int) -> Spent:
    """Quix Streams, which decodes JSON with orjson."""
    from quixstreams import Application

    app = Application(
        broker_address=servers,
        consumer_group=f"bench-{os.getpid()}",
        auto_offset_reset="earliest",
        loglevel="WARNING",
    )
    stream = app.dataframe(app.topic(topic, value_deserializer="json"))
    stream.update(Timed(count))
    app.run()
    raise AssertionError("it ends by itself")


def bytewax_river(servers: str, topic: str, count: int) -> Spent:
    import bytewax.operators as op
    import orjson
    from bytewax.connectors.kafka import operators as kop
    from bytewax.dataflow import Dataflow
    from bytewax.outputs import DynamicSink, StatelessSinkPartition
    from bytewax.run import cli_main

    detect = Timed(count)

    class Detections(StatelessSinkPartition[Any]):
        """A sink for detections, which drops them."""

        def write_batch(self, items: list[Any]) -> None:
            """Drops the detections."""

    class Detected(DynamicSink[Any]):
        def build(self, step_id: str, worker_index: int, worker_count: int) -> Detections:
            return Detections()

    flow = Dataflow("bench")
    events = kop.input("events", flow, brokers=[servers], topics=[topic])
    decoded = op.map("decode", events.oks, lambda message: orjson.loads(message.value))
    op.output("detections", op.filter_map("detect", decoded, detect), Detected())
    cli_main(flow)
    raise AssertionError("it ends by itself")
