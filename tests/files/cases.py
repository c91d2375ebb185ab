"""Small inputs made after reports from the field, one function a report. Each writes files into a folder."""

import datetime
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CASES = Path(os.environ.get("DRIFTLINE_TEST_CASES") or Path(__file__).parents[3] / "shared" / "cases")
START = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
START_MS = 1_772_323_200_000


def given(name: str) -> Path | None:
    """The folder of a reported case, if it is on this machine."""
    folder = CASES / name
    return folder if folder.is_dir() else None


def numbers(count: int, change_at: int | None = None, shift: float = 3.0, seed: int = 7) -> Iterator[float]:
    """Normal numbers around 100 with a deviation of 10; from ``change_at`` on they are ``shift`` deviations higher."""
    rng = random.Random(seed)
    for row in range(count):
        moved = shift if change_at is not None and row >= change_at else 0.0
        yield round(rng.gauss(100 + 10 * moved, 10), 2)


def csv(file: Path, header: str, lines: Iterator[str] | list[str], encoding: str = "utf-8") -> Path:
    """Writes a table as text."""
    file.write_text("\n".join([header, *lines]) + "\n", encoding=encoding)
    return file


def events(file: Path, features: list[dict[str, Any]], dump: Callable[[Any], str] = json.dumps, **more: Any) -> Path:
    """Writes events as lines."""
    lines = []
    for row, one in enumerate(features):
        event = {"id": str(row), "model": "m", "version": "1", "ts": START_MS + 1_000 * row, "features": one}
        event.update({name: value(row) if callable(value) else value for name, value in more.items()})
        lines.append(dump(event))
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def moments(form: str, count: int) -> list[str]:
    """Quarter hours in one of the forms that exports have."""
    times = [START + datetime.timedelta(minutes=15 * row) for row in range(count)]
    seconds = [int(time.timestamp()) for time in times]
    return {
        "seconds": [str(second) for second in seconds],
        "milliseconds": [str(second * 1_000) for second in seconds],
        "microseconds": [str(second * 1_000_000) for second in seconds],
        "nanoseconds": [str(second * 1_000_000_000) for second in seconds],
        "yyyymmdd": [f"{time:%Y%m%d}" for time in times],
        "yyyymmddhhmmss": [f"{time:%Y%m%d%H%M%S}" for time in times],
        "utc-word": [f"{time:%Y-%m-%d %H:%M:%S} UTC" for time in times],
        "zulu": [f"{time:%Y-%m-%dT%H:%M:%S}Z" for time in times],
        "day-first": [f"{time:%d/%m/%Y %H:%M}" for time in times],
    }[form]
