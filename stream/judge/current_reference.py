"""The reference that a unit is under, and the watch that gathers its evidence."""

from collections.abc import Callable, Container

import msgspec

from detectors.evidence.watch import Watch, WatchState
from detectors.features import UnitKey
from detectors.reference.reference import Reference
from stream.judge.history import EvidenceHistory

LEFT_REFERENCES = 8

Found = tuple[Reference, Watch]
Bound = Callable[[UnitKey, str], Found | None]
"""Returns the reference of a digest and a new Watch, or None if that reference has not been read yet."""


class ReferenceState(msgspec.Struct, frozen=True):
    """A ``CurrentReference`` in a snapshot. ``watch`` is None before the first evidence."""

    digest: str | None
    left: list[str | None]
    watch: WatchState | None
    history: list[tuple[int, float]]
    history_step_ms: int
    sharers: int


class CurrentReference:
    """``bound``: see Bound. ``known``: digests of all references read so far.

    ``digest`` is None while the unit learns; ``reference`` and ``watch`` are None until that reference has been read.
    ``left``: references that the unit was under before, the newest LEFT_REFERENCES + 1. ``saved``: evidence from a
    snapshot, until its reference is read. ``sharers``: units of the model that shared its budget at the last look.
    """

    __slots__ = ("_bound", "_known", "_unit", "digest", "history", "left", "reference", "saved", "sharers", "watch")

    def __init__(self, unit: UnitKey, bound: Bound, known: Container[str | None]) -> None:
        self._unit, self._bound, self._known = unit, bound, known
        self.digest: str | None = None
        self.left: list[str | None] = []
        self.reference: Reference | None = None
        self.watch: Watch | None = None
        self.saved: WatchState | None = None
        self.sharers = 1
        self.history = EvidenceHistory()

    def wanted(self, digest: str | None, newest: str | None) -> str | None:
        """``newest``, the model's newest reference, where a shard's ``digest`` has been read. One that has not been
        read may be newer, so that then nothing is wanted."""
        return newest if digest in self._known else None

    def is_followed_by(self, digest: str | None, newest: str | None) -> bool:
        """Whether a shard's epoch under ``digest`` moves the unit there: not back to a reference that it left, nor away
        from ``newest``, the model's newest one."""
        if digest == self.digest:
            return False
        return digest == newest or (digest not in self.left and self.digest != newest)

    def find(self, digest: str | None) -> Found | None:
        """The reference of ``digest`` with a new watch, where it has been read."""
        return None if digest is None else self._bound(self._unit, digest)

    def enter(self, digest: str | None, found: Found | None, first: bool) -> None:
        """Moves to the reference ``digest``; ``found`` is what ``find`` returned for it. ``first``: no shard was
        held before."""
        if not first:
            self.left = [*self.left[-LEFT_REFERENCES:], self.digest]
        self.digest, self.reference, self.watch, self.saved = digest, None, None, None
        self.history.clear()
        if found is not None:
            self._bind(found)

    def bind(self) -> bool:
        """Binds the unit to its reference if that has been read since. False where there is nothing to do."""
        found = self.find(self.digest) if self.watch is None else None
        if found is not None:
            self._bind(found)
        return found is not None

    def _bind(self, found: Found) -> None:
        self.reference, self.watch = found
        self.share_budget(self.sharers)

    def restore_evidence(self) -> bool:
        """Gives the watch the evidence of the snapshot. False where there is none or it does not fit the reference."""
        restored = self.saved is not None and self.watch is not None and self.watch.restore(self.saved)
        self.saved = None
        return restored

    def share_budget(self, sharers: int) -> None:
        """Gives the unit an equal part of its model's budget of false alarms, of ``sharers`` units."""
        self.sharers = sharers
        if self.watch is not None:
            self.watch.evidence.divide_budget(1 / sharers, self.watch.evidence.beside)

    def snapshot(self) -> ReferenceState:
        """Everything but what the reference gives."""
        watch = self.watch.snapshot() if self.watch is not None else self.saved
        return ReferenceState(self.digest, self.left, watch, self.history.points, self.history.step_ms, self.sharers)

    def restore(self, state: ReferenceState) -> None:
        """Restores ``snapshot``, still without the reference: ``bind`` follows."""
        self.digest, self.left, self.saved, self.sharers = state.digest, state.left, state.watch, state.sharers
        self.history.restore(state.history, state.history_step_ms)
