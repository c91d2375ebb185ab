"""The accepted present as a new reference: what was counted since an incident was found, in the old reference's cells.

A profile under a reference has exact counts of its cells and a sketch of the values beyond its range, over the whole
epoch. The difference of two tallies of the same epochs is what came between them, and becomes a reference.
"""

import json
from collections import Counter
from collections.abc import Container, Mapping, Sequence

import msgspec
import numpy as np

from detectors.columns import Floats, Integers
from detectors.features import Kind
from detectors.merging import cells_of
from detectors.profiles import Epoch, FeatureProfile, Profile
from detectors.reference import builder, seasons
from detectors.reference import reference as references
from detectors.reference.reference import FeatureReference, Reference, Stratum
from detectors.reference.transform import centre_and_scale
from detectors.sketches.moments import mean_and_std
from detectors.sketches.quantiles import QuantileSketch, merged

ERROR_Z = 3.0
"""Standard errors of the accepted rows' ranks that are added as a margin, where their hours represent other hours."""

MOMENTS = 2_016
"""Times at which a span is sampled: at least five minutes of a week apart."""


class FeatureTally(msgspec.Struct, frozen=True, omit_defaults=True):
    """The counts of one feature over all shards. Its members are those of a FeatureProfile."""

    feature: str
    kind: Kind
    count: int
    invalid: int
    cells: bytes = b""
    sum1: int = 0
    sum2: int = 0
    sketch: bytes = b""
    categories: dict[str, int] = {}
    overflow: int = 0


class Tally(msgspec.Struct, frozen=True):
    """A unit's counts under one reference at one time. About 5 KB a feature, for any number of shards."""

    events: int
    clock_ms: int | None
    epochs: dict[str, Epoch]
    features: dict[str, FeatureTally]
    environments: dict[str, int]


def tally(profiles: Sequence[Profile], clock_ms: int | None) -> Tally:
    """The counts of ``profiles``, the newest of one reference's shards."""
    parts: dict[str, list[FeatureProfile]] = {}
    environments: Counter[str] = Counter()
    for profile in sorted(profiles, key=lambda p: p.shard):
        environments.update(profile.environments)
        for feature in profile.features:
            parts.setdefault(feature.feature, []).append(feature)
    return Tally(
        sum(profile.epoch_events for profile in profiles),
        clock_ms,
        {profile.shard: profile.epoch for profile in profiles},
        {name: _tally(name, found) for name, found in sorted(parts.items())},
        dict(environments),
    )


def _tally(name: str, parts: Sequence[FeatureProfile]) -> FeatureTally:
    kind = parts[0].kind
    parts = [part for part in parts if part.kind is kind]
    length = max(len(part.cells) for part in parts) // 8
    categories: Counter[str] = Counter()
    for part in parts:
        categories.update(part.categories)
    return FeatureTally(
        name,
        kind,
        sum(part.count for part in parts),
        sum(part.invalid for part in parts),
        sum((cells_of(part.cells, length) for part in parts), np.zeros(length, np.int64)).tobytes(),
        sum(part.sum1 or 0 for part in parts),
        sum(part.sum2 or 0 for part in parts),
        merged(QuantileSketch.from_bytes(part.sketch) for part in parts).to_bytes(),
        dict(categories),
        sum(part.category_overflow for part in parts),
    )


def comparable(before: Tally, now: Tally) -> bool:
    """Whether every shard of ``before`` is still in the same epoch, so that differences are meaningful."""
    return all(now.epochs.get(shard) == epoch for shard, epoch in before.epochs.items())


def present_reference(
    reference: Reference,
    before: Tally,
    now: Tally,
    *,
    segment: str | None,
    source: Mapping[str, str],
    only: Container[str] | None = None,
    dependence: Mapping[str, float] | None = None,
) -> Reference:
    """The reference of what came between two comparable tallies under ``reference``; of the features in ``only``, if
    given.

    Dependence and season are those of the old reference, since the time between is too short to estimate them (see
    ``_dependence``); ``dependence``: local factors that the stream has shown, where they are larger.
    Between the old edges nothing finer is known; beyond them the sketch is used. Cost: O(cells).
    """
    rows = now.events - before.events
    season = {"season": "as before"} if any(f.strata for f in reference.features) else {}
    span_ms = None if before.clock_ms is None or now.clock_ms is None else (before.clock_ms, now.clock_ms)
    learned = dependence or {}
    environments = Counter(now.environments)
    environments.subtract(before.environments)
    environment = reference.environment
    if found := sorted(((-n, text) for text, n in environments.items() if n > 0)):
        environment = {str(k): str(v) for k, v in json.loads(found[0][1]).items()}
    return Reference(
        schema=references.SCHEMA,
        model=reference.model,
        version=reference.version,
        rows=rows,
        features=[_dependence(f, _feature(f, before.features.get(f.feature), now.features.get(f.feature), rows),
                              span_ms, learned.get(f.feature, 0.0))
                  for f in reference.features if only is None or f.feature in only],
        environment=environment,
        source={"kind": references.ACCEPTED, "before": reference.digest, **season, **source},
        segment=segment,
        first_timestamp_ms=before.clock_ms,
        last_timestamp_ms=now.clock_ms,
    )  # fmt: skip


