"""The effects of the pure judge as records, and what is counted of them."""

import orjson

from detectors.reference import reference as references
from stream.judge.effects import DriftEvent, Effect, IncidentRecord, ReferenceBuilt, RetrainDecided
from stream.metrics.registry import Metrics
from stream.settings.settings import Settings
from stream.topics import drift_events, keys
from stream.topics.drift_events import EventType
from stream.topics.record import OutRecord


class EffectWriter:
    """Makes the records of effects, and counts detections and retrain requests."""

    __slots__ = ("_metrics", "_topics")

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._topics, self._metrics = settings.topics, metrics

    def records(self, effect: Effect, now_ms: int | None) -> list[OutRecord]:
        """The records of an effect. ``now_ms`` None: it comes from no event, so no detection latency is measured."""
        if isinstance(effect, IncidentRecord):
            value = orjson.dumps(effect.data, option=orjson.OPT_SERIALIZE_NUMPY)
            return [OutRecord(self._topics.incidents, effect.id.encode(), value)]
        if isinstance(effect, ReferenceBuilt):
            key = keys.reference_key(effect.reference.model_key)
            if effect.reference.segment is not None:  # kept in addition to the reference of the whole population
                key = keys.unit_key(effect.unit)
            return [OutRecord(self._topics.references, key, references.encode(effect.reference))]
        if isinstance(effect, RetrainDecided):
            self._metrics.retrains.increase((effect.unit.model, effect.outcome.value))
            return []
        self._count_detection(effect, now_ms)
        return [self._event(effect)]

    def _event(self, effect: DriftEvent) -> OutRecord:
        retrain = effect.kind is EventType.RETRAIN_REQUESTED
        topic = self._topics.retrain_requests if retrain else self._topics.drift_events
        event = drift_events.envelope(effect.kind, effect.unit, effect.at_ms, effect.data, *effect.what)
        return drift_events.record(topic, effect.unit, event)

    def _count_detection(self, effect: DriftEvent, now_ms: int | None) -> None:
        if effect.kind is not EventType.INCIDENT_OPENED:
            return
        model, version, data = effect.unit.model, effect.unit.version, effect.data
        self._metrics.detections.increase((model, version, str(data.get("kind", "")), str(data.get("severity", ""))))
        if now_ms is not None:
            self._metrics.times.latency.observe((model,), max(0, now_ms - effect.at_ms) / 1000)
