"""The performance of a unit's predictions: the outcomes of its shards added up, and the objectives for them."""

import math
from typing import Any

import msgspec
import numpy as np

from detectors import outcomes
from detectors.evidence.watch import Findings, Watch
from detectors.incidents.blindness import BlindReason
from detectors.outcomes import Outcomes, Tally, Task
from detectors.performance.label_arrival import Labelling, LabellingState, Labels
from detectors.performance.outcome_watch import OutcomeWatch, OutcomeWatchState
from detectors.profiles import Profile

LN10 = math.log(10)


class Objective(msgspec.Struct, frozen=True):
    """The share of events that must be good. ``kind``: accuracy, availability or latency."""

    kind: str
    at_least: float
    below_ms: float | None = None


class OutcomeRules(msgspec.Struct, frozen=True):
    """What a model is measured by. ``task`` None: recognised from the labels that come."""

    task: Task | None = None
    objectives: tuple[Objective, ...] = ()

    @property
    def needs_labels(self) -> bool:
        """Whether there is an objective that only labels can measure."""
        return any(objective.kind == "accuracy" for objective in self.objectives)


class OutcomesState(msgspec.Struct, frozen=True):
    """The snapshot of an ``OutcomeLog``."""

    outcomes: dict[str, tuple[int, Outcomes]]
    labelling: LabellingState | None
    outcome_watch: OutcomeWatchState | None


