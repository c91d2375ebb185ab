"""What the judge is set to, and how the settings file says it."""

import msgspec

from detectors.evidence.sheets import EvidenceSettings
from detectors.incidents.retrain import RetrainGuard
from detectors.performance.outcome_watch import OutcomeWatch
from stream.judge.outcomes import Objective, OutcomeLog, OutcomeRules
from stream.settings.settings import ModelSettings, Settings


class BlindRules(msgspec.Struct, frozen=True):
    """See config.BlindSettings."""

    silent_factor: float = 20.0
    min_silent_ms: int = 60_000
    max_silent_ms: int = 3_600_000
    lag_ms: int = 60_000
    lag_records: int = 1_000_000
    invalid_share: float = 0.5
    invalid_records: int = 100
    labels_ms: int = 86_400_000


class JudgeSettings(msgspec.Struct, frozen=True):
    """``budgets`` and ``learning``: by model, where it differs."""

    evidence: EvidenceSettings = EvidenceSettings()
    budgets: dict[str, float] = {}
    learning_events: int = 10_000
    learning: dict[str, int] = {}
    warning_share: float = 0.75
    resolve_after_events: int = 1_000
    strata_kept: int = 2  # a day's hours are 24, or 48 with weekends; who runs through days in seconds keeps all
    blind: BlindRules = BlindRules()
    retrain: RetrainGuard = RetrainGuard()
    outcomes: dict[str, OutcomeRules] = {}

    def outcome_log(self, model: str) -> OutcomeLog:
        """What keeps a unit's outcomes, under the model's own objectives and budget."""
        watch = OutcomeWatch(self.evidence_of(model), self.resolve_after_events)
        return OutcomeLog(self.outcomes.get(model) or OutcomeRules(), self.blind.labels_ms, watch)

    def evidence_of(self, model: str) -> EvidenceSettings:
        """The model's own budget in place."""
        budget = self.budgets.get(model)
        if budget is None:
            return self.evidence
        return msgspec.structs.replace(self.evidence, false_alarms_per_month=budget)


def judge_settings(settings: Settings) -> JudgeSettings:
    """The judge's part of ``settings``."""
    blind, retrain, detection = settings.blind, settings.retrain, settings.detection
    own = {name: settings.model(name) for name in settings.models}
    return JudgeSettings(
        evidence=EvidenceSettings(settings.false_alarms_per_model_per_month, detection.tolerance, detection.band_z),
        budgets={n: m.false_alarms_per_model_per_month or 1.0 for n, m in own.items()},
        learning_events=settings.learning_events,
        learning={n: m.learning_events or settings.learning_events for n, m in own.items()},
        warning_share=detection.warning_share,
        resolve_after_events=detection.resolve_after_events,
        blind=BlindRules(
            blind.silent_factor,
            int(1000 * blind.min_silent_seconds),
            int(1000 * blind.max_silent_seconds),
            int(1000 * blind.lag_seconds),
            blind.lag_records,
            blind.invalid_share,
            blind.invalid_records,
            int(1000 * blind.labels_seconds),
        ),
        retrain=RetrainGuard(
            retrain.enabled, retrain.dry_run, int(1000 * retrain.cooldown_seconds), retrain.weekly_cap
        ),
        outcomes={name: _outcome_rules(model) for name, model in own.items()},
    )


def _outcome_rules(model: ModelSettings) -> OutcomeRules:
    own = model.objectives
    shares = {"accuracy": own.accuracy, "availability": own.availability}
    objectives = [Objective(kind, share.at_least) for kind, share in shares.items() if share.at_least is not None]
    if own.latency.at_least is not None:
        objectives.append(Objective("latency", own.latency.at_least, own.latency.below_ms))
    return OutcomeRules(model.task, tuple(objectives))
