"""Builds references from columns of values, and records of single features from columns or counts."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from detectors.columns import INVALID, MISSING, PRESENT, Bytes8, Floats, Integers
from detectors.derived import rules
from detectors.errors import ReferenceError
from detectors.features import Kind
from detectors.reference import dependence, reference, seasons, transform, unlisted
from detectors.reference.reference import FeatureReference, Reference, Stratum

MAX_CATEGORIES = 1000
"""Categories in the list: 1,000 names and counts take about 30 KB in the artefact and 8 KB in a shard."""

MAX_ATOMS = 128
"""Atoms with cells of their own: 2 edges each, so that a feature has fewer than 512 edges."""

MANY_VALUES = 100
"""An identifier or counter has more different values than this."""

COUNTER = 0.995
"""The correlation of a value's rank with its row from which on a column is a counter: its values repeat as little as
ids.

While learning only steps are counted: then at most one in COUNTER_STEPS goes back."""

COUNTER_STEPS = 100

FAST_GAIN = 2.0
"""Fast changes get bets of their own where dependence within a day or part is less by this factor."""

ATOM_SHARE = 1 / 256
"""A value with at least this share of the rows is an atom."""


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

    Values are read as the decoder reads them: None and non-finite are missing, another type than the feature's kind is
    invalid, and a column of lists (or an array of shape (n, dimension)) becomes the numeric features of
    ``derived.rules.derived_names``. Raises ReferenceError when there is no row, when lengths differ or when two
    features have one name. Cost: O(n log n) a feature.

    >>> r = build_reference("m", "1", {"x": [1.0, 2.0, None, 4.0]})
    >>> r.rows, r.features[0].present, r.features[0].missing
    (4, 3, 1)
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if not lengths or not max(lengths.values()):
        raise ReferenceError(f"reference of {model}/{version}: no rows to build it from")
    if len(set(lengths.values())) > 1:
        raise ReferenceError(f"reference of {model}/{version}: columns differ in length: {lengths}")
    features = _features(f"reference of {model}/{version}", columns, timestamps_ms, kinds or {})
    times = timestamps_ms if timestamps_ms is not None and len(timestamps_ms) else None
    return Reference(
        schema=reference.SCHEMA,
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


def _features(
    whose: str,
    columns: Mapping[str, Sequence[Any] | np.ndarray],
    timestamps_ms: Integers | None,
    kinds: Mapping[str, Kind],
) -> list[FeatureReference]:
    features: list[FeatureReference] = []
    for name, values in columns.items():
        kind = kinds.get(name) or infer_kind(values)
        if kind is None:
            raise ReferenceError(f"{whose}: feature {name!r} has no value to infer a kind from")
        if kind is Kind.NUMERIC:
            features.append(numeric_reference(name, *as_numbers(values), timestamps_ms))
        elif kind is not Kind.VECTOR:
            features.append(categorical_reference(name, kind, *as_categories(values, kind), timestamps_ms))
        if kind in rules.RULES:
            features += derived_references(name, values, kind, timestamps_ms)
    twice = [name for name, count in Counter(f.feature for f in features).items() if count > 1]
    if twice:
        raise ReferenceError(f"{whose}: {twice[0]!r} is both a column and a derived feature")
    return features


def infer_kind(values: Sequence[Any] | np.ndarray) -> Kind | None:
    """The kind of the first value that is not missing; None without such a value."""
    if isinstance(values, np.ndarray) and values.ndim > 1:
        return Kind.VECTOR
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        return Kind.BOOLEAN if values.dtype.kind == "b" else Kind.NUMERIC
    for value in values:
        kind = value_kind(value)
        if kind is not None:
            return kind
    return None


def value_kind(value: object) -> Kind | None:
    """The kind that a decoded JSON value implies; None for a missing or unusable one.

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
    """The numbers (0.0 where absent) and the status of a column, each shape (n,)."""
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


