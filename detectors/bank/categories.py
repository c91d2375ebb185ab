"""Counts of categorical and boolean features in a shard: by category, exact up to a limit, and how many are distinct.

Results depend only on the order of events (the first categories are kept), not on how they are split over calls.
"""

from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np

from detectors.columns import INVALID, Bytes8
from detectors.errors import CheckpointError
from detectors.features import Kind
from detectors.profiles import FeatureProfile
from detectors.reference.reference import FeatureReference
from detectors.sketches.categories import DistinctSketch, add_counts
from detectors.values import EMPTY_TEXTS, MISSING_CATEGORY


class CategoryState(msgspec.Struct, frozen=True):
    """The snapshot of a ``CategoryCounts``."""

    present: int
    invalid: int
    cells: bytes
    categories: dict[str, int]
    overflow: int
    distinct: bytes


class CategoryCounts:
    """The counts of one feature. Categories in the reference's list have cells; all others are counted as unseen.

    Texts that stand for a missing value are not counted, unless the reference lists them as categories. Without a
    reference only the empty text and pandas' own texts are missing values.

    :param limit: unlisted categories kept by name; further ones are counted together as overflow.
    :param length: characters of a category that are kept.
    """

    __slots__ = ("_absent", "_distinct", "_index", "_length", "_limit", "categories", "cells", "feature", "invalid",
                 "kind", "overflow", "present")  # fmt: skip

    def __init__(self, feature: str, kind: Kind, reference: FeatureReference | None, limit: int, length: int) -> None:
        self.feature, self.kind = feature, kind
        self._limit, self._length = limit, length
        listed = [] if reference is None else reference.categories
        self._index = {category: at for at, category in enumerate(listed)}
        self._absent = (EMPTY_TEXTS if reference is None else MISSING_CATEGORY) - self._index.keys()
        self.cells = [0] * (0 if reference is None else len(listed) + 2)
        self.present = self.invalid = self.overflow = 0
        self.categories: dict[str, int] = {}
        self._distinct = DistinctSketch()

    def update(self, categories: Sequence[str | None], status: Bytes8 | None) -> int:
        """Folds in rows; returns the number of values that found no room within the limit."""
        if status is not None:
            self.invalid += int(np.count_nonzero(status == INVALID))
        counts: dict[str | None, int] = Counter(categories)
        counts.pop(None, None)
        for text in self._absent & counts.keys():
            del counts[text]
        new: dict[str, int] = {}
        for category, count in counts.items():
            assert category is not None
            self.present += count
            at = self._index.get(category)
            if at is not None:
                if not self.cells[at]:
                    self._distinct.update_many((category,))
                self.cells[at] += count
            else:
                category = category[: self._length]
                if category not in self.categories:
                    self._distinct.update_many((category,))  # in this loop: the sketch's bytes depend on the order
                new[category] = new.get(category, 0) + count
        return self._unlisted(new) if new else 0

    def _unlisted(self, new: dict[str, int]) -> int:
        if self.cells:
            self.cells[-1] += sum(new.values())
        found_no_room = add_counts(self.categories, new, self._limit)
        self.overflow += found_no_room
        return found_no_room

    def profile(self) -> FeatureProfile:
        """The feature's profile. The bank fills in ``missing``."""
        return FeatureProfile(
            feature=self.feature,
            kind=self.kind,
            count=self.present,
            invalid=self.invalid,
            cells=np.array(self.cells, np.int64).tobytes(),
            categories=dict(self.categories),
            category_overflow=self.overflow,
            distinct=self._distinct.to_bytes(),
        )

    def snapshot(self) -> CategoryState:
        """The whole state of the counts."""
        return CategoryState(
            self.present,
            self.invalid,
            np.array(self.cells, np.int64).tobytes(),
            dict(self.categories),
            self.overflow,
            self._distinct.to_bytes(),
        )

    def restore(self, state: CategoryState) -> None:
        """Restores a snapshot made under the same reference; raises CheckpointError for one of another reference."""
        if len(state.cells) != 8 * len(self.cells):
            raise CheckpointError(f"the snapshot's categories of {self.feature!r} belong to another reference")
        self.present, self.invalid, self.overflow = state.present, state.invalid, state.overflow
        self.cells = np.frombuffer(state.cells, np.int64).tolist()
        self.categories = dict(state.categories)
        self._distinct = DistinctSketch(state.distinct)
