"""Gauges and counters of performance and objectives, read from the judge's views."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily

from detectors.features import UnitKey
from detectors.performance.label_arrival import Labels
from stream.metrics.gauges import PREFIX, Gauge
from stream.metrics.models import MODEL_LABELS
from stream.topics.views import Json, Views

REALISED = "realised"
"""Source of measures that come from labels; an estimate without labels would be another source."""

SMALL_FALL = 0.1
"""Share by which corrected labels may lower a count. A larger fall means that the count started again."""

KNOWN = {Labels.COMING: 1.0, Labels.UNMATCHED: 0.0, Labels.MISSING: 0.0}
"""A model that waits for its first labels, or needs none, has no series."""


class OutcomeFamilies:
    """The gauges and counters of the units that this worker judges. An unknown value has no series."""

    def __init__(self, views: Views, owned: Callable[[], Iterable[UnitKey]]) -> None:
        self._views = views
        self._owned = owned
        self._shown: dict[tuple[str, ...], float] = {}

    def __call__(self) -> Iterator[Metric]:
        owned = set(self._owned())
        details = sorted(
            (((unit.model, unit.version, unit.segment or ""), detail) for unit, detail in self._views.details()
             if unit in owned),
            key=lambda item: item[0],
        )  # fmt: skip
        yield from self._performance(details)
        yield from self._objectives(details)

    def _performance(self, details: list[tuple[tuple[str, str, str], Json]]) -> Iterator[Metric]:
        measured = Gauge(
            "performance",
            "Quality of the last day's predictions according to their labels, by measure.",
            (*MODEL_LABELS, "measure", "source"),
        )
        predicted = CounterMetricFamily(
            PREFIX + "predictions",
            "Events with an id and a prediction, to which a label can be joined.",
            labels=MODEL_LABELS,
        )
        labelled = CounterMetricFamily(
            PREFIX + "labelled_predictions", "Predictions with a label.", labels=MODEL_LABELS
        )
        known = Gauge(
            "performance_known",
            "1 while labels arrive for a model's predictions, 0 if none arrive or none can be joined.",
            MODEL_LABELS,
        )
        for labels, detail in details:
            performance = detail.get("performance") or {}
            for measure, value in sorted((performance.get("recent") or {}).get("measures", {}).items()):
                measured.add_series((*labels, measure, REALISED), value)
            if performance:
                predicted.add_metric(labels, performance.get("predicted", 0))
                labelled.add_metric(labels, performance.get("labelled", 0))
            if performance.get("labels") in KNOWN:
                known.add_series(labels, KNOWN[performance["labels"]])
        yield from (measured, predicted, labelled, known)

    def _objectives(self, details: list[tuple[tuple[str, str, str], Json]]) -> Iterator[Metric]:
        by_objective = (*MODEL_LABELS, "objective")
        ratio = Gauge("slo_ratio", "Share of the last day's events that met an objective.", by_objective)
        target = Gauge("slo_target", "Share of events that should meet an objective.", by_objective)
        counted = CounterMetricFamily(
            PREFIX + "slo_events",
            "Events that count for an objective, by outcome: good or bad.",
            labels=(*by_objective, "outcome"),
        )
        for labels, detail in details:
            for standing in detail.get("objectives") or ():
                own = (*labels, str(standing["objective"]))
                target.add_series(own, standing["at_least"])
                for outcome, count in (("good", standing["good"]), ("bad", standing["events"] - standing["good"])):
                    counted.add_metric((*own, outcome), self._counted((*own, outcome), count))
                ratio.add_series(own, standing["recent_ratio"])
        yield from (ratio, target, counted)

    def _counted(self, series: tuple[str, ...], count: float) -> float:
        """A count that never falls a little. A corrected label can lower the number of good events, and Prometheus
        would take that for a restart at 0. So the count keeps its value until the number has caught up; a fall by more
        than SMALL_FALL is a restart."""
        before = self._shown.get(series, 0.0)
        self._shown[series] = before if (1 - SMALL_FALL) * before <= count < before else count
        return self._shown[series]
