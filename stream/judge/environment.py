"""What a unit's serving environment differs by from training: the incident of it, and how it is told."""

from typing import TYPE_CHECKING, Any

import msgspec

from detectors.incidents.environment import EnvironmentDifference, environment_differences
from detectors.incidents.incident import Action, IncidentKind, Resolution
from detectors.incidents.verdict import Verdict
from stream.judge import feature_rows
from stream.judge.effects import Effect
from stream.topics.drift_events import EventType

if TYPE_CHECKING:
    from stream.judge.unit import UnitJudge


def differences(judge: "UnitJudge") -> list[EnvironmentDifference]:
    """What the shards' environments differ by from the reference's, over the epoch."""
    seen: dict[str, int] = {}
    for profile in judge.present:
        for text, count in profile.environments.items():
            seen[text] = seen.get(text, 0) + count
    return environment_differences(judge.reference.environment if judge.reference else {}, seen)


def open_differences(judge: "UnitJudge") -> list[str]:
    """Those of the open incident, in words."""
    known = judge.log.open(IncidentKind.ENVIRONMENT)
    return [] if known is None else [feature_rows.difference(d) for d in known.environment_differences]


def look(judge: "UnitJudge", arrived: dict[str, int], events: int) -> list[Effect]:
    """Opens, updates or resolves the incident. ``arrived``: events by environment; ``events``: the unit's until now."""
    if not judge.reference or not judge.reference.environment:
        return []
    found = environment_differences(judge.reference.environment, arrived)
    known = judge.log.open(IncidentKind.ENVIRONMENT)
    if not found:
        silent = events - judge.environment_event
        if known is not None and arrived and silent >= judge.settings.resolve_after_events:
            return judge.log.resolve(known, Resolution.BACK, events, judge.clock_ms or 0)
        return []
    judge.environment_event = events
    every = [msgspec.to_builtins(d) for d in differences(judge)]
    changes: dict[str, Any] = {
        "environment_differences": every,
        "summary": "the environment differs from training: " + "; ".join(map(feature_rows.difference, every[:5])),
    }
    if known is None:
        if judge.accepted:
            return []
        incident = judge.open(
            IncidentKind.ENVIRONMENT,
            events,
            severity="warning",
            verdict=Verdict.BROKEN_DATA.value,
            reason="new-environment",
            **changes,
        )
        return judge.log.told(incident, EventType.INCIDENT_OPENED, incident.opened_at_ms)
    before = {(d["name"], d["present"]) for d in known.environment_differences}
    if {(d["name"], d["present"]) for d in every} <= before:
        return []
    return judge.log.change(known, Action.UPDATE, judge.clock_ms or 0, **changes)
