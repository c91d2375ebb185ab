"""Builds references: from columns of values, or from the profiles that shards gathered while learning."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from detectors import dependence, references, seasons, transform
from detectors.columns import INVALID, MISSING, PRESENT, Bytes8, Floats, Integers
from detectors.errors import ReferenceError
from detectors.features import Kind
from detectors.profiles import FeatureProfile, Profile
from detectors.references import FeatureReference, Reference, Stratum
from detectors.sketches.categories import estimate_distinct
from detectors.sketches.quantiles import QuantileSketch, merged

MAX_CATEGORIES = 1000
"""Listed categories: 1,000 names and counts are some 30 KB in the artefact and 8 KB in a shard."""

MAX_ATOMS = 128
"""Atoms with cells of their own: 2 edges each, so that a feature stays under 512 edges."""

FAST_GAIN = 2.0
"""Bets of their own on fast changes are kept where dependence within a day or part is so many times less."""

MOVED_ROWS = 50
"""A feature learned from fewer independent rows than these did not stay at one level meanwhile."""

ATOM_SHARE = 1 / 256
"""A value this frequent is an atom."""


def build_reference(
    model: str,
    version: str,
    columns: Mapping[str, Sequence[Any] | np.ndarray],
    *,
    timestamps_ms: Integers | None = None,
    kinds: Mapping[str, Kind] | None = None,
    environment: Mapping[str, str] | None = None,
    source: Mapping[str, Any] | None = None,
    segment: str | None = None,
) -> Reference:
    """The exact reference of ``columns``, each of n rows in log order.

    Values are read as the decoder reads them: None and non-finite are missing, another type than the feature's kind
    is invalid. Raises ReferenceError when there is no row or the lengths differ. Cost O(n log n) a feature.

    >>> r = build_reference("m", "1", {"x": [1.0, 2.0, None, 4.0]})
    >>> r.rows, r.features[0].present, r.features[0].missing
    (4, 3, 1)
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if not lengths or not max(lengths.values()):
        raise ReferenceError(f"reference of {model}/{version}: no rows to build it from")
    if len(set(lengths.values())) > 1:
        raise ReferenceError(f"reference of {model}/{version}: columns differ in length: {lengths}")
    features = []
    for name, values in columns.items():
        kind = (kinds or {}).get(name) or infer_kind(values)
        if kind is None:
            raise ReferenceError(f"reference of {model}/{version}: feature {name!r} has no value to infer a kind from")
        if kind is Kind.NUMERIC:
            features.append(numeric_reference(name, *as_numbers(values), timestamps_ms))
        elif kind is Kind.VECTOR:
            raise ReferenceError(f"feature {name!r} is a list of numbers: expand it with detectors.projections first")
        else:
            features.append(categorical_reference(name, kind, *as_labels(values, kind), timestamps_ms))
    times = timestamps_ms if timestamps_ms is not None and len(timestamps_ms) else None
    return Reference(
        schema=references.SCHEMA,
        model=model,
        version=version,
        rows=next(iter(lengths.values())),
        features=features,
        environment=dict(environment or {}),
        source=dict(source or {}),
        segment=segment,
        first_timestamp_ms=None if times is None else int(times.min()),
        last_timestamp_ms=None if times is None else int(times.max()),
    )


