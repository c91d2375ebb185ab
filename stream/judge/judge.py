"""The judge: shards' profiles in, states, incidents and retrain requests out. Sans I/O; no clock, no Kafka.

It keeps the newest profile of every shard, works on differences, and says what is to be done as effects
(``judge_records``). The same profiles in the same order give the same effects with the same ids. Only the blind state
looks at the wall time it is given.

    judge = Judge(judge_settings(settings), references)
    effects = judge.on_profile(profile, now_ms)
    effects = judge.on_tick(now_ms, Health(...))
    view = judge.model_view(unit)
"""

from collections.abc import Iterable, Sequence
from typing import Any

from detectors.evidence.sheets import Sheets
from detectors.evidence.sizes import Yardstick
from detectors.evidence.watch import Watch, shown
from detectors.features import ModelKey, UnitKey
from detectors.incidents.blindness import BlindReason
from detectors.profiles import Profile
from detectors.reference.reference import Reference
from stream.judge import acceptance, performance, view
from stream.judge import snapshot as judge_state
from stream.judge.budget import Sharing
from stream.judge.effects import Effect, Health, ReferenceBuilt
from stream.judge.settings import JudgeSettings
from stream.judge.unit import UnitJudge
from stream.topics.requests import ForgetRequest, IncidentRequest

LAG_LASTS_MS = 5_000
"""A lag shorter than this is how reading works."""

SHEETS_KEPT = 256
"""References whose bets are kept ready; a reference of 20 features takes 400 KB."""


