"""What people do about a unit's incidents, taken into its judge; and the reference that an accepted present becomes."""

import msgspec

from detectors.incidents.incident import NOTES_KEPT, Action, Change, Incident, Note, Resolution, Status
from detectors.reference import accepted
from detectors.reference.accepted import Tally
from stream.judge import verdicts
from stream.judge.effects import Effect, ReferenceBuilt
from stream.judge.unit import UnitJudge
from stream.topics import requests

ACCEPT_EVENTS = 1_000
"""Events since an incident was found that make a reference; with fewer, what is accepted waits for them."""

BASELINES = 4
"""Open incidents that can be accepted from where they were found; a baseline is about 5 KB a feature."""


def find(judge: UnitJudge, identifier: str) -> Incident | None:
    """The unit's incident of that id."""
    return next((i for i in judge.log.incidents if i.id == identifier), None)


def act(judge: UnitJudge, action: requests.IncidentRequest) -> list[Effect]:
    """Takes a change in, once; nothing where it is known already, or where its incident has no such step."""
    incident = find(judge, action.incident)
    if incident is None or any(note.id == action.id for note in incident.notes):
        return []
    over = incident.status is Status.RESOLVED
    ends = action.change in (Change.RESOLVE, Change.ACCEPT)
    if (over and action.change is not Change.NOTE) or (len(incident.notes) >= NOTES_KEPT and not ends):
        return []
    notes = [*incident.notes, Note(action.id, action.change, action.by, action.at_ms, action.note)]
    if action.change is Change.RESOLVE:
        judge.log.replace(msgspec.structs.replace(incident, notes=notes))
        return [*judge.close(Resolution.BY_HAND, action.by, only=incident.id), *judge.settle()]
    changes: dict[str, object] = {"notes": notes}
    if action.until_ms is not None:
        changes |= {"silenced_until_ms": action.until_ms, "silenced_by": action.by}
    step = Action.NOTE
    if action.change is Change.ACK:
        step = Action.ACKNOWLEDGE
        changes |= {"acknowledged_by": action.by, "acknowledged_at_ms": action.at_ms}
    effects = judge.log.change(incident, step, action.at_ms, **changes)
    return [*effects, *follow(judge)] if action.change is Change.ACCEPT else effects


def follow(judge: UnitJudge) -> list[Effect]:
    """To be called after every look: remembers what was counted when an incident was found, ends what is accepted."""
    log = judge.log
    under = [i for i in log.incidents if i.status is not Status.RESOLVED and i.reference == judge.digest]
    if not under and not log.baselines:
        return []
    names = [incident.id for incident in under[-BASELINES:]]
    log.baselines = {name: known for name, known in log.baselines.items() if name in names}
    if judge.watch is None:
        return []
    for name in names:
        if name not in log.baselines:
            log.baselines[name] = accepted.tally(judge.present, judge.clock_ms)
    effects = verdicts.settle(judge)
    waiting = [(i, by) for i in under if i.id in log.baselines and (by := accepted_by(i)) is not None]
    for incident, by in waiting:
        built = _build(judge, incident, by)
        if built is not None:
            judge.accepted = True
            effects.append(built)
            for other, who in waiting:
                effects += log.resolve(other, Resolution.ACCEPTED, judge.events, judge.clock_ms or 0, who)
                log.baselines.pop(other.id)
            return [*effects, *judge.settle()]
    return effects


def accepted_by(incident: Incident) -> str | None:
    """Who accepted the present."""
    return next((note.by for note in incident.notes if note.action is Change.ACCEPT), None)


def _build(judge: UnitJudge, incident: Incident, by: str) -> ReferenceBuilt | None:
    assert judge.reference is not None
    before = judge.log.baselines[incident.id]
    wanted = min(judge.settings.learning.get(judge.unit.model, judge.settings.learning_events), ACCEPT_EVENTS)
    if judge.epoch_events - before.events < wanted and _same_epochs(judge, before):
        return None
    now = accepted.tally(judge.present, judge.clock_ms)
    if not accepted.comparable(before, now):
        judge.log.baselines[incident.id] = now  # a shard began anew: from here on
        return None
    source = {"incident": incident.id, "by": by}
    reference = accepted.present_reference(judge.reference, before, now, segment=judge.unit.segment, source=source)
    return ReferenceBuilt(judge.unit, reference)


def _same_epochs(judge: UnitJudge, before: Tally) -> bool:
    return all(profile.epoch == before.epochs.get(profile.shard, profile.epoch) for profile in judge.present)
