"""The columnar batch that goes from the decoder to a unit's bank. No decoding and no statistics here."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from detectors.features import FeatureSpec, Kind, UnitKey

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Bytes8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]

PRESENT, MISSING, INVALID = 0, 1, 2
"""Codes of ``Columns.number_status`` and ``Columns.category_status``."""


@dataclass(slots=True)
class Columns:
    """Accepted events of ONE unit out of ONE partition, in log order, as columns.

    ``numbers[i, j]`` is event i of feature ``numeric[j]``; it is finite where ``number_status`` is PRESENT and 0.0
    elsewhere. ``number_status`` None means every number is present (the common case costs nothing).
    ``categories[j][i]`` is event i of the categorical or boolean feature ``categorical[j]``: the category's text, or
    None where ``category_status[i, j]`` is not PRESENT. ``next_offsets[i]`` is the offset to read after event i (events
    expanded from one message share it). Shapes: n events, F numeric and C categorical features.
    """

    unit: UnitKey
    next_offsets: Integers  # (n,)
    timestamps_ms: Integers  # (n,)
    numeric: tuple[str, ...]  # F names
    numbers: Floats  # (n, F), C order
    number_status: Bytes8 | None = None  # (n, F)
    categorical: tuple[FeatureSpec, ...] = ()  # C specs, CATEGORICAL or BOOLEAN
    categories: list[list[str | None]] = field(default_factory=list)  # C lists of n
    category_status: Bytes8 | None = None  # (n, C)
    environments: dict[str, int] = field(default_factory=dict)  # canonical JSON of the fingerprint -> events with it

    def __len__(self) -> int:
        return len(self.next_offsets)

    def specs(self) -> list[FeatureSpec]:
        """The specs of all features in this batch, numeric first."""
        return [FeatureSpec(name, Kind.NUMERIC) for name in self.numeric] + list(self.categorical)
