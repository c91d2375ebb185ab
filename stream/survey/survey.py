"""A summary of a sample of a topic, feature by feature. The figures are exact for the sample. Nothing is read here."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from detectors.columns import INVALID, PRESENT, Columns
from detectors.derived.rules import derived_names
from detectors.features import Kind, ModelKey
from detectors.values import EMPTY_TEXTS
from stream.survey.rhythm import Rhythm, rhythm
from stream.topics.record import Record

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
TOP_VALUES = 8
HISTOGRAM_BINS = 24
IDENTIFIER_SHARE = 0.9
"""A categorical feature is an id where at least this share of its values differ: new values of it are normal."""


class FeatureSurvey(msgspec.Struct, frozen=True):
    """One feature. ``present`` + ``missing`` + ``invalid`` is the number of the model's events."""

    feature: str
    kind: Kind
    present: int
    missing: int
    invalid: int
    distinct: int
    identifier: bool = False
    mean: float | None = None
    std: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    quantiles: dict[str, float] = {}
    histogram: list[int] = []
    top: dict[str, int] = {}
    rhythm: Rhythm | None = None


class ModelSurvey(msgspec.Struct, frozen=True):
    """One model version, its segments together."""

    model: str
    version: str
    events: int
    first_ms: int
    last_ms: int
    events_per_second: float | None
    segments: dict[str, int]
    environments: dict[str, int]
    features: list[FeatureSurvey]
    not_watched: dict[str, str] = {}  # features without a value that can be watched, with the reason


class TopicSurvey(msgspec.Struct, frozen=True):
    """The summary of a topic: its size, its freshness, the shapes of its records, and its models."""

    topic: str
    partitions: int
    held: int
    read: int
    size_bytes: int
    newest_age_seconds: float | None
    shapes: dict[str, int]
    rejected: dict[str, int]
    models: list[ModelSurvey]
    proposed: dict[str, Any] | None = None  # the entry of topics.events that the records need, read with it here


def shape(record: Record) -> str:
    """How a record's value is written, by its first byte, and whether it has CloudEvents headers."""
    value = (record.value or b"").lstrip()[:1]
    kinds = {b"": "empty", b"{": "JSON object", b"[": "JSON array", b"\x1f": "gzip", b"\x00": "schema registry"}
    headers = {name.lower() for name, _ in record.headers}
    if any(name.startswith("ce_") for name in headers):
        return f"{kinds.get(value, 'other')}, CloudEvents headers"
    return kinds.get(value, "other")


def models(parts: Iterable[Columns]) -> list[ModelSurvey]:
    """A summary of every model version in the decoded columns."""
    by_model: dict[ModelKey, list[Columns]] = {}
    for part in parts:
        if len(part):
            by_model.setdefault(part.unit.model_key, []).append(part)
    return [_model(model, version, found) for (model, version), found in sorted(by_model.items())]


def _model(model: str, version: str, parts: Sequence[Columns]) -> ModelSurvey:
    moments = np.concatenate([part.timestamps_ms for part in parts])
    segments: Counter[str] = Counter()
    environments: Counter[str] = Counter()
    for part in parts:
        if part.unit.segment is not None:
            segments[part.unit.segment] += len(part)
        environments.update(part.environments)
    events, first, last = len(moments), int(moments.min()), int(moments.max())
    rate = (events - 1) / ((last - first) / 1000) if last > first else None
    found = [_numeric(name, parts, events) for name in _names(part.numeric for part in parts)]
    specs = sorted({spec for part in parts for spec in part.categorical}, key=lambda s: (s.feature, s.kind))
    found.extend(_categorical(spec.feature, spec.kind, parts, events) for spec in specs)
    present = {feature.feature for feature in found if feature.present}
    lists = {f.feature for f in found if f.kind is Kind.VECTOR and not present.isdisjoint(derived_names(f.feature))}
    watched = present | lists
    not_watched = {f.feature: _reason(f) for f in found if f.feature not in watched}
    found = [feature for feature in found if feature.present or (feature.invalid and feature.feature in watched)]
    found.sort(key=lambda feature: (feature.feature, -feature.present))
    counts = dict(segments.most_common()), dict(environments.most_common())
    return ModelSurvey(model, version, events, first, last, rate, *counts, found, dict(sorted(not_watched.items())))


