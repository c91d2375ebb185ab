"""How a shard's profiles follow each other, and the sum of the newest profiles of a unit's shards."""

from collections.abc import Sequence
from enum import StrEnum

import msgspec
import numpy as np

from detectors.columns import Integers
from detectors.features import Kind, UnitKey
from detectors.profiles import Epoch, FeatureProfile, Profile


class Step(StrEnum):
    """How a profile follows the newest one of its shard."""

    IGNORED = "ignored"  # contains nothing new
    NEXT = "next"  # more of the same epoch
    FULL = "full"  # a new epoch, all of it new
    BASE = "base"  # a new epoch that may overlap merged profiles: counting starts after its first record


Place = tuple[int, int, int]


def place(profile: Profile) -> Place:
    """How far a profile is in its log. Rows of one message share their offset, and a look may fall between them."""
    return profile.next_offset, profile.events, profile.late + profile.duplicate


def step(
    newest: Profile | None, profile: Profile, passed: Sequence[Epoch], reached: Place, wanted: str | None = None
) -> Step:
    """How ``profile`` follows the shard's ``newest``.

    ``passed``: epochs that the shard has left. ``reached``: the furthest place of all merged profiles. ``wanted``: the
    digest of the model's newest reference.

    A profile with an older or equal offset is ignored. So is one of an epoch that was left or that begins earlier: its
    worker does not know yet that it was replaced. Such an epoch counts again once it is further than everything merged:
    then the other worker has stopped. Of two epochs that are equally far, the one under the wanted reference stays,
    then the one that begins later: otherwise a replaced worker that ends where the owner ends could keep the unit under
    an old reference for ever. What another epoch has already contributed is not merged twice: until a record is as far
    as that, every next record is a base again.
    """
    if newest is None:
        return Step.FULL
    if profile.epoch == newest.epoch:
        if place(profile) <= place(newest):
            return Step.IGNORED
        return Step.NEXT if place(newest) >= reached else Step.BASE
    coming, standing = _standing(profile.epoch, wanted), _standing(newest.epoch, wanted)
    old = profile.epoch in passed or coming < standing
    if old and (place(profile), coming) <= (reached, standing):
        return Step.IGNORED
    return Step.FULL if profile.epoch.first_offset >= reached[0] else Step.BASE


def _standing(epoch: Epoch, wanted: str | None) -> tuple[bool, int]:
    """The sort key of two epochs that are equally far: first the wanted reference, then the later start."""
    return wanted is not None and epoch.reference == wanted, epoch.first_offset


def span(parts: Sequence[tuple[Profile | None, Profile]], clock_ms: int | None) -> tuple[int, int] | None:
    """The start and end of the time in which the new events of ``parts`` came, or None where no profile has a time.

    Each part is a shard's profile before and its profile now. ``clock_ms`` is the newest time before. Times beyond it
    came after it, in whichever shard. If all shards lag behind it, the span starts at their own last times.
    """
    until = max((p.last_timestamp_ms for _, p in parts if p.last_timestamp_ms is not None), default=None)
    if until is None:
        return None
    if clock_ms is not None and until > clock_ms:
        return clock_ms, until
    starts = (p.first_timestamp_ms if before is None else before.last_timestamp_ms for before, p in parts)
    return min((start for start in starts if start is not None), default=until), until


def cells_of(data: bytes, length: int) -> Integers:
    """The counts in a profile's bytes; zeros where the bytes are absent or have another length."""
    if len(data) != 8 * length:
        return np.zeros(length, np.int64)
    return np.frombuffer(data, np.int64)


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
    """The features of all ``profiles`` added up, sorted by name.

    ``count + missing + invalid`` of each is the sum of their epoch events.
    """
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
    """Means and sums of squares of separate samples, combined. Source: Chan, Golub and LeVeque (1979)."""
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
    """The merged profile of ``profiles``, one for each shard and all under one reference.

    It does not depend on how rows were distributed over shards.
    """
    first = profiles[0]
    assert len({(p.unit, p.epoch.reference) for p in profiles}) == 1, "profiles of one unit and reference"
    return Merged(
        first.unit,
        first.epoch,
        sum(p.events for p in profiles),
        sum(p.epoch_events for p in profiles),
        totals(profiles),
    )