class OutcomeLog:
    """The outcomes of one unit's shards. ``shards``: by name the next offset of the events, and the newest outcomes
    that contain the ones before in both events and labels."""

    __slots__ = ("_looked", "_patience_ms", "_rules", "labelling", "shards", "watch")

    def __init__(self, rules: OutcomeRules, patience_ms: int, watch: OutcomeWatch) -> None:
        self._rules, self._patience_ms = rules, patience_ms
        self.watch = watch
        self._looked = 0  # labels as of the last look
        self.shards: dict[str, tuple[int, Outcomes]] = {}
        self.labelling = Labelling()

    def fold_in(self, profile: Profile) -> None:
        """Keeps the profile's outcomes. A restored shard reads events and labels again, each at its own pace, so that
        its counts may be lower for a while: the old ones are kept until both its offsets have caught up."""
        if profile.outcomes is None:
            return
        known = self.shards.get(profile.shard)
        place = (profile.next_offset, profile.outcomes.labels_next)
        if known is None or (place[0] >= known[0] and place[1] >= known[1].labels_next):
            self.shards[profile.shard] = (profile.next_offset, profile.outcomes)

    def count_labels_read(self, labels: int) -> None:
        """Notes how many labels of the model this process has read since its start."""
        self.labelling.record_read(labels)

    def advance(self, now_ms: int) -> None:
        """Checks at ``now_ms`` of event time whether labels still come. Call it after profiles were folded in."""
        self.labelling.update(now_ms, self._predicted, self._labelled, self._patience_ms)

    def snapshot(self) -> OutcomesState:
        return OutcomesState(self.shards, self.labelling.state, self.watch.snapshot())

    def restore(self, state: OutcomesState) -> None:
        self.shards, self.labelling = dict(state.outcomes), Labelling(state.labelling)
        if state.outcome_watch is not None:
            self.watch.restore(state.outcome_watch)

    def look(self, now_ms: int, share: float, beside: int) -> Findings | None:
        """See ``OutcomeWatch.look``. None if no label came since the last look."""
        if (labelled := self._labelled) == self._looked:
            return None
        self._looked = labelled
        totals = self._totals()
        return self.watch.look(totals, self._task(totals), now_ms, share, beside)

    def model_log10(self, features: Watch) -> float:
        """log10 A of the model: the mean evidence of its features and, as one more part of the mean, its outcomes."""
        if self.watch.watch is None:
            return features.model_log10
        own = float(self.watch.watch.feature_log10[0]) - math.log10(features.evidence.features + 1)
        return float(np.logaddexp(features.model_log10 * LN10, own * LN10)) / LN10

    def release(self) -> None:
        """Starts the evidence again, after an incident was closed."""
        if self.watch.watch is not None:
            self.watch.watch.release(list(self.watch.watch.probes))

    def learn_again(self) -> None:
        """Makes the present the reference: the model's performance is learned again, from the labels that come next."""
        totals = self._totals()
        self.watch.learn(totals, self._task(totals))

    def _totals(self) -> Outcomes:
        return outcomes.totals(shard for _, shard in self.shards.values())

    def _task(self, totals: Outcomes) -> Task:
        return self._rules.task or outcomes.task_of(totals.total)

    @property
    def watched(self) -> int:
        """How many features the outcomes add to the model: 1 once their reference is learned."""
        return int(self.watch.watch is not None)

    @property
    def _predicted(self) -> int:
        return sum(shard.total.predicted for _, shard in self.shards.values())

    @property
    def _labelled(self) -> int:
        return sum(shard.total.labelled for _, shard in self.shards.values())

    @property
    def labels(self) -> Labels:
        """The state of the unit's labels."""
        return self.labelling.standing(self._rules.needs_labels)

    @property
    def blind(self) -> tuple[BlindReason, str] | None:
        """Why the performance of a model that needs labels, or gets some, is not known; None otherwise."""
        labels, since = self.labels, self.labelling.state
        if since is None or labels not in (Labels.UNMATCHED, Labels.MISSING):
            return None
        made = f"its last {self._predicted - since.predicted:,} predictions"
        if labels is Labels.UNMATCHED:
            read = f"{self.labelling.read_since:,} labels were read"
            return BlindReason.UNMATCHED_LABELS, f"its performance is not known: {read}, next to none is of {made}"
        if not self._rules.needs_labels:
            return None
        return BlindReason.MISSING_LABELS, f"its performance is not known: next to no label came for {made}"

    def view(self) -> dict[str, Any]:
        """Members ``performance`` and ``objectives`` of the model's detail."""
        rules = self._rules
        merged = outcomes.merged([shard for _, shard in self.shards.values()])
        task = self._task(merged)
        recent = outcomes.recent(merged)
        return {
            "performance": {
                "task": task.value if merged.total.labelled else None,
                "events": merged.total.events,
                "predicted": merged.total.predicted,
                "labelled": merged.total.labelled,
                "incomparable": merged.total.incomparable,
                "measures": outcomes.measures(merged.total, task),
                "mean_delay_seconds": _delay(merged.total),
                "labels": self.labels.value,
                "labels_since_ms": self.labelling.state.at_ms if self.labelling.state is not None else None,
                "recent": {
                    "hours": outcomes.RECENT_HOURS,
                    "predicted": recent.predicted,
                    "labelled": recent.labelled,
                    "measures": outcomes.measures(recent, task),
                },
                "history": [
                    {
                        "from_ms": hour * outcomes.HOUR_MS,
                        "predicted": tally.predicted,
                        "labelled": tally.labelled,
                        "measures": outcomes.measures(tally, task),
                    }
                    for hour, tally in merged.hours.items()
                ],
            },
            "objectives": [_objective_row(objective, merged.total, recent, task) for objective in rules.objectives],
        }


def _objective_row(objective: Objective, total: Tally, recent: Tally, task: Task) -> dict[str, Any]:
    good, events = _good(objective, total, task)
    recent_good, recent_events = _good(objective, recent, task)
    return {
        "objective": objective.kind,
        "at_least": objective.at_least,
        "below_ms": objective.below_ms,
        "good": good,
        "events": events,
        "recent_ratio": recent_good / recent_events if recent_events else None,
    }


def _good(objective: Objective, tally: Tally, task: Task) -> tuple[int, int]:
    """The number of good events, and of all events that count for the objective."""
    if objective.kind == "availability":
        return tally.events - tally.errors, tally.events
    if objective.kind == "latency":
        return tally.in_time, tally.timed
    if task is Task.PROBABILITY:
        return tally.binary_correct, tally.binary
    return tally.correct, tally.labelled - tally.incomparable


def _delay(tally: Tally) -> float | None:
    return tally.delay_ms / tally.labelled / 1000 if tally.labelled else None
