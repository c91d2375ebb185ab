"""The output of /metrics: names, kinds, limits; checked by promtool where it is installed."""

import os
import shutil
import subprocess
from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson
import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from detectors.features import UnitKey
from detectors.incidents.states import SHOWN
from stream.metrics import registry as metrics_module
from stream.metrics.gauges import Gauge
from stream.metrics.models import ModelFamilies
from stream.metrics.registry import Metrics, Spec
from stream.topics.views import Views

UNIT = UnitKey("fraud", "3", None)


def view(unit: UnitKey = UNIT, features: int = 2, **more: Any) -> bytes:
    return orjson.dumps(
        {
            "model": unit.model,
            "version": unit.version,
            "segment": unit.segment,
            "state": "stable",
            "events": 100,
            "epoch_events": 80,
            "last_event_ms": 1_763_700_000_500,
            "judged_ms": 1_763_699_999_500,
            "evidence_log10": 0.5,
            "threshold_log10": 4.0,
            "drifted_features": [],
            "reference": {"digest": "sha256:abc"},
            "features": [
                {
                    "feature": f"f{index}",
                    "count": 70,
                    "missing": 8,
                    "invalid": 2,
                    "unexpected": 2,
                    "evidence_log10": float(index),
                    "psi": 0.1,
                    "wasserstein": None,
                }
                for index in range(features)
            ],
            **more,
        }
    )


def worker(views: Views, owned: Iterable[UnitKey] = (UNIT,), max_features: int = 100) -> Metrics:
    metrics = Metrics()
    metrics.of_models.append(
        ModelFamilies(views, lambda: owned, lambda _: 1.0, metrics.suppressed, max_features, lambda: 1_763_700_060_500)
    )
    return metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = generate_latest(metrics).decode()
    return {
        (sample.name, tuple(sorted((k, v) for k, v in sample.labels.items() if v))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((f"driftline_{name}", tuple(sorted(labels.items()))))


def filled() -> Metrics:
    views = Views()
    views.apply_view(b"k", view())
    metrics = worker(views)
    metrics.events.increase(("fraud", "accepted"), 5)
    metrics.published("drift-events", 2)
    metrics.detections.increase(("fraud", "3", "feature", "critical"))
    metrics.retrains.increase(("fraud", "requested"))
    metrics.error("judge")
    metrics.rebalanced()
    metrics.limited("models", 1)
    metrics.interrupted("inference-events", "topic_made_anew")
    metrics.times.processing.observe(("decode",), 0.002)
    metrics.times.age.observe_many([("fraud",)], [3], np.array([0.2, 0.3, 1e9]))
    metrics.times.latency.observe(("fraud",), 0.7)
    metrics.suppressed.increase(("fraud",), 0)
    return metrics


def test_open_incidents_are_counted_and_a_silence_holds_only_when_it_is_of_all() -> None:
    views = Views()
    views.apply_view(b"k", view())
    metrics = worker(views)
    labels = {"model": "fraud", "model_version": "3"}
    more: list[dict[str, object]] = [
        {"status": "acknowledged", "silenced_until_ms": 9_000},
        {"status": "open", "silenced_until_ms": 5_000},
        {"status": "open"},
    ]
    until = []
    for n, fields in enumerate(more):
        incident = {"id": str(n), "model": "fraud", "version": "3", "segment": None, "opened_at_ms": n, **fields}
        views.apply_incident(str(n).encode(), orjson.dumps(incident))
        until.append(value(metrics, "silenced_until_timestamp_seconds", **labels))
    assert until == [9.0, 5.0, None]
    assert value(metrics, "open_incidents", **labels, status="open") == 2
    assert value(metrics, "open_incidents", **labels, status="acknowledged") == 1


def test_promtool_finds_nothing_to_say() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        if os.environ.get("CI"):
            pytest.fail("promtool is required where CI is set")
        pytest.skip("promtool is not installed")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=generate_latest(filled()), capture_output=True, check=False
    )
    assert (checked.stdout.decode(), checked.stderr.decode(), checked.returncode) == ("", "", 0)


def test_gauges_are_written_as_the_client_library_writes_them() -> None:
    gauge = Gauge("heat", "How hot.", ("place", "model"))
    for place in ("sun", 'a "quoted" one', "back\\slash", "two\nlines", "", "\\n", "é"):
        for number in (5772, -0.5, 1e-9, 1e300, 0):
            gauge.add_series((place, f"m{number}"), number)
    for unknown in (None, "hot", float("nan"), float("inf")):
        gauge.add_series(("none", "none"), unknown)
    metrics = Metrics(live=[lambda: [gauge]])
    assert gauge.text().count("\n") == 2 + 35
    assert gauge.text() in generate_latest(metrics).decode()


def test_no_created_series_in_either_format() -> None:
    registry = filled()
    for text in (generate_latest(registry), openmetrics.generate_latest(registry)):
        assert b"driftline_events_total" in text
        assert b"_created" not in text


def test_histograms_count_what_is_at_the_bound_into_it_and_the_rest_into_infinity() -> None:
    metrics = Metrics()
    metrics.times.age.observe_many([("m",)], [5], np.array([0.01, 0.0100001, 86_400.0, 86_400.1, -5.0]))
    metrics.times.age.observe(("m",), 0.01)
    assert value(metrics, "event_age_seconds_bucket", model="m", le="0.01") == 3
    assert value(metrics, "event_age_seconds_bucket", model="m", le="0.05") == 4
    assert value(metrics, "event_age_seconds_bucket", model="m", le="86400.0") == 5
    assert value(metrics, "event_age_seconds_bucket", model="m", le="+Inf") == 6
    assert value(metrics, "event_age_seconds_count", model="m") == 6


def test_a_histogram_takes_what_is_of_many_series_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_module, "MAX_SERIES", 5)
    metrics, values = Metrics(), np.arange(20.0)
    metrics.aged([f"m{number}" for number in range(7)], [3, 3, 3, 3, 3, 1, 4], values)
    metrics.aged(["m1"], [2], np.array([0.5, 7.0]))
    of = {"m0": [0, 1, 2], "m1": [3, 4, 5, 0.5, 7], "m4": [12, 13, 14], "other": [15, 16, 17, 18, 19]}
    for model, mine in of.items():
        assert value(metrics, "event_age_seconds_count", model=model) == len(mine)
        assert value(metrics, "event_age_seconds_sum", model=model) == sum(mine)
        assert value(metrics, "event_age_seconds_bucket", model=model, le="5.0") == sum(one <= 5 for one in mine)


