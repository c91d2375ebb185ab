"""The places for units in one partition: how many there are, who gave one back, and who was refused one. No I/O."""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from detectors.features import UnitKey
from stream.formats.shapes import Part
from stream.observe.unit import Unit

HOUR_MS = 3_600_000

MOST_REFUSED = 20
"""Refused units of a partition that are named."""

KEPT_FACTOR = 4
"""Units that gave their place back are kept, so that their numbers of events go on when they return: together with the
others at most four times ``UnitLimits.units``."""


class UnitLimits(NamedTuple):
    """How many units one partition may have. They are counted per partition, so that no other partition matters. A unit
    without events for ``silent_ms`` of the partition's clock does not count."""

    units: int
    models: int
    versions: int  # of one model
    segments: int  # of one model
    silent_ms: int


class Refusal(NamedTuple):
    """A unit that was refused a place: the limit, and how many of its events were ignored."""

    limit: str
    rows: int


class Places:
    """``forgotten``: the time of the newest request to forget each unit. ``refused``: the first MOST_REFUSED units that
    were refused and have no place yet."""

    __slots__ = ("_forgotten", "_limits", "_silent", "refused")

    def __init__(self, limits: UnitLimits, forgotten: Mapping[UnitKey, int]) -> None:
        self._limits, self._forgotten = limits, forgotten
        self.refused: dict[UnitKey, Refusal] = {}
        self._silent: tuple[int, list[UnitKey]] = (-1, [])

    def exceeded(
        self, key: UnitKey, units: Mapping[UnitKey, Unit], clock_ms: int, coming: Iterable[Part]
    ) -> str | None:
        """The name of the limit that a new unit would exceed; None when there is room for it.

        ``clock_ms``: the partition's clock at the first row of the new unit. ``coming``: rows before that which are not
        handed over yet.
        """
        limit = self._exceeded(key, units)
        if limit is None or len(units) >= KEPT_FACTOR * self._limits.units:
            return limit
        left = self.left(units, clock_ms, coming)
        return self._exceeded(key, [unit for unit in units if unit not in left]) if left else limit

    def left(self, units: Mapping[UnitKey, Unit], clock_ms: int, coming: Iterable[Part]) -> set[UnitKey]:
        """The units that gave their place back: forgotten ones, and those that were silent at the last full hour of the
        clock. Cost: some 0.3 us a unit once an hour, and for each that has left or was forgotten."""
        hour = clock_ms // HOUR_MS
        if self._silent[0] != hour:
            self._silent = hour, [key for key, unit in units.items() if self._has_left(unit, hour * HOUR_MS)]
        known = [key for key in (*self._silent[1], *self._forgotten) if key in units]
        found = {key for key in known if self._has_left(units[key], hour * HOUR_MS)}
        return found.difference(part.unit for part in coming) if found else found

    def _has_left(self, unit: Unit, clock_ms: int) -> bool:
        last_ms = unit.bank.last_timestamp_ms
        if last_ms is None or unit.waiting.rows:
            return False
        return clock_ms - last_ms > self._limits.silent_ms or last_ms <= self._forgotten.get(unit.key, -1)

    def _exceeded(self, key: UnitKey, units: Collection[UnitKey]) -> str | None:
        if len(units) >= self._limits.units:
            return "units"
        own = [unit for unit in units if unit.model == key.model]
        if not own and len({unit.model for unit in units}) >= self._limits.models:
            return "models"
        versions = {unit.version for unit in own}
        if key.version not in versions and len(versions) >= self._limits.versions:
            return "versions"
        segments = {unit.segment for unit in own if unit.segment is not None}
        if key.segment is not None and key.segment not in segments and len(segments) >= self._limits.segments:
            return "segments"
        return None

    def refuse(self, key: UnitKey, limit: str, rows: int) -> bool:
        """Notes events of a unit for which there is no room. Returns whether it is named for the first time."""
        known = self.refused.get(key)
        if known is None and len(self.refused) >= MOST_REFUSED:
            return False
        self.refused[key] = Refusal(limit, rows + (known.rows if known is not None else 0))
        return known is None

    def admit(self, key: UnitKey) -> None:
        """Notes that a unit has a place."""
        self.refused.pop(key, None)
