"""All references that a judge has read, and the bets that are ready for them."""

from collections.abc import Collection

from detectors.evidence.sheets import Sheets
from detectors.evidence.sizes import Yardstick
from detectors.evidence.watch import Watch
from detectors.features import ModelKey, UnitKey
from detectors.reference.reference import Reference
from stream.judge.settings import JudgeSettings

SHEETS_KEPT = 256
"""References whose bets are kept ready; a reference of 20 features takes 400 KB."""


class KnownReferences:
    """``by_digest``: the references by their digests."""

    __slots__ = ("_newest", "_settings", "_sheets", "by_digest")

    def __init__(self, settings: JudgeSettings) -> None:
        self._settings = settings
        self.by_digest: dict[str, Reference] = {}
        self._newest: dict[tuple[ModelKey, str | None], str] = {}
        self._sheets: dict[str, tuple[Sheets, list[Yardstick]]] = {}

    def add(self, reference: Reference, in_use: Collection[str | None]) -> None:
        """Keeps a reference as the newest of its model. The one before is dropped unless it is among ``in_use``."""
        digest, place = reference.digest, (reference.model_key, reference.segment)
        before = self._newest.get(place)
        self._newest[place] = digest
        self.by_digest[digest] = reference
        if before is not None and before != digest and before not in in_use:
            self.by_digest.pop(before, None)
            self._sheets.pop(before, None)

    def newest_of(self, unit: UnitKey) -> str | None:
        """The digest of the newest reference of a unit: of its segment, else of its model version."""
        return self._newest.get((unit.model_key, unit.segment)) or self._newest.get((unit.model_key, None))

    def bound(self, unit: UnitKey, digest: str) -> tuple[Reference, Watch] | None:
        """The reference of ``digest`` with a new watch for the unit, if it has been read."""
        if digest not in self.by_digest:
            return None
        if digest not in self._sheets:
            while len(self._sheets) >= SHEETS_KEPT:
                del self._sheets[next(iter(self._sheets))]
            reference = self.by_digest[digest]
            settings, kept = self._settings.evidence_of(unit.model), self._settings.strata_kept
            sheets = Sheets(reference.features, settings, kept, reference.of_stream)
            self._sheets[digest] = sheets, [Yardstick(sheets.layout, f) for f in range(len(reference.features))]
        sheets, yardsticks = self._sheets[digest]
        return self.by_digest[digest], Watch(sheets, yardsticks, self._settings.resolve_after_events)
