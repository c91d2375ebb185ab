"""A made-up fleet for the page's tests, in the shapes of the HTTP contract."""

import math
from typing import Any

import orjson

from stream.topics.views import Views

NOW_MS = 1_763_712_000_000
Json = dict[str, Any]
SEASON = "not known yet (day 4 of 8): sudden changes are reported, slow ones from 25 November 2025 on"


def bump(bins: int, centre: float, spread: float) -> list[int]:
    return [int(1000 * math.exp(-(((index / (bins - 1) - centre) / spread) ** 2) / 2)) for index in range(bins)]


def days(shift: float) -> Json:
    """The last 24 hours, one without values, beside five earlier days; the last four are moved by ``shift``."""
    usual = [58.0 + 4 * math.sin(hour / 24 * 2 * math.pi) for hour in range(24)]
    present: list[float | None] = [round(v + (40 * shift if at >= 20 else 0.3), 2) for at, v in enumerate(usual)]
    present[7] = None
    band = [round(v - 1.5, 2) for v in usual], [round(v + 1.5, 2) for v in usual]
    return {"end_ms": NOW_MS // 3_600_000 * 3_600_000, "days": 5, "present": present, "low": band[0], "high": band[1]}


def numeric(name: str, shift: float = 0.0, evidence: float = 0.4, missing: int = 3) -> Json:
    edges = [round(10 + 4 * index, 2) for index in range(25)]
    return {
        "feature": name,
        "kind": "numeric",
        "count": 35_309 - missing,
        "missing": missing,
        "invalid": 3,
        "mean": 58.2 + 40 * shift,
        "std": 14.1,
        "evidence_log10": evidence,
        "threshold_log10": 4.2,
        "smallest_shift": 0.05,
        "days": days(shift),
        "psi": round(0.01 + 2 * shift * shift, 4),
        "wasserstein": round(0.02 + shift, 4),
        "kolmogorov_smirnov": round(0.01 + shift / 2, 4),
        "jensen_shannon": round(0.005 + shift / 3, 4),
        "reference_histogram": {"edges": edges, "counts": bump(24, 0.45, 0.16)},
        "histogram": {"edges": edges, "counts": bump(24, 0.45 + shift, 0.16 + shift / 5)},
    }


def categorical(name: str, evidence: float = 0.2) -> Json:
    labels = ["grocery", "fuel", "travel", "electronics", "gaming", "pharmacy"]
    return {
        **numeric(name, evidence=evidence),
        "kind": "categorical",
        "mean": None,
        "std": None,
        "unexpected": 212,
        "reference_histogram": {"labels": labels, "counts": [410, 300, 120, 90, 50, 30]},
        "histogram": {"labels": [*labels, "crypto"], "counts": [360, 280, 110, 100, 130, 25, 40]},
    }


def model(name: str, state: str = "stable", features: list[Json] | None = None, **more: Any) -> Json:
    evidence = {"drift": 9.1, "warning": 3.3, "stable": 0.3}.get(state)
    own = features if features is not None else [numeric("amount"), categorical("merchant"), numeric("@latency_ms")]
    return {
        "model": name,
        "version": "3",
        "segment": None,
        "state": state,
        "events": 45_312,
        "epoch_events": 35_312,
        "last_event_ms": NOW_MS - 2_000,
        "judged_ms": NOW_MS - 3_000,
        "evidence_log10": evidence,
        "threshold_log10": None if state == "learning" else 4.2,
        "worst_feature": None if state in ("learning", "blind") else own[0]["feature"] if own else None,
        "drifted_features": [own[0]["feature"]] if state == "drift" else [],
        "season": {"source": "stream", "days": 3, "known": False, "known_from_ms": NOW_MS, "text": SEASON},
        "features": own,
        **more,
    }


def fraud() -> Json:
    """A model that drifts, with everything the page can show."""
    start = NOW_MS - 3_600_000
    history = []
    for second in range(0, 3600, 15):
        rising = max(0.0, (second - 2100) / 1500)
        history.append([start + 1000 * second, round(9.4 * rising + 0.4 + 0.35 * math.sin(second / 40), 3)])
    return model(
        "fraud",
        "drift",
        [
            numeric("amount", 0.22, 9.1),
            categorical("merchant_category", 2.4),
            numeric("age_of_account_days", 0.05, 1.2, missing=1820),
            *(
                numeric(name, 0.01 * i, 0.5 - i / 20)
                for i, name in enumerate(("hour", "distance_km", "@score.fraud", "@latency_ms", "velocity_24h"))
            ),
        ],
        evidence_history=history,
        environment_differences=[
            {"name": "scikit-learn", "reference": "1.6.1", "present": "1.7.2", "events": 35_312},
            {"name": "numpy", "reference": "1.26.4", "present": "2.1.0", "events": 35_312},
        ],
        retrain_log=[
            {"at_ms": NOW_MS - 1_200_000, "outcome": "requested", "reason": "distribution-change"},
            {"at_ms": NOW_MS - 300_000, "outcome": "withheld-cooldown", "reason": "distribution-change"},
        ],
        reference={
            "digest": "sha256:0f9ad1c2b3e4f5061728394a5b6c7d8e9f00112233445566778899aabbccddee",
            "rows": 120_000,
        },
        signals=[{"feature": "amount", "detector": "adwin", "channel": "u", "event": 29_466}],
        performance={
            "task": "classification",
            "events": 45_312,
            "predicted": 45_000,
            "labelled": 30_000,
            "incomparable": 3,
            "measures": {"accuracy": 0.934},
            "mean_delay_seconds": 5_400.0,
            "labels": "coming",
            "recent": {"hours": 24, "predicted": 20_000, "labelled": 12_000, "measures": {"accuracy": 0.871}},
            "history": [],
        },
        objectives=[
            {
                "objective": "accuracy",
                "at_least": 0.9,
                "below_ms": None,
                "good": 28_000,
                "events": 30_000,
                "recent_ratio": 0.871,
            },
            {
                "objective": "latency",
                "at_least": 0.99,
                "below_ms": 200.0,
                "good": 45_000,
                "events": 45_312,
                "recent_ratio": 0.995,
            },
        ],
    )


def incident(name: str = "5a1f0c6e-incident", model_name: str = "fraud", **more: Any) -> Json:
    return {
        "id": name,
        "model": model_name,
        "version": "3",
        "segment": None,
        "kind": "feature",
        "severity": "critical",
        "verdict": "world-changed",
        "began_at_ms": NOW_MS - 1_620_000,
        "opened_at_event": 31_204,
        "opened_at_ms": NOW_MS - 900_000,
        "resolved_at_event": None,
        "resolved_at_ms": None,
        "features": [
            {
                "feature": "amount",
                "evidence_log10": 9.1,
                "psi": 0.41,
                "wasserstein": 0.8,
                "kolmogorov_smirnov": 0.3,
                "jensen_shannon": 0.2,
            }
        ],
        "notes": [{"at_ms": NOW_MS - 600_000, "by": "ana", "text": "New card scheme launched in PT on Monday."}],
        **more,
    }


def put(views: Views, detail: Json) -> None:
    views.apply_view(f"{detail['model']}/{detail['version']}/{detail['segment']}".encode(), orjson.dumps(detail))


def put_incident(views: Views, record: Json) -> None:
    views.apply_incident(record["id"].encode(), orjson.dumps(record))


def fleet() -> Views:
    """Ten models in every state."""
    views = Views()
    put(views, fraud())
    put(views, model("image-defects", "blind", reason="silent", last_event_ms=NOW_MS - 720_000))
    put(views, model("pricing", "warning", worst_feature="amount"))
    put(views, model("churn", "learning", epoch_events=4_120, learning_events_wanted=10_000))
    put(views, model("forgotten", "stable", last_event_ms=NOW_MS - 7_200_000))
    for name in ("eta", "ranking", "credit-limit", "lead-scoring", "speech"):
        put(views, model(name))
    put_incident(views, incident())
    put_incident(
        views,
        incident(
            "77aa-environment",
            kind="environment",
            verdict="broken-data",
            reason="new-environment",
            features=[],
            environment_differences=[{"name": "numpy", "reference": "1.26.4", "present": "2.1.0", "events": 120}],
            opened_at_ms=NOW_MS - 50_000_000,
            resolved_at_ms=NOW_MS - 40_000_000,
            resolution="by-hand",
            resolved_by="ana",
        ),
    )
    put_incident(
        views,
        incident(
            "0b7d-older",
            "pricing",
            verdict="broken-data",
            opened_at_ms=NOW_MS - 90_000_000,
            resolved_at_ms=NOW_MS - 80_000_000,
            began_at_ms=None,
        ),
    )
    return views
