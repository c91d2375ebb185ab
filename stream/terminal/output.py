"""How values are written to the terminal: JSON documents, numbers and times."""

from datetime import UTC, datetime

import msgspec
from rich.console import Console


def write_json(console: Console, value: object) -> None:
    """Writes one JSON document, without colours and without wrapping."""
    console.out(msgspec.json.format(msgspec.json.encode(value), indent=2).decode(), highlight=False)


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
