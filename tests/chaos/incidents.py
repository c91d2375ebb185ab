"""Compares what would have been published without any fault with what was published: incidents, signals and retrain
requests. Model states are not compared, since the state blind depends on the wall clock.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from detectors.reference.reference import Reference
from stream.judge.effects import Health
from stream.judge.judge import Judge
from stream.judge.settings import judge_settings
from stream.judge.shell import table
from stream.judge.shell.desk import JudgeDesk
from stream.metrics.registry import Metrics
from stream.observe.observer import Observer
from stream.observe.shell.settings import observe_settings
from stream.settings.settings import Settings
from stream.topics.drift_events import EventType
from stream.topics.record import Partition, Record

TOLD_OF_INCIDENTS = {EventType.INCIDENT_OPENED, EventType.INCIDENT_UPDATED, EventType.INCIDENT_RESOLVED}
JUDGED = {*TOLD_OF_INCIDENTS, EventType.SIGNAL, EventType.RETRAIN_REQUESTED}

CHUNK = 50
"""Records between two checkpoints of a run without faults."""

Event = dict[str, Any]
Incident = tuple[str, str, tuple[str, ...]]
"""Model, kind and features, as last told."""


class Comparison(NamedTuple):
    """``missing``, ``extra`` and ``wrong``: ids, compared with one judge that reads the same profiles without a fault.
    ``elsewhere``: incidents that only this run has, or that only a whole service without faults has for the same
    events."""

    missing: list[str]
    extra: list[str]
    wrong: list[str]
    incidents: list[Incident]
    elsewhere: list[Incident]

    @property
    def good(self) -> bool:
        return not (self.missing or self.extra or self.wrong or self.elsewhere)


def compare(
    settings: Settings,
    given: list[Reference],
    profiles: Mapping[Partition, list[Record]],
    log: Mapping[Partition, list[Record]],
    told: Iterable[Event],
) -> Comparison:
    """``given``: references that were known before the first event; learned ones follow from the profiles."""
    seen = by_id(told)
    wanted = {name: event for records in profiles.values() for name, event in _judged(settings, given, records).items()}
    here, undisturbed = _incidents(seen), _incidents(_without_faults(settings, given, log))
    return Comparison(
        [_text(event) for name, event in wanted.items() if name not in seen],
        [_text(event) for name, event in seen.items() if name not in wanted],
        [
            _text(event) + _difference(event, wanted[name])
            for name, event in seen.items()
            if wanted.get(name, event) != event
        ],
        here,
        sorted(set(here) ^ set(undisturbed)),
    )


def by_id(told: Iterable[Event]) -> dict[str, Event]:
    """The first drift event of each id, of the types that are compared."""
    found: dict[str, Event] = {}
    for event in told:
        if event["type"] in JUDGED:
            found.setdefault(event["id"], event)
    return found


def _judged(settings: Settings, given: list[Reference], records: Iterable[Record]) -> dict[str, Event]:
    """Everything that a judge returns for these profiles in this order."""
    desk = JudgeDesk(settings, Judge(judge_settings(settings), given), Metrics(), lambda _: Health())
    topics = {settings.topics.drift_events, settings.topics.retrain_requests}
    out = (o for r in records if r.value for o in desk.on_profile(table.decode_profile(r.value), 0))
    return by_id(json.loads(o.value or b"") for o in out if o.topic in topics)


def _without_faults(
    settings: Settings, given: list[Reference], log: Mapping[Partition, list[Record]]
) -> dict[str, Event]:
    """One observer over the whole log, and one judge over its profiles in the order of their events' times."""
    observer, profiles = Observer(observe_settings(settings), given), []
    for place, records in log.items():
        observer.assign(place)
        for start in range(0, len(records), CHUNK):
            profiles += observer.process(place, records[start : start + CHUNK]).profiles
            _save(observer, place)
    profiles += observer.profiles_due(0, force=True)
    profiles.sort(key=lambda p: (p.last_timestamp_ms or 0, p.next_offset))
    desk = JudgeDesk(settings, Judge(judge_settings(settings), given), Metrics(), lambda _: Health())
    out = (o for profile in profiles for o in desk.on_profile(profile, 0) if o.topic == settings.topics.drift_events)
    return by_id(json.loads(o.value or b"") for o in out)


def _save(observer: Observer, place: Partition) -> None:
    """Saves a checkpoint: an epoch is published only after it is saved."""
    saving = observer.checkpoint(place)
    for unit in saving.dirty:
        saving.encode(unit)
    saving.acknowledged()


def _incidents(told: Mapping[str, Event]) -> list[Incident]:
    newest: dict[str, Incident] = {}
    for event in told.values():
        if event["type"] in TOLD_OF_INCIDENTS:
            data = event["data"]
            features = tuple(sorted(f["feature"] for f in data["features"]))
            newest[data["id"]] = (data["model"], data["kind"], features)
    return sorted(newest.values())


def _text(event: Event) -> str:
    return f"{event['type']} {event['id']} {event['data'].get('summary', '')}"


def _difference(told: Event, wanted: Event) -> str:
    """The contents of both, where they differ."""
    names = sorted(n for n in {*told["data"], *wanted["data"]} if told["data"].get(n) != wanted["data"].get(n))
    return "".join(f"; {n}: {told['data'].get(n)!r} instead of {wanted['data'].get(n)!r}" for n in names)
