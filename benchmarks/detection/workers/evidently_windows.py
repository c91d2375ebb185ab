"""Evidently's drift tests on windows: one report on all columns per thousand events.

The columns' metric of its data drift preset without the preset, whose pictures cost six times as much."""

import math
from typing import Any

import numpy as np
import pandas as pd
from evidently import Report
from evidently.metrics import ValueDrift

from benchmarks.detection.workers.protocol import Method, Prepared, Scores, serve

WINDOW = 1_000
SMALL = 1_000
"""Rows of a reference up to which Evidently's default is the Kolmogorov-Smirnov test; beyond them a distance."""


def windows(test: str | None, rows: int | None = None, *, p_value: bool = False) -> Method:
    """``test`` for every column, or its own choice; the runs are the columns, as features would be."""

    def method(reference: np.ndarray, streams: np.ndarray) -> Prepared:
        names = [f"x{run}" for run in range(len(streams))]
        known = pd.DataFrame(dict.fromkeys(names, reference[:rows]))
        ends = np.arange(WINDOW, streams.shape[1] + 1, WINDOW)
        values, said = np.zeros((2, len(streams), len(ends)))
        for column, end in enumerate(ends):
            present = pd.DataFrame(dict(zip(names, streams[:, end - WINDOW : end], strict=True)))
            for metric in (
                Report([ValueDrift(column=name, method=test) for name in names]).run(present, known).dict()["metrics"]
            ):
                if "ValueDrift" in metric["metric_name"]:
                    run = names.index(metric["config"]["column"])
                    values[run, column], said[run, column] = _verdict(metric, p_value)
        return Scores(ends, values, said.astype(bool)).alarms

    return method


def _verdict(metric: dict[str, Any], p_value: bool) -> tuple[float, bool]:
    score, limit = float(metric["value"]), float(metric["config"]["threshold"])
    if p_value:
        return -math.log10(max(score, 1e-300)), score < limit
    return score, score >= limit


if __name__ == "__main__":
    serve(
        {
            "default": windows(None),
            "ks": windows("ks", SMALL, p_value=True),
            "psi": windows("psi"),
            "jensenshannon": windows("jensenshannon"),
        }
    )
