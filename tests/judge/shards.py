"""Shards in miniature: columns in, cumulative profiles out, without the observer."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from detectors import profiles
from detectors.features import Kind
from detectors.profiles import Epoch, FeatureProfile, Profile
from detectors.reference.reference import FeatureReference, Reference
from detectors.reference.transform import centre_and_scale
from detectors.sketches.moments import BLOCK, Moments
from detectors.sketches.quantiles import QuantileSketch
from detectors.values import as_categories, as_numbers


class MiniShard:
    """One shard, which counts columns under one reference."""

    def __init__(self, reference: Reference, partition: int = 0, first_offset: int = 0, events_before: int = 0) -> None:
        self.reference = reference
        self.digest: str | None = reference.digest
        self.partition = partition
        self.first_offset = first_offset
        self.events_before = events_before
        self.events = 0
        self.cells = [np.zeros(_cells(f), np.int64) for f in reference.features]
        self.status = [[0, 0, 0] for _ in reference.features]
        self.sums = [[0, 0] for _ in reference.features]
        self.outside = [QuantileSketch() for _ in reference.features]
        self.unseen: list[Counter[str]] = [Counter() for _ in reference.features]
        self.environments: dict[str, int] = {}
        self.last_ms: int | None = None

    def add(
        self, columns: Mapping[str, Sequence[Any]], at_ms: int, environment: Mapping[str, str] | None = None
    ) -> Profile:
        rows = len(next(iter(columns.values())))
        for i, feature in enumerate(self.reference.features):
            self._count(i, feature, columns.get(feature.feature, [None] * rows))
        self.events += rows
        if environment is not None:
            text = json.dumps(dict(environment), sort_keys=True)
            self.environments[text] = self.environments.get(text, 0) + rows
        self.last_ms = at_ms
        return self.profile()

    def _count(self, i: int, feature: FeatureReference, values: Sequence[Any]) -> None:
        if feature.kind is Kind.NUMERIC:
            numbers, status = as_numbers(values)
            present = numbers[status == 0]
            self.cells[i] += np.bincount(
                np.searchsorted(feature.edges, present, side="right"), minlength=len(self.cells[i])
            )
            beyond = (present < feature.edges[0]) | (present >= feature.edges[-1])
            self.outside[i].update_many(present[beyond])
            centre, scale = centre_and_scale(feature)
            made = Moments(np.array([centre]), np.array([scale]))
            for start in range(0, len(present), BLOCK):
                made.update(present[start : start + BLOCK, None])
            sum1, sum2 = made.sums()
            self.sums[i][0] += sum1[0]
            self.sums[i][1] += sum2[0]
        else:
            categories, status = as_categories(values, feature.kind)
            index = {category: j for j, category in enumerate(feature.categories)}
            self.unseen[i].update(category for category in categories if category is not None and category not in index)
            codes = [index.get(category, len(index) + 1) for category in categories if category is not None]
            self.cells[i] += np.bincount(np.array(codes, np.int64), minlength=len(self.cells[i]))
        for code in range(3):
            self.status[i][code] += int((status == code).sum())

    def profile(self) -> Profile:
        features = [
            FeatureProfile(
                f.feature,
                f.kind,
                self.status[i][0],
                self.status[i][1],
                self.status[i][2],
                cells=self.cells[i].tobytes(),
                sum1=self.sums[i][0] if f.kind is Kind.NUMERIC else None,
                sum2=self.sums[i][1] if f.kind is Kind.NUMERIC else None,
                sketch=self.outside[i].to_bytes(),
                categories=dict(self.unseen[i]),
            )
            for i, f in enumerate(self.reference.features)
        ]
        return Profile(
            profiles.SCHEMA,
            self.reference.model,
            self.reference.version,
            self.reference.segment,
            "inference-events",
            self.partition,
            Epoch(self.digest, "s", self.first_offset),
            self.first_offset + self.events,
            self.events_before + self.events,
            self.events,
            features,
            first_timestamp_ms=0,
            last_timestamp_ms=self.last_ms,
            environments=dict(self.environments),
        )


def _cells(feature: FeatureReference) -> int:
    return len(feature.edges) + 1 if feature.kind is Kind.NUMERIC else len(feature.categories) + 2
