"""What labels say of a unit's predictions, its shards put together, and how its objectives stand."""

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
    """A share of events that shall be good. ``kind``: accuracy, availability or latency."""

    kind: str
    at_least: float
    below_ms: float | None = None


class OutcomeRules(msgspec.Struct, frozen=True):
    """``task`` None: told from what comes."""

    task: Task | None = None
    objectives: tuple[Objective, ...] = ()

    @property
    def needs_labels(self) -> bool:
        """Whether something is promised that only labels can tell."""
        return any(objective.kind == "accuracy" for objective in self.objectives)


class OutcomeLog:
    """The outcomes of one unit's shards, each the newest that contains the one before in both events and labels."""

    __slots__ = ("_looked", "_patience_ms", "_rules", "labelling", "shards", "watch")

    def __init__(self, rules: OutcomeRules, patience_ms: int, watch: OutcomeWatch) -> None:
        self._rules, self._patience_ms = rules, patience_ms
        self.watch = watch
        self._looked = 0  # labels as of the last look
        self.shards: dict[str, tuple[int, Outcomes]] = {}  # next offset of the events, outcomes
        self.labelling = Labelling()

    def take(self, profile: Profile) -> None:
        """A restored shard reads events and labels again, each in its own time: what it says is taken up once it has
        both as far as before, so that no count falls."""
        if profile.outcomes is None:
            return
        known = self.shards.get(profile.shard)
        place = (profile.next_offset, profile.outcomes.labels_next)
        if known is None or (place[0] >= known[0] and place[1] >= known[1].labels_next):
            self.shards[profile.shard] = (profile.next_offset, profile.outcomes)

    def restore(
        self,
        shards: dict[str, tuple[int, Outcomes]],
        labelling: LabellingState | None,
        watch: OutcomeWatchState | None,
    ) -> None:
        """Everything that is known, from a snapshot of the judge."""
        self.shards, self.labelling = shards, Labelling(labelling)
        if watch is not None:
            self.watch.restore(watch)

    def step(self, now_ms: int) -> None:
        """To be called when profiles were taken, at ``now_ms`` of event time."""
        self.labelling.update(now_ms, self._predicted, self._labelled, self._patience_ms)

    def look(self, now_ms: int, share: float, beside: int) -> Findings | None:
        """See ``OutcomeWatch.look``; nothing is done where no label came."""
        if (labelled := self._labelled) == self._looked:
            return None
        self._looked = labelled
        totals = self._totals()
        return self.watch.look(totals, self._task(totals), now_ms, share, beside)

    def together(self, features: Watch) -> float:
        """log10 A of the model: its features' mean evidence with that of its outcomes, one more part of the mean."""
        if self.watch.watch is None:
            return features.model_log10
        own = float(self.watch.watch.feature_log10[0]) - math.log10(features.evidence.features + 1)
        return float(np.logaddexp(features.model_log10 * LN10, own * LN10)) / LN10

    def release(self) -> None:
        """What was reported of it is over: its evidence begins anew."""
        if self.watch.watch is not None:
            self.watch.watch.release(list(self.watch.watch.probes))

    def learn(self) -> None:
        """The present is how right the model is from now on."""
        totals = self._totals()
        self.watch.learn(totals, self._task(totals))

    def _totals(self) -> Outcomes:
        return outcomes.totals(shard for _, shard in self.shards.values())

    def _task(self, totals: Outcomes) -> Task:
        return self._rules.task or outcomes.task_of(totals.total)

    @property
    def watched(self) -> int:
        """How many features the model's outcomes are, once they are learned."""
        return int(self.watch.watch is not None)

    @property
    def _predicted(self) -> int:
        return sum(shard.total.predicted for _, shard in self.shards.values())

    @property
    def _labelled(self) -> int:
        return sum(shard.total.labelled for _, shard in self.shards.values())

    @property
    def standing(self) -> Labels:
        """How it stands with the labels."""
        return self.labelling.standing(self._rules.needs_labels)

    @property
    def blind(self) -> tuple[BlindReason, str] | None:
        """Why nobody knows how right the model is, where labels are promised or read."""
        standing, since = self.standing, self.labelling.state
        if since is None or standing not in (Labels.UNMATCHED, Labels.MISSING):
            return None
        made = f"its last {self._predicted - since.predicted:,} predictions"
        if standing is Labels.UNMATCHED:
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
                "labels": self.standing.value,
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
            "objectives": [_standing(objective, merged.total, recent, task) for objective in rules.objectives],
        }


def _standing(objective: Objective, total: Tally, recent: Tally, task: Task) -> dict[str, Any]:
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
    """Good events, and all that count."""
    if objective.kind == "availability":
        return tally.events - tally.errors, tally.events
    if objective.kind == "latency":
        return tally.in_time, tally.timed
    if task is Task.PROBABILITY:
        return tally.binary_correct, tally.binary
    return tally.correct, tally.labelled - tally.incomparable


def _delay(tally: Tally) -> float | None:
    return tally.delay_ms / tally.labelled / 1000 if tally.labelled else None
