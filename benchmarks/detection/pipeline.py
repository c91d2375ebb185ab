"""The whole pipeline: events as bytes through decoder, partitions, shards and judge, as ``driftline replay`` runs them.

Twenty features of every kind: numbers of a null stream, a category, a flag, and a number that is sometimes missing.
"""

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import msgspec
import numpy as np

from benchmarks.detection.nulls import DAYS, SEASONAL, Rows
from detectors.calibration import evaluation, synthetic
from detectors.columns import Floats
from detectors.evidence.sheets import MONTH_SECONDS
from detectors.reference.builder import build_reference
from detectors.reference.reference import Reference
from stream.replay.options import ReplayOptions
from stream.replay.replay import LOOK_EVENTS, Replay
from stream.settings.settings import Settings

PARTITIONS = (1, 16)
KEYED = 4
"""Partitions of a topic that is keyed by the category. They are read unevenly, as chance decides."""

SPREAD = 0.8
"""How far the numbers of neighbouring categories are apart, in standard deviations, where the topic is keyed."""

NUMBERS = 17
EVENT_MS = 60_000
REFERENCE_ROWS = 20_000
SEASONAL_ROWS = DAYS * synthetic.DAY_EVENTS
CATEGORIES, SHARES, MIXED = ["a", "b", "c", "d", "e"], [0.4, 0.3, 0.15, 0.1, 0.05], [0.25, 0.3, 0.3, 0.1, 0.05]
FLAG_SHARE, MISSING_SHARE, MORE_MISSING = 0.3, 0.05, 0.15
BEFORE, HORIZON = 1_024, 3_000

Columns = dict[str, list[Any]]
_encoder = msgspec.json.Encoder()


def null_suite(partitions: int, quick: bool, seed: int, *, keyed: bool = False) -> Rows:
    """Runs without a change at the default budget, one false alarm a month. ``keyed``: each partition has a
    distribution of its own, and is read at its own pace."""
    events = (5_000 if quick else 60_000) // (1 if partitions == 1 else 3)  # sixteen partitions cost five times as much
    rows = []
    for name in ("normal", "ar1-.8") if quick else (n for n in synthetic.NULLS if n != "day-effects"):
        rng = np.random.default_rng(seed)
        size = SEASONAL_ROWS if name in SEASONAL else REFERENCE_ROWS
        null = synthetic.NULLS[name]
        spread = SPREAD if keyed else 0.0
        reference = built(columns(rng, null, size, 0, spread), seasonal=name in SEASONAL)
        live = columns(rng, null, events, size, spread)
        incidents = replayed(live, reference, partitions, first=size, progress=seed if keyed else None)
        months = events * EVENT_MS / 1000 / MONTH_SECONDS
        rows.append(
            {
                "stream": f"{name}, keyed" if keyed else name,
                "partitions": partitions,
                "feature_events": events * len(reference.features),
                "months": months,
                "incidents": len(incidents),
                "per_month": len(incidents) / months,
                "kept": len(incidents) <= max(months, 1.0),
            }
        )
    return {"pipeline_nulls": rows}


def change_suite(partitions: int, quick: bool, seed: int) -> Rows:
    """Runs with changes of one, five and all features, and changes that only some kinds of features can have."""
    rows = []
    rng = np.random.default_rng(seed)
    reference = built(columns(rng, synthetic.normal, REFERENCE_ROWS, 0))
    for name, change in CHANGES.items():
        delays, blames = [], []
        for _ in range(3 if quick else 10):
            values = columns(rng, synthetic.normal, BEFORE + HORIZON, REFERENCE_ROWS)
            changed = change(rng, values)
            incidents = replayed(values, reference, partitions, first=REFERENCE_ROWS)
            after = [i["opened_at_event"] - BEFORE for i in incidents if i["opened_at_event"] > BEFORE]
            delays.append(min(after, default=None))
            blames.append(evaluation.blame(sorted({f["feature"] for i in incidents for f in i["features"]}), changed))
        told = evaluation.delays(delays)
        rows.append(
            {
                "change": name,
                "partitions": partitions,
                "median": told.median,
                "p90": told.p90,
                "missed": told.missed,
                "precision": _mean([b.precision for b in blames]),
                "recall": _mean([b.recall for b in blames]),
                "runs": told.runs,
            }
        )
    return {"pipeline_changes": rows}


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def columns(rng: np.random.Generator, null: synthetic.Null, rows: int, start: int, spread: float = 0.0) -> Columns:
    """Columns of ``rows`` events that follow ``start`` events. ``spread``: how much the numbers differ by category."""
    found: Columns = {f"x{i}": null(rng, rows, start).tolist() for i in range(NUMBERS)}
    found["category"] = rng.choice(CATEGORIES, rows, p=SHARES).tolist()
    if spread:
        away = spread * np.array([CATEGORIES.index(category) for category in found["category"]])
        found.update({f"x{i}": (np.array(found[f"x{i}"]) + away).tolist() for i in range(NUMBERS)})
    found["flag"] = (rng.random(rows) < FLAG_SHARE).tolist()
    found["gaps"] = _with_gaps(rng, rng.normal(size=rows), MISSING_SHARE)
    return found


