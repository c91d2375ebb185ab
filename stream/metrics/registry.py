"""The metrics of a worker: counters and histograms kept here, and gauges read from live state. Nothing is global.

Counters and histograms are plain numbers that change once per batch. Gauges are read when Prometheus scrapes, so that a
model or partition that is gone disappears by itself. The client library's own counters are not used: they have a global
switch for their ``_created`` series, and a lock for every change.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

from detectors.columns import Floats
from stream.metrics.gauges import PREFIX

OTHER = "other"
"""Label value for everything beyond MAX_SERIES label sets, so that no input can make more series than that."""

MAX_SERIES = 20_000
"""Label sets of one counter or histogram: 1,000 models with ten versions and two outcomes."""

FAST_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
AGE_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0, 86_400.0)
DELAY_SECONDS = (1.0, 10.0, 60.0, 600.0, 3_600.0, 21_600.0, 86_400.0, 604_800.0, 2_592_000.0)


class Spec(NamedTuple):
    """A counter's or histogram's name without prefix and suffix, its help and labels; ``bounds`` of a histogram."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


EVENTS = Spec(
    "events",
    "Records read, by outcome: accepted, invalid, late, duplicate, unknown_model, ignored or quarantined.",
    ("model", "outcome"),
)
PUBLISHED = Spec("published", "Records written and acknowledged, by topic.", ("topic", "outcome"))
DETECTIONS = Spec("detections", "Incidents opened.", ("model", "model_version", "kind", "severity"))
RETRAINS = Spec("retrain_requests", "Retrain requests that were sent or withheld, by outcome.", ("model", "outcome"))
ACTIONS = Spec("incident_actions", "Requests by people that were applied, by action.", ("model", "action"))
SUPPRESSED = Spec(
    "series_suppressed", "Times that a feature lost its series to limits.feature_series_per_model.", ("model",)
)
ERRORS = Spec("errors", "Errors by component.", ("component",))
REBALANCES = Spec("consumer_rebalances", "Rebalances of the consumer groups.")
LABELS = Spec(
    "labels",
    "Labels, by outcome: read or invalid; of those read: matched, replaced or duplicate, all others unmatched.",
    ("model", "outcome"),
)
REFUSED = Spec(
    "http_refused",
    "HTTP requests that were refused, by reason: host, token, busy, malformed or slow.",
    ("reason",),
)
INTERRUPTIONS = Spec(
    "interruptions",
    "Partitions whose topic was made anew (topic_made_anew) or whose checkpoint was gone (checkpoint_lost), by topic.",
    ("topic", "kind"),
)
LIMITED = Spec("limit_reached", "How often a configured limit was reached, by limit.", ("limit",))

PROCESSING = Spec("event_processing_seconds", "Time to process one batch, by stage.", ("stage",), FAST_SECONDS)
AGE = Spec("event_age_seconds", "Age of events when they were read.", ("model",), AGE_SECONDS)
LABEL_DELAY = Spec("label_delay_seconds", "Time from a prediction to its label.", ("model",), DELAY_SECONDS)
LATENCY = Spec(
    "detection_latency_seconds",
    "Time from the newest event behind an incident to the incident's drift event.",
    ("model",),
    AGE_SECONDS,
)


class Counter:
    """A counter family. Label values are given in the order of the spec."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._values: dict[tuple[str, ...], float] = {}

    def increase(self, labels: tuple[str, ...] = (), amount: float = 1) -> None:
        """Adds ``amount`` to a series, or to that of OTHER when there are MAX_SERIES series."""
        if labels not in self._values and len(self._values) >= MAX_SERIES:
            labels = (OTHER,) * len(labels)
        self._values[labels] = self._values.get(labels, 0) + amount

    def value(self, labels: tuple[str, ...] = ()) -> float:
        return self._values.get(labels, 0)

    def values(self) -> dict[tuple[str, ...], float]:
        return dict(self._values)

    def family(self) -> Metric:
        family = CounterMetricFamily(PREFIX + self.spec.name, self.spec.help, labels=self.spec.labels)
        for labels, value in sorted(self._values.items()):
            family.add_metric(labels, value)
        if not self.spec.labels and not self._values:
            family.add_metric((), 0)
        return family


class Histogram:
    """A classic histogram family. ``observe_many`` costs one pass of numpy over a batch, however many series it has."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._bounds = np.array(spec.bounds)
        self._places: dict[tuple[str, ...], int] = {}
        self._counts, self._sums = np.zeros((0, len(spec.bounds) + 1), np.int64), np.zeros(0)

    def observe(self, labels: tuple[str, ...], value: float) -> None:
        place = self._place(labels)
        self._counts[place, bisect_left(self.spec.bounds, value)] += 1
        self._sums[place] += value

    def observe_many(self, series: Sequence[tuple[str, ...]], rows: Sequence[int], values: Floats) -> None:
        """Adds values to several series. ``values``: those of the first series, then those of the second, and so on;
        ``rows``: the number of values of each series."""
        places, ends = np.array([self._place(labels) for labels in series]), np.cumsum(rows)
        width, count = self._counts.shape[1], len(places)
        cells = np.repeat(np.arange(count) * width, rows) + np.searchsorted(self._bounds, values, side="left")
        np.add.at(self._counts, places, np.bincount(cells, minlength=count * width).reshape(count, width))
        np.add.at(self._sums, places, np.add.reduceat(values, [0, *ends[:-1].tolist()]))

    def family(self) -> Metric:
        family = HistogramMetricFamily(PREFIX + self.spec.name, self.spec.help, labels=self.spec.labels)
        names = [*(repr(bound) for bound in self.spec.bounds), "+Inf"]
        for labels, place in sorted(self._places.items()):
            cumulative = np.cumsum(self._counts[place]).tolist()
            family.add_metric(labels, list(zip(names, cumulative, strict=True)), float(self._sums[place]))
        return family

    def _place(self, labels: tuple[str, ...]) -> int:
        place = self._places.get(labels)
        if place is None:
            if len(self._places) >= MAX_SERIES and labels[0] != OTHER:
                return self._place((OTHER,) * len(labels))
            place = self._places[labels] = len(self._places)
            if place >= len(self._sums):
                more = max(place, 4)
                self._counts = np.concatenate((self._counts, np.zeros((more, self._counts.shape[1]), np.int64)))
                self._sums = np.concatenate((self._sums, np.zeros(more)))
        return place


