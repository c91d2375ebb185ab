"""A person accepts the present: it becomes the unit's reference, and the incidents that wait for it are resolved."""

from detectors.features import UnitKey
from detectors.incidents.incident import Change, Incident, Resolution, Status
from detectors.reference import accepted
from detectors.reference.accepted import Tally
from stream.judge.baselines import Baselines
from stream.judge.effects import Effect, ReferenceBuilt
from stream.judge.incident_log import IncidentLog
from stream.judge.look import Look

ACCEPT_EVENTS = 1_000
"""Events since an incident was found that make a reference; with fewer, the acceptance waits."""


class Acceptance:
    """``wanted``: events that make a reference, at most ACCEPT_EVENTS. ``built``: the reference of the present was
    built, and no shard uses it yet; this is not stored."""

    __slots__ = ("_baselines", "_log", "_unit", "_wanted", "built")

    def __init__(self, unit: UnitKey, wanted: int, log: IncidentLog, baselines: Baselines) -> None:
        self._unit, self._wanted = unit, min(wanted, ACCEPT_EVENTS)
        self._log, self._baselines = log, baselines
        self.built = False

    def waiting(self, look: Look) -> list[tuple[Incident, str]]:
        """Accepted incidents that are still open, each with the person who accepted it."""
        if look.watch is None or not self._baselines.tallies:
            return []
        return [
            (incident, by)
            for incident in self._log.incidents
            if incident.status is not Status.RESOLVED
            and incident.id in self._baselines.tallies
            and (by := accepted_by(incident)) is not None
        ]

    def follow(self, look: Look, waiting: list[tuple[Incident, str]]) -> list[Effect]:
        """Builds the reference of an accepted present once there are enough events, and resolves all incidents that are
        ``waiting``."""
        for incident, by in waiting:
            built = self._build(incident, by, look)
            if built is not None:
                self.built = True
                return [built, *self._resolve(waiting, look)]
        return []

    def leave(self) -> None:
        """Notes that the unit moved to another reference, so that no built reference is pending."""
        self.built = False

    def _resolve(self, waiting: list[tuple[Incident, str]], look: Look) -> list[Effect]:
        effects: list[Effect] = []
        for incident, by in waiting:
            effects += self._log.resolve(incident, Resolution.ACCEPTED, look, by)
            self._baselines.drop(incident.id)
        return effects

    def _build(self, incident: Incident, by: str, look: Look) -> ReferenceBuilt | None:
        assert look.reference is not None
        before = self._baselines.tallies[incident.id]
        if look.epoch_events - before.events < self._wanted and _same_epochs(look, before):
            return None
        now = accepted.tally(look.present, look.clock_ms)
        if not accepted.comparable(before, now):
            self._baselines.count_from(incident.id, now)  # a shard's counts began again at zero
            return None
        source = {"incident": incident.id, "by": by}
        segment = self._unit.segment
        dependence = {} if look.watch is None else look.watch.dependence
        reference = accepted.present_reference(
            look.reference, before, now, segment=segment, source=source, dependence=dependence
        )
        return ReferenceBuilt(self._unit, reference)


def accepted_by(incident: Incident) -> str | None:
    """Who accepted the present that the incident is about."""
    return next((note.by for note in incident.notes if note.action is Change.ACCEPT), None)


def _same_epochs(look: Look, before: Tally) -> bool:
    return all(profile.epoch == before.epochs.get(profile.shard, profile.epoch) for profile in look.present)
