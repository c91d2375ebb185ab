"""What labels say of a unit's predictions, its shards put together, and how its objectives stand."""

from typing import Any

import msgspec

from detectors import outcomes
from detectors.outcomes import Outcomes, Tally, Task
from detectors.profiles import Profile


class Objective(msgspec.Struct, frozen=True):
    """A share of events that shall be good. ``kind``: accuracy, availability or latency."""

    kind: str
    at_least: float
    below_ms: float | None = None


class OutcomeRules(msgspec.Struct, frozen=True):
    """``task`` None: told from what comes."""

    task: Task | None = None
    objectives: tuple[Objective, ...] = ()


class OutcomeLog:
    """The outcomes of one unit's shards, each the newest that contains the one before in both events and labels."""

    __slots__ = ("shards",)

    def __init__(self) -> None:
        self.shards: dict[str, tuple[int, Outcomes]] = {}  # next offset of the events, outcomes

    def take(self, profile: Profile) -> None:
        """A restored shard reads events and labels again, each in its own time: what it says is taken up once it has
        both as far as before, so that no count falls."""
        if profile.outcomes is None:
            return
        known = self.shards.get(profile.shard)
        place = (profile.next_offset, profile.outcomes.labels_next)
        if known is None or (place[0] >= known[0] and place[1] >= known[1].labels_next):
            self.shards[profile.shard] = (profile.next_offset, profile.outcomes)

    def view(self, rules: OutcomeRules) -> dict[str, Any]:
        """Members ``performance`` and ``objectives`` of the model's detail."""
        merged = outcomes.merged([shard for _, shard in self.shards.values()])
        task = rules.task or outcomes.task_of(merged.total)
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
