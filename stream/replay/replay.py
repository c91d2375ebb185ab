"""The two cores over a file, with no broker: the observer's shards and the judge, driven by the rows alone.

A look is taken after every ``LOOK_EVENTS`` rows of the whole file, whatever the number of partitions, so that one
dealing of the rows and another show the judge the same merged counts at the same moments.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from detectors.errors import FormatError
from detectors.features import UnitKey
from detectors.profiles import Profile, Signal
from detectors.reference.reference import Reference
from stream.files.dataset import Row
from stream.files.layout import ReplayOptions
from stream.judge.effects import Effect, IncidentRecord, ReferenceBuilt
from stream.judge.judge import Judge
from stream.judge.settings import judge_settings
from stream.observe.observer import Observer
from stream.observe.shell.settings import observe_settings
from stream.replay.report import Point, Replayed
from stream.settings.settings import Settings
from stream.topics.record import Partition, Record

LOOK_EVENTS = 32
"""A look costs about as much as 300 events; at 32 a strong change is found within two looks of the first event."""
NEVER = 1 << 62
TOPIC = "replay"
LABELS = Partition("replay-labels", 0)
MAX_SIGNALS = 10_000
"""Kept for the report; the oldest are, since they are what points at a beginning."""

_encoder = msgspec.json.Encoder()
Where = tuple[int, int]  # partition, offset


class Replay:
    """Feed it rows, a look's at a time, then ask for the report."""

    def __init__(self, options: ReplayOptions, settings: Settings, reference: Reference | None) -> None:
        self._options = options
        self._reference = reference
        known = [] if reference is None else [reference]
        self._observer = Observer(observe_settings(settings, look_events=NEVER), known)
        self._judge = Judge(msgspec.structs.replace(judge_settings(settings), strata_kept=48), known)
        self._places = [Partition(TOPIC, number) for number in range(options.partitions)]
        self._offsets = [0] * options.partitions
        self._numbers: dict[Where, int] = {}  # this look's rows in the file
        self._rows = self._labels = 0
        self._now_ms = 0
        self._unit: UnitKey | None = None
        self._incidents: dict[str, dict[str, Any]] = {}
        self._signals: dict[tuple[int, Signal], int] = {}
        self._points: list[Point] = []
        for place in self._places:
            self._observer.assign(place)

    def feed(self, rows: Sequence[Row]) -> None:
        """Deals one look's rows to the shards, then lets the judge look. Raises FormatError naming a bad row."""
        self._numbers.clear()
        for part, records in sorted(self._deal(rows).items()):
            effects = self._observer.process(self._places[part], records)
            if effects.dead_letters:
                letter = effects.dead_letters[0]
                number = self._numbers[part, letter.record.offset]
                raise FormatError(f"{self._options.file}: row {number}: {letter.reason}")
        self._look(self._published())

    def label(self, labels: dict[int, Any]) -> None:
        """Takes labels out, by the number of a row whose ``id`` that is: known as soon as their event is."""
        records = [
            Record(self._labels + at, self._now_ms, None, _encoder.encode(
                {"id": str(number), "model": self._options.model_name(), "label": label, "ts": self._now_ms}
            ))
            for at, (number, label) in enumerate(labels.items())
        ]  # fmt: skip
        if records:
            self._observer.join_labels(LABELS, records)
        self._labels += len(records)
        labels.clear()

    def report(self) -> Replayed:
        """What has been found up to here."""
        if self._unit is None:
            raise FormatError(f"{self._options.file}: no events after the reference's rows")
        for profile in self._observer.profiles_due(self._now_ms, force=True):
            self._judge.on_profile(profile, self._now_ms)  # labels that came after the last look
        detail = self._judge.model_view(self._unit)
        reference = self._reference
        return Replayed(
            model=self._unit.model,
            version=self._unit.version,
            events=self._rows,
            rate=self._options.rate,
            reference_rows=0 if reference is None else reference.rows,
            reference_digest=None if reference is None else reference.digest,
            incidents=sorted(
                self._incidents.values(), key=lambda incident: (incident["opened_at_event"], incident["id"])
            ),
            signals=self._shown_signals(),
            state=str(detail["state"]),
            detail=detail,
            points=self._points,
            threshold_log10=detail.get("threshold_log10"),
        )

    def _deal(self, rows: Sequence[Row]) -> dict[int, list[Record]]:
        dealt: dict[int, list[Record]] = {}
        for number, moment_ms, value in rows:
            part = self._rows % len(self._places)
            offset = self._offsets[part]
            dealt.setdefault(part, []).append(Record(offset, moment_ms, None, value))
            self._numbers[part, offset] = number
            self._offsets[part] = offset + 1
            self._now_ms = max(self._now_ms, moment_ms) if self._rows else moment_ms
            self._rows += 1
        return dealt

    def _published(self) -> list[Profile]:
        """Every changed shard's profile. A new epoch waits for a checkpoint that holds it; here that is at once."""
        for place in self._observer.urgent():
            checkpoint = self._observer.checkpoint(place)
            for unit in checkpoint.dirty:
                checkpoint.encode(unit)
            checkpoint.manifest()
            checkpoint.acknowledged()
        return list(self._observer.profiles_due(self._now_ms, force=True))

    def _look(self, profiles: Sequence[Profile]) -> None:
        for profile in profiles:
            self._one_model(profile.unit)
            self._remember_signals(profile)
        self._apply(self._judge.on_profiles(profiles, self._now_ms))
        evidence = None if self._unit is None else self._judge.evidence_log10(self._unit)
        if evidence is not None:
            self._points.append(Point(self._rows, self._now_ms, evidence))

    def _apply(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, IncidentRecord):
                self._incidents[effect.id] = effect.data
            elif isinstance(effect, ReferenceBuilt):
                self._reference = effect.reference
                self._judge.on_reference(effect.reference)
                self._observer.set_reference(effect.reference)

    def _one_model(self, unit: UnitKey) -> None:
        """Segments of one model version are judged side by side; a second model version needs a choice."""
        if self._unit is None:
            self._unit = unit
            if self._reference is not None and self._reference.model_key != unit.model_key:
                raise FormatError(
                    f"{self._options.file}: holds events of {unit.model_key}, the reference is of "
                    f"{self._reference.model_key}"
                )
        elif unit.model_key != self._unit.model_key:
            raise FormatError(
                f"{self._options.file}: holds events of {self._unit.model_key} and of {unit.model_key}; "
                "choose with --model and --version"
            )

    def _remember_signals(self, profile: Profile) -> None:
        for signal in profile.signals:
            if len(self._signals) < MAX_SIGNALS:
                self._signals.setdefault((profile.partition, signal), self._at_event(profile.partition, signal))

    def _at_event(self, part: int, signal: Signal) -> int:
        """The event of the whole file: rows were dealt in turn, and each is one record."""
        return (signal.next_offset - 1) * len(self._places) + part + 1

    def _shown_signals(self) -> list[dict[str, Any]]:
        shown = [
            {"feature": signal.feature, "detector": signal.detector, "channel": signal.channel, "at_event": event}
            for (_, signal), event in self._signals.items()
        ]
        return sorted(shown, key=lambda s: (s["at_event"], s["feature"], s["detector"], s["channel"]))
