"""One unit's judge: adds up its shards, makes one Look of them and passes it to the parts that judge.

The parts (evidence, incidents, verdicts, acceptance, performance, state) return effects, in the order in which they are
called here; each keeps its own state. The clock is the events' own time. The wall clock decides only whether the unit
is blind.
"""

from collections.abc import Container, Sequence
from functools import reduce

from detectors import merging
from detectors.evidence.counts import Counts, no_counts
from detectors.evidence.watch import shown
from detectors.features import UnitKey
from detectors.incidents.incident import Change, Resolution, Status
from detectors.merging import Step
from detectors.profiles import Profile
from detectors.reference.reference import ACCEPTED, Reference
from stream.judge import snapshot
from stream.judge.acceptance import Acceptance
from stream.judge.baselines import Baselines, BaselinesState
from stream.judge.current_reference import Bound, CurrentReference, ReferenceState
from stream.judge.effects import Effect, Health, new_signals
from stream.judge.environment import Environment, EnvironmentState
from stream.judge.feature_incidents import FeatureIncidents
from stream.judge.incident_log import IncidentLog, IncidentsState
from stream.judge.learning import Learning, LearningState
from stream.judge.look import Look
from stream.judge.outcomes import OutcomesState
from stream.judge.performance import Performance
from stream.judge.quarantine import QuarantineState
from stream.judge.retraining import Retraining, RetrainingState
from stream.judge.settings import JudgeSettings
from stream.judge.shard import count_new_environments
from stream.judge.shards import Shards, ShardsState
from stream.judge.sight import SightState
from stream.judge.slot_buffer import Due, SlotsState
from stream.judge.standing import Standing, StandingState
from stream.judge.verdicts import Verdicts
from stream.topics import requests
from stream.topics.requests import ForgetRequest

Span = tuple[int, int]


