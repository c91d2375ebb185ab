"""Rows of features, and predictions, out of the bodies of requests and replies. Shared by formats. No I/O.

The conventions: a column without a name is x0, x1, ..., or as the settings name it by place. The prediction is the
first value of a reply's row; every other number of it is a score. Where replies and rows differ in number, no row gets
a prediction.
"""

import csv
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from detectors.errors import FormatError
from stream.formats.message import Message, decode_json

UNMATCHED = "predictions"
"""The limit's name for replies that have another number of predictions than their request has rows."""

Features = dict[str, Any]


_NO_IDS = ("", "None", "null", "nan")
"""Texts that producers write where there is no id."""


def identity_of(value: Any) -> Any:
    """The id that a producer wrote; None where that stands for no id."""
    return None if value is None or str(value) in _NO_IDS else value


def lines_of(body: Any, members: Collection[str]) -> list[dict[str, Any]] | None:
    """The objects of a message, one or several; None where not every one has these members."""
    lines = body if isinstance(body, list) else [body]
    fit = bool(lines) and all(isinstance(one, dict) and one.keys() >= set(members) for one in lines)
    return lines if fit else None


def json_inside(text: str, where: str) -> Any:
    """The JSON in a text that a message holds. Raises FormatError that begins with ``where``."""
    try:
        return decode_json(text.encode())
    except (FormatError, UnicodeError) as error:
        raise FormatError(f"{where}: {error}") from error


class Answer(NamedTuple):
    """What a model answered for one row."""

    prediction: Any = None
    scores: Mapping[str, Any] = {}

    def members(self) -> dict[str, Any]:
        """As members of an event."""
        return {
            **({} if self.prediction is None else {"prediction": self.prediction}),
            **({"scores": dict(self.scores)} if self.scores else {}),
        }


def named(values: Sequence[Any], names: Sequence[str]) -> Features:
    """Values by place as features. Names that are missing are x0, x1, ..."""
    return {names[at] if at < len(names) else f"x{at}": value for at, value in enumerate(values)}


def rows_of(body: Any, names: Sequence[str]) -> list[Features]:
    """Rows given as a list of objects, of lists or of single values, or as an object of columns. Raises FormatError."""
    if isinstance(body, dict):
        return _by_column(body)
    if not isinstance(body, list):
        raise FormatError("rows are neither a list nor an object of columns")
    rows = []
    for row in body:
        if isinstance(row, dict):
            rows.append(row)
        else:
            rows.append(named(row if isinstance(row, list) else [row], names))
    return rows


def split_rows(body: Any) -> list[Features]:
    """The rows of pandas' "split" form: ``columns`` and ``data``. Raises FormatError."""
    if not isinstance(body, dict) or not isinstance(body.get("data"), list):
        raise FormatError("dataframe_split has no list as data")
    columns = body.get("columns")
    names = [str(name) for name in columns] if isinstance(columns, list) else []
    rows = []
    for row in body["data"]:
        if not isinstance(row, list) or (names and len(row) != len(names)):
            raise FormatError(f"dataframe_split: a row does not have {len(names)} values, one for each column")
        rows.append(named(row, names))
    return rows


def csv_rows(text: str, names: Sequence[str], *, header: bool = False) -> list[Features]:
    """The rows of a CSV text; empty cells are missing. ``header``: its first line has the names. Raises FormatError."""
    try:
        lines = [line for line in csv.reader(text.splitlines(keepends=True)) if line]
    except csv.Error as error:
        raise FormatError(f"CSV: {error}") from error
    if header and lines:
        names, lines = lines[0], lines[1:]
        for line in lines:
            if len(line) != len(names):
                raise FormatError(f"CSV: a line has {len(line)} cells and the header {len(names)}")
    return [named([cell_of(cell) for cell in line], names) for line in lines]


def cell_of(text: str) -> Any:
    """The value of a CSV cell: a number, a boolean as pandas writes it, None for nothing, else the text."""
    plain = text.strip()
    if not plain:
        return None
    if plain in ("True", "False", "true", "false"):
        return plain[0] in "Tt"
    try:
        number = int(plain) if plain.lstrip("+-").isdigit() and len(plain) < 18 else float(plain)
    except ValueError:
        return text
    return number if math.isfinite(number) and "_" not in plain else text


def answers_of(body: Any) -> list[Answer] | None:
    """What a reply holds for each row: its member ``predictions``, or the reply itself; None when it holds none."""
    found = body.get("predictions") if isinstance(body, dict) else body
    if isinstance(found, dict):
        columns = _by_column(found)
        return [answer_of(row) for row in columns]
    return [answer_of(one) for one in found] if isinstance(found, list) else None


def answer_of(value: Any) -> Answer:
    """What a reply holds for one row."""
    if isinstance(value, dict):
        items = [(str(name), one) for name, one in value.items() if _is_single(one)]
    elif isinstance(value, list):
        if len(value) == 1 and _is_single(value[0]):
            return Answer(value[0])
        return Answer(None, {str(at): one for at, one in enumerate(value) if _is_number(one)})
    else:
        return Answer(value if _is_single(value) else None)
    if not items:
        return Answer()
    return Answer(items[0][1], {name: one for name, one in items[1:] if _is_number(one)})


def events(
    message: Message, rows: Sequence[Features], answers: Sequence[Answer] | None, shared: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """One event a row. ``shared``: members of all events; their ``id`` gets the number of the row where there are
    several."""
    if answers is not None and len(answers) != len(rows):
        message.count(UNMATCHED, len(answers))
        answers = None
    found = []
    for at, features in enumerate(rows):
        event = {name: value for name, value in shared.items() if value is not None}
        if "id" in event and len(rows) > 1:
            event["id"] = f"{event['id']}#{at}"
        found.append({**event, "features": features, **(answers[at].members() if answers is not None else {})})
    return found


def _by_column(columns: Mapping[str, Any]) -> list[Features]:
    lists = {str(name): column for name, column in columns.items() if isinstance(column, list)}
    if len(lists) < len(columns):
        if lists:
            raise FormatError("columns: some members are lists and some are not")
        return [dict(columns)]
    lengths = {len(column) for column in lists.values()}
    if len(lengths) > 1:
        raise FormatError(f"columns differ in length: {sorted(lengths)[:5]} rows")
    return [{name: column[row] for name, column in lists.items()} for row in range(lengths.pop() if lengths else 0)]


def _is_single(value: Any) -> bool:
    return isinstance(value, str | bool | int | float)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
