"""Incidents of a unit's performance: opened when its predictions are right to another degree than was learned.

A drop counts as a changed world, for which the model can be retrained, unless an open incident of its features has
the verdict that their data is broken.
"""

from itertools import pairwise
from typing import Any

from detectors.evidence.sizes import Yardstick
from detectors.evidence.watch import Watch
from detectors.incidents.incident import Action, Incident, IncidentKind, Resolution
from detectors.incidents.verdict import Decision, Reason, Verdict
from detectors.performance.outcome_watch import CORRECT
from stream.judge import feature_rows
from stream.judge.acceptance import accepted_by
from stream.judge.effects import Effect
from stream.judge.incident_log import IncidentLog
from stream.judge.look import Look
from stream.judge.outcomes import OutcomeLog
from stream.judge.retraining import Retraining

CONFIRMED_AFTER_LABELS = 512
"""Labels since an incident was found; as with the events of features, only then a retraining is asked for."""


class Performance:
    """Has no state beside the incidents and the outcomes."""

    __slots__ = ("_log", "_outcomes", "_retraining")

    def __init__(self, log: IncidentLog, outcomes: OutcomeLog, retraining: Retraining) -> None:
        self._log, self._outcomes, self._retraining = log, outcomes, retraining

    def follow(self, look: Look) -> list[Effect]:
        """Judges the labels that came since the last look. To be called after the unit's features were judged."""
        if look.watch is None or look.clock_ms is None:
            return []
        incident = self._log.open_of(IncidentKind.PERFORMANCE)
        effects: list[Effect] = []
        if incident is not None and (by := accepted_by(incident)) is not None:
            self._outcomes.learn_again()
            effects += self._log.resolve(incident, Resolution.ACCEPTED, look, by)
        evidence = look.watch.evidence
        findings = self._outcomes.look(look.clock_ms, evidence.share, evidence.features)
        watch = self._outcomes.watch.watch
        if watch is None:
            return effects
        if incident is not None and findings is not None and findings.returned:
            effects += self._log.resolve(incident, Resolution.BACK, look)
        elif findings is not None and findings.fired:
            effects += self._open(look, watch)
        elif incident is not None and watch.probes:
            effects += self._confirm(look, watch, incident)
        return effects

    def release(self, incident: Incident) -> None:
        """Starts the evidence of the outcomes again; nothing for an incident of another kind."""
        if incident.kind is IncidentKind.PERFORMANCE:
            self._outcomes.release()

    def _open(self, look: Look, watch: Watch) -> list[Effect]:
        decision, row = self._decision(watch)
        return self._log.open_incident(
            IncidentKind.PERFORMANCE,
            look,
            features=[row],
            severity=feature_rows.severity([row]),
            verdict=decision.verdict.value,
            reason=decision.reason.value,
            summary=decision.detail,
            began_at_ms=watch.beginning(0).at_ms,
        )

    def _confirm(self, look: Look, watch: Watch, incident: Incident) -> list[Effect]:
        """Decides again once there are CONFIRMED_AFTER_LABELS, and asks for a retraining where predictions are worse.
        The request describes the incident as it was before."""
        seen = self._outcomes.watch.since_found
        if incident.verdict_events or seen < CONFIRMED_AFTER_LABELS:
            return []
        decision, row = self._decision(watch)
        effects = self._log.change(
            incident,
            Action.UPDATE,
            look.at_ms,
            features=[row],
            verdict=decision.verdict.value,
            reason=decision.reason.value,
            summary=decision.detail,
            verdict_events=seen,
        )
        if _is_worse(watch):
            effects += self._retraining.ask(incident, decision, look, watch.evidence.blame_log10)
        return effects

    def _decision(self, watch: Watch) -> tuple[Decision, dict[str, Any]]:
        """The verdict, and the row of the outcome in an incident."""
        sizes, symptom, _ = watch.present(0, watch.beginning(0).latest)
        row = feature_rows.incident_feature(watch, 0, sizes, symptom)
        del row["began_at_event"], row["began_interval"]  # they count labels
        broken = self._log.open_of(IncidentKind.FEATURE)
        verdict = Verdict.WORLD_CHANGED
        detail = _summary(watch, row)
        if broken is not None and broken.verdict == Verdict.BROKEN_DATA:
            verdict, detail = Verdict.BROKEN_DATA, f"{detail}; {broken.summary}"
        return Decision(verdict, Reason.PERFORMANCE_CHANGE, detail), row


def _summary(watch: Watch, row: dict[str, Any]) -> str:
    before, now = _errors(watch)
    if watch.yardsticks[0].feature.feature == CORRECT:
        return f"{1 - now:.1%} of its predictions are right, {1 - before:.1%} were when this was learned"
    return f"its errors are about {now:.3g} in size, {before:.3g} when this was learned; on average {row['mean']:.3g}"


def _is_worse(watch: Watch) -> bool:
    before, now = _errors(watch)
    return now > before


def _errors(watch: Watch) -> tuple[float, float]:
    """Of the reference and of the present: the share of wrong predictions, or the mean size of errors, as far as bins
    show it."""
    yardstick: Yardstick = watch.yardsticks[0]
    _, _, values = watch.present(0, watch.beginning(0).latest)
    now, before = values[: len(yardstick.counts)], yardstick.counts
    if yardstick.categories:
        sizes = [float(category != "true") for category in yardstick.categories]
    else:
        edges = yardstick.histogram(before)["edges"]
        sizes = [abs(low + high) / 2 for low, high in pairwise(edges)]
    pairs = [(float(b), float(n), size) for b, n, size in zip(before, now, sizes, strict=False)]
    rows_before, rows_now = sum(b for b, _, _ in pairs) or 1.0, sum(n for _, n, _ in pairs) or 1.0
    return sum(b * s for b, _, s in pairs) / rows_before, sum(n * s for _, n, s in pairs) / rows_now
