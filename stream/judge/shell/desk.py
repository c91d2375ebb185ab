"""Between the pure judge and its shell: what the judge says becomes records that are ready to be sent. No Kafka."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import orjson

from detectors.errors import FormatError, ReferenceError
from detectors.features import UnitKey
from detectors.profiles import Profile
from detectors.reference import reference as references
from stream import forgetting
from stream.forgetting import Forgetting
from stream.judge.effects import DriftEvent, Effect, Health, IncidentRecord, ReferenceBuilt, RetrainDecided
from stream.judge.judge import Judge
from stream.metrics.registry import Metrics
from stream.settings.settings import Settings
from stream.topics import drift_events, keys, requests
from stream.topics.drift_events import EventType
from stream.topics.record import OutRecord
from stream.topics.requests import Action

log = logging.getLogger(__name__)

VIEW_INTERVAL_MS = 1_000
"""A unit's view is made anew no sooner: it costs several times what judging a profile does."""

ACTIONS_KEPT = 10_000
"""The newest changes to incidents, for units that become this worker's later; some 500 bytes each."""


FORGOTTEN_KEPT = 10_000
"""The newest word of each unit that was to be forgotten, for the same reason."""


class JudgeDesk:
    """The judge of one worker. Whatever changes a unit also puts its view in the queue of those to be published."""

    def __init__(self, settings: Settings, judge: Judge, metrics: Metrics, health: Callable[[int], Health]) -> None:
        self._topics = settings.topics
        self._judge = judge
        self._metrics = metrics
        self._health = health
        self._views: dict[UnitKey, None] = {}  # in the order of their turn
        self._shown_ms: dict[UnitKey, int] = {}
        self._outbox: list[OutRecord] = []
        self._touched: set[UnitKey] = set()
        self._actions: OrderedDict[bytes, Action] = OrderedDict()
        self._forgettings: dict[UnitKey, Forgetting] = {}

    @property
    def units(self) -> set[UnitKey]:
        return self._judge.units

    def apply_reference(self, key: bytes, value: bytes | None) -> None:
        """A record of the references topic. What it changes goes out with the next tick; what is broken is said."""
        if value is None:
            return
        try:
            reference = references.decode(value, f"{self._topics.references}, key {key.decode(errors='replace')}")
        except ReferenceError as error:
            log.error("%s", error)
            self._metrics.error("references")
            return
        effects = self._judge.on_reference(reference)
        self._touched.update(effect.unit for effect in effects)
        self._outbox.extend(self._records(effects, None))

    def apply_action(self, key: bytes, value: bytes | None) -> None:
        """A record of the actions topic. Of a unit that is not ours it is kept: it may become ours."""
        if value is None:
            self._actions.pop(key, None)
            return
        where = f"{self._topics.actions}, key {key.decode(errors='replace')}"
        try:
            if key.startswith(forgetting.KEY):
                self._keep(forgetting.decode(value, where))
                return
            action = requests.decode(value, where)
        except FormatError as error:
            log.error("%s", error)
            self._metrics.error("actions")
            return
        self._actions[key] = action
        while len(self._actions) > ACTIONS_KEPT:
            self._actions.popitem(last=False)
        self._act([action])

    def _keep(self, wanted: Forgetting) -> None:
        if wanted.unit not in self._forgettings and len(self._forgettings) >= FORGOTTEN_KEPT:
            del self._forgettings[next(iter(self._forgettings))]
        self._forgettings[wanted.unit] = wanted
        self._forget_model(wanted)

    def _forget_model(self, wanted: Forgetting) -> None:
        effects = self._judge.forget_model(wanted)
        if effects:
            self._metrics.actions.add((wanted.model, "forget"))
            self._touched.add(wanted.unit)
            self._outbox.extend(self._records(effects, None))

    def _act(self, wanted: Iterable[Action]) -> None:
        """What comes of it goes out with the next tick."""
        for action in wanted:
            effects = self._judge.act(action)
            if effects:
                self._metrics.actions.add((effects[0].unit.model, action.action.value))
                self._touched.update(effect.unit for effect in effects)
                self._outbox.extend(self._records(effects, None))

    def _catch_up(self, incidents: Iterable[str]) -> None:
        """Actions on incidents that were not known when they came, oldest first."""
        names = set(incidents)
        found = [action for action in self._actions.values() if action.incident in names]
        self._act(sorted(found, key=lambda action: (action.at_ms, action.id)))

    def on_profile(self, profile: Profile, now_ms: int, offset: int = 0) -> Sequence[OutRecord]:
        effects = self._judge.on_profile(profile, now_ms, offset)
        self._views[profile.unit] = None
        records = [*self._outbox, *self._records(effects, now_ms)]  # what was said first goes out first
        self._outbox = []
        if self._actions:
            self._catch_up(effect.id for effect in effects if isinstance(effect, IncidentRecord))
        return records

    def drain(self) -> tuple[Sequence[OutRecord], Iterable[UnitKey]]:
        """What references and people brought about since the last profile or tick."""
        records, changed = self._outbox, self._touched
        self._outbox, self._touched = [], set()
        return records, changed

    def on_tick(self, now_ms: int) -> tuple[Sequence[OutRecord], Iterable[UnitKey]]:
        effects = self._judge.on_tick(now_ms, self._health(now_ms))
        records, changed = self.drain()
        return [*records, *self._records(effects, now_ms)], {*changed, *(effect.unit for effect in effects)}

    def views_due(self, now_ms: int, most: int) -> Sequence[OutRecord]:
        """The views whose turn it is."""
        late = (u for u in self._views if not 0 <= now_ms - self._shown_ms.get(u, -VIEW_INTERVAL_MS) < VIEW_INTERVAL_MS)
        due = list(islice(late, most))
        for unit in due:
            del self._views[unit]
            self._shown_ms[unit] = now_ms
        return [self._view(unit) for unit in due if self._judge.holds(unit)]

    def snapshot(self, unit: UnitKey) -> bytes:
        return self._judge.snapshot(unit)

    def restore(self, unit: UnitKey, blob: bytes) -> None:
        self._judge.restore(unit, blob)
        self._views[unit] = None
        if self._actions:
            self._catch_up(str(incident["id"]) for incident in self._judge.incidents(unit))
        if (wanted := self._forgettings.get(unit)) is not None:
            self._forget_model(wanted)

    def forget(self, unit: UnitKey) -> None:
        self._judge.forget(unit)
        self._views.pop(unit, None)
        self._shown_ms.pop(unit, None)
        self._touched.discard(unit)

    def _view(self, unit: UnitKey) -> OutRecord:
        if self._judge.is_away(unit):
            return OutRecord(self._topics.views, keys.unit_key(unit), None)
        view = orjson.dumps(self._judge.model_view(unit), option=orjson.OPT_SERIALIZE_NUMPY)
        return OutRecord(self._topics.views, keys.unit_key(unit), view)

    def _records(self, effects: Sequence[Effect], now_ms: int | None) -> list[OutRecord]:
        records = []
        for effect in effects:
            self._views[effect.unit] = None
            if isinstance(effect, IncidentRecord):
                value = orjson.dumps(effect.data, option=orjson.OPT_SERIALIZE_NUMPY)
                records.append(OutRecord(self._topics.incidents, effect.id.encode(), value))
            elif isinstance(effect, ReferenceBuilt):
                key = keys.reference_key(effect.reference.model_key)
                if effect.reference.segment is not None:  # beside the whole population's, not in its place
                    key = keys.unit_key(effect.unit)
                records.append(OutRecord(self._topics.references, key, references.encode(effect.reference)))
            elif isinstance(effect, RetrainDecided):
                self._metrics.retrains.add((effect.unit.model, effect.outcome.value))
            else:
                self._count(effect, now_ms)
                records.append(self._event(effect))
        return records

    def _event(self, effect: DriftEvent) -> OutRecord:
        retrain = effect.kind is EventType.RETRAIN_REQUESTED
        topic = self._topics.retrain_requests if retrain else self._topics.drift_events
        event = drift_events.envelope(effect.kind, effect.unit, effect.at_ms, effect.data, *effect.what)
        return drift_events.record(topic, effect.unit, event)

    def _count(self, effect: DriftEvent, now_ms: int | None) -> None:
        if effect.kind is not EventType.INCIDENT_OPENED:
            return
        model, version, data = effect.unit.model, effect.unit.version, effect.data
        self._metrics.detections.add((model, version, str(data.get("kind", "")), str(data.get("severity", ""))))
        if now_ms is not None:
            self._metrics.latency.observe((model,), max(0, now_ms - effect.at_ms) / 1000)