def infer_kind(values: Sequence[Any] | np.ndarray) -> Kind | None:
    """The kind of the first value that is not missing; None without one."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        return Kind.BOOLEAN if values.dtype.kind == "b" else Kind.NUMERIC
    for value in values:
        kind = value_kind(value)
        if kind is not None:
            return kind
    return None


def value_kind(value: object) -> Kind | None:
    """The kind a decoded JSON value speaks for; None for a missing or unusable one.

    >>> value_kind(True), value_kind("a"), value_kind(None)
    (<Kind.BOOLEAN: 'boolean'>, <Kind.CATEGORICAL: 'categorical'>, None)
    """
    if isinstance(value, bool | np.bool_):
        return Kind.BOOLEAN
    if isinstance(value, int | float | np.integer | np.floating):
        return Kind.NUMERIC if math.isfinite(_as_float(value)) else None
    if isinstance(value, str):
        return Kind.CATEGORICAL
    if isinstance(value, list | tuple | np.ndarray):
        return Kind.VECTOR
    return None


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def as_numbers(values: Sequence[Any] | np.ndarray) -> tuple[Floats, Bytes8]:
    """Numbers (0.0 where absent) and status of a column, each shape (n,)."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiu":
        numbers = values.astype(np.float64)
        status = np.where(np.isfinite(numbers), PRESENT, MISSING).astype(np.uint8)
    else:
        numbers, status = np.zeros(len(values)), np.zeros(len(values), np.uint8)
        for i, value in enumerate(values):
            if value is None:
                status[i] = MISSING
            elif isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
                status[i] = INVALID
            elif math.isfinite(number := _as_float(value)):
                numbers[i] = number
            else:
                status[i] = MISSING
    numbers[status != PRESENT] = 0.0
    return numbers, status


def as_labels(values: Sequence[Any] | np.ndarray, kind: Kind) -> tuple[list[str | None], Bytes8]:
    """Categories (None where absent) and status of a column."""
    labels: list[str | None] = []
    status = np.zeros(len(values), np.uint8)
    for i, value in enumerate(values):
        if kind is Kind.BOOLEAN and isinstance(value, bool | np.bool_):
            labels.append("true" if value else "false")
        elif kind is Kind.CATEGORICAL and isinstance(value, str):
            labels.append(str(value))  # a numpy string would not encode
        else:
            labels.append(None)
            absent = value is None or (isinstance(value, float) and not math.isfinite(value))
            status[i] = MISSING if absent else INVALID
    return labels, status


def numeric_reference(
    name: str, numbers: Floats, status: Bytes8, timestamps_ms: Integers | None = None
) -> FeatureReference:
    """One numeric feature from its column."""
    present = status == PRESENT
    values = numbers[present] + 0.0
    missing, invalid = int((status == MISSING).sum()), int((status == INVALID).sum())
    if not len(values):
        return FeatureReference(name, Kind.NUMERIC, 0, missing, invalid)
    distinct, counts = np.unique(values, return_counts=True)
    edges = cell_edges(distinct, counts)
    cells = edges.searchsorted(values, side="right")
    mean, std = _mean_and_std(values)
    bare = FeatureReference(
        name,
        Kind.NUMERIC,
        len(values),
        missing,
        invalid,
        edges=edges.tolist(),
        counts=np.bincount(cells, minlength=len(edges) + 1).tolist(),
        mean=mean,
        std=std,
        distinct=len(distinct),
    )
    u = transform.Transform([bare]).ranks(values[:, None], cells[:, None])[0][:, 0]
    times = None if timestamps_ms is None else timestamps_ms[present]
    strata = [] if times is None else seasons.strata(cells, len(edges) + 1, times)
    if strata and times is not None:  # dependence beyond what the season explains
        u = seasons.ranks(cells, times, strata)
    return _with_dependence(bare, [u, np.abs(u - 0.5)], present, cells, strata, times)


def _with_dependence(
    bare: FeatureReference,
    channels: Sequence[Floats],
    present: np.ndarray,
    cells: Integers,
    strata: list[Stratum],
    times: Integers | None,
) -> FeatureReference:
    """``bare`` with its strata and both dependence factors: of all movements, and of those within a day or part."""
    shown = dependence.dependence_factor(present.astype(np.float64))
    tau = max(map(dependence.dependence_factor, channels))
    bare = _replace(bare, tau=tau, tau_presence=shown, strata=strata)
    day = seasons.days_of(times) if strata and times is not None else None
    part = seasons.parts_of(len(cells)) if day is None else day
    if part is None or tau < FAST_GAIN:
        return bare
    longest = len(cells) // (int(part.max()) + 1)
    within = max(dependence.dependence_factor(seasons.less_part(channel, part), longest) for channel in channels)
    if FAST_GAIN * within > tau:
        return bare
    count = len(bare.counts) if bare.kind is Kind.NUMERIC else len(bare.categories) + 2
    reach = [] if day is not None else seasons.reach(cells, count, part)
    return _replace(bare, tau_within=within, reach=reach)


