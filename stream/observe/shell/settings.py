"""Makes the observe stage's settings from the settings file."""

import msgspec

from detectors.bank.bank import BankSettings
from detectors.errors import SettingsError
from detectors.features import Kind
from detectors.sequential.plugins import detector_factory, is_compiled
from stream.formats import registry
from stream.formats.row import Limits, Rules
from stream.formats.topic_rules import AUTO, TopicRules
from stream.labels.predictions import PredictionRules
from stream.observe.settings import LOOK_EVENTS, ObserveSettings
from stream.settings.settings import EventTopic, ModelSettings, Settings

ADWIN_DELTA = 2e-4
"""Where the settings leave it open: one false signal in about 1e7 independent events of u."""


def observe_settings(settings: Settings, *, look_events: int = LOOK_EVENTS) -> ObserveSettings:
    """The part of ``settings`` that the observer needs. ``look_events``: fewest events between two looks of a unit.

    Raises SettingsError for a detector that cannot be used, so that a worker fails at its start and not at the first
    model with a reference, and for a format that does not exist.
    """
    limits, detection = settings.limits, settings.detection
    for name in detection.detectors:
        if not is_compiled(name):
            detector_factory(name)
    return ObserveSettings(
        bank=BankSettings(
            detectors=detection.detectors,
            adwin_delta=detection.adwin_delta or ADWIN_DELTA,
            page_hinkley_threshold=detection.page_hinkley_threshold,
            max_features=limits.features_per_model,
            max_categories=limits.categories_per_feature,
            category_length=limits.category_length,
            max_signals=limits.signals_per_profile,
            max_text_bytes=limits.unit_checkpoint_bytes // 2,
        ),
        message=Limits(limits.event_bytes, limits.rows_per_message, limits.names_per_event),
        rules={
            name: Rules(
                segment_by=model.segment_by,
                ignore=frozenset(model.ignore),
                categorical=frozenset(f for f, own in model.features.items() if own.kind is Kind.CATEGORICAL),
            )
            for name, model in settings.models.items()
        },
        topics_read=_topics(settings),
        kinds={
            name: {feature: own.kind for feature, own in model.features.items() if own.kind is not None}
            for name, model in settings.models.items()
        },
        max_models=limits.models,
        max_versions=limits.versions_per_model,
        max_segments=limits.segments_per_model,
        max_units=limits.units,
        silent_ms=int(86_400_000 * limits.silent_days),
        late_ms=detection.late_ms,
        look_ms=detection.look_ms,
        look_events=look_events,
        unit_checkpoint_bytes=limits.unit_checkpoint_bytes,
        predictions=PredictionRules(limits.predictions_kept),
        predictions_of={name: _predictions(settings, model) for name, model in settings.models.items()},
    )


def _topics(settings: Settings) -> dict[str, TopicRules]:
    """How the records of the topics with settings of their own are read. Raises SettingsError."""
    found = {}
    for one in settings.topics.events:
        if not isinstance(one, EventTopic):
            continue
        if one.format not in (AUTO, *registry.FORMATS):
            names = ", ".join((AUTO, *registry.FORMATS))
            raise SettingsError(f"topics.events: {one.topic}: there is no format {one.format!r}, only {names}")
        members = {**msgspec.structs.asdict(one), "ignore": frozenset(one.ignore)}
        topic = members.pop("topic")
        found[topic] = TopicRules(**members)
    return found


def _predictions(settings: Settings, model: ModelSettings) -> PredictionRules:
    kept = settings.limits.predictions_kept if model.predictions_kept is None else model.predictions_kept
    return PredictionRules(kept, model.objectives.latency.below_ms)
