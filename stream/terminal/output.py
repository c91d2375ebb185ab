"""How values are written to the terminal: JSON documents, numbers and times."""

import re
import struct
from datetime import UTC, datetime

import msgspec
from rich.console import Console

from stream.terminal.printable import printable

_NOT_ASCII = re.compile(r"[^\n -~]")


def write_json(console: Console, value: object) -> None:
    """Writes one JSON document, without colours and without wrapping."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    console.out(_NOT_ASCII.sub(_json_escape, text), highlight=False)


def write_json_line(console: Console, value: object) -> None:
    """Writes one JSON value in one line, without colours and without wrapping."""
    console.out(_NOT_ASCII.sub(_json_escape, msgspec.json.encode(value).decode()), highlight=False)


def _json_escape(found: re.Match[str]) -> str:
    """What a terminal would obey or hide, as an escape of JSON."""
    one = found[0]
    if printable(one) == one:
        return one
    return "".join(f"\\u{unit:04x}" for (unit,) in struct.iter_unpack(">H", one.encode("utf-16-be", "surrogatepass")))


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
