"""How a unit's serving environment differs from the one of training, and the incident about the difference."""

from typing import Any

import msgspec

from detectors.incidents.environment import EnvironmentDifference, environment_differences
from detectors.incidents.incident import Action, IncidentKind, Resolution
from detectors.incidents.verdict import Verdict
from stream.judge import feature_rows
from stream.judge.effects import Effect
from stream.judge.incident_log import IncidentLog
from stream.judge.look import Look

DIFFERENCES_NAMED = 5
"""Differences that an incident's summary names; its row holds all."""


class EnvironmentState(msgspec.Struct, frozen=True):
    """The snapshot of an ``Environment``."""

    environment_event: int


class Environment:
    """``last_event``: the unit's events when an environment other than training's was last seen."""

    __slots__ = ("_log", "_resolve_after", "last_event")

    def __init__(self, log: IncidentLog, resolve_after_events: int) -> None:
        self._log, self._resolve_after = log, resolve_after_events
        self.last_event = 0

    def follow(self, look: Look, arrived: dict[str, int], accepted: bool) -> list[Effect]:
        """Opens, updates or resolves the incident. ``arrived``: new events by environment. ``accepted``: the present is
        about to be the reference, so that no incident is opened."""
        if not look.reference or not look.reference.environment:
            return []
        known = self._log.open_of(IncidentKind.ENVIRONMENT)
        if not environment_differences(look.reference.environment, arrived):
            silent = look.events - self.last_event
            if known is not None and arrived and silent >= self._resolve_after:
                return self._log.resolve(known, Resolution.BACK, look)
            return []
        self.last_event = look.events
        every = [msgspec.to_builtins(d) for d in differences(look)]
        shown = "; ".join(map(feature_rows.difference, every[:DIFFERENCES_NAMED]))
        changes: dict[str, Any] = {
            "environment_differences": every,
            "summary": f"the environment differs from training: {shown}",
        }
        if known is None:
            return [] if accepted else self._open(look, changes)
        before = {(d["name"], d["present"]) for d in known.environment_differences}
        if {(d["name"], d["present"]) for d in every} <= before:
            return []
        return self._log.change(known, Action.UPDATE, look.at_ms, **changes)

    def _open(self, look: Look, changes: dict[str, Any]) -> list[Effect]:
        return self._log.open_incident(
            IncidentKind.ENVIRONMENT,
            look,
            reference=look.digest,
            severity="warning",
            verdict=Verdict.BROKEN_DATA.value,
            reason="new-environment",
            **changes,
        )

    def open_differences(self) -> list[str]:
        """The differences of the open incident, each as a text."""
        known = self._log.open_of(IncidentKind.ENVIRONMENT)
        return [] if known is None else [feature_rows.difference(d) for d in known.environment_differences]

    def snapshot(self) -> EnvironmentState:
        return EnvironmentState(self.last_event)

    def restore(self, state: EnvironmentState) -> None:
        self.last_event = state.environment_event


def differences(look: Look) -> list[EnvironmentDifference]:
    """How the shards' environments differ from the reference's, over the whole epoch."""
    seen: dict[str, int] = {}
    for profile in look.present:
        for text, count in profile.environments.items():
            seen[text] = seen.get(text, 0) + count
    return environment_differences(look.reference.environment if look.reference else {}, seen)