def _reason(feature: FeatureSurvey) -> str:
    """Why a feature without a single value is not watched."""
    return "objects and lists of anything but numbers are not monitored" if feature.invalid else "empty: no value"


def _names(lists: Iterable[Sequence[str]]) -> list[str]:
    return sorted({name for names in lists for name in names})


def _numeric(name: str, parts: Sequence[Columns], events: int) -> FeatureSurvey:
    pieces, moments, invalid = [], [], 0
    for part in parts:
        if name not in part.numeric:
            continue
        index = part.numeric.index(name)
        values, times = part.numbers[:, index], part.timestamps_ms
        if part.number_status is not None:
            status = part.number_status[:, index]
            invalid += int(np.count_nonzero(status == INVALID))
            values, times = values[status == PRESENT], times[status == PRESENT]
        pieces.append(values)
        moments.append(times)
    values = np.concatenate(pieces)
    missing = events - len(values) - invalid
    distinct, counts = np.unique(values, return_counts=True)
    if not len(values):
        return FeatureSurvey(name, Kind.NUMERIC, 0, missing, invalid, 0)
    order = np.argsort(-counts, kind="stable")[:TOP_VALUES]
    low, high = float(np.quantile(values, QUANTILES[0])), float(np.quantile(values, QUANTILES[-1]))
    bins = np.histogram(np.clip(values, low, high), HISTOGRAM_BINS)[0] if high > low else np.array([len(values)])
    return FeatureSurvey(
        name,
        Kind.NUMERIC,
        len(values),
        missing,
        invalid,
        len(distinct),
        mean=float(values.mean()),
        std=float(values.std()),
        minimum=float(distinct[0]),
        maximum=float(distinct[-1]),
        quantiles={f"{q:g}": float(value) for q, value in zip(QUANTILES, np.quantile(values, QUANTILES), strict=True)},
        histogram=[int(count) for count in bins],
        top={f"{distinct[i]:.6g}": int(counts[i]) for i in order if counts[i] > 1},
        rhythm=rhythm(values, np.concatenate(moments)),
    )


def _categorical(name: str, kind: Kind, parts: Sequence[Columns], events: int) -> FeatureSurvey:
    seen: Counter[str] = Counter()
    invalid = 0
    for part in parts:
        for index, spec in enumerate(part.categorical):
            if spec.feature == name and spec.kind is kind:
                given = (category for category in part.categories[index] if category is not None)
                seen.update(category for category in given if category not in EMPTY_TEXTS)
                if part.category_status is not None:
                    invalid += int(np.count_nonzero(part.category_status[:, index] == INVALID))
    present = seen.total()
    top = dict(sorted(seen.items(), key=lambda item: (-item[1], item[0]))[:TOP_VALUES])
    return FeatureSurvey(
        name,
        kind,
        present,
        events - present - invalid,
        invalid,
        len(seen),
        identifier=present >= 100 and len(seen) >= IDENTIFIER_SHARE * present,
        histogram=list(top.values()),
        top=top,
    )


def settings(topic: str | dict[str, Any], bootstrap_servers: str, found: Sequence[ModelSurvey]) -> Mapping[str, object]:
    """A first settings file: the features of each model with the kinds that were seen, and ids under ``ignore``.

    ``topic``: the entry of ``topics.events``.
    """
    models: dict[str, dict[str, object]] = {}
    for model in found:
        own = models.setdefault(model.model, {"features": {}, "ignore": []})
        kinds, ignored = own["features"], own["ignore"]
        assert isinstance(kinds, dict)
        assert isinstance(ignored, list)
        lists = tuple(f"{feature.feature}." for feature in model.features if feature.kind is Kind.VECTOR)
        for feature in model.features:  # the most frequent kind of a feature comes first
            if feature.identifier:
                ignored.append(feature.feature)
            elif feature.present and not feature.feature.startswith(("@", *lists)):
                kinds.setdefault(feature.feature, {"kind": feature.kind.value})
    for own in models.values():
        own["ignore"] = sorted(set(own["ignore"]))  # type: ignore[call-overload]
    return {
        "kafka": {"bootstrap_servers": bootstrap_servers},
        "topics": {"events": [topic]},
        "false_alarms_per_model_per_month": 1,
        "models": models,
    }
