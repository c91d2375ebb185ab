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
"""Of the labels that came; an estimate without labels would be another source."""

SMALL_FALL = 0.1

KNOWN = {Labels.COMING: 1.0, Labels.UNMATCHED: 0.0, Labels.MISSING: 0.0}
"""Of a model that waits for its first labels, or needs none, nothing is said."""


class OutcomeFamilies:
    """Of the units that are this worker's to judge. What is not known has no series."""

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
            "What labels say of the last day's predictions, by measure.",
            (*MODEL_LABELS, "measure", "source"),
        )
        predicted = CounterMetricFamily(
            PREFIX + "predictions", "Events with an id and a prediction, which a label can find.", labels=MODEL_LABELS
        )
        labelled = CounterMetricFamily(
            PREFIX + "labelled_predictions", "Predictions whose label came.", labels=MODEL_LABELS
        )
        known = Gauge(
            "performance_known",
            "1 while labels of a model's predictions come, 0 where they stay away or find none.",
            MODEL_LABELS,
        )
        for labels, detail in details:
            performance = detail.get("performance") or {}
            for measure, value in sorted((performance.get("recent") or {}).get("measures", {}).items()):
                measured.add((*labels, measure, REALISED), value)
            if performance:
                predicted.add_metric(labels, performance.get("predicted", 0))
                labelled.add_metric(labels, performance.get("labelled", 0))
            if performance.get("labels") in KNOWN:
                known.add(labels, KNOWN[performance["labels"]])
        yield from (measured, predicted, labelled, known)

    def _objectives(self, details: list[tuple[tuple[str, str, str], Json]]) -> Iterator[Metric]:
        by_objective = (*MODEL_LABELS, "objective")
        ratio = Gauge("slo_ratio", "Share of the last day's events that met an objective.", by_objective)
        target = Gauge("slo_target", "Share that shall meet an objective.", by_objective)
        counted = CounterMetricFamily(
            PREFIX + "slo_events", "Events that an objective is about, good or bad.", labels=(*by_objective, "outcome")
        )
        for labels, detail in details:
            for standing in detail.get("objectives") or ():
                own = (*labels, str(standing["objective"]))
                target.add(own, standing["at_least"])
                for outcome, count in (("good", standing["good"]), ("bad", standing["events"] - standing["good"])):
                    counted.add_metric((*own, outcome), self._counted((*own, outcome), count))
                ratio.add(own, standing["recent_ratio"])
        yield from (ratio, target, counted)

    def _counted(self, series: tuple[str, ...], count: float) -> float:
        """A label that is corrected takes a good event back; to Prometheus a counter that falls began at 0 again. So it
        stands still until it has caught up; only what falls by more than SMALL_FALL did begin anew."""
        before = self._shown.get(series, 0.0)
        self._shown[series] = before if (1 - SMALL_FALL) * before <= count < before else count
        return self._shown[series]
