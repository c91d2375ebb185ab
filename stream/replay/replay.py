"""Runs the observer's shards and the judge over the rows of a file, without a broker.

The judge looks after every ``LOOK_EVENTS`` rows of the whole file. So it sees the same merged counts at the same times
for any number of partitions. Where partitions are read unevenly, each look is a slot, and the judge waits for the
partition that is furthest behind.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from detectors.errors import FormatError
from detectors.features import UnitKey
from detectors.profiles import Profile, Signal
from detectors.reference.reference import Reference
from stream.files.reference_rows import Row
from stream.formats.message import FILE_TOPIC
from stream.judge.effects import Effect, IncidentRecord, ReferenceBuilt
from stream.judge.judge import Judge
from stream.judge.settings import SlotRules, judge_settings
from stream.judge.slot_buffer import PER_LOOK
from stream.observe.observer import Observer
from stream.observe.shell.settings import observe_settings
from stream.replay.options import ReplayOptions
from stream.replay.partitions import Chunk, Split, UnevenReading
from stream.replay.report import Point, ReadRows, Replayed
from stream.settings.settings import Settings
from stream.topics import marks
from stream.topics.marks import Mark
from stream.topics.record import Partition, Record

LOOK_EVENTS = 32
"""A look costs about as much as 300 events. With 32 a strong change is found within two looks of its first event."""
NEVER = 1 << 62
MOST_UNREADABLE = 100_000
"""A file with more rows that cannot be read is refused while it is read."""

TOPIC = FILE_TOPIC
LABELS = Partition("replay-labels", 0)
MAX_SIGNALS = 10_000
"""Most signals kept for the report. The oldest are kept, since they show when a change began."""

_encoder = msgspec.json.Encoder()


class Replay:
    """One replay: call ``feed`` with the rows of one look at a time, then ``report``. ``timed``: the rows have times of
    their own. Without them the file is taken for a stream without a season."""

    def __init__(
        self, options: ReplayOptions, settings: Settings, reference: Reference | None, timed: bool = False
    ) -> None:
        self._options = options
        self._reference = reference
        known = [] if reference is None else [reference]
        self._observer = Observer(observe_settings(settings, look_events=NEVER), known)
        self._split = Split(options.file, options.partitions, options.partition_by)
        self._uneven = None if options.progress is None else UnevenReading(options.partitions, options.progress)
        slots = None if self._uneven is None else SlotRules((TOPIC,), 0, PER_LOOK)  # a slot is one look
        rules = judge_settings(settings)
        times = "all" if timed and rules.evidence.event_times != "none" else "none"
        evidence = msgspec.structs.replace(rules.evidence, event_times=times)
        rules = msgspec.structs.replace(rules, evidence=evidence, strata_kept=48, slots=slots)
        self._judge = Judge(rules, known)
        self._places = [Partition(TOPIC, number) for number in range(options.partitions)]
        self._looks = self._labels = 0
        self._unit: UnitKey | None = None
        self._incidents: dict[str, dict[str, Any]] = {}
        self._signals: dict[tuple[int, Signal], int] = {}
        self._points: list[Point] = []
        self._shards: dict[tuple[UnitKey, int], Profile] = {}
        self.unreadable: list[tuple[int, str]] = []  # number and reason of rows
        for place in self._places:
            self._observer.assign(place)

    def feed(self, rows: Sequence[Row]) -> None:
        """Splits the rows of one look over the shards, then runs the judge. Raises FormatError for a second model."""
        self._looks += 1
        split = self._split.split(rows)
        if self._uneven is not None:
            self._uneven.append(self._looks, split)
            for chunk in self._uneven.ready():
                self._read_slot(chunk)
            return
        for part, records in sorted(split.items()):
            self._read(part, records)
        self._look(self._published())
        for part, records in split.items():
            self._split.forget(part, records)

    def _read(self, part: int, records: Sequence[Record]) -> None:
        effects = self._observer.process(self._places[part], records)
        self._raise_faults()
        for letter in effects.dead_letters:
            self.unreadable.append((self._split.row_of(part, letter.record.offset), letter.reason))
        if len(self.unreadable) > MOST_UNREADABLE:
            number, reason = self.unreadable[0]
            raise FormatError(f"{self._options.file}: row {number}: {reason}; {MOST_UNREADABLE:,} rows cannot be read")

    def _read_slot(self, chunk: Chunk) -> None:
        """Reads the rows of one look in one partition; the judge looks when all partitions have read that look."""
        part, look, records = chunk
        if records:
            self._read(part, records)
        for profile in self._published():
            self._one_model(profile.unit)
            self._remember_signals(profile)
            slotted = msgspec.structs.replace(profile, slot_end_ms=look, slot_level=0, slot_open=False)
            self._apply(self._judge.on_profile(slotted, self._now_ms))
        self._split.forget(part, records)
        mark = Mark(marks.SCHEMA, TOPIC, part, len(self._places), look, self._now_ms, read_to_end=False)
        self._apply(self._judge.on_mark(mark))
        self._remember_evidence()

    @property
    def rows(self) -> int:
        """Rows that were read."""
        return self._split.rows

    @property
    def _now_ms(self) -> int:
        return self._split.now_ms

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
        """What has been found so far. Raises FormatError if no event was read."""
        for chunk in self._uneven.ready(rest=True) if self._uneven is not None else ():
            self._read_slot(chunk)
        if self._unit is None:
            raise FormatError(f"{self._options.file}: no events after the rows of the reference")
        for profile in self._published():
            self._judge.on_profile(profile, self._now_ms)  # labels that came after the last look
        detail = self._judge.model_view(self._unit)
        self._raise_faults()
        reference = self._reference
        return Replayed(
            model=self._unit.model,
            version=self._unit.version,
            events=self._split.rows,
            rate=self._options.rate,
            reference_rows=0 if reference is None else reference.rows,
            reference_digest=None if reference is None else reference.digest,
            incidents=sorted(
                self._incidents.values(), key=lambda incident: (incident["opened_at_event"], incident["id"])
            ),
            signals=self._shown_signals(),
            state=str(detail["state"]),
            detail=detail,
            read=self._read_so_far(),
            points=self._points,
            threshold_log10=detail.get("threshold_log10"),
        )

    def _published(self) -> list[Profile]:
        """The profiles of the shards that changed. The observer publishes a new epoch only after a checkpoint that
        contains it, so a checkpoint is made here for each."""
        for place in self._observer.urgent():
            checkpoint = self._observer.checkpoint(place)
            for unit in checkpoint.dirty:
                checkpoint.encode(unit)
            checkpoint.manifest()
            checkpoint.acknowledged()
        profiles = list(self._observer.profiles_due(self._now_ms, force=True))
        self._raise_faults()
        self._shards.update({(profile.unit, profile.partition): profile for profile in profiles})
        return profiles

    def _read_so_far(self) -> ReadRows:
        shards = self._shards.values()
        return ReadRows(
            rows=self._split.rows,
            judged=sum(profile.events for profile in shards),
            late=sum(profile.late for profile in shards),
            duplicate=sum(profile.duplicate for profile in shards),
            invalid=len(self.unreadable),
        )

    def _raise_faults(self) -> None:
        """Raises the error that put the unit into quarantine: what follows could not be judged."""
        errors = [fault.error for fault in self._observer.drain_aside().faults]
        errors += [fault.error for fault in self._judge.guard.drain_faults()]
        if errors:
            raise errors[0]

    def _look(self, profiles: Sequence[Profile]) -> None:
        for profile in profiles:
            self._one_model(profile.unit)
            self._remember_signals(profile)
        self._apply(self._judge.on_profiles(profiles, self._now_ms))
        self._remember_evidence()

    def _remember_evidence(self) -> None:
        known = self._unit is not None and self._judge.holds(self._unit)
        evidence = self._judge.evidence_log10(self._unit) if known and self._unit is not None else None
        if evidence is not None:
            self._points.append(Point(self._split.rows, self._now_ms, evidence))

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
            known = (profile.partition, signal) in self._signals
            if not known and len(self._signals) < MAX_SIGNALS:
                position = self._split.position_of(profile.partition, signal.next_offset - 1)
                self._signals[profile.partition, signal] = position

    def _shown_signals(self) -> list[dict[str, Any]]:
        shown = [
            {"feature": signal.feature, "detector": signal.detector, "channel": signal.channel, "at_event": event}
            for (_, signal), event in self._signals.items()
        ]
        return sorted(shown, key=lambda s: (s["at_event"], s["feature"], s["detector"], s["channel"]))