def as_categories(values: Sequence[Any] | np.ndarray, kind: Kind) -> tuple[list[str | None], Bytes8]:
    """The categories (None where absent) and the status of a column."""
    categories: list[str | None] = []
    status = np.zeros(len(values), np.uint8)
    for i, value in enumerate(values):
        if kind is Kind.BOOLEAN and isinstance(value, bool | np.bool_):
            categories.append("true" if value else "false")
        elif kind is Kind.CATEGORICAL and isinstance(value, str):
            categories.append(str(value))  # a numpy string would not encode
        else:
            categories.append(None)
            absent = value is None or (isinstance(value, float) and not math.isfinite(value))
            status[i] = MISSING if absent else INVALID
    return categories, status


def numeric_reference(
    name: str, numbers: Floats, status: Bytes8, timestamps_ms: Integers | None = None
) -> FeatureReference:
    """The record of one numeric feature, from its column."""
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
    counts_on = len(distinct) > MANY_VALUES and _counts_on(u)
    if counts_on:  # only whether a counter is present is judged
        return _replace(bare, tau_presence=dependence.dependence_factor(present.astype(np.float64)), identifier=True)
    times = None if timestamps_ms is None else timestamps_ms[present]
    strata = [] if times is None else seasons.strata(cells, len(edges) + 1, times)
    if strata and times is not None:  # dependence beyond what the season explains
        u = seasons.ranks(cells, times, strata)
    return _with_dependence(bare, [u, np.abs(u - 0.5)], present, cells, strata, times)


def _counts_on(ranks: Floats) -> bool:
    """Whether values follow their rows, like a row number, a clock, or ids handed out in order. New values are then
    beyond.

    The test is Spearman's correlation of value and row. A trend that matters to people has more noise than COUNTER
    allows.
    """
    rows = np.arange(len(ranks), dtype=np.float64)
    return bool(ranks.std() > 0 and abs(np.corrcoef(ranks, rows)[0, 1]) >= COUNTER)


def derived_references(
    name: str, values: Sequence[Any] | np.ndarray, kind: Kind, timestamps_ms: Integers | None = None
) -> list[FeatureReference]:
    """The records of the features derived from a column of a kind, in the order of ``derived_names``."""
    made = rules.derived(name, values, kind)
    return [
        numeric_reference(derived, numbers, status, timestamps_ms)
        for derived, numbers, status in zip(made.names, made.numbers.T, made.status.T, strict=True)
    ]


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
    scale = float(np.abs(values).max()) or 1.0  # keeps sums and squares of huge values finite
    scaled = values / scale
    mean = math.fsum(scaled.tolist()) / len(values)
    return min(max(mean, -1.0), 1.0) * scale, float(scaled.std() * scale)


def cell_edges(distinct: Floats, counts: Integers) -> Floats:
    """Ascending edges for values ``distinct`` that came ``counts`` times: the grid's quantiles, both sides of atoms,
    the ends.
    """
    total = int(counts.sum())
    cumulative = np.cumsum(counts)
    at = np.searchsorted(cumulative, np.ceil(np.asarray(transform.GRID) * total))
    atoms = distinct[counts >= max(ATOM_SHARE * total, 2)]
    if len(atoms) > MAX_ATOMS:
        atoms = np.sort(distinct[np.argsort(-counts, kind="stable")[:MAX_ATOMS]])
    top = np.finfo(np.float64).max
    fences = np.concatenate((distinct[np.minimum(at, len(distinct) - 1)], atoms, distinct[:1]))
    last = np.minimum(np.concatenate((atoms, distinct[-1:])), np.nextafter(top, 0.0))  # no float follows the largest
    after = np.nextafter(last, np.inf)
    return np.unique(np.concatenate((fences, after)) + 0.0)


