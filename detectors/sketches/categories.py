"""Exact category counts up to a limit, and a HyperLogLog sketch of the distinct categories.

Counts are plain dicts: the first categories are kept until the limit, and values of others are counted as overflow. The
HyperLogLog's registers depend only on the set of categories, so merging is exact. The composite estimate does not
depend on the order of arrival either.
"""

from collections.abc import Iterable, Mapping

import datasketches

LG_K = 10
"""2^10 registers: 1 KiB, a standard error of 3.3 %."""


def add_counts(into: dict[str, int], counts: Mapping[str, int], limit: int) -> int:
    """Adds ``counts`` to ``into`` while it has fewer than ``limit`` keys; returns the number of values without room."""
    overflow = 0
    for category, count in counts.items():
        if category in into:
            into[category] += count
        elif len(into) < limit:
            into[category] = count
        else:
            overflow += count
    return overflow


class DistinctSketch:
    """The number of different categories, within 3.3 % (exact below about a hundred).

    >>> sketch = DistinctSketch()
    >>> sketch.update_many(["a", "b", "a"])
    >>> round(sketch.estimate())
    2
    """

    __slots__ = ("_sketch",)

    def __init__(self, data: bytes = b"") -> None:
        if data:
            self._sketch = datasketches.hll_sketch.deserialize(data)
        else:
            self._sketch = datasketches.hll_sketch(LG_K, datasketches.tgt_hll_type.HLL_8)

    def update_many(self, categories: Iterable[str]) -> None:
        """Adds categories. Cost: about 100 ns each, so pass only the distinct ones of a batch."""
        for category in categories:
            self._sketch.update(category)

    def estimate(self) -> float:
        """The composite estimate."""
        return float(merge_distinct([self._sketch]).get_estimate())

    def to_bytes(self) -> bytes:
        """The compact form of the HLL sketch; empty when it saw nothing."""
        return b"" if self._sketch.is_empty() else bytes(self._sketch.serialize_compact())


def merge_distinct(sketches: Iterable["datasketches.hll_sketch"]) -> "datasketches.hll_sketch":
    """The union of sketches of the datasketches library."""
    union = datasketches.hll_union(LG_K)
    for sketch in sketches:
        union.update(sketch)
    return union.get_result(datasketches.tgt_hll_type.HLL_8)


def estimate_distinct(serialised: Iterable[bytes]) -> float:
    """The number of distinct categories over shards, from the bytes of ``to_bytes``."""
    return float(
        merge_distinct(datasketches.hll_sketch.deserialize(data) for data in serialised if data).get_estimate()
    )
