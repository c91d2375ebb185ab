"""Counts of categorical and boolean features in a shard: by category, exact up to a limit, and how many are distinct.

Results depend only on the order of events (the first categories are kept), not on how they are split over calls.
"""

import zlib
from collections import Counter
from collections.abc import Container, Sequence
from itertools import islice

import msgspec
import numpy as np

from detectors.columns import INVALID, Bytes8, Columns, Floats
from detectors.errors import CheckpointError
from detectors.features import Kind
from detectors.profiles import FeatureProfile
from detectors.reference.dependence import RunningDependence, RunningState
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
    dependence: RunningState | None = None


class CategoryCounts:
    """The counts of one feature. Categories in the reference's list have cells; all others are counted as unseen.

    Without a reference it also measures how much values depend on each other: of numbers that stand for the texts by
    chance.

    Texts that stand for a missing value are not counted, unless the reference lists them as categories. Without a
    reference only the empty text and pandas' own texts are missing values.

    :param limit: unlisted categories kept by name; further ones are counted together as overflow.
    :param length: characters of a category that are kept.
    """

    __slots__ = ("_absent", "_dependence", "_distinct", "_index", "_length", "_limit", "categories", "cells", "feature",
                 "invalid", "kind", "overflow", "present")  # fmt: skip

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
        self._dependence = RunningDependence() if reference is None else None

    def count(self, categories: Sequence[str | None], status: Bytes8 | None) -> dict[str, int]:
        """Folds in rows, but for the texts of unlisted categories, which ``admit`` must get afterwards.

        Returns these texts in the order of the log, with the number of values of each.
        """
        if status is not None:
            self.invalid += int(np.count_nonzero(status == INVALID))
        if self._dependence is not None:
            self._dependence.update(_numbers(categories, self._absent))
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
        return new

    def admitted(self, new: dict[str, int]) -> list[str]:
        """The texts of ``new`` that are not kept yet and for which there is room, in their order."""
        room = self._limit - len(self.categories)
        if room <= 0 or not new:
            return []
        return list(islice((text for text in new if text not in self.categories), room))

    def admit(self, new: dict[str, int], texts: Container[str] | None = None) -> int:
        """Counts values of unlisted categories; returns the number of those that found no room within the limit.

        ``texts``: the only new ones that may be kept; None: all.
        """
        if self.cells:
            self.cells[-1] += sum(new.values())
        left_out = 0
        if texts is not None:
            refused = [text for text in new if text not in self.categories and text not in texts]
            left_out = sum(new.pop(text) for text in refused)
        left_out += add_counts(self.categories, new, self._limit)
        self.overflow += left_out
        return left_out

    def first_row(self, text: str, categories: Sequence[str | None]) -> int:
        """The first of the rows that has the text."""
        length = self._length
        return next(row for row, own in enumerate(categories) if own is not None and own[:length] == text)

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
            tau=1.0 if self._dependence is None else self._dependence.factor,
            local=[] if self._dependence is None else self._dependence.local_ratios or [],
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
            None if self._dependence is None else self._dependence.snapshot(),
        )

    def restore(self, state: CategoryState) -> None:
        """Restores a snapshot made under the same reference; raises CheckpointError for one of another reference."""
        if len(state.cells) != 8 * len(self.cells):
            raise CheckpointError(f"the snapshot's categories of {self.feature!r} belong to another reference")
        self.present, self.invalid, self.overflow = state.present, state.invalid, state.overflow
        self.cells = np.frombuffer(state.cells, np.int64).tolist()
        if self._dependence is not None and state.dependence is not None:
            self._dependence = RunningDependence.from_state(state.dependence)
        self.categories = dict(state.categories)
        self._distinct = DistinctSketch(state.distinct)


class Categories(dict[str, CategoryCounts]):
    """The counts of all categorical features of a bank, by feature.

    ``most_bytes``: UTF-8 bytes of the texts of unlisted categories that all features keep together. From the first row
    on whose new texts go beyond it, no new text is kept (``full``): its values are counted as overflow, and in the
    number of distinct categories. So the result does not depend on how rows are split over calls, and a snapshot has a
    bounded size.
    """

    __slots__ = ("_bytes", "_most_bytes", "full")

    def __init__(self, most_bytes: int) -> None:
        super().__init__()
        self._bytes, self._most_bytes, self.full = 0, most_bytes, False

    def restored(self, full: bool) -> None:
        """Continues from the features, which are restored. ``full``: as of the snapshot."""
        self.full = full
        self._bytes = sum(_size(text) for counts in self.values() for text in counts.categories)

    def fold_in(self, columns: Columns) -> tuple[int, bool]:
        """Folds in rows: the number of values whose category found no room; and whether this made it ``full``."""
        was_full, found = self.full, list[tuple[CategoryCounts, int, dict[str, int]]]()
        for at, spec in enumerate(columns.categorical):
            counts = self.get(spec.feature)
            if counts is not None:
                status = None if columns.category_status is None else columns.category_status[:, at]
                found.append((counts, at, counts.count(columns.categories[at], status)))
        wanted = [([] if was_full else counts.admitted(new)) for counts, _, new in found]
        size = sum(_size(text) for texts in wanted for text in texts)
        if self._bytes + size > self._most_bytes:
            self.full = True
            wanted = self._until_full(found, wanted, columns)
            size = sum(_size(text) for texts in wanted for text in texts)
        self._bytes += size
        overflow = 0
        for (counts, _, new), texts in zip(found, wanted, strict=True):
            overflow += counts.admit(new, set(texts) if self.full else None)
        return overflow, self.full and not was_full

    def _until_full(
        self, found: Sequence[tuple[CategoryCounts, int, dict[str, int]]], wanted: list[list[str]], columns: Columns
    ) -> list[list[str]]:
        """Of the new texts of each feature, those of the rows before the first one that goes beyond ``most_bytes``."""
        rows = [
            [counts.first_row(text, columns.categories[at]) for text in texts]
            for (counts, at, _), texts in zip(found, wanted, strict=True)
        ]
        sizes = np.zeros(len(columns) + 1, np.int64)
        for firsts, texts in zip(rows, wanted, strict=True):
            for row, text in zip(firsts, texts, strict=True):
                sizes[row] += _size(text)
        end = int(np.searchsorted(np.cumsum(sizes), self._most_bytes - self._bytes, side="right"))
        return [
            [text for row, text in zip(firsts, texts, strict=True) if row < end]
            for firsts, texts in zip(rows, wanted, strict=True)
        ]


def _size(text: str) -> int:
    return len(text.encode(errors="replace"))


def _numbers(categories: Sequence[str | None], absent: Container[str]) -> Floats:
    """A number for each text, always the same one, without order: its CRC-32."""
    found = [zlib.crc32(text.encode()) for text in categories if text is not None and text not in absent]
    return np.array(found, np.float64)