class Judge:
    """All units of one worker. Cost: a few hundred us a profile of 20 features that brings events."""

    def __init__(self, settings: JudgeSettings, references: Iterable[Reference] = ()) -> None:
        self._settings = settings
        self._units: dict[UnitKey, UnitJudge] = {}
        self._references: dict[str, Reference] = {}
        self._newest: dict[tuple[ModelKey, str | None], str] = {}
        self._sheets: dict[str, tuple[Sheets, list[Yardstick]]] = {}
        self._sharing = Sharing()
        for reference in references:
            self.on_reference(reference)

    @property
    def units(self) -> set[UnitKey]:
        return set(self._units)

    def holds(self, unit: UnitKey) -> bool:
        return unit in self._units

    def on_reference(self, reference: Reference) -> list[Effect]:
        """A reference that was read; profiles that waited for it are judged now."""
        digest = reference.digest
        place = reference.model_key, reference.segment
        before = self._newest.get(place)
        self._newest[place] = digest
        self._references[digest] = reference
        if before is not None and before != digest and all(u.digest != before for u in self._units.values()):
            self._references.pop(before, None)
            self._sheets.pop(before, None)
        effects: list[Effect] = []
        for judge in self._units.values():
            if judge.digest == digest:
                effects += judge.bind()
        return effects

    def on_profile(self, profile: Profile, now_ms: int, offset: int = 0) -> list[Effect]:
        """Takes one shard's newest counts and looks. ``now_ms`` is wall time, for the blind state only; ``offset`` the
        profile's in its topic, for whoever restores units: it says which of them there were at each look."""
        return self.on_profiles([profile], now_ms, offset)

    def on_profiles(self, profiles: Sequence[Profile], now_ms: int, offset: int = 0) -> list[Effect]:
        """As ``on_profile``, but with one look a unit for all of them."""
        by_unit: dict[UnitKey, list[Profile]] = {}
        for profile in profiles:
            by_unit.setdefault(profile.unit, []).append(profile)
        effects: list[Effect] = []
        for unit, own in by_unit.items():
            judge = self._unit(unit, offset)
            if judge.returns(own):
                judge.away = False
                self._sharing.add(unit.model, judge.first_heard)
            newest, sharers = self._newest_digest(unit), self._sharing.sharers(unit.model, offset)
            said = [*judge.take(own, newest, now_ms, sharers), *acceptance.follow(judge)]
            effects += self._published([*said, *performance.follow(judge)])
        return effects

    def on_tick(self, now_ms: int, health: Health | None = None) -> list[Effect]:
        """What time alone changes: who has fallen silent, or cannot be read."""
        health = health or Health()
        effects: list[Effect] = []
        for judge in self._units.values():
            judge.outcomes.labelling.record_read(health.labels.get(judge.unit.model, 0))
            if not judge.away:
                effects += judge.tell_blind(*self._blind(judge, now_ms, health))
        return effects

    def model_view(self, unit: UnitKey) -> dict[str, Any]:
        """The model's detail as the HTTP interface shows it. KeyError for a unit that is not known."""
        return view.model_view(self._units[unit])

    def evidence_log10(self, unit: UnitKey) -> float | None:
        """The model's evidence as of the last look; None while it learns."""
        judge = self._units[unit]
        return None if judge.watch is None else shown(judge.outcomes.together(judge.watch))

    def incidents(self, unit: UnitKey | None = None) -> list[dict[str, Any]]:
        """All that are remembered, oldest first."""
        units = self._units.values() if unit is None else [self._units[unit]]
        found = [incident for judge in units for incident in judge.log.incidents]
        return [i.as_json() for i in sorted(found, key=lambda i: (i.opened_at_ms, i.id))]

    def state(self, unit: UnitKey) -> str:
        """One of learning, stable, warning, drift, blind."""
        return self._units[unit].state

    def snapshot(self, unit: UnitKey) -> bytes:
        """Everything that is known of a unit."""
        return judge_state.encode(self._units[unit])

    def restore(self, unit: UnitKey, blob: bytes) -> None:
        """Takes ``snapshot`` back. Raises CheckpointError when ``blob`` is not one of this unit."""
        judge = judge_state.decode(unit, blob, UnitJudge(unit, self._settings, self._bound, self._references))
        self.forget(unit)
        self._units[unit] = judge
        if not judge.away:
            self._sharing.add(unit.model, judge.first_heard)
        judge.bind()

    def forget(self, unit: UnitKey) -> None:
        """The unit is another worker's now."""
        judge = self._units.pop(unit, None)
        if judge is not None and not judge.away:
            self._sharing.remove(unit.model, judge.first_heard)

    def act(self, action: IncidentRequest) -> list[Effect]:
        """Takes in what a person does about an incident; nothing where it is not known, or taken in already."""
        for judge in self._units.values():
            if acceptance.find(judge, action.incident) is not None:
                return self._published(acceptance.act(judge, action))
        return []

    def forget_model(self, forgetting: ForgetRequest) -> list[Effect]:
        """Watches a unit no more, at a person's word; nothing where it is not known, or taken in already."""
        judge = self._units.get(forgetting.unit)
        if judge is None:
            return []
        was_away = judge.away
        effects = judge.forget(forgetting)
        if judge.away and not was_away:
            self._sharing.remove(judge.unit.model, judge.first_heard)
        return effects

    def is_away(self, unit: UnitKey) -> bool:
        """Whether it is forgotten and has sent nothing since."""
        return self._units[unit].away

    def _published(self, effects: list[Effect]) -> list[Effect]:
        """Takes up what it builds itself at once: profiles under it may come before the record is read back."""
        for effect in list(effects):
            if isinstance(effect, ReferenceBuilt):
                effects += self.on_reference(effect.reference)
        return effects

    def _unit(self, unit: UnitKey, offset: int) -> UnitJudge:
        """Its judge; a unit heard before it was heard first is one of a topic that was made anew."""
        judge = self._units.get(unit)
        if judge is None:
            judge = self._units[unit] = UnitJudge(unit, self._settings, self._bound, self._references, offset)
            self._sharing.add(unit.model, offset)
        elif offset < judge.first_heard:
            if not judge.away:
                self._sharing.remove(unit.model, judge.first_heard)
                self._sharing.add(unit.model, offset)
            judge.first_heard = offset
        return judge

    def _newest_digest(self, unit: UnitKey) -> str | None:
        return self._newest.get((unit.model_key, unit.segment)) or self._newest.get((unit.model_key, None))

    def _bound(self, unit: UnitKey, digest: str) -> tuple[Reference, Watch] | None:
        if digest not in self._references:
            return None
        if digest not in self._sheets:
            while len(self._sheets) >= SHEETS_KEPT:
                del self._sheets[next(iter(self._sheets))]
            reference = self._references[digest]
            sheets = Sheets(reference.features, self._settings.evidence_of(unit.model), self._settings.strata_kept)
            self._sheets[digest] = sheets, [Yardstick(sheets.layout, f) for f in range(len(reference.features))]
        sheets, yardsticks = self._sheets[digest]
        return self._references[digest], Watch(sheets, yardsticks, self._settings.resolve_after_events)

    def _blind(self, judge: UnitJudge, now_ms: int, health: Health) -> tuple[BlindReason | None, str]:
        rules = self._settings.blind
        if judge.digest is not None and judge.watch is None:
            return BlindReason.MISSING_REFERENCE, f"its reference {judge.digest[:19]} has not been read"
        model = judge.unit.model
        invalid, records = health.invalid.get(model, 0), health.records.get(model, 0)
        if invalid >= rules.invalid_records and invalid >= rules.invalid_share * records:
            return BlindReason.UNREADABLE, f"{invalid:,} of the last minute's {records:,} records cannot be read"
        if (reason := self._lag(judge, now_ms, health)) is not None:
            return BlindReason.LAG, reason
        silent_ms = judge.rhythm.silent_ms(now_ms)
        patience = judge.rhythm.patience_ms(rules.silent_factor, rules.min_silent_ms, rules.max_silent_ms)
        if silent_ms > patience:
            late = ", but late ones" if judge.late_only else ""
            return BlindReason.SILENT, f"no event for more than {patience / 1000:,.0f} s{late}"
        return None, ""

    def _lag(self, judge: UnitJudge, now_ms: int, health: Health) -> str | None:
        rules = self._settings.blind
        lag, age = health.lag_records or 0, health.lag_seconds or 0.0
        if lag <= 0 or (lag <= rules.lag_records and 1000 * age <= rules.lag_ms):
            judge.lag_since_ms = None
            return None
        if judge.lag_since_ms is None:
            judge.lag_since_ms = now_ms
        if now_ms - judge.lag_since_ms < LAG_LASTS_MS:
            return None
        return f"reading is {lag:,} records behind, {age:,.0f} s"
