"""The settings of the judge, as one record, and how it is made from the settings file."""

import msgspec

from detectors.evidence.sheets import EvidenceSettings
from detectors.incidents.retrain import RetrainGuard
from detectors.performance.outcome_watch import OutcomeWatch
from stream.judge.outcomes import Objective, OutcomeLog, OutcomeRules
from stream.settings.settings import ModelSettings, Settings


class BlindRules(msgspec.Struct, frozen=True):
    """When a unit counts as blind; see ``BlindSettings``."""

    silent_factor: float
    min_silent_ms: int
    max_silent_ms: int
    lag_ms: int
    lag_records: int
    invalid_share: float
    invalid_records: int
    labels_ms: int


class SlotRules(msgspec.Struct, frozen=True):
    """How profiles wait for all partitions. ``topics``: the events topics that are read. ``disorder_ms``: how much
    later than newer events of other partitions an event may come. ``look_ms``: event time between two looks."""

    topics: tuple[str, ...]
    disorder_ms: int
    look_ms: int


class JudgeSettings(msgspec.Struct, frozen=True):
    """What the judge depends on, besides the profiles and the references. ``judge_settings`` makes it.

    Nothing that the settings file can set has a default here. ``budgets`` (false alarms a month), ``learning``
    (events) and ``outcomes``: by model, where a model has its own.
    """

    evidence: EvidenceSettings
    learning_events: int
    warning_share: float
    resolve_after_events: int
    blind: BlindRules
    retrain: RetrainGuard
    budgets: dict[str, float] = {}
    learning: dict[str, int] = {}
    outcomes: dict[str, OutcomeRules] = {}
    slots: SlotRules | None = None
    """None: a profile is judged when it arrives, whether it has a slot or not."""
    reopen_ms: int = 0
    """Event time within which a change of the same features reopens an incident; 0: never."""
    strata_kept: int = 2
    """Hours of the day whose bets are kept ready. A day has 24, or 48 with weekends apart: keep all of them if days of
    events pass in seconds."""

    @property
    def shortest_look_ms(self) -> int:
        """Event time between two looks; 0 where profiles are judged on arrival."""
        return 0 if self.slots is None else self.slots.look_ms

    def outcome_log(self, model: str) -> OutcomeLog:
        """An empty log of outcomes for a unit, with the model's own objectives and budget."""
        watch = OutcomeWatch(self.evidence_of(model), self.resolve_after_events)
        return OutcomeLog(self.outcomes.get(model) or OutcomeRules(), self.blind.labels_ms, watch)

    def evidence_of(self, model: str) -> EvidenceSettings:
        """The evidence's settings with the model's own budget."""
        budget = self.budgets.get(model)
        if budget is None:
            return self.evidence
        return msgspec.structs.replace(self.evidence, false_alarms_per_month=budget)


def judge_settings(settings: Settings) -> JudgeSettings:
    """The part of ``settings`` that the judge needs."""
    blind, retrain, detection = settings.blind, settings.retrain, settings.detection
    own = {name: settings.model(name) for name in settings.models}
    return JudgeSettings(
        evidence=EvidenceSettings(
            settings.false_alarms_per_model_per_month,
            detection.tolerance,
            detection.band_z,
            event_times="slots" if detection.season == "auto" else "none",
        ),
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
        slots=SlotRules(settings.topics.event_names, detection.disorder_ms, detection.look_ms),
        reopen_ms=int(1000 * detection.reopen_seconds),
    )


def _outcome_rules(model: ModelSettings) -> OutcomeRules:
    own = model.objectives
    shares = {"accuracy": own.accuracy, "availability": own.availability}
    objectives = [Objective(kind, share.at_least) for kind, share in shares.items() if share.at_least is not None]
    if own.latency.at_least is not None:
        objectives.append(Objective("latency", own.latency.at_least, own.latency.below_ms))
    return OutcomeRules(model.task, tuple(objectives))