def _feature(
    old: FeatureReference, before: FeatureTally | None, now: FeatureTally | None, rows: int
) -> FeatureReference:
    if now is None or now.kind is not old.kind:
        return FeatureReference(old.feature, old.kind, 0, rows)
    if before is None or before.kind is not old.kind:
        before = FeatureTally(old.feature, old.kind, 0, 0)
    present, invalid = now.count - before.count, now.invalid - before.invalid
    missing = rows - present - invalid
    length = len(old.edges) + 1 if old.kind is Kind.NUMERIC else len(old.categories) + 2
    cells = cells_of(now.cells, length) - cells_of(before.cells, length)
    if old.kind is Kind.NUMERIC:
        return _numeric(old, cells, before, now, (present, missing, invalid))
    counts = Counter(dict(zip(old.categories, cells.tolist(), strict=False)))
    counts.update(now.categories)
    counts.subtract(before.categories)
    seen = {category: count for category, count in counts.items() if count > 0}
    overflow = now.overflow - before.overflow
    made = builder.category_counts(old.feature, old.kind, seen, missing, invalid, overflow)
    return msgspec.structs.replace(made, present=present, identifier=old.identifier or made.identifier)


def _numeric(
    old: FeatureReference, cells: Integers, before: FeatureTally, now: FeatureTally, status: tuple[int, int, int]
) -> FeatureReference:
    low, high, counts = _buckets(old, cells, before, now)
    if not len(counts):
        return FeatureReference(old.feature, old.kind, 0, status[1], status[2])
    edges = builder.bucket_edges(low, high, counts)
    heavy = np.sort(np.argsort(-counts, kind="stable")[: builder.MAX_ATOMS])
    heavy = heavy[counts[heavy] >= builder.ATOM_SHARE * counts.sum()]
    after = np.minimum(np.nextafter(high[heavy], np.inf), edges[-1])
    edges = np.unique(np.concatenate((edges, low[heavy], after)) + 0.0)
    places = edges.searchsorted(low, side="right")
    centre, scale = centre_and_scale(old)
    mean, std = mean_and_std(now.count - before.count, now.sum1 - before.sum1, now.sum2 - before.sum2, centre, scale)
    return FeatureReference(
        old.feature,
        old.kind,
        int(counts.sum()),
        status[1] + status[0] - int(counts.sum()),
        status[2],
        edges=edges.tolist(),
        counts=np.bincount(places, weights=counts, minlength=len(edges) + 1).astype(np.int64).tolist(),
        mean=mean,
        std=std,
        distinct=len(counts),
        identifier=old.identifier,
    )


def _dependence(
    old: FeatureReference, made: FeatureReference, span_ms: tuple[int, int] | None, learned: float
) -> FeatureReference:
    """``made`` with the dependence and the season of ``old``. ``learned``: the stream's local factor, 0 if not known.

    The hours of ``span_ms`` represent all hours, on the assumption that hours differ as before. A value with rank q
    among the accepted rows replaces the value with rank q among the old rows of those hours. The old value had rank
    C_s(q) in stratum s, and the new value gets the same rank there. ``rank_error`` is the error of C_s where q is wrong
    by three standard errors of the accepted rows.
    """
    strata: list[Stratum] = []
    error, rank = made.rank_error, _cumulative(old.counts or [*old.category_counts, old.other, 0])
    if old.strata and made.present:
        hours = np.array([_cumulative(stratum.counts) for stratum in old.strata])
        rank = _weights(old.strata, span_ms) @ hours
        moved, error = (_moved_cells if made.kind is Kind.NUMERIC else _moved_shares)(old, made, rank, hours)
        strata = [
            msgspec.structs.replace(
                before,
                counts=np.diff(np.rint(share * made.present), prepend=0.0).astype(np.int64).tolist(),
                spread=_at_ranks(old, made, rank, np.asarray(before.spread)) if before.spread else [],
            )
            for before, share in zip(old.strata, moved, strict=True)
        ]
    return msgspec.structs.replace(
        made,
        tau=old.tau,
        tau_within=old.tau_within,
        tau_presence=old.tau_presence,
        tau_local=max(old.tau_local, learned),
        reach=_at_ranks(old, made, rank, np.asarray(old.reach)) if old.reach else [],
        strata=strata,
        rank_error=round(float(error), 6),
    )


