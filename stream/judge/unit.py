"""One unit's judge: its shards put together, its evidence, its state and its incidents. Decides, and does nothing else.

Events are counted over all shards and epochs; the clock is the events' own time. The wall clock is looked at only to
tell whether the unit is blind.
"""

from collections.abc import Callable, Container, Sequence
from typing import Any

from detectors import merging
from detectors.evidence.counts import Counts, counts_of, no_counts
from detectors.evidence.watch import Watch, WatchState, shown
from detectors.features import UnitKey
from detectors.incidents.blindness import BlindReason, Rhythm
from detectors.incidents.incident import Action, Incident, IncidentKind, Resolution, Status
from detectors.incidents.verdict import decide
from detectors.merging import Step
from detectors.profiles import Profile
from detectors.reference import learned
from detectors.reference.reference import Reference
from stream.judge import effects as judge_records
from stream.judge import environment, feature_rows, incident_log
from stream.judge.effects import DriftEvent, Effect, ReferenceBuilt
from stream.judge.incident_log import IncidentLog
from stream.judge.settings import JudgeSettings
from stream.judge.shard import Shard, add_environments
from stream.topics.drift_events import EventType
from stream.topics.requests import ForgetRequest

LEFT_REFERENCES = 8
HISTORY = 240
"""Points of evidence over time; when full every second one goes and the interval doubles."""


Bound = Callable[[UnitKey, str], tuple[Reference, Watch] | None]


