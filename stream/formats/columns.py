"""Turns values by feature into columns by unit, and decides what the JSON type of a value means, for both paths.

A number is numeric, a text categorical, true and false boolean. A list of numbers is watched through features that are
derived from it. null, NaN and infinity are missing. Anything else is invalid. The bank decides whether that is the
kind of the feature: a feature with values of several types becomes a column for each type.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from detectors.column_batches import selected
from detectors.columns import INVALID, MISSING, PRESENT, Bools, Bytes8, Columns, Floats, Integers
from detectors.derived import rules
from detectors.features import FeatureSpec, Kind, UnitKey
from detectors.values import MAX_FEATURE_NAME, as_float
from stream.formats.ids import Identities, numbers_or_none
from stream.formats.row import Row


@dataclass(slots=True)
class UnitBatch:
    """Accepted rows of one unit.

    ``clocks_ms``, shape (n,): the partition's clock at the record of each row. ``environments``: row and environment of
    each row that has one.
    """

    columns: Columns
    identities: Identities
    clocks_ms: Integers
    environments: list[tuple[int, str]] = field(default_factory=list)

    @property
    def unit(self) -> UnitKey:
        return self.columns.unit

    @property
    def next_offsets(self) -> Integers:
        return self.columns.next_offsets

    @property
    def timestamps_ms(self) -> Integers:
        return self.columns.timestamps_ms

    @property
    def first(self) -> int:
        """The offset to read after the first row."""
        return int(self.columns.next_offsets[0])

    @property
    def first_clock_ms(self) -> int:
        """The partition's clock at the first row."""
        return int(self.clocks_ms[0])

    @property
    def clock_ms(self) -> int:
        """The partition's clock at the last row."""
        return int(self.clocks_ms[-1])

    @property
    def width(self) -> int:
        """Number of values of a row."""
        return len(self.columns.numeric) + len(self.columns.categorical)

    def batch(self) -> "UnitBatch":
        """The batch itself, which is columns already."""
        return self

    def selected(self, rows: Integers) -> "UnitBatch":
        """The given rows, in that order."""
        at = rows.tolist()
        place = {row: new for new, row in enumerate(at)} if self.environments else {}
        return UnitBatch(
            selected(self.columns, rows),
            self.identities[rows],
            self.clocks_ms[rows],
            [(place[row], text) for row, text in self.environments if row in place],
        )


