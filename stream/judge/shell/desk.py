"""Turns the effects of the pure judge into records that are ready to be sent by its shell. No Kafka."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import orjson

from detectors.errors import FormatError, ReferenceError
from detectors.features import UnitKey
from detectors.profiles import Profile
from detectors.reference import reference as references
from stream.judge.effects import Effect, Health, IncidentRecord
from stream.judge.judge import Judge
from stream.judge.shell.effect_writer import EffectWriter
from stream.judge.shell.rows import Looks
from stream.metrics.registry import Metrics
from stream.settings.settings import Settings
from stream.topics import keys, requests
from stream.topics.marks import Mark
from stream.topics.record import OutRecord
from stream.topics.requests import ForgetRequest, IncidentRequest, ReleaseRequest

log = logging.getLogger(__name__)

VIEW_INTERVAL_MS = 1_000
"""Shortest time between two views of a unit: making one costs several times what judging a profile does."""

INCIDENT_REQUESTS_KEPT = 10_000
"""The newest requests about incidents, for units that are assigned to this worker later; some 500 bytes each."""

LOOKS_AT_ONCE = 20
"""Looks between two breaks: some 10 ms. A mark may make one look of every unit due."""


class JudgeDesk:
    """The judge of one worker. Whatever changes a unit also puts the unit in the queue of views to publish."""

    def __init__(self, settings: Settings, judge: Judge, metrics: Metrics, health: Callable[[int], Health]) -> None:
        self._topics = settings.topics
        self._judge = judge
        self._metrics = metrics
        self._writer = EffectWriter(settings, metrics)
        self._health = health
        self._views: dict[UnitKey, None] = {}  # in the order in which they are published
        self._shown_ms: dict[UnitKey, int] = {}
        self._outbox: list[OutRecord] = []
        self._changed: set[UnitKey] = set()
        self._incident_requests: OrderedDict[bytes, IncidentRequest] = OrderedDict()
        self._forget_requests: dict[UnitKey, ForgetRequest] = {}
        self._with_output: set[UnitKey] = set()

    @property
    def units(self) -> set[UnitKey]:
        """The units that are restored or judged here."""
        return self._judge.units

    def apply_reference(self, key: bytes, value: bytes | None) -> None:
        """Applies a record of the references topic; its effects are sent with the next tick.

        A record that cannot be read is logged and counted.
        """
        if value is None:
            return
        try:
            reference = references.decode(value, f"{self._topics.references}, key {key.decode(errors='replace')}")
        except ReferenceError as error:
            log.error("%s", error)
            self._metrics.error("references")
            return
        effects = self._judge.on_reference(reference)
        self._changed.update(effect.unit for effect in effects)
        self._outbox.extend(self._records(effects, None))

    def apply_request(self, key: bytes, value: bytes | None) -> None:
        """Applies a record of the actions topic; its effects are sent with the next tick.

        A request about a unit of another worker is kept, since the unit may be assigned to this worker later.
        """
        if value is None:
            self._incident_requests.pop(key, None)
            return
        try:
            request = requests.decode(key, value, f"{self._topics.actions}, key {key.decode(errors='replace')}")
        except FormatError as error:
            log.error("%s", error)
            self._metrics.error("actions")
            return
        if isinstance(request, ForgetRequest):
            requests.keep(self._forget_requests, request.unit, request)
            self._apply_forget(request)
            return
        if isinstance(request, ReleaseRequest):
            self._apply_release(request)
            return
        self._incident_requests[key] = request
        while len(self._incident_requests) > INCIDENT_REQUESTS_KEPT:
            self._incident_requests.popitem(last=False)
        self._apply_to_incidents([request])

    def on_profile(self, profile: Profile, now_ms: int, offset: int = 0) -> Sequence[OutRecord]:
        """Judges a profile; returns all output until now, in order. ``offset``: position in the profiles topic."""
        return self.on_slot_profile(profile, now_ms, offset, 0)

    def on_slot_profile(self, profile: Profile, now_ms: int, offset: int, partition: int) -> Sequence[OutRecord]:
        """Keeps a profile that has a slot, and judges what it makes due; returns all output until now. ``offset`` and
        ``partition``: position in the profiles topic."""
        known = self._judge.holds(profile.unit)
        effects = self._judge.on_profile(profile, now_ms, offset, partition)
        self._views[profile.unit] = None
        if not known:
            self._forget_again(profile)
        return self._output_of(effects, now_ms)

    def _forget_again(self, profile: Profile) -> None:
        """Applies the kept request to forget a unit that has no row: a worker was killed before it wrote one.

        A unit with events after the request has come back, and is watched.
        """
        request = self._forget_requests.get(profile.unit)
        if request is not None and (profile.last_timestamp_ms or 0) <= request.at_ms:
            self._apply_forget(request)

    def on_mark(self, mark: Mark, now_ms: int, partition: int) -> Sequence[OutRecord]:
        """Notes that a partition of the events was read up to the mark, which lay in ``partition`` of the profiles
        topic. Makes at most LOOKS_AT_ONCE looks; returns all output until now."""
        return self._output_of(self._judge.on_mark(mark, partition, LOOKS_AT_ONCE), now_ms)

    def look_on(self, now_ms: int, partition: int) -> Sequence[OutRecord] | None:
        """Makes more looks that marks in ``partition`` made due, with their output; None where none is due."""
        effects = self._judge.look_on(partition, LOOKS_AT_ONCE)
        return None if effects is None else self._output_of(effects, now_ms)

    def drain_looks(self) -> dict[UnitKey, Looks]:
        """The units whose profiles with slots were judged since the last call."""
        with_output, self._with_output = self._with_output, set()
        judged = self._judge.drain_judged()
        for unit in judged:
            self._views[unit] = None
        if joined := self._judge.drain_joined():
            self._metrics.limited("waiting_profiles", joined)
        return {unit: Looks(offsets, unit in with_output) for unit, offsets in judged.items()}

    def read_again(self) -> None:
        """The profiles topic is read again from earlier offsets."""
        self._judge.read_again()

    def _output_of(self, effects: Sequence[Effect], now_ms: int) -> Sequence[OutRecord]:
        records = [*self._outbox, *self._records(effects, now_ms)]
        self._outbox = []
        self._with_output.update(effect.unit for effect in effects)
        if self._incident_requests:
            self._apply_earlier_requests(effect.id for effect in effects if isinstance(effect, IncidentRecord))
        return records

    def drain(self) -> tuple[Sequence[OutRecord], Iterable[UnitKey]]:
        """Returns the output of references and requests since the last profile or tick, and the units that they
        changed."""
        records, changed = self._outbox, self._changed
        self._outbox, self._changed = [], set()
        return records, changed

    def on_tick(self, now_ms: int) -> tuple[Sequence[OutRecord], Iterable[UnitKey]]:
        """Judges what time alone changes; returns all output until now and the units that changed."""
        self._log_faults()
        effects = self._judge.on_tick(now_ms, self._health(now_ms))
        for unit in self._judge.waiting():
            self._views[unit] = None  # how far its partition is behind changes all the time
        records, changed = self.drain()
        return [*records, *self._records(effects, now_ms)], {*changed, *(effect.unit for effect in effects)}

    def views_due(self, now_ms: int, most: int) -> Sequence[OutRecord]:
        """The views of at most ``most`` changed units whose last view is VIEW_INTERVAL_MS old."""
        late = (u for u in self._views if not 0 <= now_ms - self._shown_ms.get(u, -VIEW_INTERVAL_MS) < VIEW_INTERVAL_MS)
        due = list(islice(late, most))
        for unit in due:
            del self._views[unit]
            self._shown_ms[unit] = now_ms
        return [view for unit in due if self._judge.holds(unit) and (view := self._view(unit)) is not None]

    def snapshot(self, unit: UnitKey) -> bytes:
        """The judge's state of a unit, for its row."""
        return self._judge.snapshot(unit)

    def restore(self, unit: UnitKey, blob: bytes) -> None:
        """Restores a unit from ``snapshot``, then applies the requests that came before. Raises CheckpointError."""
        self._judge.restore(unit, blob)
        self._views[unit] = None
        if self._incident_requests:
            self._apply_earlier_requests(str(incident["id"]) for incident in self._judge.incidents(unit))
        if (request := self._forget_requests.get(unit)) is not None:
            self._apply_forget(request)

    def forget(self, unit: UnitKey) -> None:
        """Drops a unit that is assigned to another worker now."""
        self._judge.forget(unit)
        self._views.pop(unit, None)
        self._shown_ms.pop(unit, None)
        self._changed.discard(unit)

    def _apply_forget(self, request: ForgetRequest) -> None:
        effects = self._judge.forget_model(request)
        if effects:
            self._metrics.actions.increase((request.model, "forget"))
            self._changed.add(request.unit)
            self._outbox.extend(self._records(effects, None))

    def _apply_release(self, request: ReleaseRequest) -> None:
        effects = self._judge.guard.release(request.unit, request.id)
        if self._judge.holds(request.unit):
            self._changed.add(request.unit)
            self._views[request.unit] = None
        self._outbox.extend(self._records(effects, None))

    def adopt(self, unit: UnitKey) -> None:
        """Begins to judge a unit that is known only by its quarantine."""
        if not self._judge.holds(unit):
            self._judge.guard.adopt(unit)
            self._views[unit] = None

    def _log_faults(self) -> None:
        """Logs and counts the units that went into quarantine here; each is logged once."""
        for fault in self._judge.guard.drain_faults():
            self._metrics.error("judge.quarantine")
            log.error(
                "%s is in quarantine: %s. It is not judged until 'driftline models release'",
                fault.unit, fault.reason, exc_info=fault.error,
            )  # fmt: skip
            self._views[fault.unit] = None
            self._changed.add(fault.unit)

    def _apply_to_incidents(self, wanted: Iterable[IncidentRequest]) -> None:
        for request in wanted:
            effects = self._judge.act(request)
            if effects:
                self._metrics.actions.increase((effects[0].unit.model, request.change.value))
                self._changed.update(effect.unit for effect in effects)
                self._outbox.extend(self._records(effects, None))

    def _apply_earlier_requests(self, incidents: Iterable[str]) -> None:
        """Applies requests that came when these incidents were not known here yet, oldest first."""
        names = set(incidents)
        found = [request for request in self._incident_requests.values() if request.incident in names]
        self._apply_to_incidents(sorted(found, key=lambda request: (request.at_ms, request.id)))

    def _view(self, unit: UnitKey) -> OutRecord | None:
        """The unit's view; a tombstone for one that is forgotten; None, and quarantine, where it cannot be written."""
        if self._judge.is_away(unit):
            return OutRecord(self._topics.views, keys.unit_key(unit), None)
        try:
            view = orjson.dumps(self._judge.model_view(unit), option=orjson.OPT_SERIALIZE_NUMPY)
        except Exception as error:  # one unit never ends the worker
            self._judge.guard.fail(unit, "view", error)
            return None
        return OutRecord(self._topics.views, keys.unit_key(unit), view)

    def _records(self, effects: Sequence[Effect], now_ms: int | None) -> list[OutRecord]:
        """The effects as records. ``now_ms`` None: the effects come from no event, so no detection latency is
        measured."""
        records: list[OutRecord] = []
        for effect in effects:
            self._views[effect.unit] = None
            try:
                records += self._writer.records(effect, now_ms)
            except Exception as error:  # one unit never ends the worker
                self._judge.guard.fail(effect.unit, "output", error)
        return records
