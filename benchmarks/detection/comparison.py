"""Contenders side by side: at their defaults, and at one measured false alarm in ``TARGET`` events.

All have the same reference, the same null streams and the same changes. No alarm in T events supports a mean time of
T / 3 between alarms at 95 % confidence. A parameter is tuned on at least ``TARGET`` events.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np

from benchmarks.detection.environments import LeftOut
from benchmarks.detection.equal import Contender, loosest
from benchmarks.detection.opponents import Asked, Opponent
from benchmarks.detection.ours import TITLE, Ours
from detectors.calibration import evaluation, synthetic
from detectors.columns import Floats

Rows = dict[str, list[dict[str, Any]]]

TARGET = 100_000
"""Events of one feature per false alarm at which contenders are equal."""

REFERENCE_ROWS = 20_000
BEFORE, HORIZON = 500, 5_000
"""Events before and after a change. The change comes half a window after the start, in the middle of a window."""

FEATURES = 20
"""Null streams of one model. Libraries with windows get them as the columns of one table."""

CHANGED, BLAME_HORIZON = (1, 5, 20), 3_000
OTHER_NULLS = ("student-t3", "lognormal", "ar1-.8", "daily-sine")
TOO_SLOW_FOR_BLAME = 20


class Plan(NamedTuple):
    """How much is run: events of null streams, runs of each change, runs of each number of changed features."""

    null_events: int
    delays: int
    blames: int

    @classmethod
    def of(cls, quick: bool, cost: int) -> "Plan":
        whole = cls(100_000, 10, 2) if quick else cls(1_000_000, 60, 10)
        return cls(max(whole.null_events // cost, TARGET), max(whole.delays // cost, 3), max(whole.blames // cost, 1))


def ours(quick: bool, seed: int) -> Rows:
    """driftline's rows."""
    return _compared(TITLE, nullcontext(Ours()), (1e14, 10.0), Plan.of(quick, 1), seed, blame=True)


def theirs(opponent: Opponent, quick: bool, seed: int) -> Rows:
    """The rows of an opponent, or its name and the reason why there are none."""
    if quick and not opponent.quick:
        return {"left_out": [{"detector": opponent.title, "reason": "not with --quick"}]}
    try:
        return _compared(
            opponent.title,
            Asked(opponent),
            (opponent.strict, opponent.loose),
            Plan.of(quick, opponent.cost),
            seed,
            blame=opponent.cost < TOO_SLOW_FOR_BLAME,
        )
    except LeftOut as reason:
        return {"left_out": [{"detector": opponent.title, "reason": str(reason)}]}


def _compared(
    title: str,
    opened: AbstractContextManager[Contender],
    scale: tuple[float, float],
    plan: Plan,
    seed: int,
    *,
    blame: bool,
) -> Rows:
    with opened as contender:
        rng = np.random.default_rng(seed)
        reference, allowed = rng.normal(size=REFERENCE_ROWS), plan.null_events // TARGET
        nulls = rng.normal(size=(FEATURES, plan.null_events // FEATURES))
        tuned = loosest(lambda parameter: _count(contender, parameter, reference, nulls), *scale, allowed)
        rows: Rows = {"false_alarms": [], "comparison": [], "blame": []}
        for setting, parameter in (("default", None), ("equal", tuned)):
            if setting == "equal" and tuned is None:
                rows["left_out"] = [{"detector": f"{title}, equal", "reason": "alarms more often with any parameter"}]
                continue
            head = {"detector": title, "setting": setting, "parameter": parameter}
            alarms = _count(contender, parameter, reference, nulls)
            rows["false_alarms"].append(head | _false_alarms(contender, parameter, alarms, plan, seed))
            rows["comparison"] += [head | row for row in _delays(contender, parameter, reference, plan.delays, seed)]
            if blame:
                if setting == "equal" and not contender.one_by_one:
                    parameter = loosest(lambda p: len(contender.named(p, reference, nulls, 0)), *scale, allowed)
                    head["parameter"] = parameter
                rows["blame"] += [head | row for row in _blames(contender, parameter, reference, plan.blames, seed)]
    return rows


def _count(contender: Contender, parameter: float | None, reference: Floats, streams: Floats) -> int:
    return sum(map(len, contender.alarms(parameter, reference, streams)))


def _false_alarms(contender: Contender, parameter: float | None, normal: int, plan: Plan, seed: int) -> dict[str, Any]:
    """False alarms per 100,000 events of each null stream. Streams that are not normal get a quarter of the events."""
    row: dict[str, Any] = {"normal": normal * 1e5 / plan.null_events}
    rng, events = np.random.default_rng(seed + 1), plan.null_events // 4 // FEATURES
    for name in OTHER_NULLS:
        null = synthetic.NULLS[name]
        reference = null(rng, REFERENCE_ROWS, 0)
        streams = np.stack([null(rng, events, 0) for _ in range(FEATURES)])
        row[name] = _count(contender, parameter, reference, streams) * 1e5 / streams.size
    bound = evaluation.false_alarms(normal, plan.null_events)
    return row | {"events": plan.null_events, "alarms": normal, "at_least": bound.mean_time_at_least}


def _delays(
    contender: Contender, parameter: float | None, reference: Floats, runs: int, seed: int
) -> list[dict[str, Any]]:
    rows = []
    for name, change in synthetic.CHANGES.items():
        streams = _changed(np.random.default_rng(seed + 2), runs, HORIZON, runs, change)
        found = [
            next((event - BEFORE for event in alarms if event > BEFORE), None)
            for alarms in contender.alarms(parameter, reference, streams)
        ]
        told = evaluation.delays(found)
        rows.append({"change": name, "median": told.median, "p90": told.p90, "missed": told.missed, "runs": runs})
    return rows


def _blames(
    contender: Contender, parameter: float | None, reference: Floats, runs: int, seed: int
) -> list[dict[str, Any]]:
    """Which features are named within ``BLAME_HORIZON`` events after some of them move by half a sigma."""
    rows = []
    for changed in CHANGED:
        rng, found = np.random.default_rng(seed + 3), []
        for _ in range(runs):
            streams = _changed(rng, FEATURES, BLAME_HORIZON, changed, synthetic.shift(0.5))
            named = contender.named(parameter, reference, streams, BEFORE)
            found.append(evaluation.blame(sorted({str(f) for f in named}), [str(f) for f in range(changed)]))
        precision = [blame.precision for blame in found if blame.precision is not None]
        recall = [blame.recall for blame in found if blame.recall is not None]
        rows.append(
            {
                "changed": f"{changed} of {FEATURES}",
                "precision": float(np.mean(precision)) if precision else None,
                "recall": float(np.mean(recall)),
                "runs": runs,
            }
        )
    return rows


def _changed(rng: np.random.Generator, runs: int, horizon: int, changed: int, change: synthetic.Change) -> Floats:
    """Normal streams, shape (runs, BEFORE + horizon); the first ``changed`` of them change after BEFORE."""
    streams = rng.normal(size=(runs, BEFORE + horizon))
    for values in streams[:changed]:
        values[BEFORE:] = change(rng, values[BEFORE:])
    return streams