class UnitJudge:
    """``bound(unit, digest)`` returns the reference and a new Watch, or None if that reference has not been read yet;
    ``known``: digests of all references read so far. ``first_offset``: the offset of its first profile in its topic.

    ``look``: the unit as of the newest profiles.
    """

    __slots__ = (
        "acceptance",
        "baselines",
        "current",
        "environment",
        "features",
        "learning",
        "log",
        "look",
        "outcomes",
        "performance",
        "retraining",
        "shards",
        "standing",
        "unit",
        "verdicts",
    )

    def __init__(
        self, unit: UnitKey, settings: JudgeSettings, bound: Bound, known: Container[str | None], first_offset: int = 0
    ) -> None:
        wanted = settings.learning.get(unit.model, settings.learning_events)
        self.unit = unit
        self.shards = Shards(settings.shortest_look_ms, first_offset)
        self.current = CurrentReference(unit, bound, known)
        self.learning = Learning(unit, wanted)
        self.log = IncidentLog(unit)
        self.retraining = Retraining(unit, settings.retrain)
        self.outcomes = settings.outcome_log(unit.model)
        self.environment = Environment(self.log, settings.resolve_after_events)
        self.features = FeatureIncidents(self.log, self.environment, settings.reopen_ms)
        self.performance = Performance(self.log, self.outcomes, self.retraining)
        self.baselines = Baselines(self.log)
        self.verdicts = Verdicts(self.log, self.baselines, self.environment, self.retraining)
        self.acceptance = Acceptance(unit, wanted, self.log, self.baselines)
        self.standing = Standing(unit, settings, self.log, self.outcomes)
        self.look = self._new_look()

    def refresh(self) -> None:
        """Sets ``look`` to the unit as of the newest profiles."""
        self.look = self._new_look()

    def _new_look(self) -> Look:
        current, shards = self.current, self.shards
        present = shards.under(current.digest)
        return Look(shards.events, shards.clock_ms, current.digest, current.reference, current.watch, present)

    def on_slot(self, due: Due, newest: str | None, sharers: int) -> list[Effect]:
        """Looks at the profiles of a slot end that all partitions have passed; their arrival was noted before."""
        before = {name: profile.events for name, profile in self.shards.newest.items()}
        effects = self.on_profiles(due.profiles, newest, None, sharers)
        self.shards.slots.record_look(due, before, self.shards.newest)
        return effects

    def on_profiles(
        self, profiles: Sequence[Profile], newest: str | None, now_ms: int | None, sharers: int
    ) -> list[Effect]:
        """Folds ``profiles`` in and judges once. ``newest``: digest of the model's newest reference. ``now_ms``: wall
        time of their arrival; None: of a slot, noted before. ``sharers``: units that share the model's budget."""
        effects: list[Effect] = []
        arrived: Counts | None = None
        clock_ms = self.shards.clock_ms
        parts: list[tuple[Profile | None, Profile]] = []
        environments: dict[str, int] = {}
        new_events = False
        for profile in profiles:
            self.outcomes.fold_in(profile)
            before, step = self.shards.held(profile, self.current.wanted(profile.epoch.reference, newest))
            if step is Step.IGNORED:
                continue
            self.current.share_budget(sharers)  # not for a profile that is delivered again
            brings_events = before is None or profile.events > before.events
            new_events = new_events or brings_events
            self.standing.sight.note_profile(before, profile, brings_events, now_ms)
            if step is not Step.NEXT or profile.epoch.reference != self.current.digest:
                effects += self._follow_epoch(profile.epoch.reference, newest)
            delta = self._fold_in(profile, step)
            count_new_environments(environments, before if step is Step.NEXT else None, profile)
            effects += new_signals(self.unit, before, profile)
            if delta is not None and profile.epoch.reference == self.current.digest:
                arrived = delta if arrived is None else arrived.plus(delta)
                parts.append((before, profile))
            self.shards.advance_clock(profile)
        self.standing.sight.record_events(profiles if new_events else ())
        if self.shards.clock_ms is not None:
            self.outcomes.advance(self.shards.clock_ms)
        self.refresh()
        effects += self._judge(arrived, environments, merging.span(parts, clock_ms), now_ms is None)
        return [*effects, *self._follow_incidents(), *self._follow_labels()]

    def _fold_in(self, profile: Profile, step: Step) -> Counts | None:
        watch, digest = self.current.watch, self.current.digest
        judged = watch is not None and profile.epoch.reference == digest
        return self.shards.fold_in(profile, step, watch.sheets.layout if judged and watch is not None else None)

    def on_reference(self) -> list[Effect]:
        """Judges the profiles that waited for the unit's reference, if that has been read."""
        if not self.current.bind():
            return []
        watch = self.current.watch
        assert watch is not None
        restored = self.current.restore_evidence()
        counted = self.shards.count_again(self.current.digest, watch.sheets.layout)
        self.refresh()
        if restored:
            return self._judge(None, {}, None)
        return self._judge(reduce(Counts.plus, counted, no_counts(watch.sheets.layout)), {}, None)

    def _follow_epoch(self, digest: str | None, newest: str | None) -> list[Effect]:
        """Moves to the reference of a shard's new epoch, if the unit must follow it there."""
        first = not len(self.shards)
        if not first and not self.current.is_followed_by(digest, newest):
            return []
        found = self.current.find(digest)
        effects = [] if first else self._leave(found[0] if found is not None else None)
        self.current.enter(digest, found, first)
        self.acceptance.leave()
        return effects

    def _leave(self, reference: Reference | None) -> list[Effect]:
        """Closes what is open under the old reference; ``reference`` is the new one. Where that was built from an
        accepted present and a crash came before the resolution was stored, its source still names the incident."""
        look = self._new_look()
        source = reference.source if reference is not None else {}
        effects: list[Effect] = []
        if source.get("kind") == ACCEPTED and "incident" in source:
            effects = self._close(look, Resolution.ACCEPTED, source.get("by"), only=source["incident"])
        return effects + self._close(look, Resolution.REFERENCE_CHANGED)

    def _judge(
        self, arrived: Counts | None, environments: dict[str, int], span: Span | None, slotted: bool = False
    ) -> list[Effect]:
        """Judges what arrived: ``environments`` are new events by environment, ``span`` their times."""
        look = self.look
        if look.watch is None or look.reference is None or look.clock_ms is None:
            return [*self.learning.follow(look), *self.standing.publish_state(look)]
        effects = self.environment.follow(look, environments, self.acceptance.built)
        if arrived is not None and arrived.events > 0:
            look.watch.evidence.divide_budget(look.watch.evidence.share, self.outcomes.watched)
            findings = look.watch.look(arrived, look.clock_ms, look.events, span, slotted)
            if findings.returned:
                effects += self.features.report_returned(look, look.watch)
            if findings.fired:
                effects += self.features.report_fired(look, look.watch, findings.fired)
            if self.current.history.is_due(look.clock_ms):
                self.current.history.record(look.clock_ms, shown(self.outcomes.model_log10(look.watch)))
        return [*effects, *self.standing.publish_state(look)]

    def _follow_incidents(self) -> list[Effect]:
        """Confirms verdicts, and ends incidents whose present was accepted: as they were before the confirmation."""
        look = self.look
        self.baselines.follow(look)
        waiting = self.acceptance.waiting(look)
        effects = self.verdicts.follow(look)
        if ended := self.acceptance.follow(look, waiting):
            effects += [*ended, *self.standing.publish_state(look)]
        return effects

    def _follow_labels(self) -> list[Effect]:
        effects = self.performance.follow(self.look)
        return [*effects, *self.standing.publish_state(self.look)] if effects else []

    def _close(self, look: Look, why: Resolution, by: str | None = None, only: str | None = None) -> list[Effect]:
        """Resolves all open incidents, or the one with the id ``only``, and starts their evidence again."""
        effects: list[Effect] = []
        for incident in self.log.incidents:
            if incident.status is Status.RESOLVED or (only is not None and incident.id != only):
                continue
            self.features.release(look, incident)
            self.performance.release(incident)
            effects += self.log.resolve(incident, why, look, by)
        return effects

    def act(self, request: requests.IncidentRequest) -> list[Effect]:
        """Applies what a person asked for about an incident; does nothing if it was applied before or the incident has
        no such step."""
        incident = self.log.addressed(request)
        if incident is None:
            return []
        effects = self.log.apply_request(incident, request)
        if request.change is Change.RESOLVE:
            effects += self._close(self.look, Resolution.BY_HAND, request.by, only=incident.id)
            effects += self.standing.publish_state(self.look)
        if request.change is Change.ACCEPT:
            effects += self._follow_incidents()
        return effects

    def forget(self, request: ForgetRequest) -> list[Effect]:
        """Stops watching the unit until it sends events again; does nothing if the request was applied before."""
        if self.standing.holds(request):
            return []
        self.standing.forget(request)
        effects = self._close(self.look, Resolution.BY_HAND, request.by)
        return [*effects, *self.standing.publish_state(self.look)]

    def wakes(self, profiles: Sequence[Profile]) -> bool:
        """Whether the unit is forgotten and ``profiles`` bring events that it had not counted then."""
        return self.standing.away and self.shards.bring_events(profiles)

    def on_tick(self, now_ms: int, health: Health) -> list[Effect]:
        """Checks at ``now_ms`` of wall time whether the unit is blind."""
        self.outcomes.count_labels_read(health.labels.get(self.unit.model, 0))
        return self.standing.check_sight(self.look, now_ms, health)

    def snapshot(self) -> bytes:
        """Everything that the parts keep."""
        current = self.current.snapshot()
        judged = current.digest if current.watch is not None else None
        parts = (
            current,
            self.shards.snapshot(judged),
            self.learning.snapshot(),
            self.log.snapshot(),
            self.retraining.snapshot(),
            self.baselines.snapshot(),
            self.environment.snapshot(),
            self.outcomes.snapshot(),
            self.standing.snapshot(),
            self.standing.sight.snapshot(),
            self.shards.slots.snapshot(),
            self.standing.quarantines.snapshot(),
        )
        return snapshot.encode(self.unit, parts)

    def restore(self, blob: bytes) -> None:
        """Restores ``snapshot`` into a new judge, still without the reference: ``on_reference`` follows. Raises
        CheckpointError when ``blob`` is not a snapshot of this unit."""
        members = snapshot.decode(self.unit, blob)
        current = snapshot.record_of(ReferenceState, members)
        self.current.restore(current)
        self.shards.restore(snapshot.record_of(ShardsState, members), with_evidence=current.watch is not None)
        self.learning.restore(snapshot.record_of(LearningState, members))
        self.log.restore(snapshot.record_of(IncidentsState, members))
        self.retraining.restore(snapshot.record_of(RetrainingState, members))
        self.baselines.restore(snapshot.record_of(BaselinesState, members))
        self.environment.restore(snapshot.record_of(EnvironmentState, members))
        self.outcomes.restore(snapshot.record_of(OutcomesState, members))
        self.standing.restore(snapshot.record_of(StandingState, members))
        self.standing.sight.restore(snapshot.record_of(SightState, members))
        self.shards.slots.restore(snapshot.record_of(SlotsState, members))
        self.standing.quarantines.restore(snapshot.record_of(QuarantineState, members))
        self.refresh()