class Times:
    """The histograms of a worker."""

    def __init__(self) -> None:
        self.processing = Histogram(PROCESSING)
        self.age = Histogram(AGE)
        self.latency = Histogram(LATENCY)
        self.label_delay = Histogram(LABEL_DELAY)

    def families(self) -> Iterator[Metric]:
        """Every histogram, for a scrape."""
        for histogram in (self.processing, self.age, self.latency, self.label_delay):
            yield histogram.family()


class Rare:
    """Counters of what seldom happens to a worker: in its group, at its port, and to its topics."""

    def __init__(self) -> None:
        self.rebalances = Counter(REBALANCES)
        self.http_refused = Counter(REFUSED)
        self.interruptions = Counter(INTERRUPTIONS)

    def counters(self) -> Sequence[Counter]:
        return self.rebalances, self.http_refused, self.interruptions


class Metrics:
    """A worker's metrics.

    ``live`` and ``of_models`` are called at every scrape and yield gauges; the latter take long and are called in a
    thread.
    """

    def __init__(self, live: Sequence[Callable[[], Iterable[Metric]]] = ()) -> None:
        self.events = Counter(EVENTS)
        self.published_records = Counter(PUBLISHED)
        self.detections = Counter(DETECTIONS)
        self.retrains = Counter(RETRAINS)
        self.actions = Counter(ACTIONS)
        self.suppressed = Counter(SUPPRESSED)
        self.errors = Counter(ERRORS)
        self.limits = Counter(LIMITED)
        self.labels = Counter(LABELS)
        self.rare = Rare()
        self.times = Times()
        self.newest_age_seconds: float | None = None  # of the newest batch
        self.live = list(live)
        self.of_models: list[Callable[[], Iterable[Metric]]] = []

    def forget_gauges(self) -> None:
        """Removes the gauges, which belong to a worker that ended. Counters go on."""
        self.live.clear()
        self.of_models.clear()

    def collect(self) -> Iterator[Metric]:
        """Every family, in the form that the client library expects of a registry."""
        yield from self.quick()
        yield from self.slow()

    def quick(self) -> Iterator[Metric]:
        """Counters, histograms and the worker's own gauges; cheap."""
        for family in (
            self.events,
            self.published_records,
            self.detections,
            self.retrains,
            self.actions,
            self.errors,
            self.limits,
            self.labels,
            *self.rare.counters(),
        ):
            yield family.family()
        yield from self.times.families()
        for read in self.live:
            yield from read()

    def slow(self) -> Iterator[Metric]:
        """The gauges of models, which take a second for 1,000 models.

        May run in a thread, in one at a time: it reads only values that no longer change.
        """
        for read in self.of_models:
            yield from read()
        yield self.suppressed.family()  # last: reading the other families counts it

    # The loops call these once per batch: the Telemetry of the observe stage, the Counters of the judge's shell.

    def counted(self, model: str, outcome: str, count: int) -> None:
        self.events.increase((model, outcome), count)

    def staged(self, stage: str, seconds: float) -> None:
        self.times.processing.observe((stage,), seconds)

    def aged(self, models: Sequence[str], rows: Sequence[int], seconds: Floats) -> None:
        self.newest_age_seconds = float(seconds.min())
        self.times.age.observe_many([(model,) for model in models], rows, seconds)

    def published(self, topic: str, count: int) -> None:
        self.published_records.increase((topic, "acknowledged"), count)

    def error(self, component: str) -> None:
        self.errors.increase((component,))

    def rebalanced(self) -> None:
        self.rare.rebalances.increase()

    def refused(self, reason: str) -> None:
        self.rare.http_refused.increase((reason,))

    def interrupted(self, topic: str, kind: str) -> None:
        self.rare.interruptions.increase((topic, kind))

    def limited(self, limit: str, count: int) -> None:
        self.limits.increase((limit,), count)

    def labelled(self, model: str, outcome: str, count: int) -> None:
        self.labels.increase((model, outcome), count)

    def label_delayed(self, model: str, seconds: Floats) -> None:
        self.times.label_delay.observe_many([(model,)], [len(seconds)], seconds)