class Gathered:
    """Collects the columns of n rows."""

    __slots__ = ("_blocks", "_categories", "rows")

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._blocks: list[tuple[tuple[str, ...], Floats, Bytes8 | None]] = []
        self._categories: list[tuple[FeatureSpec, list[str | None], Bytes8 | None]] = []

    def block(self, names: tuple[str, ...], numbers: Floats) -> None:
        """Adds numeric features: ``numbers`` of shape (rows, names), where NaN means missing."""
        status = None
        absent = np.isnan(numbers)
        if absent.any():
            numbers[absent] = 0.0
            status = absent.astype(np.uint8)  # MISSING is 1
        self._blocks.append((names, numbers, status))

    def column(self, name: str, values: Sequence[Any], code: str) -> None:
        """Adds a column of JSON type ``code`` (see ``shape_spec``), with None where there is no value."""
        if code == "number":
            numbers: Floats = np.fromiter(values, np.float64, self.rows)  # None becomes NaN
            if not np.isnan(numbers).all():
                self.block((name,), numbers[:, None])
        elif code in ("text", "boolean"):
            self._category_column(name, values, Kind.CATEGORICAL if code == "text" else Kind.BOOLEAN)
        elif code == "any":
            at = [row for row, value in enumerate(values) if value is not None]
            self.sparse(name, at, [values[row] for row in at])

    def _category_column(self, name: str, values: Sequence[Any], kind: Kind) -> None:
        categories = list(values) if kind is Kind.CATEGORICAL else [_BOOLEANS[value] for value in values]
        status = None
        if None in categories:
            status = np.fromiter((category is None for category in categories), np.uint8, self.rows)
            if status.all():
                return
        self._categories.append((FeatureSpec(name, kind), categories, status))
        if kind in rules.RULES:
            self._derive(name, kind, range(self.rows), values)

    def sparse(self, name: str, at: list[int], values: list[Any]) -> None:
        """Adds a feature's values of any type for the rows ``at``; in the other rows it is missing."""
        types = set(map(type, values))
        if types <= {int, float}:
            self._numbers(name, at, values)
        elif types == {str} or types == {bool}:
            self._texts(name, Kind.CATEGORICAL if types == {str} else Kind.BOOLEAN, at, values)
        else:
            groups: dict[type, tuple[list[int], list[Any]]] = {}
            for row, value in zip(at, values, strict=True):
                kind = float if type(value) is int else type(value)
                rows, found = groups.setdefault(kind, ([], []))
                rows.append(row)
                found.append(value)
            for kind, (rows, found) in groups.items():
                if kind is float or kind is str or kind is bool:
                    self.sparse(name, rows, found)
                elif kind is list:
                    self._vectors(name, rows, found)
                elif kind is not type(None):
                    self._invalid(name, rows, Kind.CATEGORICAL)

    def _numbers(self, name: str, at: list[int], values: list[Any]) -> None:
        numbers = np.full(self.rows, np.nan)
        try:
            numbers[at] = values
        except OverflowError:
            numbers[at] = [as_float(value) for value in values]
        numbers[np.isinf(numbers)] = np.nan
        if not np.isnan(numbers).all():
            self.block((name,), numbers[:, None])

    def _texts(self, name: str, kind: Kind, at: list[int], values: list[Any]) -> None:
        categories: list[Any] = [None] * self.rows
        for row, value in zip(at, values, strict=True):
            categories[row] = value
        self._category_column(name, categories, kind)

    def _invalid(self, name: str, at: list[int], kind: Kind) -> None:
        status = np.full(self.rows, MISSING, np.uint8)
        status[at] = INVALID
        self._categories.append((FeatureSpec(name, kind), [None] * self.rows, status))

    def _vectors(self, name: str, at: list[int], values: list[list[Any]]) -> None:
        """Adds the features that are derived from lists.

        The feature itself becomes invalid in these rows, because it may be known with another kind.
        """
        absent = self._derive(name, Kind.VECTOR, at, values)
        if not absent.all():
            given = [row for row, none in zip(at, absent.tolist(), strict=True) if not none]
            self._invalid(name, given, Kind.VECTOR)

    def _derive(self, name: str, kind: Kind, at: Sequence[int], values: Sequence[Any]) -> Bools:
        """Adds the features derived from values in rows ``at``; returns which values give none, shape (len(at),)."""
        made = rules.derived(name, values, kind)
        absent: Bools = (made.status == MISSING).all(axis=1)
        if not absent.all():
            numbers = np.zeros((self.rows, len(made.names)))
            status = np.full((self.rows, len(made.names)), MISSING, np.uint8)
            numbers[at], status[at] = made.numbers, made.status
            self._blocks.append((made.names, numbers, status))
        return absent

    def pieces(self, spec: FeatureSpec, parts: Sequence[tuple[int, UnitBatch, int]], place: Integers) -> None:
        """Adds one feature from several batches (first row, batch, column in it). Row r goes to row ``place[r]``."""
        status = np.full(self.rows, MISSING, np.uint8)
        numbers = np.zeros(self.rows)
        categories: list[str | None] = [None] * self.rows
        for start, batch, column in parts:
            source = batch.columns
            rows = place[start : start + len(source)]
            numeric = len(source.numeric)
            if column < numeric:
                numbers[rows] = source.numbers[:, column]
                status[rows] = PRESENT if source.number_status is None else source.number_status[:, column]
            else:
                column -= numeric
                for row, category in zip(rows.tolist(), source.categories[column], strict=True):
                    categories[row] = category
                status[rows] = PRESENT if source.category_status is None else source.category_status[:, column]
        given = status if status.any() else None
        if spec.kind is Kind.NUMERIC:
            self._blocks.append(((spec.feature,), numbers[:, None], None if given is None else given[:, None]))
        else:
            self._categories.append((spec, categories, given))

    def columns(self, unit: UnitKey, next_offsets: Integers, timestamps_ms: Integers) -> Columns:
        """All collected columns, as rows of one unit."""
        rows = self.rows
        names = tuple(name for block, _, _ in self._blocks for name in block)
        if len(self._blocks) == 1:
            _, numbers, status = self._blocks[0]
        else:
            numbers = np.concatenate([n for _, n, _ in self._blocks], axis=1) if names else np.zeros((rows, 0))
            status = _side_by_side([(s, len(block)) for block, _, s in self._blocks], rows)
        return Columns(
            unit,
            next_offsets,
            timestamps_ms,
            names,
            numbers,
            status,
            tuple(spec for spec, _, _ in self._categories),
            [categories for _, categories, _ in self._categories],
            _side_by_side([(s, 1) for _, _, s in self._categories], rows),
        )


_BOOLEANS = {True: "true", False: "false", None: None}


def _side_by_side(parts: Sequence[tuple[Bytes8 | None, int]], rows: int) -> Bytes8 | None:
    if all(part is None for part, _ in parts):
        return None
    return np.concatenate(
        [
            np.full((rows, width), PRESENT, np.uint8) if part is None else part.reshape(rows, width)
            for part, width in parts
        ],
        axis=1,
    )


