"""The newest view of every model and incident, as the judges published them: plain JSON values in memory.

Every worker with the judge's role reads the compacted topics of views and incidents without a group, so that each can
show all models. There is no Kafka here: the reader calls ``apply_view`` and ``apply_incident``.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from enum import Enum
from typing import Any

import orjson

from detectors.features import UnitKey
from detectors.incidents.states import SHOWN

Json = dict[str, Any]

SUMMARY_LEAVES_OUT = ("features",)
"""Members of a model's detail that the list of models leaves out."""

_RANKS = {state.value: rank for rank, state in enumerate(SHOWN)}


class AnySegment(Enum):
    """Any segment, as opposed to None, which is the whole population."""

    ANY = "any"


class Views:
    """The newest view of each unit, and the newest record of each incident.

    ``max_units`` and ``max_incidents`` bound the memory; a unit of 20 features takes about 60 KB. A unit beyond the
    limit is refused and counted in ``refused``. Of the incidents the oldest resolved one is removed first.
    ``generation`` grows with every change.
    """

    def __init__(self, max_units: int = 10_000, max_incidents: int = 10_000) -> None:
        self._units: dict[UnitKey, Json] = {}
        self._unit_of_key: dict[bytes, UnitKey] = {}
        self._incidents: dict[str, Json] = {}
        self._max_units = max_units
        self._max_incidents = max_incidents
        self._changed = asyncio.Event()
        self.generation = 0
        self.refused = 0

    def apply_view(self, key: bytes, value: bytes | None) -> None:
        """Applies a record of the views topic; None removes the unit. A record that is no view counts as refused."""
        if value is None:
            unit = self._unit_of_key.pop(key, None)
            if unit is not None and self._units.pop(unit, None) is not None:
                self._note_change()
            return
        detail = _object(value)
        unit = None if detail is None else _unit(detail)
        if detail is None or unit is None:
            self.refused += 1
            return
        if unit not in self._units and len(self._units) >= self._max_units:
            self.refused += 1
            return
        self._units[unit] = detail
        self._unit_of_key[key] = unit
        self._note_change()

    def apply_incident(self, key: bytes, value: bytes | None) -> None:
        """Applies a record of the incidents topic; None removes the incident."""
        if value is None:
            if self._incidents.pop(key.decode(errors="replace"), None) is not None:
                self._note_change()
            return
        incident = _object(value)
        if incident is None or not isinstance(incident.get("id"), str):
            self.refused += 1
            return
        self._incidents[incident["id"]] = incident
        while len(self._incidents) > self._max_incidents:
            del self._incidents[self._least_wanted()]
        self._note_change()

    def models(self) -> list[Json]:
        """The summary of every unit, by model, version and segment."""
        return [
            {name: value for name, value in detail.items() if name not in SUMMARY_LEAVES_OUT}
            for _, detail in sorted(self._units.items(), key=lambda item: _order(item[0]))
        ]

    def details(self) -> Iterable[tuple[UnitKey, Json]]:
        """Every unit and its detail, in no particular order."""
        return list(self._units.items())

    def detail(self, model: str, version: str, segment: str | None = None) -> Json | None:
        """The detail of a unit. If only segments are judged, ``segment`` None returns the one in the worst state."""
        exact = self._units.get(UnitKey(model, version, segment))
        if exact is not None or segment is not None:
            return exact
        candidates = [self._units[UnitKey(model, version, name)] for name in self.segments(model, version)]
        return min(candidates, key=_badness, default=None)

    def segments(self, model: str, version: str) -> list[str | None]:
        """The segments that are judged; None is the whole population."""
        units = [unit for unit in self._units if unit.model == model and unit.version == version]
        return [unit.segment for unit in sorted(units, key=_order)]

    def incidents(
        self,
        model: str | None = None,
        version: str | None = None,
        segment: str | AnySegment | None = AnySegment.ANY,
        state: str = "all",
        limit: int = 200,
    ) -> list[Json]:
        """Incidents, the newest first. ``state``: ``open``, ``resolved`` or ``all``."""
        found = [
            incident
            for incident in list(self._incidents.values())  # also called in a thread
            if (model is None or incident.get("model") == model)
            and (version is None or incident.get("version") == version)
            and (segment is AnySegment.ANY or incident.get("segment") == segment)
            and (state == "all" or _is_open(incident) == (state == "open"))
        ]
        return sorted(found, key=_opened, reverse=True)[:limit]

    def incident(self, identifier: str) -> Json | None:
        """The incident with this id."""
        return self._incidents.get(identifier)

    async def wait_for_change(self, since: int, timeout_seconds: float) -> int:
        """Returns the generation once it is not ``since``, or after the timeout."""
        if self.generation == since:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), timeout_seconds)
        return self.generation

    def _note_change(self) -> None:
        self.generation += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def _least_wanted(self) -> str:
        """The oldest resolved incident, or the oldest."""
        return min(self._incidents, key=lambda name: (_is_open(self._incidents[name]), _opened(self._incidents[name])))


def _object(value: bytes) -> Json | None:
    try:
        decoded = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    return decoded if isinstance(decoded, dict) else None


def _unit(detail: Json) -> UnitKey | None:
    """The unit of a view; None if the view has none."""
    model, version, segment = detail.get("model"), detail.get("version"), detail.get("segment")
    if isinstance(model, str) and isinstance(version, str) and (segment is None or isinstance(segment, str)):
        return UnitKey(model, version, segment)
    return None


def _order(unit: UnitKey) -> tuple[str, str, str]:
    return (unit.model, unit.version, unit.segment or "")


def _badness(detail: Json) -> tuple[int, float]:
    state = detail.get("state")
    return (_RANKS.get(str(state), len(_RANKS)), -float(detail.get("evidence_log10") or 0.0))


def _is_open(incident: Json) -> bool:
    return incident.get("resolved_at_ms") is None


def _opened(incident: Json) -> tuple[int, str]:
    return (int(incident.get("opened_at_ms") or 0), str(incident["id"]))
