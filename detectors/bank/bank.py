"""The bank: all counts, sketches and sequential detectors that one shard keeps of one unit.

Its state is a pure function of the unit's events in order, the reference and the settings. It does not depend on how
events are split over calls, or on when profiles and snapshots are made.
"""

import hashlib
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from detectors.bank.categories import Categories, CategoryCounts, CategoryState
from detectors.bank.learning import LearningNumbers, LearningState
from detectors.bank.numbers import BLOCK, ReferencedNumbers, ReferencedState
from detectors.bank.prepared import PreparedReference
from detectors.column_batches import coerced, first_rows, without_values_before
from detectors.columns import MISSING, PRESENT, Bytes8, Columns, Floats
from detectors.derived.rules import derived_names, known_names
from detectors.errors import CheckpointError
from detectors.features import FeatureSpec, Kind, UnitKey
from detectors.profiles import SCHEMA, Epoch, FeatureProfile, Profile, Signal
from detectors.reference.dependence import FIRST
from detectors.reference.reference import FeatureReference, Reference
from detectors.sequential.detection import Detection
from detectors.sequential.plugins import BUILT_IN


class BankSettings(msgspec.Struct, frozen=True):
    """The settings that a bank's state depends on. The unit of each threshold is in the docstring of its detector."""

    detectors: tuple[str, ...]
    adwin_delta: float
    page_hinkley_threshold: float
    max_features: int
    max_categories: int
    category_length: int
    max_signals: int
    max_text_bytes: int  # UTF-8 bytes of the texts of unlisted categories, of all features together
    max_environments: int = 20

    @property
    def digest(self) -> str:
        """Identifies the settings in an epoch: other settings make another epoch.

        ``max_text_bytes`` is no part of it: it bounds the size of a snapshot, and changes no count of what is kept.
        """
        found = msgspec.to_builtins(self)
        del found["max_text_bytes"]
        return hashlib.sha256(msgspec.json.encode(found, order="sorted")).hexdigest()[:16]


class BankState(msgspec.Struct, frozen=True):
    """The snapshot of a ``Bank``."""

    schema: int
    reference: str | None
    settings: str
    first_offset: int
    next_offset: int
    events: int
    epoch_events: int
    first_timestamp_ms: int | None
    last_timestamp_ms: int | None
    late: int
    duplicate: int
    signals: list[Signal]
    signal_count: int
    environments: dict[str, int]
    suppressed: dict[str, int]
    refused: list[str]
    numbers: ReferencedState
    learning: LearningState
    categories: dict[str, tuple[str, CategoryState]] = msgspec.field(name="labels")
    texts_full: bool = False

    def is_under(self, reference: str | None, settings: str) -> bool:
        """Whether its epoch is under that reference and those settings, both given as digests."""
        return (self.reference, self.settings) == (reference, settings)


_decoder = msgspec.msgpack.Decoder(BankState)