MOST_CELLS = 1_000_000
"""Most rows times names of a batch: 8 MB of numbers, or of places for texts. A single row may have more."""


def batches_of(rows: Sequence[Row], next_offsets: Sequence[int], clocks_ms: Integers) -> tuple[list[UnitBatch], int]:
    """Rows as batches of one unit each, and the number of values whose names cannot be monitored.

    A unit has several batches, one after the other in the log, where one would have more than ``MOST_CELLS`` cells.
    """
    by_unit: dict[UnitKey, list[int]] = {}
    for place, row in enumerate(rows):
        by_unit.setdefault(row.unit, []).append(place)
    batches, unnamed = [], 0
    for places in by_unit.values():
        start, values = 0, _Values()
        for at, place in enumerate(places):
            own = rows[place].values
            span = max(at - start, next_offsets[place] - next_offsets[places[start]]) + 1
            if span * (len(values) + len(own)) > MOST_CELLS and at > start:
                batch, left_out = _batch_of(rows, next_offsets, clocks_ms, places[start:at], values)
                batches.append(batch)
                unnamed += left_out
                start, values = at, _Values()
            for name, value in own.items():
                if (found := values.get(name)) is None:
                    found = values[name] = ([], [])
                found[0].append(at - start)
                found[1].append(value)
        batch, left_out = _batch_of(rows, next_offsets, clocks_ms, places[start:], values)
        batches.append(batch)
        unnamed += left_out
    return batches, unnamed


class _Values(dict[str, tuple[list[int], list[Any]]]):
    """Rows and values of each name."""


def _batch_of(
    rows: Sequence[Row], next_offsets: Sequence[int], clocks_ms: Integers, places: list[int], values: _Values
) -> tuple[UnitBatch, int]:
    """The rows at ``places`` as one batch, and the number of values whose names cannot be monitored."""
    gathered, unnamed = Gathered(len(places)), 0
    for name, (at_rows, found_values) in values.items():
        if not name or len(name) > MAX_FEATURE_NAME:
            unnamed += len(at_rows)
        else:
            gathered.sparse(name, at_rows, found_values)
    columns = gathered.columns(
        rows[places[0]].unit,
        np.array([next_offsets[p] for p in places], np.int64),
        np.array([rows[p].timestamp_ms for p in places], np.int64),
    )
    environments = [(at, e) for at, p in enumerate(places) if (e := rows[p].environment) is not None]
    identities = numbers_or_none([rows[p].identity for p in places])
    return UnitBatch(columns, identities, clocks_ms[places], environments), unnamed


def merged(batches: Sequence[UnitBatch]) -> UnitBatch:
    """Batches of one unit as one batch, in the order of the log."""
    gathered = Gathered(sum(len(b.columns) for b in batches))
    next_offsets = np.concatenate([b.next_offsets for b in batches])
    by = np.argsort(next_offsets, kind="stable")  # rows of one message have one offset and stay in their order
    place = np.empty(len(by), np.int64)
    place[by] = np.arange(len(by))
    specs: dict[FeatureSpec, list[tuple[int, UnitBatch, int]]] = {}
    start = 0
    for batch in batches:
        for column, spec in enumerate(batch.columns.specs()):
            specs.setdefault(spec, []).append((start, batch, column))
        start += len(batch.columns)
    for spec, parts in specs.items():
        gathered.pieces(spec, parts, place)
    environments, start = [], 0
    for batch in batches:
        environments += [(int(place[start + row]), text) for row, text in batch.environments]
        start += len(batch.columns)
    columns = gathered.columns(
        batches[0].columns.unit,
        next_offsets[by],
        np.concatenate([b.columns.timestamps_ms for b in batches])[by],
    )
    identities = np.concatenate([b.identities for b in batches])[by]
    clocks_ms = np.concatenate([b.clocks_ms for b in batches])[by]
    return UnitBatch(columns, identities, clocks_ms, sorted(environments))


def interleaved(batches: Sequence[UnitBatch], others: Sequence[UnitBatch]) -> list[UnitBatch]:
    """Batches of one unit in the order of the log, where ``batches`` follow each other and ``others`` lie anywhere.

    Rows of the others that lie within one of ``batches`` are merged with it; between them they stay batches of their
    own. So no batch becomes much larger than ``MOST_CELLS``.
    """
    found: list[UnitBatch] = []
    rest = merged(others)
    for batch in batches:
        first, last = batch.first, int(batch.next_offsets[-1])
        start, end = np.searchsorted(rest.next_offsets, (first, last + 1)).tolist()
        if start:
            found.append(rest.selected(np.arange(start)))
        found.append(merged([batch, rest.selected(np.arange(start, end))]) if end > start else batch)
        rest = rest.selected(np.arange(end, len(rest.next_offsets)))
    return [*found, rest] if len(rest.next_offsets) else found
