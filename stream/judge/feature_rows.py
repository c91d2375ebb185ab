"""What the judge's decisions are called when they leave it: incident features, retrain requests. Plain data."""

from collections.abc import Mapping, Sequence
from typing import Any

from detectors.evidence.sizes import Sizes
from detectors.evidence.watch import Watch
from detectors.features import UnitKey
from detectors.incidents.incident import Incident
from detectors.incidents.verdict import Symptom
from detectors.profiles import Profile
from detectors.reference.reference import Reference
from stream.topics import drift_events
from stream.topics.drift_events import RETRAIN_FEATURES, EventType, rfc3339


def difference(row: Mapping[str, Any]) -> str:
    """``numpy 2.1.0 instead of 1.26.4``."""
    return f"{row['name']} {row['present']} instead of {row['reference']}"


def sizes_of(sizes: Sizes) -> dict[str, float | None]:
    """Four figures, six digits each."""
    return {
        "psi": _rounded(sizes.psi),
        "wasserstein": _rounded(sizes.wasserstein),
        "kolmogorov_smirnov": _rounded(sizes.kolmogorov_smirnov),
        "jensen_shannon": _rounded(sizes.jensen_shannon),
    }


def incident_feature(watch: Watch, feature: int, sizes: Sizes, symptom: Symptom) -> dict[str, Any]:
    """A blamed feature as an incident names it."""
    begin = watch.beginning(feature)
    _, _, values = watch.present(feature, begin.latest)
    yardstick = watch.yardsticks[feature]
    return {
        "feature": symptom.feature,
        "evidence_log10": watch.evidence_of(feature),
        **sizes_of(sizes),
        "missing_share": _rounded(symptom.missing_share),
        "reference_missing_share": _rounded(symptom.reference_missing_share),
        "invalid_share": _rounded(symptom.invalid_share),
        "unexpected_share": _rounded(symptom.unexpected_share),
        "reference_unexpected_share": _rounded(symptom.reference_unexpected_share),
        "mean": _rounded(symptom.mean),
        "reference_mean": _rounded(symptom.reference_mean),
        "began_at_event": begin.event,
        "began_interval": [begin.earliest, begin.latest],
        "reference_histogram": yardstick.reference_histogram,
        "histogram": yardstick.histogram(values),
    }


def retrain_request(
    unit: UnitKey,
    incident: Incident,
    watch: Watch,
    reference: Reference | None,
    profiles: Sequence[Profile],
    events: int,
    now_ms: int,
) -> dict[str, Any]:
    """``data`` of a retrain request; its shape is event_schemas.RetrainRequest."""
    begin_ms = incident.began_at_ms if incident.began_at_ms is not None else incident.opened_at_ms
    threshold = round(watch.evidence.blame_log10, 3)
    source = reference.source if reference is not None else {}
    return {
        "request_id": drift_events.event_id(EventType.RETRAIN_REQUESTED, unit, incident.id),
        "model": unit.model,
        "model_version": unit.version,
        "reason": incident.summary,
        "severity": incident.severity,
        "requested_at": rfc3339(now_ms),
        "window": {
            "start": rfc3339(begin_ms),
            "end": rfc3339(now_ms),
            "events": events - (incident.began_at_event or 0),
            "offsets": {p.shard: [p.epoch.first_offset, p.next_offset] for p in profiles},
        },
        "features": [
            {
                "feature": row["feature"],
                "statistic": "evidence_log10",
                "score": row["evidence_log10"],
                "threshold": threshold,
            }
            for row in incident.features[:RETRAIN_FEATURES]
        ],
        "reference": {
            "digest": incident.reference,
            "uri": source.get("uri"),
            "data_revision": source.get("data_revision") or source.get("revision"),
        },
        "evidence": {
            "event_id": drift_events.event_id(EventType.INCIDENT_OPENED, unit, incident.id, "open", 0),
            "url": None,
        },
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
