"""Gauges of models and features, read from the judge's views.

The only state is which features had no series at the last scrape.
"""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import Metric

from detectors.features import UnitKey
from detectors.incidents.states import SHOWN
from stream.metrics.gauges import Gauge
from stream.metrics.registry import Counter
from stream.topics.views import Json, Views

MODEL_LABELS = ("model", "model_version", "segment")
"""``segment`` is empty for the whole population; Prometheus treats an empty label as absent."""

FEATURE_LABELS = (*MODEL_LABELS, "feature")

MAX_INCIDENTS = 10_000

STATISTICS = ("evidence_log10", "psi", "wasserstein", "kolmogorov_smirnov", "jensen_shannon")


class ModelFamilies:
    """The gauges of the units that this worker judges.

    At most ``max_features`` features of a unit have series: first those that have drifted, then by evidence in steps
    of a tenth, so that near ties do not swap at every scrape, then by name. A feature that loses its series is counted
    once.
    """

    def __init__(
        self,
        views: Views,
        owned: Callable[[], Iterable[UnitKey]],
        budget_per_month: Callable[[str], float],
        suppressed: Counter,
        max_features: int,
        now_ms: Callable[[], int],
    ) -> None:
        self._views = views
        self._owned = owned
        self._budget = budget_per_month
        self._suppressed = suppressed
        self._max_features = max_features
        self._now_ms = now_ms
        self._left_out: dict[UnitKey, set[str]] = {}

    def __call__(self) -> Iterator[Metric]:
        owned = set(self._owned())
        details = [(unit, detail) for unit, detail in self._views.details() if unit in owned]
        details.sort(key=lambda item: (item[0].model, item[0].version, item[0].segment or ""))
        self._left_out = {unit: names for unit, names in self._left_out.items() if unit in owned}
        yield from self._models(details)
        yield _quarantined(details)
        yield from self._incidents(owned)
        yield from self._features(details)

    def _models(self, details: list[tuple[UnitKey, Json]]) -> Iterator[Metric]:
        info = Gauge(
            "model_info", "The reference that a model is compared with; always 1.", (*MODEL_LABELS, "reference")
        )
        state = Gauge("model_state", "1 for the state of a model, 0 for the other states.", (*MODEL_LABELS, "state"))
        score = Gauge("model_score", "A model's score, by statistic.", (*MODEL_LABELS, "statistic"))
        threshold = Gauge(
            "model_threshold", "The score at which a model raises an alarm, by statistic.", (*MODEL_LABELS, "statistic")
        )
        plain = _plain_gauges()
        budget = Gauge(
            "false_alarm_budget_per_month", "Configured number of false alarms of a model in a month.", ("model",)
        )
        now_ms = self._now_ms()
        for unit, detail in details:
            labels = _labels(unit)
            info.add_series((*labels, _reference(detail)), 1)
            for name in SHOWN:
                state.add_series((*labels, name.value), float(detail.get("state") == name))
            score.add_series((*labels, "evidence_log10"), detail.get("evidence_log10"))
            threshold.add_series((*labels, "evidence_log10"), detail.get("threshold_log10"))
            plain["monitored_features"].add_series(labels, len(detail.get("features", ())))
            plain["drifted_features"].add_series(labels, len(detail.get("drifted_features", ())))
            plain["epoch_events"].add_series(labels, detail.get("epoch_events"))
            plain["season_covered"].add_series(labels, float(bool(detail.get("season_covered"))))
            plain["season_days"].add_series(labels, (detail.get("season") or {}).get("days"))
            skewed = sum(feature.get("skew") is not None for feature in detail.get("features", ()))
            plain["skewed"].add_series(labels, skewed)
            plain["moved"].add_series(labels, len(detail.get("moved_while_learned", ())))
            last_ms = detail.get("last_event_ms")
            plain["last_event"].add_series(labels, None if last_ms is None else last_ms / 1000)
            judged_ms = detail.get("judged_ms")
            plain["judged"].add_series(labels, None if judged_ms is None else max(0, now_ms - judged_ms) / 1000)
        for model in sorted({unit.model for unit, _ in details}):
            budget.add_series((model,), self._budget(model))
        yield from (info, state, score, threshold, *plain.values(), budget)

    def _incidents(self, owned: set[UnitKey]) -> Iterator[Metric]:
        count = Gauge(
            "open_incidents",
            "Incidents that are not resolved, by status: open or acknowledged.",
            (*MODEL_LABELS, "status"),
        )
        silence = Gauge(
            "silenced_until_timestamp_seconds", "Time until which every incident of a model is silenced.", MODEL_LABELS
        )
        by_unit: dict[UnitKey, list[Json]] = {unit: [] for unit in owned}
        for incident in self._views.incidents(state="open", limit=MAX_INCIDENTS):
            unit = UnitKey(str(incident.get("model")), str(incident.get("version")), incident.get("segment"))
            if unit in by_unit:
                by_unit[unit].append(incident)
        for unit, found in sorted(by_unit.items(), key=lambda item: _labels(item[0])):
            taken = sum(incident.get("status") == "acknowledged" for incident in found)
            count.add_series((*_labels(unit), "open"), len(found) - taken)
            count.add_series((*_labels(unit), "acknowledged"), taken)
            silences = [incident.get("silenced_until_ms") for incident in found]
            until = [at_ms for at_ms in silences if at_ms is not None]
            if until and len(until) == len(silences):
                silence.add_series(_labels(unit), min(until) / 1000)
        yield from (count, silence)

    def _features(self, details: list[tuple[UnitKey, Json]]) -> Iterator[Metric]:
        score = Gauge("feature_score", "A feature's score, by statistic.", (*FEATURE_LABELS, "statistic"))
        threshold = Gauge(
            "feature_threshold",
            "The score at which a feature counts as drifted, by statistic.",
            (*FEATURE_LABELS, "statistic"),
        )
        drifted = Gauge("feature_drifted", "1 while a feature has drifted, otherwise 0.", FEATURE_LABELS)
        missing = Gauge("feature_missing_ratio", "Share of events without a value of a feature.", FEATURE_LABELS)
        unexpected = Gauge(
            "feature_unexpected_ratio",
            "Share of events with a value of the wrong type, an unseen category or one outside the reference's range.",
            FEATURE_LABELS,
        )
        smallest = Gauge(
            "feature_smallest_shift",
            "Smallest detectable shift in standard deviations, given the size of the reference.",
            FEATURE_LABELS,
        )
        for unit, detail in details:
            names = set(detail.get("drifted_features", ()))
            outcome = detail.get("outcome")
            for feature in [*self._shown(unit, detail.get("features", ()), names), *([outcome] if outcome else ())]:
                labels = (*_labels(unit), str(feature["feature"]))
                for statistic in STATISTICS:
                    score.add_series((*labels, statistic), feature.get(statistic))
                threshold.add_series((*labels, "evidence_log10"), feature.get("threshold_log10"))
                smallest.add_series(labels, feature.get("smallest_shift"))
                drifted.add_series(labels, float(feature["feature"] in names))
                events = sum(int(feature.get(part) or 0) for part in ("count", "missing", "invalid"))
                if events:
                    missing.add_series(labels, int(feature.get("missing") or 0) / events)
                    strange = int(feature.get("invalid") or 0) + int(feature.get("unexpected") or 0)
                    unexpected.add_series(labels, strange / events)
        yield from (score, threshold, smallest, drifted, missing, unexpected)

    def _shown(self, unit: UnitKey, features: list[Json], drifted: set[str]) -> list[Json]:
        if len(features) <= self._max_features:
            self._left_out.pop(unit, None)
            return features
        ranked = sorted(features, key=lambda feature: _rank(feature, drifted))
        left_out = {str(feature["feature"]) for feature in ranked[self._max_features :]}
        new = left_out - self._left_out.get(unit, set())
        self._left_out[unit] = left_out
        if new:
            self._suppressed.increase((unit.model,), len(new))
        return ranked[: self._max_features]


