"""Ordinary streams: dependent, in sessions, seasonal. Nothing changes in them, and the reference seldom knows how they
vary. Incidents a month at the budget of one, and the delay of a shift on the tenth day.

Each stream is judged as it is by default, and as if its events had no times (column *without times*).
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.detection.nulls import Rows
from detectors.columns import Floats, Integers
from detectors.evidence.counts import Counts
from detectors.evidence.sheets import Sheets
from detectors.evidence.sizes import Yardstick
from detectors.evidence.watch import Watch
from detectors.reference.builder import build_reference
from stream.judge.settings import judge_settings
from stream.settings.settings import Settings

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
START_MS = 4 * DAY_MS
"""A Monday, 0:00 UTC."""
DAYS, TRAINING_DAYS, TRAINING_ROWS = 28, 28, 20_000
KNOWN_DAYS = 8
LEARNED_EVENTS = 10_000
RESOLVE_AFTER = 1_000
CHANGE_DAY, HORIZON_DAYS = 9, 3
SHIFTS = (0.5, 1.0)

Rng = np.random.Generator
Level = Callable[[Rng, Integers], Floats]


def _hour(at_ms: Integers) -> Floats:
    return np.asarray(at_ms % DAY_MS / HOUR_MS)


def _weekend(at_ms: Integers) -> Floats:
    return np.asarray((at_ms // DAY_MS + 3) % 7 >= 5, np.float64)


def _wave(at_ms: Integers, size: float, period_ms: int, shift_hours: float = 9.0) -> Floats:
    return np.asarray(size * np.sin(2 * np.pi * (at_ms - shift_hours * HOUR_MS) / period_ms))


def _between(at_ms: Integers, low: float, high: float) -> Floats:
    hour = _hour(at_ms)
    return np.asarray((hour >= low) & (hour < high), np.float64)


def _days(rng: Rng, at_ms: Integers) -> Floats:
    return np.asarray(0.2 * rng.normal(size=DAYS + TRAINING_DAYS)[at_ms // DAY_MS - START_MS // DAY_MS])


def _payday(rng: Rng, at_ms: Integers) -> Floats:
    return np.asarray(0.6 * ((at_ms // DAY_MS - START_MS // DAY_MS) % 30 >= 25))


LEVELS: dict[str, Level] = {
    "independent": lambda rng, at: np.zeros(len(at)),
    "daily sine of .3": lambda rng, at: _wave(at, 0.3, DAY_MS),
    "daily sine of 1": lambda rng, at: _wave(at, 1.0, DAY_MS),
    "several sines": lambda rng, at: _wave(at, 0.6, DAY_MS) + _wave(at, 0.4, DAY_MS // 2, 3.0),
    "office hours, .7": lambda rng, at: 0.7 * _between(at, 9, 18) * (1 - _weekend(at)),
    "lunch dip, .6": lambda rng, at: -0.6 * _between(at, 12, 13.5),
    "nightly batch, 1.5": lambda rng, at: 1.5 * _between(at, 2, 3),
    "weekend, 1 higher": lambda rng, at: _weekend(at),
    "days that differ by .2": _days,
    "weekly movement of .5": lambda rng, at: _wave(at, 0.5, 7 * DAY_MS, 0.0),
    "payday, .6 for five days": _payday,
}
"""The level of the values by time, on top of independent normal values; in standard deviations."""

SESSIONS = "sessions of 50 events"
DEPENDENT = ("AR(1) .5", "AR(1) .8", SESSIONS, "sessions, Pareto lengths", "sessions in office hours", "busy days")
STREAMS = (*LEVELS, *DEPENDENT)
REFERENCES = ("training rows", "first 10,000", "first hour", "28 days with times")


def times(name: str, rng: Rng, rate: float, days: int) -> Integers:
    """Event times of ``days`` days at ``rate`` events a second; of busy days, a tenth of them at night."""
    at = START_MS + np.sort(rng.integers(0, days * DAY_MS, round(rate * days * 86_400)))
    if name == "busy days":
        at = at[rng.uniform(size=len(at)) < np.where(_between(at, 8, 20) > 0, 1.0, 0.1)]
    return np.asarray(at, np.int64)


def values(name: str, rng: Rng, at_ms: Integers) -> Floats:
    """The values of a stream at these times, of about unit variance within an hour."""
    noise = rng.normal(size=len(at_ms))
    if name in LEVELS:
        return np.asarray(noise + LEVELS[name](rng, at_ms))
    if name == "busy days":
        return np.asarray(noise + 0.4 * _between(at_ms, 8, 20))
    if name.startswith("AR(1)"):
        return _autoregression(noise, float(name.split()[1]))
    lengths = np.full(len(at_ms) // 50 + 1, 50)
    if "Pareto" in name:
        lengths = np.minimum(np.ceil(17 * (1 + rng.pareto(1.5, len(at_ms) // 17 + 1))), 2_000).astype(np.int64)
    users = np.repeat(rng.normal(size=len(lengths)), lengths)[: len(at_ms)]
    share = 1.0 if "Pareto" in name else 0.7
    level = LEVELS["office hours, .7"](rng, at_ms) if "office" in name else 0.0
    return np.asarray(np.sqrt(share) * users + np.sqrt(1 - share) * noise + level)


def _autoregression(noise: Floats, coefficient: float) -> Floats:
    found, last, scale = np.empty(len(noise)), 0.0, (1 - coefficient**2) ** 0.5
    for i, one in enumerate(noise.tolist()):
        last = coefficient * last + scale * one
        found[i] = last
    return found


def _own_rows(kind: str, rate: float) -> int:
    """Rows of the stream that the reference is learned from; they are not judged."""
    return {"first 10,000": LEARNED_EVENTS, "first hour": max(round(3_600 * rate), 1_000)}.get(kind, 0)


def watch_on(kind: str, name: str, seed: int, stream: tuple[Integers, Floats], rate: float, timed: bool) -> Watch:
    """A watch on a reference of that kind, at one false alarm a month."""
    rng, moments = np.random.default_rng(seed + 1_000), None
    if kind in ("training rows", "28 days with times"):
        at = times(name, rng, TRAINING_ROWS / TRAINING_DAYS / 86_400, TRAINING_DAYS)
        rows = values(name, rng, at)
        if kind == "training rows":
            rows = rng.permutation(rows)
        else:
            moments = at - TRAINING_DAYS * DAY_MS
    else:
        rows = stream[1][: _own_rows(kind, rate)]
    reference = build_reference("bench", "1", {"x": rows}, timestamps_ms=moments)
    evidence = judge_settings(Settings(false_alarms_per_model_per_month=1.0)).evidence
    settings = type(evidence)(
        evidence.false_alarms_per_month, evidence.tolerance, evidence.band_z, event_times="all" if timed else "none"
    )
    sheets = Sheets(reference.features, settings, kept=48, own=kind.startswith("first"))
    return Watch(sheets, [Yardstick(sheets.layout, 0)], RESOLVE_AFTER)


def looks(watch: Watch, at_ms: Integers, found: Floats, look_ms: int) -> Iterator[tuple[Counts, int, int]]:
    """Counts, event time and events so far of every look of ``look_ms``."""
    layout = watch.sheets.layout
    cells = np.asarray(layout.features[0].edges).searchsorted(found, side="right")
    begins = np.flatnonzero(np.diff(at_ms // look_ms, prepend=-1))
    for first, end in zip(begins.tolist(), [*begins[1:].tolist(), len(at_ms)], strict=True):
        counts = np.bincount(cells[first:end], minlength=layout.total)
        yield Counts(counts, np.array([[end - first, 0, 0]]), np.zeros((1, 2)), end - first), int(at_ms[end - 1]), end


def incidents(watch: Watch, at_ms: Integers, found: Floats, rate: float) -> list[tuple[int, int]]:
    """Event time and events so far of every incident."""
    look_ms = int(1_000 * min(max(32 / rate, 1), 600))
    return [
        (now_ms, end)
        for counts, now_ms, end in looks(watch, at_ms, found, look_ms)
        if watch.look(counts, now_ms, end).fired
    ]


def null_suite(kind: str, rate: float, seeds: int, seed: int) -> Rows:
    """Every stream for four weeks against references of one kind: incidents before and after the eighth day."""
    return {"ordinary": [_null(name, kind, rate, range(seed, seed + seeds)) for name in STREAMS]}


def _null(name: str, kind: str, rate: float, seeds: range) -> dict[str, Any]:
    early, late, without = 0, 0, 0
    for seed in seeds:
        rng = np.random.default_rng(seed)
        at = times(name, rng, rate, DAYS)
        found = values(name, rng, at)
        skip = _own_rows(kind, rate)
        came = incidents(watch_on(kind, name, seed, (at, found), rate, True), at[skip:], found[skip:], rate)
        early += sum(now_ms < START_MS + KNOWN_DAYS * DAY_MS for now_ms, _ in came)
        late += sum(now_ms >= START_MS + KNOWN_DAYS * DAY_MS for now_ms, _ in came)
        without += len(incidents(watch_on(kind, name, seed, (at, found), rate, False), at[skip:], found[skip:], rate))
    row: dict[str, Any] = {"stream": name, "reference": kind, "per_second": rate, "seeds": len(seeds)}
    row |= {"days_1_to_8": early / len(seeds), "days_9_to_28": late / len(seeds)}
    return row | {"without_times": without / len(seeds)}


def change_suite(rate: float, seeds: int, seed: int) -> Rows:
    """A shift on the tenth day of every stream, against training rows in random order."""
    rows = [_change(name, shift, rate, range(seed, seed + seeds)) for name in STREAMS for shift in SHIFTS]
    return {"ordinary_changes": rows}


def _change(name: str, shift: float, rate: float, seeds: range) -> dict[str, Any]:
    delays = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        at = times(name, rng, rate, CHANGE_DAY + HORIZON_DAYS)
        found = values(name, rng, at)
        first = int(np.searchsorted(at, START_MS + CHANGE_DAY * DAY_MS + rng.integers(DAY_MS)))
        found[first:] += shift
        came = incidents(watch_on("training rows", name, seed, (at, found), rate, True), at, found, rate)
        delays.append(next((end - first for _, end in came if end > first), None))
    hits = sorted(delay for delay in delays if delay is not None)
    row: dict[str, Any] = {"stream": name, "shift": shift, "per_second": rate, "seeds": len(seeds)}
    return row | {"median": hits[len(hits) // 2] if hits else None, "missed": 1 - len(hits) / len(delays)}
