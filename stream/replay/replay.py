"""Runs the observer's shards and the judge over the rows of a file, without a broker.

The judge looks after every ``LOOK_EVENTS`` rows of the whole file, whatever the number of partitions. It therefore sees
the same merged counts at the same times however the rows are split.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from detectors.errors import FormatError
from detectors.features import UnitKey
from detectors.profiles import Profile, Signal
from detectors.reference.reference import Reference
from stream.files.dataset import Row
from stream.judge.effects import Effect, IncidentRecord, ReferenceBuilt
from stream.judge.judge import Judge
from stream.judge.settings import judge_settings
from stream.observe.observer import Observer
from stream.observe.shell.settings import observe_settings
from stream.replay.options import ReplayOptions
from stream.replay.report import Point, Replayed
from stream.settings.settings import Settings
from stream.topics.record import Partition, Record

LOOK_EVENTS = 32
"""A look costs about as much as 300 events. With 32 a strong change is found within two looks of its first event."""
NEVER = 1 << 62
TOPIC = "replay"
LABELS = Partition("replay-labels", 0)
MAX_SIGNALS = 10_000
"""Most signals kept for the report. The oldest are kept, since they show when a change began."""

_encoder = msgspec.json.Encoder()
Where = tuple[int, int]  # partition, offset


class Replay:
    """One replay: call ``feed`` with the rows of one look at a time, then ``report``."""

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
        """Splits the rows of one look over the shards, then runs the judge. Raises FormatError naming a bad row."""
        self._numbers.clear()
        for part, records in sorted(self._split(rows).items()):
            effects = self._observer.process(self._places[part], records)
            if effects.dead_letters:
                letter = effects.dead_letters[0]
                number = self._numbers[part, letter.record.offset]
                raise FormatError(f"{self._options.file}: row {number}: {letter.reason}")
        self._look(self._published())

    def join_labels(self, labels: dict[int, Any]) -> None:
        """Joins labels to their predictions and empties ``labels``. The key is the row's number, which is its event's
        id.

        Every label arrives together with its event.
        """
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
        """What has been found so far. Raises FormatError where no event was read."""
        if self._unit is None:
            raise FormatError(f"{self._options.file}: no events after the rows of the reference")
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

    def _split(self, rows: Sequence[Row]) -> dict[int, list[Record]]:
        split: dict[int, list[Record]] = {}
        for number, moment_ms, value in rows:
            part = self._rows % len(self._places)
            offset = self._offsets[part]
            split.setdefault(part, []).append(Record(offset, moment_ms, None, value))
            self._numbers[part, offset] = number
            self._offsets[part] = offset + 1
            self._now_ms = max(self._now_ms, moment_ms) if self._rows else moment_ms
            self._rows += 1
        return split

    def _published(self) -> list[Profile]:
        """The profiles of the shards that changed. The observer publishes a new epoch only after a checkpoint that
        contains it, so a checkpoint is made here for each."""
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
        """Raises FormatError for events of a second model version, or of another one than the reference's.

        Segments of one model version are judged side by side.
        """
        if self._unit is None:
            self._unit = unit
            if self._reference is not None and self._reference.model_key != unit.model_key:
                raise FormatError(
                    f"{self._options.file}: the events are of {unit.model_key}, the reference is of "
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
        """The number of the event in the whole file: rows are split in turn, and each row is one record."""
        return (signal.next_offset - 1) * len(self._places) + part + 1

    def _shown_signals(self) -> list[dict[str, Any]]:
        shown = [
            {"feature": signal.feature, "detector": signal.detector, "channel": signal.channel, "at_event": event}
            for (_, signal), event in self._signals.items()
        ]
        return sorted(shown, key=lambda s: (s["at_event"], s["feature"], s["detector"], s["channel"]))
