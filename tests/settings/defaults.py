"""The records of the stages as the default settings make them, for tests: nothing else has these defaults."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from detectors.bank.bank import BankSettings
from detectors.evidence.sheets import EvidenceSettings
from stream.formats.decoder import Decoder
from stream.formats.row import Limits, Rules
from stream.judge import settings as of_judge
from stream.judge.settings import JudgeSettings
from stream.labels.predictions import PredictionRules
from stream.observe.settings import ObserveSettings
from stream.observe.shell import settings as of_observer
from stream.settings.settings import Settings

_OBSERVE = of_observer.observe_settings(Settings())
_JUDGE = of_judge.judge_settings(Settings())


def observe_settings(**changes: Any) -> ObserveSettings:
    return replace(_OBSERVE, **changes)


def bank_settings(**changes: Any) -> BankSettings:
    return replace(_OBSERVE.bank, **changes)


def message_limits(**changes: Any) -> Limits:
    return replace(_OBSERVE.message, **changes)


def default_decoder(rules: Mapping[str, Rules] | None = None, limits: Limits = _OBSERVE.message) -> Decoder:
    return Decoder(rules or {}, limits)


def prediction_rules(**changes: Any) -> PredictionRules:
    return replace(_OBSERVE.predictions, **changes)


def judge_settings(**changes: Any) -> JudgeSettings:
    return replace(_JUDGE, **changes)


def evidence_settings(**changes: Any) -> EvidenceSettings:
    return replace(_JUDGE.evidence, **changes)