def _mean_and_std(values: Floats) -> tuple[float, float]:
    scale = float(np.abs(values).max()) or 1.0  # so that sums and squares of huge values stay finite
    scaled = values / scale
    mean = math.fsum(scaled.tolist()) / len(values)
    return min(max(mean, -1.0), 1.0) * scale, float(scaled.std() * scale)


def cell_edges(distinct: Floats, counts: Integers) -> Floats:
    """Ascending edges for values ``distinct`` seen ``counts`` times: the grid's quantiles, atoms fenced, the ends."""
    total = int(counts.sum())
    cumulative = np.cumsum(counts)
    at = np.searchsorted(cumulative, np.ceil(np.asarray(transform.GRID) * total))
    atoms = distinct[counts >= max(ATOM_SHARE * total, 2)]
    if len(atoms) > MAX_ATOMS:
        atoms = np.sort(distinct[np.argsort(-counts, kind="stable")[:MAX_ATOMS]])
    top = np.finfo(np.float64).max
    fences = np.concatenate((distinct[np.minimum(at, len(distinct) - 1)], atoms, distinct[:1]))
    last = np.minimum(np.concatenate((atoms, distinct[-1:])), np.nextafter(top, 0.0))  # none lies after the largest
    after = np.nextafter(last, np.inf)
    return np.unique(np.concatenate((fences, after)) + 0.0)


def categorical_reference(
    name: str, kind: Kind, labels: Sequence[str | None], status: Bytes8, timestamps_ms: Integers | None = None
) -> FeatureReference:
    """One categorical or boolean feature from its column."""
    tally = Counter(label for label in labels if label is not None)
    bare = category_counts(name, kind, tally, int((status == MISSING).sum()), int((status == INVALID).sum()))
    index = {category: i for i, category in enumerate(bare.categories)}
    other = len(bare.categories)
    present = status == PRESENT
    codes = np.array([index.get(label, other) for label in labels if label is not None], np.int64)
    times = None if timestamps_ms is None else timestamps_ms[present]
    strata = [] if times is None else seasons.strata(codes, other + 2, times)
    return _with_dependence(bare, _indicators(codes, other, strata, times), present, codes, strata, times)


def _indicators(codes: Integers, other: int, strata: list[Stratum], times: Integers | None) -> list[Floats]:
    """What dependence is told from: one column for each frequent category, less what its season explains."""
    channels = [(codes == c).astype(np.float64) for c in range(min(other + 1, 8))]
    if strata and times is not None:
        expected = [seasons.expected(c, times, strata) for c in range(len(channels))]
        channels = [channel - usual for channel, usual in zip(channels, expected, strict=True)]
    return channels


def category_counts(name: str, kind: Kind, tally: Mapping[str, int], missing: int, invalid: int) -> FeatureReference:
    """The record of a categorical feature from how often each category was seen; most frequent first, ties by name.

    A column in which at least half of many values are seen once is an identifier.
    """
    ordered = sorted(tally.items(), key=lambda item: (-item[1], item[0]))
    present = sum(tally.values())
    once = sum(count == 1 for count in tally.values())
    listed = ordered[:MAX_CATEGORIES]
    if kind is Kind.BOOLEAN:
        listed += [(c, 0) for c in ("false", "true") if c not in tally]
    return FeatureReference(
        name,
        kind,
        present,
        missing,
        invalid,
        categories=[category for category, _ in listed],
        category_counts=[count for _, count in listed],
        other=sum(count for _, count in ordered[MAX_CATEGORIES:]),
        distinct=len(tally),
        identifier=len(tally) > 100 and 2 * once >= present,
    )