class Bank:
    """One unit in one partition in one epoch: under one reference (None: learning) and one set of settings.

    :param reference: pass one PreparedReference to all shards of a unit, so that they share it.
    :param first_offset: the offset to read next, where the epoch begins.
    :param kinds: kinds of features that the settings name; any other feature has the kind of its first value.
    :param previous: the bank of the epoch before, or its decoded snapshot. Its running totals continue.
    :param snapshot: bytes from ``snapshot()`` under the same reference and settings; any other raises CheckpointError.

    Cost: 1.5-2 us an event of 20 numeric features in batches, of which ADWIN takes 1 us.
    """

    __slots__ = (
        "_categories", "_kinds", "_known", "_learning", "_numbers", "_order", "_refused", "cold",
        "duplicate", "environments", "epoch_events", "events", "first_offset", "first_timestamp_ms",
        "last_timestamp_ms", "late", "next_offset", "partition", "reference", "reference_digest", "settings",
        "signal_count", "signals", "suppressed", "topic", "unit",
    )  # fmt: skip

    def __init__(
        self,
        unit: UnitKey,
        topic: str,
        partition: int,
        settings: BankSettings,
        reference: Reference | PreparedReference | None,
        first_offset: int,
        *,
        kinds: Mapping[str, Kind] | None = None,
        previous: "Bank | BankState | None" = None,
        snapshot: bytes | None = None,
    ) -> None:
        self.unit, self.topic, self.partition, self.settings = unit, topic, partition, settings
        prepared = reference if isinstance(reference, PreparedReference) else PreparedReference(reference)
        self.reference, self.reference_digest = prepared.reference, prepared.digest
        self._kinds = dict(kinds or {})
        self.first_offset = self.next_offset = first_offset
        self.events = self.late = self.duplicate = self.signal_count = self.epoch_events = self.cold = 0
        self.first_timestamp_ms: int | None = None
        self.last_timestamp_ms: int | None = None
        self.signals: list[Signal] = []
        self.environments: dict[str, int] = {}
        self.suppressed: dict[str, int] = {}
        self._order: tuple[tuple[str, ...], tuple[int, ...] | None] = ((), None)
        self._known: tuple[tuple[str, ...], tuple[FeatureSpec, ...]] | None = None  # names of the last batch
        self._refused: set[str] = set()
        known = [] if self.reference is None else self.reference.features
        self._numbers = ReferencedNumbers(
            prepared, settings.detectors, settings.adwin_delta, settings.page_hinkley_threshold
        )
        self._learning = LearningNumbers()
        self._learning.register([f.feature for f in known if f.kind is Kind.NUMERIC and not f.edges])
        self._categories = Categories(settings.max_text_bytes)
        for f in known:
            if f.kind in (Kind.CATEGORICAL, Kind.BOOLEAN):
                self._register_categories(f.feature, f.kind)
        if previous is not None:
            self._carry(previous)
        if snapshot is not None:
            self._restore(snapshot)

    def _carry(self, previous: "Bank | BankState") -> None:
        self.events, self.late, self.duplicate = previous.events, previous.late, previous.duplicate
        self.signal_count = previous.signal_count
        self.last_timestamp_ms = previous.last_timestamp_ms
        self.suppressed = dict(previous.suppressed)

    def _register_categories(self, name: str, kind: Kind) -> None:
        reference = None if self.reference is None else self.reference.feature(name)
        limit, length = self.settings.max_categories, self.settings.category_length
        self._categories[name] = CategoryCounts(name, kind, reference, limit, length)

    @property
    def epoch(self) -> Epoch:
        """The span under this reference and these settings."""
        return Epoch(self.reference_digest, self.settings.digest, self.first_offset)

    @property
    def feature_count(self) -> int:
        """The number of features that are monitored."""
        return len(self._numbers.names) + len(self._learning.index) + len(self._categories)

    def suppress(self, limit: str, count: int = 1) -> None:
        """Counts that a limit of the settings was reached."""
        self.suppressed[limit] = self.suppressed.get(limit, 0) + count

    def left_out(self, next_offset: int, *, late: int, duplicate: int) -> None:
        """Counts events that were read and not folded in."""
        self.late += late
        self.duplicate += duplicate
        self.next_offset = max(self.next_offset, next_offset)

    def update(self, columns: Columns) -> None:
        """Folds in events that follow all earlier events. For a few rows the calls cost more than the work."""
        assert columns.unit == self.unit
        if len(columns):
            self._fold_in(columns)

    def _fold_in(self, columns: Columns) -> None:
        columns = self._admit(columns)
        numbers, status = self._arranged(columns)
        learned = [i for i, name in enumerate(columns.numeric) if name in self._learning.index]
        for start in range(0, len(columns), BLOCK):
            rows = slice(start, start + BLOCK)
            if len(self._numbers.names):
                found = self._numbers.update(numbers[rows], None if status is None else status[rows])
                self._signal(list(found), columns, start)
        if learned:
            part = None if columns.number_status is None else columns.number_status[:, learned]
            self._learning.update([columns.numeric[i] for i in learned], columns.numbers[:, learned], part)
        overflow, now_full = self._categories.fold_in(columns)
        if overflow:
            self.suppress("categories", overflow)
        if now_full:
            self.suppress("category_texts")
        self._count(columns)

    def _count(self, columns: Columns) -> None:
        rows = len(columns)
        self.events += rows
        self.epoch_events += rows
        self.next_offset = max(self.next_offset, int(columns.next_offsets[-1]))
        if self.first_timestamp_ms is None:
            self.first_timestamp_ms = int(columns.timestamps_ms[0])
        newest = int(columns.timestamps_ms.max())
        self.last_timestamp_ms = newest if self.last_timestamp_ms is None else max(newest, self.last_timestamp_ms)
        for environment, count in columns.environments.items():
            if environment in self.environments or len(self.environments) < self.settings.max_environments:
                self.environments[environment] = self.environments.get(environment, 0) + count
            else:
                self.suppress("environments", count)

    def _kind(self, name: str) -> Kind | None:
        if name in self._categories:
            return self._categories[name].kind
        return Kind.NUMERIC if name in self._learning.index or name in self._numbers.names else None

    def _admit(self, columns: Columns) -> Columns:
        """Registers new features in log order; marks values of another kind than the feature's as invalid."""
        names = (columns.numeric, columns.categorical)
        if names == self._known:
            return columns
        specs = columns.specs()
        if self._are_known(specs):
            self._known = names
            return columns
        begins: dict[str, int] = {}
        for row, name, at in first_rows(columns, lambda name: self._kind(name) is None):
            if self._kind(name) is None and not self._derived(name):
                self._register(name, specs[at].kind)
                begins[name] = row
        columns = without_values_before(columns, begins)
        if self._are_known(specs):
            return columns
        kinds = {spec.feature: self._kind(spec.feature) for spec in specs}
        lists = {name: self._derived(name) for name, kind in kinds.items() if kind is None}
        return coerced(columns, kinds, {name: derived for name, derived in lists.items() if derived})

    def _are_known(self, specs: Sequence[FeatureSpec]) -> bool:
        """Whether every column belongs to another feature and has that feature's kind."""
        return len({spec.feature for spec in specs}) == len(specs) and all(
            self._kind(spec.feature) is spec.kind for spec in specs
        )

    def _derived(self, name: str) -> list[str]:
        """The known features that are derived from a feature; none if it is not known as a list of numbers."""
        return known_names(name, lambda derived: self._kind(derived) is Kind.NUMERIC)

    def _register(self, name: str, kind: Kind) -> None:
        if self.feature_count >= self.settings.max_features:
            if name not in self._refused and len(self._refused) < self.settings.max_features:
                self._refused.add(name)
                self.suppress("features")
            return
        kind = self._kinds.get(name, kind)
        if kind is Kind.NUMERIC:
            self._learning.register([name])
        elif kind is Kind.VECTOR:  # monitored through the features derived from it
            self._learning.register([derived for derived in derived_names(name) if self._kind(derived) is None])
        else:
            self._register_categories(name, kind)

    def _arranged(self, columns: Columns) -> tuple[Floats, Bytes8 | None]:
        """The numbers in the reference's order; features without a column are missing."""
        wanted = self._numbers.names
        if columns.numeric == wanted or not wanted:
            return columns.numbers, columns.number_status
        if self._order[0] != columns.numeric or self._order[1] is None:
            at = {name: i for i, name in enumerate(columns.numeric)}
            self._order = (columns.numeric, tuple(at.get(name, -1) for name in wanted))
        order = self._order[1]
        assert order is not None
        if -1 not in order:
            status = columns.number_status
            return columns.numbers.take(order, axis=1), None if status is None else status.take(order, axis=1)
        rows = len(columns)
        numbers = np.zeros((rows, len(wanted)))
        made = np.full((rows, len(wanted)), MISSING, np.uint8)
        for column, source in enumerate(order):
            if source >= 0:
                numbers[:, column] = columns.numbers[:, source]
                made[:, column] = PRESENT if columns.number_status is None else columns.number_status[:, source]
        return numbers, made

    def _signal(self, found: Sequence[tuple[str, Detection]], columns: Columns, start: int) -> None:
        if not found:
            return
        names = self._numbers.names
        self.signal_count += len(found)
        made = [
            Signal(
                names[hit.column],
                detector,
                hit.channel,
                self.events + start + hit.row + 1,
                int(columns.timestamps_ms[start + hit.row]),
                int(columns.next_offsets[start + hit.row]),
            )
            for detector, hit in found
        ]
        made.sort(key=lambda s: (s.event, s.feature, s.detector, s.channel))
        self.signals = (self.signals + made)[-self.settings.max_signals :]

    def profile(self) -> Profile:
        """The cumulative counts up to the last event."""
        counted = [counts.profile() for counts in self._categories.values()]
        parts = sorted([*self._numbers.profiles(), *self._learning.profiles(), *counted], key=lambda p: p.feature)
        return Profile(
            schema=SCHEMA,
            model=self.unit.model,
            version=self.unit.version,
            segment=self.unit.segment,
            topic=self.topic,
            partition=self.partition,
            epoch=self.epoch,
            next_offset=self.next_offset,
            events=self.events,
            epoch_events=self.epoch_events,
            features=[self._with_missing(part) for part in parts],
            first_timestamp_ms=self.first_timestamp_ms,
            last_timestamp_ms=self.last_timestamp_ms,
            late=self.late,
            duplicate=self.duplicate,
            signals=list(self.signals),
            signal_count=self.signal_count,
            environments=dict(self.environments),
            suppressed=dict(self.suppressed),
        )

    def _with_missing(self, part: FeatureProfile) -> FeatureProfile:
        missing = self.epoch_events - part.count - part.invalid
        return msgspec.structs.replace(part, missing=missing) if missing else part

    def snapshot(self) -> bytes:
        """The bank's whole state. A bank made from it continues with the same bits."""
        state = BankState(
            SCHEMA, self.reference_digest, self.settings.digest, self.first_offset, self.next_offset, self.events,
            self.epoch_events, self.first_timestamp_ms, self.last_timestamp_ms, self.late, self.duplicate,
            self.signals, self.signal_count, self.environments, self.suppressed, sorted(self._refused),
            self._numbers.snapshot(), self._learning.snapshot(),
            {name: (str(counts.kind), counts.snapshot()) for name, counts in self._categories.items()},
            self._categories.full,
        )  # fmt: skip
        return msgspec.msgpack.encode(state)

    def _restore(self, data: bytes) -> None:
        state = decode_state(data, str(self.unit))
        found = (state.schema, state.reference, state.settings)
        if found != (SCHEMA, self.reference_digest, self.settings.digest):
            raise CheckpointError(f"{self.unit}: the snapshot has another schema, reference or settings: {found}")
        self.first_offset, self.next_offset = state.first_offset, state.next_offset
        self.events, self.epoch_events = state.events, state.epoch_events
        self.first_timestamp_ms, self.last_timestamp_ms = state.first_timestamp_ms, state.last_timestamp_ms
        self.late, self.duplicate = state.late, state.duplicate
        self.signals, self.signal_count = state.signals, state.signal_count
        self.environments, self.suppressed = dict(state.environments), dict(state.suppressed)
        self._refused = set(state.refused)
        self.cold = self._numbers.restore(state.numbers)
        self._learning = LearningNumbers.from_state(state.learning)
        for name, (kind, categories) in state.categories.items():
            if name not in self._categories:
                self._register_categories(name, Kind(kind))
            self._categories[name].restore(categories)
        self._categories.restored(state.texts_full)


def decode_state(data: bytes, where: str) -> BankState:
    """Decodes a snapshot. Raises CheckpointError, which names ``where``."""
    try:
        state = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{where}: not a snapshot of a bank: {error}") from error
    if state.schema != SCHEMA:
        raise CheckpointError(f"{where}: snapshot schema {state.schema}, this driftline reads {SCHEMA}")
    return state


def compile_loops() -> None:
    """Compiles every loop before the first event needs it. The first time on a machine this takes seconds, later about
    0.2 s."""
    feature = FeatureReference("-", Kind.NUMERIC, 2, edges=[0.0, 1.0], counts=[0, 2, 0])
    numbers = ReferencedNumbers(PreparedReference(Reference(1, "-", "-", 2, [feature])), tuple(BUILT_IN), 2e-4, 53.0)
    list(numbers.update(np.zeros((1, 1)), None))
    numbers.snapshot()
    learning = LearningNumbers()
    learning.register(["-"])
    learning.update(["-"], np.zeros((2 * FIRST, 1)), None)
    learning.profiles()
