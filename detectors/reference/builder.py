"""Builds references from columns of values, and records of single features from columns or counts."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from detectors import values
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
    ``derived.rules.derived_names``. A column that cannot be watched is left out; ``source["not_watched"]`` names it
    with the reason. Raises ReferenceError when there is no row, when lengths differ, when no column can be watched or
    when two features have one name. Cost: O(n log n) a feature.

    >>> r = build_reference("m", "1", {"x": [1.0, 2.0, None, 4.0]})
    >>> r.rows, r.features[0].present, r.features[0].missing
    (4, 3, 1)
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if not lengths or not max(lengths.values()):
        raise ReferenceError(f"reference of {model}/{version}: no rows to build it from")
    if len(set(lengths.values())) > 1:
        raise ReferenceError(f"reference of {model}/{version}: columns differ in length: {lengths}")
    left_out = not_watched(columns, kinds or {})
    watched = {name: values for name, values in columns.items() if name not in left_out}
    if not watched:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(left_out.items())[:5])
        raise ReferenceError(f"reference of {model}/{version}: no column can be monitored: {reasons}")
    features = _features(f"reference of {model}/{version}", watched, timestamps_ms, kinds or {})
    given = {**(source or {})}
    if left_out:
        given["not_watched"] = {**left_out, **given.get("not_watched", {})}
    times = timestamps_ms if timestamps_ms is not None and len(timestamps_ms) else None
    return Reference(
        schema=reference.SCHEMA,
        model=model,
        version=version,
        rows=next(iter(lengths.values())),
        features=features,
        environment=dict(environment or {}),
        source=given,
        segment=segment,
        first_timestamp_ms=None if times is None else int(times.min()),
        last_timestamp_ms=None if times is None else int(times.max()),
    )


def not_watched(columns: Mapping[str, Sequence[Any] | np.ndarray], kinds: Mapping[str, Kind]) -> dict[str, str]:
    """The columns that cannot be watched, each with the reason. A column whose kind is given may be empty."""
    found: dict[str, str] = {}
    for name, given in columns.items():
        reason = None if values.is_emitted(name) else values.refused_name(name)
        reason = reason or (None if name in kinds else values.unwatched(given))
        if reason is not None:
            found[name] = reason
    return found


def _features(
    whose: str,
    columns: Mapping[str, Sequence[Any] | np.ndarray],
    timestamps_ms: Integers | None,
    kinds: Mapping[str, Kind],
) -> list[FeatureReference]:
    features: list[FeatureReference] = []
    for name, column in columns.items():
        kind = kinds.get(name) or values.infer_kind(column)
        assert kind is not None
        if kind is Kind.NUMERIC:
            features.append(numeric_reference(name, *values.as_numbers(column), timestamps_ms))
        elif kind is not Kind.VECTOR:
            features.append(categorical_reference(name, kind, *values.as_categories(column, kind), timestamps_ms))
        if kind in rules.RULES:
            features += derived_references(name, column, kind, timestamps_ms)
    twice = [name for name, count in Counter(f.feature for f in features).items() if count > 1]
    if twice:
        raise ReferenceError(f"{whose}: {twice[0]!r} is both a column and a derived feature")
    return features


def numeric_reference(
    name: str, numbers: Floats, status: Bytes8, timestamps_ms: Integers | None = None
) -> FeatureReference:
    """The record of one numeric feature, from its column."""
    present = status == PRESENT
    given = numbers[present] + 0.0
    missing, invalid = int((status == MISSING).sum()), int((status == INVALID).sum())
    if not len(given):
        return FeatureReference(name, Kind.NUMERIC, 0, missing, invalid)
    distinct, counts = np.unique(given, return_counts=True)
    mean, std = _mean_and_std(given)
    edges = cell_edges(distinct, counts, std)
    cells = edges.searchsorted(given, side="right")
    bare = FeatureReference(
        name,
        Kind.NUMERIC,
        len(given),
        missing,
        invalid,
        edges=edges.tolist(),
        counts=np.bincount(cells, minlength=len(edges) + 1).tolist(),
        mean=mean,
        std=std,
        distinct=len(distinct),
    )
    u = transform.Transform([bare]).ranks(given[:, None], cells[:, None])[0][:, 0]
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
    beyond all earlier ones.

    The test is Spearman's correlation of value and row. A trend that matters to people has more noise than COUNTER
    allows.
    """
    rows = np.arange(len(ranks), dtype=np.float64)
    return bool(ranks.std() > 0 and abs(np.corrcoef(ranks, rows)[0, 1]) >= COUNTER)


def derived_references(
    name: str, column: Sequence[Any] | np.ndarray, kind: Kind, timestamps_ms: Integers | None = None
) -> list[FeatureReference]:
    """The records of the features derived from a column of a kind, in the order of ``derived_names``."""
    made = rules.derived(name, column, kind)
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
    span_ms = None if times is None or not len(times) else int(times.max() - times.min())
    local = max(dependence.local_factor(dependence.local_ratios(c), len(c), span_ms) for c in channels)
    bare = _replace(bare, tau=tau, tau_presence=shown, tau_local=round(local, 4), strata=strata)
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


def cell_edges(distinct: Floats, counts: Integers, spread: float) -> Floats:
    """Ascending edges for values ``distinct`` that came ``counts`` times: the grid's quantiles, both sides of atoms,
    the ends.

    An edge lies beside a value and not on it, so that a number that differs by rounding stays in the value's cell; see
    ``values.ranges``. ``spread``: the standard deviation of the column.
    """
    group = values.same_groups(distinct, spread)
    first = np.flatnonzero(np.diff(group, prepend=-1))
    low, high = values.ranges(distinct, spread)
    last = np.append(first[1:], len(distinct)) - 1
    low, high, counts = low[first], high[last], np.add.reduceat(counts, first)
    total = int(counts.sum())
    at = np.searchsorted(np.cumsum(counts), np.ceil(np.asarray(transform.GRID) * total))
    atoms = np.flatnonzero(counts >= max(ATOM_SHARE * total, 2))
    if len(atoms) > MAX_ATOMS:
        atoms = np.sort(np.argsort(-counts, kind="stable")[:MAX_ATOMS])
    fences = np.concatenate((low[np.minimum(at, len(low) - 1)], low[atoms], low[:1]))
    return np.unique(np.concatenate((fences, high[atoms], high[-1:])) + 0.0)


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

    ``overflow``: values whose category found no room in the tally, which keeps the first categories that occur. The
    share outside the list is then between these values' share and the share once the tally was full.
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
