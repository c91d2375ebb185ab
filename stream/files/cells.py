"""The meaning of a table's text: which columns are numbers, booleans or categories, and how numbers are written."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from detectors.columns import Floats
from detectors.features import Kind
from detectors.values import MISSING_CATEGORY, MISSING_NUMBER, TRUTH, number_of
from stream.files.remarks import Remarks

MAX_COLUMNS = 10_000
NUMERIC_SHARE = 0.95
"""A column is numeric if this share of its first values are numbers, so that one '#REF!' does not make it
categorical."""

_GROUPS = " '’\u00a0\u202f"
_GROUP_NAMES = {
    "points between thousands": ".",
    "commas between thousands": ",",
    "spaces between thousands": " \u00a0\u202f",
    "apostrophes between thousands": "'’",
}
_COMMA = re.compile(rf"[+-]?(?:\d{{1,3}}(?:[.{_GROUPS}]\d{{3}})+|\d+)?(?:,\d+)?(?:[eE][+-]?\d+)?")
_POINT = re.compile(rf"[+-]?(?:\d{{1,3}}(?:[,{_GROUPS}]\d{{3}})+|\d+)?(?:\.\d+)?(?:[eE][+-]?\d+)?")
_COMMA_GROUPS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})*")
_POINT_GROUPS = re.compile(r"[+-]?\d{1,3}(?:\.\d{3})*")
_AFFIXES = re.compile(r"^(?:[A-Z]{0,3}[$€£¥₹]|[A-Z]{3})?\s*(.*?)\s*(?:%|[$€£¥₹]|[A-Z]{3})?$")


class Style(NamedTuple):
    """How a column's numbers are written: the decimal mark, and the marks between thousands."""

    decimal: str
    groups: str

    def number(self, text: str) -> float | None:
        """The number in a text; None if it is not a number in this style."""
        pattern = _COMMA if self.decimal == "," else _POINT
        bare = text.strip()
        if not pattern.fullmatch(bare):
            return None
        for mark in self.groups:
            bare = bare.replace(mark, "")
        return number_of(bare.replace(self.decimal, "."))


DECIMAL_COMMA = Style(",", f".{_GROUPS}")
DECIMAL_POINT = Style(".", f",{_GROUPS}")


def style_of(texts: Sequence[str], delimiter: str, european: bool) -> Style | None:
    """The style of a column of numbers that are written with marks of their own; None if plain floats or no numbers.

    A comma is the decimal mark where the file is not parted by commas, or where a group of three digits does not
    explain it. Points are between thousands only in a file that has decimal commas elsewhere (``european``) and if
    every value fits.

    >>> style_of(["103,25", "7,5"], ",", False) == DECIMAL_COMMA, style_of(["1,200.50"], ",", False) == DECIMAL_POINT
    (True, True)
    >>> style_of(["4.123", "649"], ";", True) == DECIMAL_COMMA, style_of(["4.123", "649"], ";", False) is None
    (True, True)
    """
    given = [text for text in map(str.strip, texts) if text not in MISSING_NUMBER]
    if not given:
        return None
    if european and any("." in text for text in given) and all(map(_POINT_GROUPS.fullmatch, given)):
        return DECIMAL_COMMA
    if sum(number_of(text) is not None for text in given) >= NUMERIC_SHARE * len(given):
        return None
    styles = [DECIMAL_COMMA, DECIMAL_POINT]
    if delimiter != ";" and any("," in text for text in given) and all(map(_COMMA_GROUPS.fullmatch, given)):
        styles.reverse()  # 1,200 and 35,400 and 12: no other reading explains the groups of three
    for style in styles:
        if sum(style.number(text) is not None for text in given) >= NUMERIC_SHARE * len(given):
            return style
    return None


def looks_like_number(text: str) -> bool:
    """Whether a text is a number in some style, or one with a currency or a percent sign.

    >>> [looks_like_number(text) for text in ("103,25", "$1,200.50", "40.1%", "red", "")]
    [True, True, True, False, False]
    """
    found = _AFFIXES.match(text.strip())
    bare = found[1] if found else ""
    if not any(map(str.isdigit, bare)):
        return False
    return number_of(bare) is not None or any(
        style.number(bare) is not None for style in (DECIMAL_COMMA, DECIMAL_POINT)
    )


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
    bare = cell.strip()
    return bare not in MISSING_CATEGORY and (number_of(bare) is not None or DECIMAL_COMMA.number(bare) is not None)


