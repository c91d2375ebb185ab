"""Each setting has one default, that of the settings file: the records of the stages repeat none."""

import msgspec
import pytest

from detectors.bank.bank import BankSettings
from detectors.evidence.sheets import EvidenceSettings
from detectors.incidents.retrain import RetrainGuard
from stream.formats.row import Limits
from stream.judge.settings import BlindRules, JudgeSettings
from stream.labels.predictions import PredictionRules
from stream.observe.counts import UnitSettings
from stream.observe.settings import ObserveSettings
from stream.settings.settings import Settings

NO_SETTING = {
    "share_tolerance",
    "event_times",  # of the stream; detection.season decides whether they count
    "max_environments",
    "strata_kept",
    "look_events",
    "recent_ids",
    "latency_below_ms",  # of a model without the objective: None
    # by model, empty where no model has its own
    "budgets",
    "learning",
    "outcomes",
    "predictions_of",
    "topics_read",
    "rules",
    "slots",  # None: judged on arrival
    "reopen_ms",  # 0: never
    "kinds",
}
"""Members with a default, which the settings file cannot set or names only by model."""


RECORDS: tuple[type[msgspec.Struct], ...] = (
    Limits, ObserveSettings, UnitSettings, BankSettings, PredictionRules, JudgeSettings, BlindRules, EvidenceSettings,
    RetrainGuard,
)  # fmt: skip


@pytest.mark.parametrize("record", RECORDS)
def test_a_record_of_a_stage_has_no_default_for_a_setting(record: type[msgspec.Struct]) -> None:
    with_default = _with_default(record)
    assert with_default <= NO_SETTING
    assert not with_default & _names(Settings)


def test_the_list_of_what_is_no_setting_names_only_members_with_a_default() -> None:
    assert set().union(*map(_with_default, RECORDS)) == NO_SETTING


def _with_default(record: type[msgspec.Struct]) -> set[str]:
    return {field.name for field in msgspec.structs.fields(record) if not field.required}


def _names(record: type[msgspec.Struct]) -> set[str]:
    """Every name in the settings file, at any depth."""
    found: set[str] = set()
    for field in msgspec.structs.fields(record):
        found.add(field.name)
        if isinstance(field.default, msgspec.Struct):
            found |= _names(type(field.default))
    return found