def bucket_edges(low: Floats, high: Floats, counts: Integers) -> Floats:
    """Edges on bucket borders only, so that each bucket's count falls into a single cell."""
    at = np.searchsorted(np.cumsum(counts), np.ceil(np.asarray(transform.GRID) * counts.sum()))
    top = np.finfo(np.float64).max
    end = np.minimum(np.nextafter(high[-1:], np.inf), top)
    return np.unique(np.concatenate((low[:1], low[np.minimum(at, len(low) - 1)], end)) + 0.0)


def categorical_reference(
    name: str, kind: Kind, categories: Sequence[str | None], status: Bytes8, timestamps_ms: Integers | None = None
) -> FeatureReference:
    """The record of one categorical or boolean feature, from its column."""
    tally = Counter(category for category in categories if category is not None)
    bare = category_counts(name, kind, tally, int((status == MISSING).sum()), int((status == INVALID).sum()))
    if kind is Kind.CATEGORICAL:
        later = unlisted.later([category for category in categories if category is not None], MAX_CATEGORIES)
        bare = _with_unlisted(bare, bare.unlisted, later)
    index = {category: i for i, category in enumerate(bare.categories)}
    other = len(bare.categories)
    present = status == PRESENT
    codes = np.array([index.get(category, other) for category in categories if category is not None], np.int64)
    times = None if timestamps_ms is None else timestamps_ms[present]
    strata = [] if times is None else seasons.strata(codes, other + 2, times)
    return _with_dependence(bare, _indicators(codes, other, strata, times), present, codes, strata, times)


def _indicators(codes: Integers, other: int, strata: list[Stratum], times: Integers | None) -> list[Floats]:
    """The channels that dependence is estimated from: one for each frequent category, minus its seasonal share."""
    channels = [(codes == c).astype(np.float64) for c in range(min(other + 1, 8))]
    if strata and times is not None:
        expected = [seasons.expected(c, times, strata) for c in range(len(channels))]
        channels = [channel - usual for channel, usual in zip(channels, expected, strict=True)]
    return channels


def category_counts(
    name: str, kind: Kind, tally: Mapping[str, int], missing: int, invalid: int, overflow: int = 0
) -> FeatureReference:
    """The record of a categorical feature from the counts of its categories; most frequent first, ties by name.

    ``overflow``: values whose category found no room in the tally, which keeps the first categories to come. The share
    outside the list is then between these values' share and the share once the tally was full.
    """
    ordered = sorted(tally.items(), key=lambda item: (-item[1], item[0]))
    named = sum(tally.values())
    present = named + overflow
    listed = ordered[:MAX_CATEGORIES]
    if kind is Kind.BOOLEAN:
        listed += [(c, 0) for c in ("false", "true") if c not in tally]
    alone = unlisted.left_out([count for _, count in ordered], MAX_CATEGORIES) if kind is Kind.CATEGORICAL else 0.0
    least = (alone * named if not overflow else 0.0) + overflow
    most = alone * named + overflow
    bare = FeatureReference(
        name,
        kind,
        present,
        missing,
        invalid,
        categories=[category for category, _ in listed],
        category_counts=[count for _, count in listed],
        other=sum(count for _, count in ordered[MAX_CATEGORIES:]) + overflow,
        distinct=len(tally),
    )
    return _with_unlisted(bare, least / max(present, 1), most / max(present - (len(tally) if overflow else 0), 1))


def _with_unlisted(feature: FeatureReference, one: float, other: float) -> FeatureReference:
    """``feature`` with the share to expect outside its list, from two estimates.

    A column of many values is an identifier when most of its values are outside the list.
    """
    most = min(max(one, other), 1.0)
    least = min(one, other)
    return _replace(
        feature,
        unlisted=round((least + most) / 2, 6),
        unlisted_error=round((most - least) / 2, 6),
        identifier=feature.distinct > MANY_VALUES and most >= 0.5,
    )


def _replace(feature: FeatureReference, **changes: Any) -> FeatureReference:
    return msgspec.structs.replace(feature, **changes)
