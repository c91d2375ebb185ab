"""The reference of the counts that shards made while learning: from sketches and tallies instead of rows."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from detectors.errors import ReferenceError
from detectors.features import Kind
from detectors.profiles import FeatureProfile, Profile
from detectors.reference import builder, reference
from detectors.reference.builder import COUNTER_STEPS, MANY_VALUES
from detectors.reference.dependence import local_factor
from detectors.reference.reference import FeatureReference, Reference
from detectors.sketches.categories import estimate_distinct
from detectors.sketches.quantiles import QuantileSketch, merged

MOVED_ROWS = 50
"""A feature that was learned from fewer independent rows than this did not stay at one level meanwhile."""


def reference_from_profiles(
    model: str,
    version: str,
    profiles: Sequence[Profile],
    *,
    segment: str | None = None,
    source: Mapping[str, Any] | None = None,
) -> Reference:
    """The reference of all that ``profiles`` (the learning shards' newest) have counted.

    Cells come from merged sketches; ``rank_error`` gives their error. Features that drifted meanwhile are recognised by
    their dependence and named in ``source["moved"]``; the same dependence keeps their evidence small. Raises
    ReferenceError when no event was counted.
    """
    rows = sum(profile.epoch_events for profile in profiles)
    if not rows:
        raise ReferenceError(f"reference of {model}/{version}: the shards have counted no event yet")
    by_name: dict[str, list[tuple[FeatureProfile, int | None]]] = {}
    for profile in sorted(profiles, key=lambda p: p.shard):
        for feature in profile.features:
            by_name.setdefault(feature.feature, []).append((feature, _span_ms(profile)))
    environment: Counter[str] = Counter()
    for profile in profiles:
        environment.update(profile.environments)
    features = [_learned(name, parts, rows) for name, parts in sorted(by_name.items())]
    moved = [f.feature for f in features if f.tau > 2 and f.rows < MOVED_ROWS * f.tau]
    firsts = [p.first_timestamp_ms for p in profiles if p.first_timestamp_ms is not None]
    lasts = [p.last_timestamp_ms for p in profiles if p.last_timestamp_ms is not None]
    return Reference(
        schema=reference.SCHEMA,
        model=model,
        version=version,
        rows=rows,
        features=features,
        environment=_most_common_environment(environment),
        source={"kind": reference.LEARNED, **({"moved": moved} if moved else {}), **(source or {})},
        segment=segment,
        first_timestamp_ms=min(firsts, default=None),
        last_timestamp_ms=max(lasts, default=None),
    )


def _most_common_environment(environments: Counter[str]) -> dict[str, str]:
    if not environments:
        return {}
    text = min(environments.items(), key=lambda item: (-item[1], item[0]))[0]
    return {str(k): str(v) for k, v in json.loads(text).items()}


def _span_ms(profile: Profile) -> int | None:
    first, last = profile.first_timestamp_ms, profile.last_timestamp_ms
    return None if first is None or last is None else last - first


def _learned(name: str, found: Sequence[tuple[FeatureProfile, int | None]], rows: int) -> FeatureReference:
    kind = found[0][0].kind
    found = [part for part in found if part[0].kind is kind]
    parts = [part for part, _ in found]
    invalid = sum(part.invalid for part in parts)
    present = sum(part.count for part in parts)
    missing = rows - present - invalid  # of a shard without the feature, all events
    # Each of n shards sees one event in n, so its dependence reaches n times as far in the whole stream.
    tau = 1 + (max(part.tau for part in parts) - 1) * len(parts)
    locals_ = [local_factor(part.local, part.count, span_ms) for part, span_ms in found if part.count]
    local = 1 + (max(locals_) - 1) * len(parts) if locals_ and min(locals_) > 0.0 else 0.0
    if kind is not Kind.NUMERIC:
        tally: Counter[str] = Counter()
        for part in parts:
            tally.update(part.categories)
        overflow = sum(part.category_overflow for part in parts)
        bare = builder.category_counts(name, kind, tally, missing, invalid, overflow)
        distinct = round(estimate_distinct([part.distinct for part in parts])) if overflow else bare.distinct
        return msgspec.structs.replace(bare, distinct=distinct, tau=tau, tau_local=local)
    sketch = merged(QuantileSketch.from_bytes(part.sketch) for part in parts)
    if not sketch.count:
        return FeatureReference(name, kind, 0, missing, invalid)
    low, high, counts = sketch.buckets()
    middle = low / 2 + high / 2
    weights = counts / counts.sum()
    mean = float((weights * middle).sum())
    std = float(np.sqrt((weights * (middle - mean) ** 2).sum()))
    edges = builder.bucket_edges(low, high, counts) if sketch.shift else builder.cell_edges(middle, counts, std)
    rises, falls = sum(part.rises for part in parts), sum(part.falls for part in parts)
    counts_on = len(low) > MANY_VALUES and COUNTER_STEPS * min(rises, falls) <= max(rises, falls)
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
        std=std,
        rank_error=sketch.rank_error,
        distinct=len(low),
        identifier=counts_on,
        tau=1.0 if counts_on else tau,
        tau_local=0.0 if counts_on else local,
    )
