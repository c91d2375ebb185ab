"""The settings of the observe stage, as one record. ``stream.observe.shell.settings`` makes it from the settings file.

Nothing that the settings file can set has a default here.
"""

import msgspec

from detectors.bank.bank import BankSettings
from detectors.features import Kind
from stream.formats.row import Limits, Rules
from stream.formats.topic_rules import TopicRules
from stream.labels.predictions import PredictionRules

LOOK_EVENTS = 256
"""Fewest events between two looks of one unit: a profile costs about 0.3 ms."""


class ObserveSettings(msgspec.Struct, frozen=True):
    """What the state and the output of the observe stage depend on, besides the records and the references."""

    bank: BankSettings
    message: Limits
    max_models: int
    max_versions: int
    max_segments: int
    max_units: int
    silent_ms: int  # a unit that is silent for longer gives its place back
    late_ms: int
    look_ms: int
    unit_checkpoint_bytes: int
    predictions: PredictionRules
    predictions_of: dict[str, PredictionRules] = {}  # by model, where it differs
    rules: dict[str, Rules] = {}  # by model
    topics_read: dict[str, TopicRules] = {}  # by topic, where the settings have rules of its own
    kinds: dict[str, dict[str, Kind]] = {}  # by model and feature, where the settings name the kind
    look_events: int = LOOK_EVENTS
    recent_ids: int = 1_000  # per unit, to recognise repeated events; 0: they are not recognised