def _with_gaps(rng: np.random.Generator, values: Floats, share: float) -> list[float | None]:
    return [
        None if gone else value for value, gone in zip(values.tolist(), rng.random(len(values)) < share, strict=True)
    ]


def built(known: Columns, *, seasonal: bool = False) -> Reference:
    """A reference of ``known``, with the times of its rows when it has to learn seasons."""
    times = np.arange(len(known["flag"]), dtype=np.int64) * EVENT_MS if seasonal else None
    return build_reference("bench", "1", known, timestamps_ms=times)


def replayed(
    values: Mapping[str, list[Any]],
    reference: Reference,
    partitions: int,
    *,
    first: int = 0,
    event_ms: int = EVENT_MS,
    progress: int | None = None,
) -> list[dict[str, Any]]:
    """The incidents that the events would have raised at the default budget. ``first``: events before the first one.
    ``progress``: the events are keyed by category, and this is the seed of how unevenly the partitions are read."""
    key = None if progress is None else "category"
    options = ReplayOptions(file=reference.model, partitions=partitions, partition_by=key, progress=progress)
    replay = Replay(options, Settings(), reference)
    head = {"model": reference.model, "version": reference.version}
    rows = zip(*values.values(), strict=True)
    number = 0
    while look := list(islice(rows, LOOK_EVENTS)):
        events = []
        for row in look:
            moment = (first + number) * event_ms
            number += 1
            event = head | {"ts": moment, "features": dict(zip(values, row, strict=True))}
            events.append((number, moment, _encoder.encode(event)))
        replay.feed(events)
    return replay.report().incidents


Alter = Callable[[np.random.Generator, Columns], list[str]]
"""Changes columns in place after BEFORE. Returns the names of those that changed."""


def _shifted(features: int, size: float = 0.5) -> Alter:
    def alter(rng: np.random.Generator, values: Columns) -> list[str]:
        names = [f"x{i}" for i in range(features)]
        for name in names:
            values[name][BEFORE:] = [value + size for value in values[name][BEFORE:]]
        return names

    return alter


def _ramp(rng: np.random.Generator, values: Columns) -> list[str]:
    values["x0"][BEFORE:] = [value + min(i / 1_000, 1.0) for i, value in enumerate(values["x0"][BEFORE:], 1)]
    return ["x0"]


def _missing(rng: np.random.Generator, values: Columns) -> list[str]:
    values["gaps"][BEFORE:] = _with_gaps(rng, rng.normal(size=len(values["gaps"]) - BEFORE), MORE_MISSING)
    return ["gaps"]


def _mix(rng: np.random.Generator, values: Columns) -> list[str]:
    values["category"][BEFORE:] = rng.choice(CATEGORIES, len(values["category"]) - BEFORE, p=MIXED).tolist()
    return ["category"]


def _all(rng: np.random.Generator, values: Columns) -> list[str]:
    values["flag"][BEFORE:] = (rng.random(len(values["flag"]) - BEFORE) < 2 * FLAG_SHARE).tolist()
    return [*_shifted(NUMBERS)(rng, values), *_missing(rng, values), *_mix(rng, values), "flag"]


CHANGES: dict[str, Alter] = {
    ".5 sigma in 1 of 20": _shifted(1),
    ".5 sigma in 5 of 20": _shifted(5),
    "all of 20, each in its way": _all,
    "ramp to 1 sigma in 1,000 events": _ramp,
    "missing 5 % to 15 %": _missing,
    "category mix": _mix,
}