class Kinds:
    """The kinds of a table's columns, over all its files. The first chunk with a value in a column decides its kind.

    :param known: kinds that a reference has; they decide how the texts of their columns are read.
    """

    __slots__ = ("_european", "_kinds", "_known", "_remarks", "_styles")

    def __init__(self, known: Mapping[str, Kind], remarks: Remarks) -> None:
        self._known, self._remarks = dict(known), remarks
        self._kinds: dict[str, Kind] = {}
        self._styles: dict[str, Style] = {}
        self._european = False

    def columns(self, texts: Mapping[str, Sequence[str]], delimiter: str) -> dict[str, Sequence[Any]]:
        """The values of a chunk of columns."""
        new = [name for name in texts if name not in self._kinds and name not in self._styles]
        readable = [name for name in new if self._known.get(name, Kind.NUMERIC) is Kind.NUMERIC]
        for last in (False, True):  # points between thousands are believed once decimal commas were seen
            for name in readable:
                if name not in self._styles and (last or delimiter != ","):
                    self._decide_style(name, texts[name], delimiter)
        return {name: self._values(name, column) for name, column in texts.items()}

    def _decide_style(self, name: str, texts: Sequence[str], delimiter: str) -> None:
        style = style_of(texts, delimiter, self._european)
        if style is None:
            return
        self._styles[name] = style
        mark = style.decimal if any(style.decimal in text for text in texts) else ""
        if mark == ",":
            self._european = True
        shown = []
        bare = [text for text in map(str.strip, texts) if style.number(text) is not None]
        for what, marks in (("decimal commas", mark), *_GROUP_NAMES.items()):
            found = next((text for text in bare if any(one in text for one in marks)), None)
            if found is not None and (what == "decimal commas" or marks[0] in style.groups):
                shown.append(f"{what} ({found!r} is {style.number(found):.15g})")
        if shown:
            self._remarks.note(f"{name}: read with {' and '.join(shown)}")

    def _values(self, name: str, texts: Sequence[str]) -> Sequence[Any]:
        known, style = self._known.get(name), self._styles.get(name)
        if style is not None:
            self._kinds[name] = Kind.NUMERIC
            return [_number(text.strip(), style.number) for text in texts]
        kind = known or self._kinds.get(name)
        if kind in (None, Kind.NUMERIC):
            numbers = _clean_numbers(texts)
            if numbers is not None:
                self._kinds[name] = Kind.NUMERIC
                values: Sequence[Any] = numbers  # type: ignore[assignment]  # numpy's arrays behave as sequences without being declared so
                return values
        if kind is None:
            found = kind_of(texts)
            if found is not None:
                self._kinds[name] = found
            kind = found
        if kind is Kind.NUMERIC:
            return [_number(text.strip(), number_of) for text in texts]
        if kind is Kind.BOOLEAN:
            return [_truth(text.strip(), known is not None) for text in texts]
        absent = MISSING_CATEGORY if known is None else frozenset(("",))  # the bank knows which others are missing
        return [None if text in absent else text for text in map(str.strip, texts)]


def kind_of(texts: Sequence[str]) -> Kind | None:
    """The kind of a column by its first texts; None if all are missing values.

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
    """All texts as numbers, the common case; None if one is not a finite number."""
    try:
        numbers = np.array([float(text) for text in texts])
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() and not any("_" in text for text in texts) else None


def _number(text: str, read: Any) -> float | str | None:
    if text in MISSING_NUMBER:
        return None
    number = read(text)
    if number is None:
        number = number_of(text)
    if number is None:
        return text
    return number if math.isfinite(number) else None


def _truth(text: str, known: bool) -> bool | str | None:
    if known and text in ("0", "1"):
        return text == "1"
    return None if text in MISSING_NUMBER else TRUTH.get(text, text)