class UnitJudge:
    """``bound`` gives a reference and a fresh watch for its digest, or None while it has not been read: ``known`` are
    the digests of those that were.
    ``first_heard``: offset of its first profile. ``sharers``: units of its model at its last look."""

    def __init__(
        self, unit: UnitKey, settings: JudgeSettings, bound: Bound, known: Container[str | None], first_heard: int = 0
    ) -> None:
        self.unit = unit
        self._known = known
        self.first_heard = first_heard
        self.sharers = 1
        self._bound = bound
        self.settings = settings
        self.shards: dict[str, Shard] = {}
        self.digest: str | None = None
        self.left: list[str | None] = []
        self.reference: Reference | None = None
        self.watch: Watch | None = None
        self.saved: WatchState | None = None  # of a reference that has not been read yet
        self.state = "learning"
        self.transitions = 0
        self.clock_ms: int | None = None
        self.log = IncidentLog(unit, settings.retrain)
        self.outcomes = settings.outcome_log(unit.model)
        self.history: list[tuple[int, float]] = []
        self.history_step_ms = 1_000
        self.environment_event = 0
        self.learned = False
        self.accepted = False  # the present is about to be the reference
        self.forgotten: ForgetRequest | None = None  # who last wanted it forgotten
        self.away = False  # it is, and has sent nothing since
        self.rhythm = Rhythm()
        self.late_only = False  # what was heard last were events that do not count
        self.blind: BlindReason | None = None
        self.blind_detail = ""
        self.lag_since_ms: int | None = None

    @property
    def events(self) -> int:
        """Accepted over all shards and epochs, each once."""
        return sum(shard.profile.events for shard in self.shards.values())

    @property
    def present(self) -> list[Profile]:
        """Newest profiles of the shards that are under the present reference."""
        return [s.profile for s in self.shards.values() if s.profile.epoch.reference == self.digest]

    @property
    def epoch_events(self) -> int:
        """Those under the present reference."""
        return sum(profile.epoch_events for profile in self.present)

    def take(self, profiles: Sequence[Profile], newest: str | None, now_ms: int, sharers: int) -> list[Effect]:
        """Puts ``profiles`` in place and looks once. ``newest``: digest of the model's newest reference."""
        effects: list[Effect] = []
        arrived: Counts | None = None
        clock_ms = self.clock_ms
        parts: list[tuple[Profile | None, Profile]] = []
        environments: dict[str, int] = {}
        heard = False
        for profile in profiles:
            self.outcomes.take(profile)
            known = self.shards.get(profile.shard)
            before = known.profile if known else None
            wanted = newest if profile.epoch.reference in self._known else None  # else it is newer than what was read
            step = known.step(profile, wanted) if known else Step.FULL
            if step is Step.IGNORED:
                continue
            self._share(sharers)  # not for what is delivered again
            new_events = before is None or profile.events > before.events
            heard, self.late_only = heard or new_events, not new_events
            if step is not Step.NEXT or profile.epoch.reference != self.digest:
                effects += self._enter(profile.epoch.reference, newest)
            delta = self._place(known, profile, step)
            add_environments(environments, before if step is Step.NEXT else None, profile)
            effects += judge_records.signals(self.unit, before, profile)
            if delta is not None and profile.epoch.reference == self.digest:
                arrived = delta if arrived is None else arrived.plus(delta)
                parts.append((before, profile))
            if profile.last_timestamp_ms is not None:
                self.clock_ms = max(self.clock_ms or profile.last_timestamp_ms, profile.last_timestamp_ms)
        if heard:
            self.rhythm.record_arrival(now_ms)
        if self.clock_ms is not None:
            self.outcomes.step(self.clock_ms)
        return [*effects, *self._judge(arrived, environments, merging.span(parts, clock_ms))]

    def bind(self) -> list[Effect]:
        """Where the reference that the shards are under has come, what waited for it is judged now."""
        found = None if self.digest is None or self.watch is not None else self._bound(self.unit, self.digest)
        if found is None:
            return []
        self.reference, self.watch = found
        self._share(self.sharers)
        watch = self.watch
        restored = self.saved is not None and watch.restore(self.saved)
        self.saved = None
        arrived = no_counts(watch.sheets.layout)
        for shard in self.shards.values():
            if shard.profile.epoch.reference != self.digest:
                continue
            shard.counts = counts_of(shard.profile, watch.sheets.layout)
            if not restored and not shard.base:
                arrived = arrived.plus(shard.counts)
            shard.base = False
        return self._judge(arrived if arrived.events else None, {})

    def _enter(self, digest: str | None, newest: str | None) -> list[Effect]:
        """A shard began an epoch: the unit follows, unless to a reference that it has left."""
        if self.shards and digest == self.digest:
            return []
        if self.shards and digest != newest and (digest in self.left or self.digest == newest):
            return []
        effects: list[Effect] = []
        found = None if digest is None else self._bound(self.unit, digest)
        if self.shards:
            effects = self._leave(found[0] if found else None)
            self.left = [*self.left[-LEFT_REFERENCES:], self.digest]
        self.digest, self.reference, self.watch, self.saved = digest, None, None, None
        self.history, self.history_step_ms, self.accepted = [], 1_000, False
        if found is not None:
            self.reference, self.watch = found
            self._share(self.sharers)
        return effects

    def _share(self, sharers: int) -> None:
        """Its part of the model's budget."""
        self.sharers = sharers
        if self.watch is not None:
            self.watch.evidence.share = 1 / sharers

    def _leave(self, reference: Reference | None) -> list[Effect]:
        """What is open under the old reference is over. Where it was accepted, and a crash came before that was
        written down, the new reference still says so."""
        source = reference.source if reference is not None else {}
        effects: list[Effect] = []
        if source.get("kind") == "accepted" and "incident" in source:
            effects = self.close(Resolution.ACCEPTED, source.get("by"), only=source["incident"])
        return effects + self.close(Resolution.REFERENCE_CHANGED)

    def _place(self, known: Shard | None, profile: Profile, step: Step) -> Counts | None:
        """Keeps the profile; what of it is new."""
        bound = self.watch is not None and profile.epoch.reference == self.digest
        counts = counts_of(profile, self.watch.sheets.layout) if bound and self.watch is not None else None
        if known is None:
            self.shards[profile.shard] = Shard(profile, [], counts)
            return counts
        return known.take(profile, step, counts, bound)

    def _judge(
        self, arrived: Counts | None, environments: dict[str, int], span: tuple[int, int] | None = None
    ) -> list[Effect]:
        if self.watch is None or self.reference is None or self.clock_ms is None:
            return [*self._learn(), *self.settle()]
        effects: list[Effect] = []
        events = self.events
        effects += environment.look(self, environments, events)
        if arrived is not None and arrived.events > 0:
            self.watch.evidence.beside = self.outcomes.watched
            findings = self.watch.look(arrived, self.clock_ms, events, span)
            if findings.returned:
                effects += self._returned(events)
            if findings.fired:
                effects += self._fired(findings.fired, events)
            self._remember_evidence()
        return [*effects, *self.settle()]

    def _learn(self) -> list[Effect]:
        """Enough events without a reference become one, once."""
        wanted = self.settings.learning.get(self.unit.model, self.settings.learning_events)
        if self.digest is not None or self.learned or self.epoch_events < wanted:
            return []
        self.learned = True
        built = learned.reference_from_profiles(
            self.unit.model, self.unit.version, self.present, segment=self.unit.segment
        )
        return [ReferenceBuilt(self.unit, built)]

    def _remember_evidence(self) -> None:
        assert self.clock_ms is not None
        assert self.watch is not None
        if self.history and self.clock_ms - self.history[-1][0] < self.history_step_ms:
            return
        self.history.append((self.clock_ms, shown(self.outcomes.together(self.watch))))
        if len(self.history) >= HISTORY:
            self.history = self.history[::2]
            self.history_step_ms *= 2

    # incidents

    def _fired(self, fired: list[int], events: int) -> list[Effect]:
        """Those that belong to an open incident update it; the others are one of their own."""
        assert self.watch is not None
        groups: dict[str, tuple[Incident | None, list[int]]] = {}
        for feature in fired:
            known = self.log.together(self.watch.beginning(feature).event)
            groups.setdefault(known.id if known else "", (known, []))[1].append(feature)
        return [effect for known, members in groups.values() for effect in self._report(members, known, events)]

    def _report(self, fired: list[int], known: Incident | None, events: int) -> list[Effect]:
        assert self.watch is not None
        begin = min((self.watch.beginning(f) for f in fired), key=lambda b: b.event)
        members, since = list(fired), begin.latest
        if known is not None:
            index = self.watch.sheets.layout.index
            members += [index[f["feature"]] for f in known.features if index[f["feature"]] in self.watch.probes]
        evidence = self.watch.feature_log10
        rows, symptoms = self._rows(sorted(set(members), key=lambda f: (-evidence[f], f)), since)
        verdict = decide(symptoms, environment.open_differences(self))
        changes: dict[str, Any] = {
            "features": rows,
            "severity": incident_log.severity(rows),
            "verdict": verdict.verdict.value,
            "reason": verdict.reason.value,
            "summary": verdict.detail,
            "verdict_events": 0,
        }
        if known is not None:
            return self.log.change(known, Action.UPDATE, self.clock_ms or 0, **changes)
        incident = self.open(
            IncidentKind.FEATURE,
            events,
            began_at_event=begin.event,
            began_at_ms=begin.at_ms,
            began_interval=(begin.earliest, begin.latest),
            **changes,
        )
        return self.log.told(incident, EventType.INCIDENT_OPENED, incident.opened_at_ms)

    def _rows(self, features: Sequence[int], since: int) -> tuple[list[dict[str, Any]], list[Any]]:
        assert self.watch is not None
        rows, symptoms = [], []
        for f in features:
            sizes, symptom, _ = self.watch.present(f, since)
            symptoms.append(symptom)
            rows.append(feature_rows.incident_feature(self.watch, f, sizes, symptom))
        return rows, symptoms

    def open(self, kind: IncidentKind, events: int, **what: Any) -> Incident:
        assert self.clock_ms is not None
        return self.log.add(kind, events, self.clock_ms, reference=self.digest, **what)

    def _returned(self, events: int) -> list[Effect]:
        """Over when every feature of it is back."""
        assert self.watch is not None
        still = {self.watch.sheets.layout.names[f] for f in self.watch.probes}
        effects: list[Effect] = []
        for incident in self.log.incidents:
            over = incident.kind is IncidentKind.FEATURE and incident.status is not Status.RESOLVED
            if over and still.isdisjoint(f["feature"] for f in incident.features):
                effects += self.log.resolve(incident, Resolution.BACK, events, self.clock_ms or 0)
        return effects

    def close(self, why: Resolution, by: str | None = None, only: str | None = None) -> list[Effect]:
        """Resolves open incidents, or the one with the id ``only``; their evidence begins anew."""
        effects: list[Effect] = []
        for incident in self.log.incidents:
            if incident.status is Status.RESOLVED or (only is not None and incident.id != only):
                continue
            if incident.kind is IncidentKind.FEATURE and self.watch is not None:
                names = {f["feature"] for f in incident.features}
                self.watch.release([f for f in self.watch.probes if self.watch.sheets.layout.names[f] in names])
            if incident.kind is IncidentKind.PERFORMANCE:
                self.outcomes.release()
            effects += self.log.resolve(incident, why, self.events, self.clock_ms or 0, by)
        return effects

    # state

    def forget(self, forgetting: ForgetRequest) -> list[Effect]:
        """It is watched no more until it sends events again; nothing where that is known already."""
        if self.forgotten is not None and forgetting.id == self.forgotten.id:
            return []
        self.forgotten = forgetting
        effects = self.close(Resolution.BY_HAND, forgetting.by)
        self.away, self.blind = True, None
        return [*effects, *self.settle()]

    def returns(self, profiles: Sequence[Profile]) -> bool:
        """Whether they bring events that it had not seen when it was forgotten."""
        known = self.shards
        return self.away and any(p.shard not in known or p.events > known[p.shard].profile.events for p in profiles)

    def tell_blind(self, reason: BlindReason | None, detail: str) -> list[Effect]:
        """What the wall clock and the reading side say."""
        self.blind, self.blind_detail = reason, detail
        return self.settle()

    def settle(self) -> list[Effect]:
        """The state that all of this amounts to, told when it changes."""
        state = self._state()
        if state == self.state and self.transitions:
            return []
        before, self.state = self.state, state
        self.transitions += 1
        reason = self.reason
        if before == "forgotten" and self.forgotten is not None:
            reason = f"sends events again after {self.forgotten.by} had it forgotten" + (reason and f"; {reason}")
        data = {
            "model": self.unit.model,
            "version": self.unit.version,
            "segment": self.unit.segment,
            "state": state,
            "previous": before if self.transitions > 1 else None,
            "reason": reason,
            "events": self.events,
            "season_covered": self.season_covered,
            "moved_while_learned": self.moved_while_learned,
        }
        return [DriftEvent(EventType.MODEL_STATE, self.unit, self.clock_ms or 0, data, (self.transitions,))]

    @property
    def season_covered(self) -> bool:
        """Whether hours of the day are compared with the same hours."""
        return self.watch is not None and self.watch.sheets.seasonal

    @property
    def moved_while_learned(self) -> list[str]:
        """Features that did not stay at one level while the reference was learned."""
        return list(self.reference.source.get("moved", ())) if self.reference is not None else []

    def _state(self) -> str:
        if self.away:
            return "forgotten"
        if self.blind is not None:
            return "blind"
        if self.digest is None:
            return "learning"
        if self.watch is None:
            return "blind"
        if self.log.open(IncidentKind.FEATURE) or self.log.open(IncidentKind.PERFORMANCE):
            return "drift"
        if self.outcomes.blind is not None:  # the data is seen, how right the model is is not
            return "blind"
        if self.log.open(IncidentKind.ENVIRONMENT) is not None:
            return "warning"
        bar = self.settings.warning_share * self.watch.evidence.threshold_log10
        return "warning" if self.outcomes.together(self.watch) >= max(bar, 1.0) else "stable"

    @property
    def reason(self) -> str:
        """Why it is in its state, in words; empty for a good one."""
        if self.away and self.forgotten is not None:
            return f"{self.forgotten.by} had it forgotten" + (self.forgotten.note and f": {self.forgotten.note}")
        if self.blind is not None:
            return self.blind_detail
        if self.digest is not None and self.watch is None:
            return f"the reference {self.digest[:19]} has not been read"
        if self.state == "blind" and self.outcomes.blind is not None:
            return self.outcomes.blind[1]
        if self.state in ("drift", "warning"):
            found = next(filter(None, map(self.log.open, IncidentKind)), None)
            return found.summary if found is not None else "evidence of a change is gathering"
        return ""