def _cumulative(counts: Sequence[int]) -> Floats:
    running = np.cumsum(np.asarray(counts, np.float64))
    return np.asarray(running / max(float(running[-1]), 1.0))


def _weights(strata: Sequence[Stratum], span_ms: tuple[int, int] | None) -> Floats:
    """The part of the span in which each stratum applied, or of all time if the span is unknown; shape (S,)."""
    first, last = span_ms or (0, 7 * seasons.DAY_MS)
    hour, weekday = seasons.hour_and_weekday(np.linspace(first, last, MOMENTS).astype(np.int64))
    found = [
        ((hour >= s.hour_from) & (hour < s.hour_to) & (np.isin(weekday, s.weekdays) if s.weekdays else True)).mean()
        for s in strata
    ]
    return np.asarray(found, np.float64)


def _moved_cells(old: FeatureReference, made: FeatureReference, rank: Floats, hours: Floats) -> tuple[Floats, float]:
    """The strata's cumulative shares at the new cells (S, C), and the largest error of one."""
    below, least = _cumulative(made.counts)[:-1], 0.5 / made.present
    off = ERROR_Z * np.sqrt(np.maximum(below * (1 - below), 2 * least) / made.present)
    low, at, high = (
        np.array([np.interp(np.clip(q, least, 1 - least), rank, hour) for hour in hours])
        for q in (below - off, below, below + off)
    )
    error = max(float((high - at).max()), float((at - low).max()))
    return np.concatenate((at, np.ones((len(hours), 1))), axis=1), error


def _moved_shares(old: FeatureReference, made: FeatureReference, rank: Floats, hours: Floats) -> tuple[Floats, float]:
    """The strata's cumulative shares of categories (S, C), and the largest error of one.

    Each category is more frequent in a stratum by the same factor as before; new ones are equally frequent in all.
    """
    index = {category: at for at, category in enumerate(old.categories)}
    usual = np.diff(rank, prepend=0.0)
    times = np.ones((len(hours), len(made.categories) + 2))
    for at, category in enumerate(made.categories):
        if category in index and usual[index[category]] > 0:
            times[:, at] = np.diff(hours, prepend=0.0)[:, index[category]] / usual[index[category]]
    share = np.array([*made.category_counts, made.other, 0], np.float64) / made.present
    found = times * share
    found /= np.maximum(found.sum(axis=1, keepdims=True), 1e-9)
    error = float((times * ERROR_Z * np.sqrt(share * (1 - share) / made.present)).max())
    return np.cumsum(found, axis=1), error


def _at_ranks(old: FeatureReference, made: FeatureReference, rank: Floats, values: Floats) -> list[float]:
    """``values``, one a cell of the old reference, at the same ``rank`` in the new one; of categories, by name."""
    if made.kind is not Kind.NUMERIC:
        known, most = dict(zip(old.categories, values.tolist(), strict=False)), float(values.max())
        return [round(v, 6) for v in [*(known.get(c, most) for c in made.categories), most, most]]
    at = np.clip(_cumulative(made.counts), seasons.OUTER, 1 - seasons.OUTER)
    return [round(v, 6) for v in np.interp(at, rank, values).tolist()]


def _buckets(
    old: FeatureReference, cells: Integers, before: FeatureTally, now: FeatureTally
) -> tuple[Floats, Floats, Integers]:
    """The lowest and highest value and the count of all buckets between the tallies, ascending, none empty."""
    outside = QuantileSketch.from_bytes(now.sketch)
    outside.subtract(QuantileSketch.from_bytes(before.sketch))
    low, high, counts = outside.buckets()
    edges = np.asarray(old.edges)
    if len(edges):  # a coarse bucket may reach into the range, but its values lie outside
        high = np.where(low < edges[0], np.minimum(high, np.nextafter(edges[0], -np.inf)), high)
        low = np.where(low < edges[0], low, np.maximum(low, edges[-1]))
    inner = cells[1:-1] if len(edges) > 1 else np.zeros(0, np.int64)
    low = np.concatenate((edges[:-1], low))
    high = np.concatenate((np.nextafter(edges[1:], -np.inf), high))
    counts = np.concatenate((inner, counts))
    order = np.argsort(low, kind="stable")
    kept = order[counts[order] > 0]
    return low[kept], high[kept], counts[kept]
