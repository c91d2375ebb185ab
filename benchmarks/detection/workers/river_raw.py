"""River's detectors on raw values, at their defaults except for the parameter in the question."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from river import drift

from benchmarks.detection.workers.protocol import Alarms, Method, Prepared, Scores, serve

WARM = 2_000
"""Last rows of the reference that a detector gets before the stream, as if it had been running."""

LEAST_ALPHA = 1e-300
"""With it KSWIN never alarms, so that all its p-values can be read."""


def sequential(make: Callable[[float | None], Any]) -> Method:
    def method(reference: np.ndarray, streams: np.ndarray) -> Prepared:
        before, runs = reference[-WARM:].tolist(), [run.tolist() for run in streams]

        def answer(parameter: float | None) -> Alarms:
            return [_alarms(make(parameter), before, run) for run in runs]

        return answer

    return method


def _alarms(detector: Any, before: Sequence[float], run: Sequence[float]) -> list[int]:
    for value in before:
        detector.update(value)
    found = []
    for event, value in enumerate(run, 1):
        detector.update(value)
        if detector.drift_detected:
            found.append(event)
    return found


def adwin(delta: float | None) -> drift.ADWIN:
    return drift.ADWIN() if delta is None else drift.ADWIN(delta=delta)


def page_hinkley(threshold: float | None) -> drift.PageHinkley:
    return drift.PageHinkley() if threshold is None else drift.PageHinkley(threshold=threshold)


def kswin(reference: np.ndarray, streams: np.ndarray) -> Prepared:
    """KSWIN at its default; with a parameter its -log10 p, and 70 events of rest in which its window fills again."""
    before = reference[-200:].tolist()
    traces: list[Scores] = []

    def answer(parameter: float | None) -> Alarms:
        if parameter is None:
            return [_alarms(drift.KSWIN(seed=1), before, run.tolist()) for run in streams]
        if not traces:
            traces.append(_kswin_scores(before, streams))
        return traces[0].alarms(parameter)

    return answer


def _kswin_scores(before: Sequence[float], streams: np.ndarray) -> Scores:
    values = np.zeros(streams.shape)
    for row, run in zip(values, streams, strict=True):
        detector = drift.KSWIN(alpha=LEAST_ALPHA, seed=1)
        for value in before:
            detector.update(value)
        for i, value in enumerate(run.tolist()):
            detector.update(value)
            row[i] = -np.log10(max(detector.p_value, LEAST_ALPHA))
    events = np.arange(1, streams.shape[1] + 1)
    return Scores(events, values, np.zeros(values.shape, bool), rest=70)


if __name__ == "__main__":
    serve({"adwin": sequential(adwin), "page_hinkley": sequential(page_hinkley), "kswin": kswin})