def _rank(feature: Json, drifted: set[str]) -> tuple[bool, float, str]:
    name = str(feature["feature"])
    return (name not in drifted, -round(float(feature.get("evidence_log10") or 0.0), 1), name)


def _quarantined(details: Iterable[tuple[UnitKey, Json]]) -> Metric:
    held = Gauge("model_quarantined", "1 for a model in quarantine after an unexpected error, else 0.", MODEL_LABELS)
    for unit, detail in details:
        held.add_series(_labels(unit), float(bool(detail.get("quarantined"))))
    return held


def _plain_gauges() -> dict[str, Gauge]:
    """Gauges of a model with no label besides the model's."""
    return {
        "monitored_features": Gauge("monitored_features", "Watched features of a model.", MODEL_LABELS),
        "drifted_features": Gauge("drifted_features", "Features that have drifted.", MODEL_LABELS),
        "epoch_events": Gauge("window_events", "Events compared with the current reference.", MODEL_LABELS),
        "season_covered": Gauge(
            "model_season_covered", "1 if hours are compared with the same hours of the day.", MODEL_LABELS
        ),
        "season_days": Gauge("model_season_days", "Days from which the season of a model is known.", MODEL_LABELS),
        "skewed": Gauge("skewed_features", "Features of which whole weeks differ from the reference.", MODEL_LABELS),
        "moved": Gauge(
            "model_moved_while_learned",
            "Features that were unstable while the reference was learned.",
            MODEL_LABELS,
        ),
        "last_event": Gauge(
            "last_event_timestamp_seconds", "Time of the newest event of a model version.", MODEL_LABELS
        ),
        "judged": Gauge(
            "judge_frontier_seconds", "Age of the event time up to which a model has been judged.", MODEL_LABELS
        ),
    }


def _labels(unit: UnitKey) -> tuple[str, str, str]:
    return (unit.model, unit.version, unit.segment or "")


def _reference(detail: Json) -> str:
    reference = detail.get("reference")
    if isinstance(reference, dict):
        reference = reference.get("digest")
    return str(reference or "")
