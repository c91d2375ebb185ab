"""The state of a unit and the reason for it; a change of state is published.

The states, the first that applies: forgotten, blind (its data is not seen), learning, blind (its reference has not been
read), drift, blind (its labels do not come), warning, stable. A unit that would be learning or stable is quiet where no
event comes at an hour that is usually silent.
"""

import msgspec

from detectors.features import UnitKey
from detectors.incidents.blindness import BlindReason
from detectors.incidents.incident import IncidentKind
from detectors.incidents.states import State
from stream.judge.effects import DriftEvent, Effect, Health
from stream.judge.incident_log import IncidentLog
from stream.judge.look import Look
from stream.judge.outcomes import OutcomeLog
from stream.judge.quarantine import Quarantines
from stream.judge.settings import JudgeSettings
from stream.judge.sight import Sight
from stream.topics.drift_events import EventType
from stream.topics.requests import ForgetRequest


class StandingState(msgspec.Struct, frozen=True):
    """The snapshot of a ``Standing``."""

    state: str
    transitions: int
    forgotten: ForgetRequest | None
    away: bool


class Standing:
    """``transitions``: changes of state that were published. ``forgotten``: the newest request to forget the unit;
    ``away``: it is forgotten and has sent no event since. ``quarantines``: why it is not watched, though its data is
    seen."""

    __slots__ = ("_log", "_outcomes", "_unit", "_warning_share", "away", "forgotten", "quarantines", "sight",
                 "state", "transitions")  # fmt: skip

    def __init__(self, unit: UnitKey, settings: JudgeSettings, log: IncidentLog, outcomes: OutcomeLog) -> None:
        self._unit, self._warning_share = unit, settings.warning_share
        self._log, self._outcomes = log, outcomes
        self.sight = Sight(settings.blind)
        self.quarantines = Quarantines()
        self.state = State.LEARNING.value
        self.transitions = 0
        self.forgotten: ForgetRequest | None = None
        self.away = False

    def check_sight(self, look: Look, now_ms: int, health: Health) -> list[Effect]:
        """Checks at ``now_ms`` of wall time whether the unit's data is seen; does nothing for a forgotten unit."""
        if self.away:
            return []
        self.sight.check(self._unit.model, look, now_ms, health)
        held = self.quarantines
        if held.places:
            self.sight.cover(BlindReason.QUARANTINED if held.faulty else BlindReason.REFUSED, held.reason)
        return self.publish_state(look)

    def holds(self, request: ForgetRequest) -> bool:
        """Whether this request to forget the unit has been applied before."""
        return self.forgotten is not None and request.id == self.forgotten.id

    def forget(self, request: ForgetRequest) -> None:
        """Forgets the unit until it sends events again."""
        self.forgotten, self.away = request, True
        self.sight.clear()

    def wake(self) -> None:
        """Notes that a forgotten unit sends events again."""
        self.away = False

    def publish_state(self, look: Look) -> list[Effect]:
        """The drift event of a changed state; empty if the state is already published."""
        state = self._state(look).value
        if state == self.state and self.transitions:
            return []
        before, self.state = self.state, state
        self.transitions += 1
        reason = self.reason(look)
        if before == State.FORGOTTEN and self.forgotten is not None:
            reason = f"sends events again after {self.forgotten.by} had it forgotten" + (reason and f"; {reason}")
        data = {
            "model": self._unit.model,
            "version": self._unit.version,
            "segment": self._unit.segment,
            "state": state,
            "previous": before if self.transitions > 1 else None,
            "reason": reason,
            "events": look.events,
            "season_covered": look.season_covered,
            "moved_while_learned": look.moved_while_learned,
        }
        return [DriftEvent(EventType.MODEL_STATE, self._unit, look.at_ms, data, (self.transitions,))]

    def _state(self, look: Look) -> State:
        state = self._judged_state(look)
        hidden = self.sight.quiet is not None and state in (State.LEARNING, State.STABLE)
        return State.QUIET if hidden else state

    def _judged_state(self, look: Look) -> State:
        if self.away:
            return State.FORGOTTEN
        if self.sight.reason is not None:
            return State.BLIND
        if look.digest is None:
            return State.LEARNING
        if look.watch is None:
            return State.BLIND
        if self._log.open_of(IncidentKind.FEATURE) or self._log.open_of(IncidentKind.PERFORMANCE):
            return State.DRIFT
        if self._outcomes.blind is not None:  # the data is seen; whether the model is right is not known
            return State.BLIND
        if self._log.open_of(IncidentKind.ENVIRONMENT) is not None:
            return State.WARNING
        bar = self._warning_share * look.watch.evidence.threshold_log10
        return State.WARNING if self._outcomes.model_log10(look.watch) >= max(bar, 1.0) else State.STABLE

    def reason(self, look: Look) -> str:
        """Why the unit is in its state, as a text; empty for a good state."""
        if self.away and self.forgotten is not None:
            return f"{self.forgotten.by} had it forgotten" + (self.forgotten.note and f": {self.forgotten.note}")
        if self.sight.reason is not None or self.state == State.QUIET:
            return self.sight.detail
        if look.digest is not None and look.watch is None:
            return f"the reference {look.digest[:19]} has not been read"
        if self.state == State.BLIND and self._outcomes.blind is not None:
            return self._outcomes.blind[1]
        if self.state in (State.DRIFT, State.WARNING):
            found = next(filter(None, map(self._log.open_of, IncidentKind)), None)
            return found.summary if found is not None else "evidence of a change is gathering"
        return ""

    def continue_from(self, before: "Standing") -> None:
        """Continues the published state, the requests and the sight of ``before``, whose unit is judged anew."""
        self.state, self.transitions = before.state, before.transitions
        self.forgotten, self.away = before.forgotten, before.away
        self.sight, self.quarantines = before.sight, before.quarantines

    def snapshot(self) -> StandingState:
        return StandingState(self.state, self.transitions, self.forgotten, self.away)

    def restore(self, state: StandingState) -> None:
        self.state, self.transitions = state.state, state.transitions
        self.forgotten, self.away = state.forgotten, state.away
        if self.state == State.QUIET:
            self.sight.stay_quiet()
