"""Joins and cuts batches of columns, and converts them to the known kinds of features. No statistics here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from detectors.columns import INVALID, MISSING, PRESENT, Bytes8, Columns, Integers
from detectors.features import FeatureSpec, Kind
from detectors.values import EMPTY_TEXTS


def selected(columns: Columns, rows: Integers) -> Columns:
    """A batch of the given rows, in that order. The caller sets environments."""
    at = rows.tolist()
    return Columns(
        columns.unit,
        columns.next_offsets[rows],
        columns.timestamps_ms[rows],
        columns.numeric,
        columns.numbers[rows],
        None if columns.number_status is None else columns.number_status[rows],
        columns.categorical,
        [[texts[row] for row in at] for texts in columns.categories],
        None if columns.category_status is None else columns.category_status[rows],
    )


def sliced(columns: Columns, start: int, end: int) -> Columns:
    """A batch of rows start..end, which shares the numbers. The caller sets environments."""
    rows = slice(start, end)
    return Columns(
        columns.unit,
        columns.next_offsets[rows],
        columns.timestamps_ms[rows],
        columns.numeric,
        columns.numbers[rows],
        None if columns.number_status is None else columns.number_status[rows],
        columns.categorical,
        [texts[rows] for texts in columns.categories],
        None if columns.category_status is None else columns.category_status[rows],
    )


def same_shape(left: Columns, right: Columns) -> bool:
    """Whether both batches have the same columns in the same order."""
    return left.numeric == right.numeric and left.categorical == right.categorical


def joined(parts: Sequence[Columns]) -> Columns:
    """One batch of the rows of several batches of one shape."""
    environments: dict[str, int] = {}
    for part in parts:
        for environment, count in part.environments.items():
            environments[environment] = environments.get(environment, 0) + count
    first = parts[0]
    return Columns(
        first.unit,
        np.concatenate([p.next_offsets for p in parts]),
        np.concatenate([p.timestamps_ms for p in parts]),
        first.numeric,
        np.concatenate([p.numbers for p in parts]),
        _joined_status([p.number_status for p in parts], [p.numbers.shape for p in parts]),
        first.categorical,
        [[text for p in parts for text in p.categories[at]] for at in range(len(first.categorical))],
        _joined_status([p.category_status for p in parts], [(len(p), len(p.categorical)) for p in parts]),
        environments,
    )


def _joined_status(parts: Sequence[Bytes8 | None], shapes: Sequence[tuple[int, ...]]) -> Bytes8 | None:
    if all(part is None for part in parts):
        return None
    return np.concatenate(
        [np.zeros(shape, np.uint8) if part is None else part for part, shape in zip(parts, shapes, strict=True)]
    )


def first_rows(columns: Columns, wanted: Callable[[str], bool]) -> list[tuple[int, str, int]]:
    """First row, feature and number of each column that is ``wanted`` and has a value that can be watched; sorted."""
    columns_wanted = [(at, spec.feature) for at, spec in enumerate(columns.specs()) if wanted(spec.feature)]
    return sorted((row, name, at) for at, name in columns_wanted if (row := first_row(columns, at)) is not None)


def first_row(columns: Columns, at: int) -> int | None:
    """The first row in which a column has a value that can be watched, or None. Numeric columns are numbered first,
    then categorical ones.
    """
    if at < len(columns.numeric):
        if columns.number_status is None:
            return 0
        seen = columns.number_status[:, at] == PRESENT
        return int(seen.argmax()) if seen.any() else None
    texts = columns.categories[at - len(columns.numeric)]
    return next((row for row, text in enumerate(texts) if text is not None and text not in EMPTY_TEXTS), None)


def without_values_before(columns: Columns, begins: Mapping[str, int]) -> Columns:
    """The same events, in which features have no value before the row that ``begins`` names for them.

    So what comes before the first value of a new feature that can be watched is missing, however events are cut.
    """
    if not any(begins.values()):
        return columns
    numeric = [(at, begins[name]) for at, name in enumerate(columns.numeric) if begins.get(name)]
    categorical = [(at, begins[s.feature]) for at, s in enumerate(columns.categorical) if begins.get(s.feature)]
    number_status, category_status = columns.number_status, columns.category_status
    categories: list[list[str | None]] = list(columns.categories)
    if numeric and number_status is not None:
        number_status = number_status.copy()
        for at, row in numeric:
            number_status[:row, at] = MISSING
    if categorical and category_status is not None:
        category_status = category_status.copy()
        for at, row in categorical:
            category_status[:row, at] = MISSING
            categories[at] = [*([None] * row), *categories[at][row:]]
    return replace(columns, number_status=number_status, categories=categories, category_status=category_status)


def coerced(columns: Columns, kinds: dict[str, Kind | None], lists: dict[str, list[str]]) -> Columns:
    """The same events with one column for each feature, of its known kind; values of another kind are invalid.

    A text that stands for a missing value is missing in features of any kind.
    ``lists``: features that are lists of numbers, each with the names of the numeric features derived from it. Where a
    value is not a list, these are invalid.
    """
    rows = len(columns)
    numeric = [n for n, kind in kinds.items() if kind is Kind.NUMERIC]
    numeric += [n for derived in lists.values() for n in derived if n not in kinds]
    categorical = [FeatureSpec(n, k) for n, k in kinds.items() if k in (Kind.CATEGORICAL, Kind.BOOLEAN)]
    numbers, status = np.zeros((rows, len(numeric))), np.full((rows, len(numeric)), MISSING, np.uint8)
    category_status = np.full((rows, len(categorical)), MISSING, np.uint8)
    categories: list[list[str | None]] = [[None] * rows for _ in categorical]
    number_at = {name: at for at, name in enumerate(numeric)}
    category_at = {spec.feature: at for at, spec in enumerate(categorical)}
    for source, spec in enumerate(columns.specs()):
        if kinds[spec.feature] is None and (spec.feature not in lists or spec.kind is Kind.VECTOR):
            continue
        is_number = source < len(columns.numeric)
        given_status = columns.number_status if is_number else columns.category_status
        column = source if is_number else source - len(columns.numeric)
        given = np.zeros(rows, np.uint8) if given_status is None else given_status[:, column]
        same = kinds[spec.feature] is spec.kind
        given_rows = given != MISSING
        if spec.feature in lists:
            for derived in lists[spec.feature]:
                status[given_rows, number_at[derived]] = INVALID
            continue
        target = (
            status[:, number_at[spec.feature]]
            if kinds[spec.feature] is Kind.NUMERIC
            else category_status[:, category_at[spec.feature]]
        )
        target[given_rows] = given[given_rows] if same else INVALID
        if not same:
            if spec.kind is Kind.CATEGORICAL:
                texts = columns.categories[column]
                target[[row for row in np.flatnonzero(given_rows).tolist() if texts[row] in EMPTY_TEXTS]] = MISSING
            continue
        if is_number:
            numbers[given_rows, number_at[spec.feature]] = columns.numbers[given_rows, column]
        else:
            into = categories[category_at[spec.feature]]
            for row in np.flatnonzero(given == PRESENT).tolist():
                into[row] = columns.categories[column][row]
    return Columns(
        columns.unit, columns.next_offsets, columns.timestamps_ms, tuple(numeric), numbers,
        status if (status != PRESENT).any() else None, tuple(categorical), categories,
        category_status if (category_status != PRESENT).any() else None, columns.environments,
    )  # fmt: skip
