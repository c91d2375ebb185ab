"""Units and features as the pages use them, read from the JSON of the views. Missing or odd members are handled
here."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from stream.http.page import words
from stream.http.page.history import History
from stream.http.page.words import Json, State, finite

SIZES = ("psi", "wasserstein", "kolmogorov_smirnov", "jensen_shannon")
SIZE_LABELS = {
    "psi": "PSI",
    "wasserstein": "Wasserstein",
    "kolmogorov_smirnov": "KS distance",
    "jensen_shannon": "Jensen–Shannon",
}


class Unit(NamedTuple):
    """A model version, or a segment of it, as one row of the fleet."""

    model: str
    version: str
    segment: str | None
    state: State
    claimed: str  # the state's name as published
    evidence: float | None
    threshold: float | None
    worst_feature: str | None
    drifted: list[str]
    rate: float | None
    last_event_ms: float | None
    events: object
    reason: str = ""
    learned: float | None = None  # events of a reference that is being learned
    learning_wanted: float | None = None
    waiting: str | None = None  # which partition holds it back, and how far that is behind

    @property
    def path(self) -> str:
        return words.model_path(self.model, self.version, self.segment)

    @property
    def why(self) -> str | None:
        """The reason for its state in a few words; None if its features are the reason, or if it has no problem."""
        if self.waiting and self.state.name != "drift":
            return self.waiting
        if self.state.name == "learning" and self.learning_wanted:
            return f"{words.count(self.learned)} of {words.count(self.learning_wanted)} events read"
        if self.state.name in ("blind", "drift", "quiet") and self.reason and not self.drifted:
            text = words.BLIND_REASONS.get(self.reason) or words.reason(self.reason)
            return text[:1].lower() + text[1:].rstrip(".")
        return "no events lately" if self.state is words.SILENT else None

    @property
    def ratio(self) -> float:
        """Evidence as a share of the threshold; -1 where one of them is unknown."""
        if self.evidence is None or not self.threshold or self.threshold <= 0:
            return -1.0
        return self.evidence / self.threshold


def unit(summary: Json, history: History, now_ms: int) -> Unit:
    """A unit from its summary. The state ``silent`` replaces a good state when no event has arrived for a while."""
    past = history.of(summary)
    claimed = str(summary.get("state"))
    state = words.STATES.get(claimed, words.UNKNOWN)
    last_event_ms = finite(summary.get("last_event_ms"))
    active_ms = max(last_event_ms or 0, past.rose_ms or 0)
    if state.name in ("stable", "warning", "learning") and now_ms - active_ms > words.SILENT_AFTER_MS:
        state = words.SILENT
    drifted = summary.get("drifted_features")
    worst = summary.get("worst_feature")
    return Unit(
        model=str(summary["model"]),
        version=str(summary["version"]),
        segment=summary.get("segment"),
        state=state,
        claimed=claimed,
        evidence=finite(summary.get("evidence_log10")),
        threshold=finite(summary.get("threshold_log10")),
        worst_feature=str(worst) if worst else None,
        drifted=[str(name) for name in drifted] if isinstance(drifted, list) else [],
        rate=past.rate(now_ms),
        last_event_ms=last_event_ms,
        events=summary.get("events"),
        reason=reason if isinstance(reason := summary.get("reason"), str) else "",
        learned=finite(summary.get("epoch_events")),
        learning_wanted=finite(summary.get("learning_events_wanted")),
        waiting=words.waiting(summary.get("waiting_for")),
    )


class Feature(NamedTuple):
    """One feature, with shares instead of counts.

    ``labels`` (one for each bin; empty when the bins have no names), ``reference`` and ``present`` are only filled by
    ``drawn``, because a page draws about fifty of 500 features.
    """

    name: str
    kind: str
    evidence: float | None
    sizes: dict[str, float | None]
    values: float
    missing: float | None
    invalid: float | None
    unexpected: float | None
    drifted: bool
    raw: Json
    labels: Sequence[str] = ()
    reference: Sequence[float] = ()
    present: Sequence[float] = ()

    @property
    def categorical(self) -> bool:
        return self.kind in ("categorical", "boolean")

    @property
    def described(self) -> str:
        """The kind, with a remark for an id or a counter."""
        return (
            f"{self.kind}, id or counter: only missing values are judged" if self.raw.get("identifier") else self.kind
        )


def features(detail: Json) -> list[Feature]:
    """The features, worst first: by evidence, then by PSI, then by name. The outcome of labels is one of them."""
    drifted = set(detail.get("drifted_features") or ())
    rows = words.rows([*(detail.get("features") or ()), detail.get("outcome")])
    found = [_feature(raw, drifted) for raw in rows if raw.get("feature") is not None]
    return sorted(found, key=lambda f: (-_or_least(f.evidence), -_or_least(f.sizes["psi"]), f.name))


def _or_least(value: float | None) -> float:
    return -1e300 if value is None else value


def _feature(raw: Json, drifted: set[Any]) -> Feature:
    count, missing, invalid = (finite(raw.get(name)) or 0.0 for name in ("count", "missing", "invalid"))
    seen = count + missing + invalid
    unexpected = finite(raw.get("unexpected"))
    return Feature(
        name=str(raw["feature"]),
        kind=str(raw.get("kind", "numeric")),
        evidence=finite(raw.get("evidence_log10")),
        sizes={name: finite(raw.get(name)) for name in SIZES},
        values=count,
        missing=missing / seen if seen else None,
        invalid=invalid / seen if seen else None,
        unexpected=unexpected / count if unexpected is not None and count else None,
        drifted=raw["feature"] in drifted or raw.get("drifted") is True,
        raw=raw,
    )


def drawn(feature: Feature) -> Feature:
    """The feature with its histograms."""
    raw = feature.raw
    labels, reference = _bins(raw.get("reference_histogram"))
    present_labels, present = _bins(raw.get("histogram"))
    if labels and present_labels and labels != present_labels and len(labels) != len(reference) + 1:
        labels, reference, present = _aligned(labels, reference, present_labels, present)
    valueless = bool(present) and not sum(present)  # then no distance is known, and 0 would look healthy
    sizes: dict[str, float | None] = dict.fromkeys(SIZES) if valueless else feature.sizes
    shown = feature._replace(labels=labels or present_labels, sizes=sizes)
    return shown._replace(reference=_shares(reference), present=_shares(present))


def _bins(value: object) -> tuple[list[str], list[float]]:
    """Labels (``a … b`` for a bin with edges) and counts, from any form that a histogram has in a view."""
    if isinstance(value, list):
        return [], [finite(item) or 0.0 for item in value]
    if not isinstance(value, dict):
        return [], []
    given = value.get("counts", value.get("shares"))
    counts = [finite(item) or 0.0 for item in given] if isinstance(given, list) else []
    for name in ("labels", "categories"):
        if isinstance(value.get(name), list):
            return [str(item) for item in value[name]], counts
    edges = value.get("edges")
    if not isinstance(edges, list):
        if not counts and value and all(isinstance(item, (int, float)) for item in value.values()):
            return [str(name) for name in value], [float(item) for item in value.values()]
        return [], counts
    return _edge_labels(edges, len(counts)), counts


def _edge_labels(edges: list[Any], bins: int) -> list[str]:
    shown = ["" if finite(edge) is None else words.number(edge) for edge in edges]
    if len(shown) == bins - 1:  # open on both sides
        shown = ["", *shown, ""]
    if len(shown) != bins + 1:
        return []
    return [f"{low or '−∞'} … {high or '∞'}" for low, high in pairwise(shown)]


def _aligned(
    labels: list[str], reference: list[float], present_labels: list[str], present: list[float]
) -> tuple[list[str], list[float], list[float]]:
    """Two histograms of named categories over the same names."""
    every = list(dict.fromkeys([*labels, *present_labels]))
    old = dict(zip(labels, reference, strict=False))
    new = dict(zip(present_labels, present, strict=False))
    return every, [old.get(name, 0.0) for name in every], [new.get(name, 0.0) for name in every]


def _shares(counts: Sequence[float]) -> list[float]:
    total = sum(counts)
    return [value / total for value in counts] if total > 0 else []
