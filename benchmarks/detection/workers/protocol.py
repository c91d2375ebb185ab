"""Questions to a worker of an opponent, and its answers, line by line. This module needs only numpy.

A question is one line of JSON on standard input; its arrays are in ``.npy`` files:

    {"method": "adwin", "parameter": 0.002 or null, "reference": "a.npy", "streams": "b.npy"}

``reference`` has shape (rows,), ``streams`` shape (runs, events); a parameter of null is the library's default. The
answer is one line on standard output: ``{"alarms": [[event, ...], ...]}``, the events seen at each alarm of each run.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

Alarms = list[list[int]]
Prepared = Callable[[float | None], Alarms]
"""Alarms of every run at a parameter."""
Method = Callable[[np.ndarray, np.ndarray], Prepared]
"""(reference, streams) -> function of the parameter. What does not depend on the parameter is computed once."""

KEPT = 64
"""Most prepared methods that are kept, because questions about the same arrays come at many parameters."""


class Scores(NamedTuple):
    """Scores of every run: ``values``, shape (runs, n), after ``events``, shape (n,). ``said``: the library's verdict.

    After an alarm the next ``rest`` events are ignored: the detector starts again.
    """

    events: np.ndarray
    values: np.ndarray
    said: np.ndarray
    rest: int = 0

    def alarms(self, parameter: float | None) -> Alarms:
        over = self.said if parameter is None else self.values >= parameter
        return [self._rested(self.events[run]) for run in over]

    def _rested(self, events: np.ndarray) -> list[int]:
        found: list[int] = []
        for event in events.tolist():
            if not found or event > found[-1] + self.rest:
                found.append(event)
        return found


def serve(methods: Mapping[str, Method]) -> None:
    """Answers until standard input ends. What a library prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    prepared: dict[tuple[str, str, str], Prepared] = {}
    for line in sys.stdin:
        asked: dict[str, Any] = json.loads(line)
        key = asked["method"], asked["reference"], asked["streams"]
        if key not in prepared:
            while len(prepared) >= KEPT:
                del prepared[next(iter(prepared))]
            prepared[key] = methods[key[0]](np.load(key[1]), np.load(key[2]))
        answers.write(json.dumps({"alarms": prepared[key](asked["parameter"])}) + "\n")
        answers.flush()
