"""Compares what would have been published without any fault with what was published: incidents, signals and retrain
requests. Model states are not compared, since the state blind depends on the wall clock.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from detectors.profiles import Profile
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
from stream.topics import marks
from stream.topics.drift_events import EventType
from stream.topics.marks import Mark
from stream.topics.record import OutRecord, Partition, Record

TOLD_OF_INCIDENTS = {
    EventType.INCIDENT_OPENED, EventType.INCIDENT_UPDATED, EventType.INCIDENT_RESOLVED, EventType.INCIDENT_REOPENED
}  # fmt: skip
JUDGED = {*TOLD_OF_INCIDENTS, EventType.SIGNAL, EventType.RETRAIN_REQUESTED}

STEP_MS = 1_000
"""The broker's time between two checkpoints of a run without faults."""

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
    without = _without_faults(settings, given, log)
    here, undisturbed = _incidents(seen), _incidents(without)
    exact = {reference.model for reference in given}
    return Comparison(
        [_text(event) for name, event in wanted.items() if name not in seen],
        [_text(event) for name, event in seen.items() if name not in wanted],
        [
            _text(event) + _difference(event, wanted[name])
            for name, event in seen.items()
            if wanted.get(name, event) != event
        ],
        here,
        sorted(set(here) ^ set(undisturbed)) + _one_by_one(exact, seen, without),
    )


def _one_by_one(models: set[str], seen: Mapping[str, Event], wanted: Mapping[str, Event]) -> list[Incident]:
    """The events about incidents of ``models`` that only one of the two has, or that differ in any member.

    A model that learns its reference begins an epoch at an offset that depends on when the reference was read, so its
    counts differ and only the incidents are compared.
    """
    found = []
    for name in sorted({*seen, *wanted}):
        one, other = seen.get(name), wanted.get(name)
        event = one or other
        if event is None or event["type"] not in TOLD_OF_INCIDENTS or event["data"]["model"] not in models:
            continue
        if one != other:
            difference = "missing" if one is None else "extra" if other is None else _difference(one, other)
            found.append((event["data"]["model"], f"{event['type']} {name}", (difference,)))
    return found


def by_id(told: Iterable[Event]) -> dict[str, Event]:
    """The first drift event of each id, of the types that are compared."""
    found: dict[str, Event] = {}
    for event in told:
        if event["type"] in JUDGED:
            found.setdefault(event["id"], event)
    return found


def _judged(settings: Settings, given: list[Reference], records: Iterable[Record]) -> dict[str, Event]:
    """Everything that a judge returns for these profiles and marks in this order."""
    reader = _Reader(settings, given)
    for record in records:
        if record.value is None:
            continue
        if (record.key or b"").startswith(marks.KEY):
            reader.read(marks.decode(record.value), record.offset)
        else:
            reader.read(table.decode_profile(record.value), record.offset)
    return reader.published


class _Reader:
    """A judge that reads one partition of the profiles topic; ``published``: by id, what it returned."""

    def __init__(self, settings: Settings, given: list[Reference]) -> None:
        self._desk = JudgeDesk(settings, Judge(judge_settings(settings), given), Metrics(), lambda _: Health())
        self._topics = {settings.topics.drift_events, settings.topics.retrain_requests}
        self.published: dict[str, Event] = {}

    def read(self, item: Profile | Mark, offset: int) -> None:
        if isinstance(item, Profile):
            self._keep(self._desk.on_slot_profile(item, 0, offset, 0))
            return
        found: Sequence[OutRecord] | None = self._desk.on_mark(item, 0, 0)
        while found is not None:
            self._keep(found)
            found = self._desk.look_on(0, 0)

    def _keep(self, records: Iterable[OutRecord]) -> None:
        new = by_id(json.loads(r.value or b"") for r in records if r.topic in self._topics)
        self.published = {**new, **self.published}


def _without_faults(
    settings: Settings, given: list[Reference], log: Mapping[Partition, list[Record]]
) -> dict[str, Event]:
    """One observer and one judge that read all partitions side by side, STEP_MS of the broker's time at once."""
    observer, reader = Observer(observe_settings(settings), given), _Reader(settings, given)
    times = [record.timestamp_ms for records in log.values() for record in records]
    for place in log:
        observer.assign(place)
    read = dict.fromkeys(log, 0)
    offset = 0
    for until_ms in range(min(times) + STEP_MS, max(times) + 2 * STEP_MS, STEP_MS):
        items: list[Profile | Mark] = []
        for place, records in log.items():
            start = read[place]
            while read[place] < len(records) and records[read[place]].timestamp_ms < until_ms:
                read[place] += 1
            items += observer.process(place, records[start : read[place]]).profiles
            if read[place]:
                _save(observer, place)
            items += observer.mark(place, len(log), until_ms, read_to_end=False)
        for item in items:
            offset += 1
            reader.read(item, offset)
    return reader.published


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