def test_a_model_shows_its_state_scores_and_thresholds() -> None:
    metrics = filled()
    labels = {"model": "fraud", "model_version": "3"}
    shown = {state: value(metrics, "model_state", **labels, state=state) for state in SHOWN}
    assert shown == {"drift": 0, "blind": 0, "warning": 0, "learning": 0, "quiet": 0, "stable": 1}
    assert value(metrics, "model_info", **labels, reference="sha256:abc") == 1
    assert value(metrics, "model_score", **labels, statistic="evidence_log10") == 0.5
    assert value(metrics, "model_threshold", **labels, statistic="evidence_log10") == 4
    assert value(metrics, "monitored_features", **labels) == 2
    assert value(metrics, "window_events", **labels) == 80
    assert value(metrics, "last_event_timestamp_seconds", **labels) == 1_763_700_000.5
    assert value(metrics, "judge_frontier_seconds", **labels) == 61
    assert value(metrics, "false_alarm_budget_per_month", model="fraud") == 1


def test_a_feature_shows_its_shares_and_leaves_out_what_is_not_known() -> None:
    metrics = filled()
    labels = {"model": "fraud", "model_version": "3", "feature": "f1"}
    assert value(metrics, "feature_missing_ratio", **labels) == pytest.approx(0.1)
    assert value(metrics, "feature_unexpected_ratio", **labels) == pytest.approx(0.05)
    assert value(metrics, "feature_score", **labels, statistic="psi") == 0.1
    assert value(metrics, "feature_score", **labels, statistic="wasserstein") is None


def test_what_is_no_longer_owned_or_known_disappears() -> None:
    views = Views()
    views.apply_view(b"k", view())
    owned = {UNIT}
    metrics = worker(views, owned)
    assert any(name == "driftline_model_state" for name, _ in samples(metrics))
    owned.clear()
    assert not any(name.startswith(("driftline_model", "driftline_feature")) for name, _ in samples(metrics))
    owned.add(UNIT)
    views.apply_view(b"k", None)
    assert not any(name.startswith(("driftline_model", "driftline_feature")) for name, _ in samples(metrics))


def test_beyond_the_limit_the_worst_features_keep_their_series_and_the_rest_is_counted_once() -> None:
    views = Views()
    views.apply_view(b"k", view(features=10, drifted_features=["f0"]))
    metrics = worker(views, max_features=3)

    def shown() -> set[str]:
        return {dict(labels)["feature"] for name, labels in samples(metrics) if name == "driftline_feature_drifted"}

    assert shown() == {"f0", "f9", "f8"}
    assert shown() == {"f0", "f9", "f8"}
    assert value(metrics, "series_suppressed_total", model="fraud") == 7
    views.apply_view(b"k", view(features=10, drifted_features=["f1"]))
    assert shown() == {"f1", "f9", "f8"}
    assert value(metrics, "series_suppressed_total", model="fraud") == 8


def test_no_flood_of_names_makes_more_series_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_module, "MAX_SERIES", 3)
    metrics = Metrics()
    for number in range(10):
        metrics.events.increase((f"m{number}", "accepted"))
        metrics.times.age.observe((f"m{number}",), 1.0)
    assert value(metrics, "events_total", model="other", outcome="other") == 7
    assert value(metrics, "event_age_seconds_count", model="other") == 7
    assert value(metrics, "events_total", model="m0", outcome="accepted") == 1


def test_every_counter_and_histogram_has_a_help_and_lower_case_labels() -> None:
    for spec in vars(metrics_module).values():
        if isinstance(spec, Spec):
            assert spec.help.endswith("."), spec.name
            assert all(label == label.lower() for label in spec.labels)
