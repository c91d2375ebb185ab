"""What a unit had counted when each of its open incidents was found: later verdicts and acceptance count from there."""

import msgspec

from detectors.incidents.incident import Status
from detectors.reference import accepted
from detectors.reference.accepted import Tally
from stream.judge.incident_log import IncidentLog
from stream.judge.look import Look

BASELINES = 4
"""Open incidents that have a baseline, the newest ones; a baseline takes about 5 KB a feature."""


class BaselinesState(msgspec.Struct, frozen=True):
    """The snapshot of a ``Baselines``."""

    baselines: dict[str, Tally]


class Baselines:
    """``tallies``: by incident id, of open incidents under the unit's present reference."""

    __slots__ = ("_log", "tallies")

    def __init__(self, log: IncidentLog) -> None:
        self._log = log
        self.tallies: dict[str, Tally] = {}

    def follow(self, look: Look) -> None:
        """Stores the counts for incidents that were opened at this look, and drops the baselines of those that were
        resolved."""
        under = [i.id for i in self._log.incidents if i.status is not Status.RESOLVED and i.reference == look.digest]
        if not under and not self.tallies:
            return
        names = under[-BASELINES:]
        self.tallies = {name: known for name, known in self.tallies.items() if name in names}
        if look.watch is None:
            return
        for name in names:
            if name not in self.tallies:
                self.tallies[name] = accepted.tally(look.present, look.clock_ms)

    def count_from(self, incident: str, now: Tally) -> None:
        """Replaces the incident's baseline by what is counted now."""
        self.tallies[incident] = now

    def drop(self, incident: str) -> None:
        """Removes the incident's baseline."""
        self.tallies.pop(incident)

    def snapshot(self) -> BaselinesState:
        return BaselinesState(self.tallies)

    def restore(self, state: BaselinesState) -> None:
        self.tallies = state.baselines
