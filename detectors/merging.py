"""Adds up the newest profiles of a unit's shards, and takes differences between what was seen at two looks."""

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from detectors.columns import Integers
from detectors.features import Kind, UnitKey
from detectors.profiles import Epoch, FeatureProfile, Profile
from detectors.references import FeatureReference


class Base(msgspec.Struct, frozen=True):
    """What of a shard's epoch has been judged already: cell counts, status counts, events."""

    cells: dict[str, bytes] = {}
    status: dict[str, tuple[int, int, int]] = {}  # present, missing, invalid
    epoch_events: int = 0


class Shard(msgspec.Struct, frozen=True):
    """The newest profile of a shard and what of it is judged. ``skipped`` events of the epoch are in no evidence."""

    profile: Profile
    judged: Base


def take(known: Shard | None, profile: Profile) -> Shard | None:
    """The shard after ``profile``; None when it says nothing new.

    An older or equal offset is ignored. A new epoch is taken in full when it began at or after what was last merged;
    otherwise its first record is the base, so that no event is judged twice.
    """
    if known is None:
        return Shard(profile, Base())
    newest = known.profile
    if profile.next_offset < newest.next_offset:
        return None
    if profile.epoch == newest.epoch:
        return Shard(profile, known.judged) if profile.next_offset > newest.next_offset else None
    if profile.epoch.first_offset < newest.epoch.first_offset:
        return None
    overlapping = profile.epoch.first_offset < newest.next_offset
    return Shard(profile, base_of(profile) if overlapping else Base())


def base_of(profile: Profile) -> Base:
    """Everything in ``profile`` counts as judged."""
    return Base(
        {f.feature: f.cells for f in profile.features},
        {f.feature: (f.count, f.missing, f.invalid) for f in profile.features},
        profile.epoch_events,
    )


def cells_of(data: bytes, length: int) -> Integers:
    """Counts from a profile's bytes; zeros where there are none or of another length."""
    if len(data) != 8 * length:
        return np.zeros(length, np.int64)
    return np.frombuffer(data, np.int64)


def cell_count(feature: FeatureReference) -> int:
    """How many cells a feature of the reference has."""
    return len(feature.edges) + 1 if feature.kind is Kind.NUMERIC else len(feature.categories) + 2


class Difference(msgspec.Struct):
    """What arrived since the last look, per feature of a reference, over all shards."""

    events: int
    cells: list[Integers]
    statuses: list[tuple[int, int, int]]


def difference(shards: Iterable[Shard], features: Sequence[FeatureReference]) -> Difference:
    """Newest minus judged, added over ``shards``, all of the reference's epoch.

    A feature that a shard does not know was missing from each of its events.
    """
    events = 0
    cells: list[Integers] = [np.zeros(cell_count(f), np.int64) for f in features]
    statuses = np.zeros((len(features), 3), np.int64)
    for shard in shards:
        arrived = shard.profile.epoch_events - shard.judged.epoch_events
        if not arrived:
            continue
        events += arrived
        by_name = {f.feature: f for f in shard.profile.features}
        for i, feature in enumerate(features):
            seen = by_name.get(feature.feature)
            before = shard.judged.status.get(feature.feature, (0, shard.judged.epoch_events, 0))
            if seen is None or seen.kind is not feature.kind:
                statuses[i] += (0, arrived, 0)
                continue
            cells[i] += cells_of(seen.cells, len(cells[i]))
            judged = shard.judged.cells.get(feature.feature)
            if judged:
                cells[i] -= cells_of(judged, len(cells[i]))
            statuses[i] += (seen.count - before[0], seen.missing - before[1], seen.invalid - before[2])
    return Difference(events, cells, [(p, m, i) for p, m, i in statuses.tolist()])


class Total(msgspec.Struct):
    """One feature over all shards of an epoch."""

    feature: str
    kind: Kind
    count: int
    missing: int
    invalid: int
    unexpected: int
    cells: Integers | None
    sum1: int | None
    sum2: int | None
    mean: float | None
    m2: float | None
    minimum: float | None
    maximum: float | None


def totals(profiles: Sequence[Profile]) -> list[Total]:
    """Features of all ``profiles`` added up, sorted by name; ``count + missing + invalid`` = their epoch events."""
    parts: dict[str, list[FeatureProfile]] = {}
    for profile in sorted(profiles, key=lambda p: p.shard):
        for feature in profile.features:
            parts.setdefault(feature.feature, []).append(feature)
    events = sum(p.epoch_events for p in profiles)
    return [_total(name, found, events) for name, found in sorted(parts.items())]


def _total(name: str, parts: list[FeatureProfile], events: int) -> Total:
    kind = parts[0].kind
    parts = [part for part in parts if part.kind is kind]
    count, invalid = sum(p.count for p in parts), sum(p.invalid for p in parts)
    length = max(len(p.cells) for p in parts) // 8
    cells = sum((cells_of(p.cells, length) for p in parts), np.zeros(length, np.int64)) if length else None
    exact = all(p.sum1 is not None and p.sum2 is not None for p in parts)
    mean, m2 = (None, None) if exact else _pooled(parts)
    lows = [p.minimum for p in parts if p.minimum is not None]
    highs = [p.maximum for p in parts if p.maximum is not None]
    unexpected = 0
    if cells is not None:
        unexpected = int(cells[0] + cells[-1]) if kind is Kind.NUMERIC else int(cells[-1])
    return Total(
        name,
        kind,
        count,
        events - count - invalid,
        invalid,
        unexpected,
        cells,
        sum(p.sum1 or 0 for p in parts) if exact else None,
        sum(p.sum2 or 0 for p in parts) if exact else None,
        mean,
        m2,
        min(lows, default=None),
        max(highs, default=None),
    )


def _pooled(parts: Sequence[FeatureProfile]) -> tuple[float | None, float | None]:
    """Chan, Golub and LeVeque (1979): means and sums of squares of separate samples put together."""
    count, mean, m2 = 0, 0.0, 0.0
    for part in parts:
        if part.mean is None or not part.count:
            continue
        gap = part.mean - mean
        m2 += (part.m2 or 0.0) + gap * gap * count * part.count / (count + part.count)
        count += part.count
        mean += gap * part.count / count
    return (mean, m2) if count else (None, None)


class Merged(msgspec.Struct, frozen=True):
    """A unit over all its shards."""

    unit: UnitKey
    epoch: Epoch
    events: int
    epoch_events: int
    features: list[Total]


def merge_profiles(profiles: Sequence[Profile]) -> Merged:
    """The merged profile of ``profiles``, one a shard and all of one reference; independent of how rows were dealt."""
    first = profiles[0]
    assert len({(p.unit, p.epoch.reference) for p in profiles}) == 1, "profiles of one unit and reference"
    return Merged(
        first.unit,
        first.epoch,
        sum(p.events for p in profiles),
        sum(p.epoch_events for p in profiles),
        totals(profiles),
    )
