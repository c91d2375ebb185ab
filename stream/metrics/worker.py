"""Gauges of the worker itself, read from its loops at every scrape."""

from collections import Counter as Tally
from collections.abc import Iterator, Mapping
from typing import Protocol

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from stream.metrics.gauges import PREFIX
from stream.topics.record import Partition


class Observing(Protocol):
    """The observing loop, as these gauges see it."""

    @property
    def lags(self) -> Mapping[Partition, int | None]: ...

    @property
    def checkpoint_at_ms(self) -> int | None: ...

    @property
    def checkpoint_bytes(self) -> int: ...

    @property
    def units(self) -> int: ...


class Judging(Protocol):
    """The judging loop, as these gauges see it."""

    @property
    def topic(self) -> str: ...

    @property
    def partitions(self) -> set[int]: ...

    @property
    def row_bytes(self) -> int: ...


class ServiceFamilies:
    """The worker's gauges. A loop that the worker's role leaves out is None and has no gauges."""

    def __init__(
        self, version: str, revision: str, python: str, observing: Observing | None, judging: Judging | None
    ) -> None:
        self._build = (version, revision, python)
        self._observing = observing
        self._judging = judging

    def __call__(self) -> Iterator[Metric]:
        build = _gauge("build_info", "Versions of driftline and Python; always 1.", ("version", "revision", "python"))
        build.add_metric(self._build, 1)
        assigned = _gauge("consumer_assigned_partitions", "Partitions that are assigned to this worker.", ("topic",))
        state = _gauge("state_bytes", "Size of the state as last written, by stage.", ("stage",))
        if self._observing is not None:
            for topic, count in sorted(Tally(partition.topic for partition in self._observing.lags).items()):
                assigned.add_metric((topic,), count)
            state.add_metric(("observe",), self._observing.checkpoint_bytes)
            yield from self._observed(self._observing)
        if self._judging is not None:
            assigned.add_metric((self._judging.topic,), len(self._judging.partitions))
            state.add_metric(("judge",), self._judging.row_bytes)
        yield from (build, assigned, state)

    def _observed(self, observing: Observing) -> Iterator[Metric]:
        lag = _gauge("consumer_lag", "Records of a partition that are not read yet.", ("topic", "partition"))
        for partition, behind in sorted(observing.lags.items()):
            if behind is not None:
                lag.add_metric((partition.topic, str(partition.partition)), behind)
        written = _gauge("checkpoint_timestamp_seconds", "Time when the last checkpoint was complete.", ())
        if observing.checkpoint_at_ms is not None:
            written.add_metric((), observing.checkpoint_at_ms / 1000)
        units = _gauge("units", "Model versions and segments in this worker's partitions.", ())
        units.add_metric((), observing.units)
        yield from (lag, written, units)


def _gauge(name: str, text: str, labels: tuple[str, ...]) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, labels=labels)
