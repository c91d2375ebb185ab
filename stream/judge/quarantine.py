"""Why a unit is in quarantine: unexpected errors of its shards, as their workers report them, and of the judge."""

from typing import NamedTuple

import msgspec

from detectors.features import UnitKey
from stream.topics.quarantine import Quarantine

JUDGE = "judge"
"""The place of an error of the judge, beside the names of shards."""


class Fault(NamedTuple):
    """A unit that the judge put into quarantine: the reason, and the error itself."""

    unit: UnitKey
    reason: str
    error: Exception


class QuarantineState(msgspec.Struct, frozen=True):
    """The snapshot of ``Quarantines``."""

    quarantined: dict[str, Quarantine]


class Quarantines:
    """``places``: the quarantine by shard, and by JUDGE for an error of the judge."""

    __slots__ = ("places",)

    def __init__(self) -> None:
        self.places: dict[str, Quarantine] = {}

    @property
    def own(self) -> bool:
        """Whether the unit is not judged, after an error of the judge."""
        return JUDGE in self.places

    @property
    def faulty(self) -> bool:
        """Whether an error is the reason, and no limit alone."""
        return any(not one.limit for one in self.places.values())

    @property
    def refused(self) -> str | None:
        """The limit for which the unit was refused in some partition."""
        return next((one.limit for one in self.places.values() if one.limit), None)

    @property
    def ignored(self) -> int:
        """Events that workers have read and not counted."""
        return sum(one.ignored for one in self.places.values())

    @property
    def reason(self) -> str:
        """The reason as a text; empty without a quarantine."""
        if not self.places:
            return ""
        place, first = min(self.places.items(), key=lambda one: (one[1].limit, one[0]))
        others = len(self.places) - 1
        more = f", and in {others} more shard{'s' if others > 1 else ''}" if others else ""
        ignored = f"; {self.ignored:,} events were ignored" if self.ignored else ""
        if first.limit:
            return f"refused in {place}: the limit on {first.limit} is reached{more}{ignored}; forget retired ones"
        return f"in quarantine: {place}: {first.reason}{more}{ignored}; end it with driftline models release"

    def report(self, place: str, quarantine: Quarantine | None) -> None:
        """Sets the quarantine of a place; None: it is in none."""
        if quarantine is None:
            self.places.pop(place, None)
        else:
            self.places[place] = quarantine

    def release(self, request: str) -> bool:
        """Ends the quarantine after an error of the judge, if it was requested after that had begun."""
        held = self.places.get(JUDGE)
        if held is None or request in ("", held.request):
            return False
        del self.places[JUDGE]
        return True

    def snapshot(self) -> QuarantineState:
        return QuarantineState(dict(self.places))

    def restore(self, state: QuarantineState) -> None:
        self.places = dict(state.quarantined)
