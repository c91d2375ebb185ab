"""How values are written to the terminal: JSON documents, texts of events, numbers and times."""

import json
import unicodedata
from datetime import UTC, datetime

import msgspec
from rich import markup
from rich.console import Console

_UNPRINTABLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Categories of characters that a terminal obeys or hides instead of showing them."""


def printable(text: str, *, lines: bool = False) -> str:
    """A text of events as a terminal can show it: what cannot be printed is escaped; with ``lines``, line ends stay.

    >>> printable("\\x1b[2J" + "a"), printable("straße")
    ('\\\\x1b[2Ja', 'straße')
    """
    if text.isprintable():
        return text
    kept = "\n\t" if lines else ""
    return "".join(
        char if char in kept or unicodedata.category(char) not in _UNPRINTABLE else _escaped(char) for char in text
    )


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def escape(text: str) -> str:
    """A text of events for a console that reads markup: printable, and without meaning as markup."""
    return markup.escape(printable(text))


def write_json(console: Console, value: object) -> None:
    """Writes one JSON document, without colours and without wrapping."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    if not text.isascii():
        text = "".join(
            char if char == "\n" or unicodedata.category(char) not in _UNPRINTABLE else json.dumps(char)[1:-1]
            for char in text
        )
    console.out(text.replace("\x7f", "\\u007f"), highlight=False)


def number(value: object) -> str:
    """A number with three significant figures; a dash for anything else."""
    return f"{value:.3g}" if isinstance(value, int | float) else "-"


def when(moment_ms: int | None) -> str:
    """A time in UTC, to the second; a dash for None."""
    if moment_ms is None:
        return "-"
    try:
        return f"{datetime.fromtimestamp(moment_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"
    except (OverflowError, ValueError, OSError):
        return f"{moment_ms} ms"
