"""The unit at one time, as the parts of its judge read it. Frozen: a part returns effects and changes only itself."""

import msgspec

from detectors.evidence.watch import Watch
from detectors.profiles import Profile
from detectors.reference.reference import Reference


class Look(msgspec.Struct, frozen=True):
    """A unit as of the newest profiles of its shards.

    ``events``: accepted over all shards and epochs, each once. ``clock_ms``: the newest event time, None before the
    first event that has one. ``digest``: the reference that the unit is under, None while it learns; ``reference`` and
    ``watch`` are None until that reference has been read. ``present``: the newest profiles of the shards under
    ``digest``.
    """

    events: int
    clock_ms: int | None
    digest: str | None
    reference: Reference | None
    watch: Watch | None
    present: list[Profile]

    @property
    def epoch_events(self) -> int:
        """Events under the present reference."""
        return sum(profile.epoch_events for profile in self.present)

    @property
    def at_ms(self) -> int:
        """The event time that effects carry; 0 before the first event that has a time."""
        return self.clock_ms or 0

    @property
    def season_covered(self) -> bool:
        """Whether hours of the day are compared with the same hours, of the reference or of earlier days."""
        watch = self.watch
        if watch is None or watch.explanations is None:
            return watch is not None and watch.sheets.seasonal
        return watch.explanations.hours.known

    @property
    def moved_while_learned(self) -> list[str]:
        """Features that did not stay at one level while the reference was learned."""
        return list(self.reference.source.get("moved", ())) if self.reference is not None else []
