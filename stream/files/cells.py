"""The meaning of a table's text: which columns are numbers, booleans or categories, and which texts are missing
values."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from detectors.columns import Floats
from detectors.features import Kind

MAX_COLUMNS = 10_000
NUMERIC_SHARE = 0.95
"""A column is numeric if this share of its first values are numbers, so that one '#REF!' does not make it
categorical."""

MISSING_CATEGORY = frozenset(("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null"))
MISSING_NUMBER = MISSING_CATEGORY | {"None", "none", "?", "-", "Na", "na", "#N/A", "<NA>", "NAN"}
TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


def number_of(text: str) -> float | None:
    """The number that ``text`` is; None where it is no number. A text with underscores is no number.

    >>> number_of(" 1e3 "), number_of("1_000"), number_of("1,5")
    (1000.0, None, None)
    """
    if "_" in text:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first of ``rows`` is a header: it has no number, or it has text where the rows below have numbers.

    >>> is_header([["a", "1"], ["b", "2"]]), is_header([["x", "1"], ["1", "2"]])
    (False, True)
    """
    first, below = rows[0], rows[1:]
    if not any(_is_number(cell) for cell in first):
        return True
    for place, cell in enumerate(first):
        if cell.strip() in MISSING_NUMBER or _is_number(cell):
            continue
        others = [row[place].strip() for row in below if place < len(row)]
        others = [other for other in others if other not in MISSING_NUMBER]
        if others and all(_is_number(other) for other in others):
            return True
    return False


def _is_number(cell: str) -> bool:
    return cell.strip() not in MISSING_CATEGORY and number_of(cell) is not None


class Kinds:
    """The kinds of a table's columns. The first chunk with a value in a column decides its kind."""

    __slots__ = ("_kinds",)

    def __init__(self, columns: int) -> None:
        self._kinds: list[Kind | None] = [None] * columns

    def values(self, place: int, texts: Sequence[str]) -> Sequence[Any]:
        """The values of the ``texts`` of column ``place``."""
        kind = self._kinds[place]
        if kind in (None, Kind.NUMERIC):
            numbers = _clean_numbers(texts)
            if numbers is not None:
                self._kinds[place] = Kind.NUMERIC
                values: Sequence[Any] = numbers  # type: ignore[assignment]  # numpy's arrays behave as sequences without being declared so
                return values
        if kind is None:
            kind = self._kinds[place] = kind_of(texts)
        if kind is Kind.NUMERIC:
            return [_number(text.strip()) for text in texts]
        if kind is Kind.BOOLEAN:
            return [_truth(text.strip()) for text in texts]
        return [None if text in MISSING_CATEGORY else text for text in map(str.strip, texts)]


def kind_of(texts: Sequence[str]) -> Kind | None:
    """The kind of a column by its first texts; None where all are missing values.

    >>> kind_of(["", "true"]), kind_of(["1", "?"]), kind_of(["1", "b"])
    (<Kind.BOOLEAN: 'boolean'>, <Kind.NUMERIC: 'numeric'>, <Kind.CATEGORICAL: 'categorical'>)
    """
    given = [text for text in map(str.strip, texts) if text not in MISSING_NUMBER]
    if not given:
        return Kind.CATEGORICAL if any(text.strip() not in MISSING_CATEGORY for text in texts) else None
    if all(text in TRUTH for text in given):
        return Kind.BOOLEAN
    numbers = sum(number_of(text) is not None for text in given)
    return Kind.NUMERIC if numbers >= NUMERIC_SHARE * len(given) else Kind.CATEGORICAL


def _clean_numbers(texts: Sequence[str]) -> Floats | None:
    """All texts as numbers, the common case; None where one is not a finite number."""
    try:
        numbers = np.array([float(text) for text in texts])
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() and not any("_" in text for text in texts) else None


def _number(text: str) -> float | str | None:
    if text in MISSING_NUMBER:
        return None
    number = number_of(text)
    if number is None:
        return text
    return number if math.isfinite(number) else None


def _truth(text: str) -> bool | str | None:
    return None if text in MISSING_NUMBER else TRUTH.get(text, text)
