"""Real streams, from ``--data DIR``. None of them is part of the project.

Each is read as its publishers describe it, so that its changes are known, or it is known that they are unknown; its
events go through the whole pipeline at the default budget, one false alarm a month.
"""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.detection import pipeline
from benchmarks.detection.nulls import Rows
from detectors.columns import Floats
from detectors.evidence.sheets import MONTH_SECONDS
from detectors.reference.builder import build_reference

DAY_MS = 86_400_000
NEAR = 1_000
"""Most events between a known change and an incident that is attributed to it."""


class Stream(NamedTuple):
    """``values``, shape (rows, F), the first ``reference_rows`` for the reference; ``changes``: where rows change."""

    name: str
    names: list[str]
    values: Floats
    reference_rows: int
    event_ms: int
    changes: list[int]
    timed: bool  # the rows have times of their own, so seasons can be learned


def elec2(folder: Path, rng: np.random.Generator) -> Stream:
    """Half-hourly electricity market; three features are constant up to row 17,424. Left out: its date, a clock."""
    with (folder / "elec2" / "electricity.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name not in ("date", "day", "period", "class")]
    values = np.array([[float(row[name]) for name in names] for row in rows])
    return Stream("elec2", names, values, 10_000, DAY_MS // 48, [17_424], timed=True)


def gas_sensor(folder: Path, rng: np.random.Generator) -> Stream:
    """Chemical sensors that age; batches are months apart and shuffled inside, since rows are grouped by gas."""
    batches = []
    for number in (1, 2, 3, 4, 5, 6, 8, 9):
        lines = (folder / "gas_sensor" / f"batch{number}.dat").read_text().splitlines()
        batch = np.array([[float(cell.split(":")[1]) for cell in line.split()[1:]] for line in lines])
        batches.append(batch[rng.permutation(len(batch))])
    borders = np.cumsum([len(batch) for batch in batches])
    values = np.concatenate(batches)
    names = [f"s{i}" for i in range(values.shape[1])]
    return Stream("gas_sensor", names, values, int(borders[1]), 60_000, borders[1:-1].tolist(), timed=False)


def insects_gradual(folder: Path, rng: np.random.Generator) -> Stream:
    """Insects by their wing beats; changes at row 14,028. Shuffled before and after: rows before it already move."""
    with (folder / "insects_gradual" / "gradual_balanced_24150.csv").open(newline="") as file:
        values = np.array([[float(cell) for cell in row[:-1]] for row in csv.reader(file)])
    change = 14_028
    order = np.concatenate((rng.permutation(change), change + rng.permutation(len(values) - change)))
    names = [f"f{i}" for i in range(values.shape[1])]
    return Stream("insects_gradual", names, values[order], 5_000, 60_000, [change], timed=False)


def noaa(folder: Path, rng: np.random.Generator) -> Stream:
    """Daily weather of fifty years; no change is known, the year is its season."""
    with (folder / "noaa" / "NEweather_data.csv").open(newline="") as file:
        values = np.array([[float(cell) for cell in row] for row in csv.reader(file)])
    return Stream("noaa", [f"w{i}" for i in range(values.shape[1])], values, 6_000, DAY_MS, [], timed=True)


STREAMS: dict[str, Callable[[Path, np.random.Generator], Stream]] = {
    "elec2": elec2,
    "gas_sensor": gas_sensor,
    "insects_gradual": insects_gradual,
    "noaa": noaa,
}


def suite(name: str, folder: Path, seed: int) -> Rows:
    """Runs one real stream. When it is not in ``folder``, returns its name and the reason."""
    try:
        stream = STREAMS[name](folder, np.random.default_rng(seed))
    except FileNotFoundError as error:
        return {"left_out": [{"detector": f"{name} (data)", "reason": f"{error.filename} is not there"}]}
    columns = {name: stream.values[:, i].tolist() for i, name in enumerate(stream.names)}
    size = stream.reference_rows
    times = np.arange(size, dtype=np.int64) * stream.event_ms if stream.timed else None
    reference = build_reference(
        stream.name, "1", {name: values[:size] for name, values in columns.items()}, timestamps_ms=times
    )
    later = {name: values[size:] for name, values in columns.items()}
    incidents = pipeline.replayed(later, reference, 1, first=size, event_ms=stream.event_ms)
    months = (len(stream.values) - size) * stream.event_ms / 1000 / MONTH_SECONDS
    return {"real": [_summary(stream, incidents, months)], "real_incidents": [_described(stream, i) for i in incidents]}


def _summary(stream: Stream, incidents: list[dict[str, Any]], months: float) -> dict[str, Any]:
    found = [_change_of(stream, incident) for incident in incidents]
    others = found.count(None)
    return {
        "stream": stream.name,
        "events": len(stream.values) - stream.reference_rows,
        "changes": len(stream.changes),
        "found": len({change for change in found if change is not None}),
        "incidents": len(incidents),
        "elsewhere": others,
        "months": months if stream.timed else None,
        "elsewhere_per_month": others / months if stream.timed else None,
    }


def _described(stream: Stream, incident: dict[str, Any]) -> dict[str, Any]:
    row = stream.reference_rows + incident["opened_at_event"]
    change = _change_of(stream, incident)
    features = [feature["feature"] for feature in incident["features"]]
    return {
        "stream": stream.name,
        "opened_at_row": row,
        "known_change": change,
        "delay": None if change is None else row - change,
        "features": ", ".join(features[:4]) + (f" and {len(features) - 4} more" if len(features) > 4 else ""),
        "verdict": incident["verdict"],
    }


def _change_of(stream: Stream, incident: dict[str, Any]) -> int | None:
    """The known change that an incident is attributed to: one at most NEAR events before it opened."""
    row = stream.reference_rows + incident["opened_at_event"]
    return next((change for change in reversed(stream.changes) if change < row <= change + NEAR), None)