def reference_from_profiles(
    model: str,
    version: str,
    profiles: Sequence[Profile],
    *,
    segment: str | None = None,
    source: Mapping[str, Any] | None = None,
) -> Reference:
    """The reference of everything that ``profiles`` (the learning shards' newest) have counted.

    Cells come from merged sketches, so ``rank_error`` says how exact they are. Features that drifted meanwhile are told
    by their dependence and named in ``source["moved"]``; the same dependence keeps their evidence small. Raises
    ReferenceError without an event.
    """
    rows = sum(profile.epoch_events for profile in profiles)
    if not rows:
        raise ReferenceError(f"reference of {model}/{version}: the shards have counted no event yet")
    by_name: dict[str, list[FeatureProfile]] = {}
    for profile in sorted(profiles, key=lambda p: p.shard):
        for feature in profile.features:
            by_name.setdefault(feature.feature, []).append(feature)
    environment: Counter[str] = Counter()
    for profile in profiles:
        environment.update(profile.environments)
    features = [_learned(name, parts, rows) for name, parts in sorted(by_name.items())]
    moved = [f.feature for f in features if f.tau > 2 and f.rows < MOVED_ROWS * f.tau]
    firsts = [p.first_timestamp_ms for p in profiles if p.first_timestamp_ms is not None]
    lasts = [p.last_timestamp_ms for p in profiles if p.last_timestamp_ms is not None]
    return Reference(
        schema=references.SCHEMA,
        model=model,
        version=version,
        rows=rows,
        features=features,
        environment=_most_common_environment(environment),
        source={"kind": "learned", **({"moved": moved} if moved else {}), **(source or {})},
        segment=segment,
        first_timestamp_ms=min(firsts, default=None),
        last_timestamp_ms=max(lasts, default=None),
    )


def _most_common_environment(environments: Counter[str]) -> dict[str, str]:
    if not environments:
        return {}
    text = min(environments.items(), key=lambda item: (-item[1], item[0]))[0]
    return {str(k): str(v) for k, v in json.loads(text).items()}


def _learned(name: str, parts: Sequence[FeatureProfile], rows: int) -> FeatureReference:
    kind = parts[0].kind
    parts = [part for part in parts if part.kind is kind]
    invalid = sum(part.invalid for part in parts)
    present = sum(part.count for part in parts)
    missing = rows - present - invalid  # a shard that never saw the feature missed it in every event
    # A shard sees every so-manieth event only: what it finds reaches so many times further in the whole stream.
    tau = 1 + (max(part.tau for part in parts) - 1) * len(parts)
    if kind is not Kind.NUMERIC:
        tally: Counter[str] = Counter()
        for part in parts:
            tally.update(part.categories)
        bare = category_counts(name, kind, tally, missing, invalid)
        overflow = sum(part.category_overflow for part in parts)
        distinct = round(estimate_distinct([part.distinct for part in parts])) if overflow else bare.distinct
        return _replace(bare, present=present, other=bare.other + overflow, distinct=distinct, tau=tau)
    sketch = merged(QuantileSketch.from_bytes(part.sketch) for part in parts)
    if not sketch.count:
        return FeatureReference(name, kind, 0, missing, invalid)
    low, high, counts = sketch.buckets()
    middle = low / 2 + high / 2
    edges = cell_edges(middle, counts) if not sketch.shift else bucket_edges(low, high, counts)
    weights = counts / counts.sum()
    mean = float((weights * middle).sum())
    return FeatureReference(
        name,
        kind,
        present,
        missing,
        invalid,
        edges=edges.tolist(),
        counts=np.bincount(edges.searchsorted(low, side="right"), weights=counts, minlength=len(edges) + 1)
        .astype(np.int64)
        .tolist(),
        mean=mean,
        std=float(np.sqrt((weights * (middle - mean) ** 2).sum())),
        rank_error=sketch.rank_error,
        distinct=len(low),
        tau=tau,
    )


def bucket_edges(low: Floats, high: Floats, counts: Integers) -> Floats:
    """Edges on bucket borders only, so that every bucket's count falls whole into one cell."""
    at = np.searchsorted(np.cumsum(counts), np.ceil(np.asarray(transform.GRID) * counts.sum()))
    top = np.finfo(np.float64).max
    end = np.minimum(np.nextafter(high[-1:], np.inf), top)
    return np.unique(np.concatenate((low[:1], low[np.minimum(at, len(low) - 1)], end)) + 0.0)


def _replace(feature: FeatureReference, **changes: Any) -> FeatureReference:
    return msgspec.structs.replace(feature, **changes)
