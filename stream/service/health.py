"""The state of the worker's observe stage, from which the judge decides whether a model is blind or only silent."""

from collections import deque
from collections.abc import Callable, Mapping

from stream.judge.effects import Health
from stream.metrics.registry import Metrics
from stream.topics.record import Partition

WINDOW_MS = 60_000
"""Records and invalid records are counted over this time."""

STEP_MS = 1_000


class HealthWatch:
    """Makes ``Health`` from this worker's counters and from ``lags``, those of its partitions (empty without the
    observe stage). Other workers are not included; their lag is in their own metrics.
    """

    def __init__(self, metrics: Metrics, lags: Callable[[], Mapping[Partition, int | None]]) -> None:
        self._metrics = metrics
        self._lags = lags
        self._history: deque[tuple[int, dict[tuple[str, ...], float]]] = deque()  # at most WINDOW_MS / STEP_MS + 1

    def __call__(self, now_ms: int) -> Health:
        totals = self._metrics.events.values()
        if not self._history or now_ms - self._history[-1][0] >= STEP_MS:
            self._history.append((now_ms, totals))
        while len(self._history) > 1 and self._history[1][0] <= now_ms - WINDOW_MS:
            self._history.popleft()
        before = self._history[0][1]
        records: dict[str, int] = {}
        invalid: dict[str, int] = {}
        for (model, outcome), total in totals.items():
            count = int(total - before.get((model, outcome), 0))
            records[model] = records.get(model, 0) + count
            if outcome == "invalid":
                invalid[model] = invalid.get(model, 0) + count
        known = [lag for lag in self._lags().values() if lag is not None]
        lag = sum(known) if known else None
        return Health(
            lag_records=lag,
            lag_seconds=self._metrics.newest_age_seconds if lag else None,
            records=records,
            invalid=invalid,
            labels={
                model: int(n) for (model, outcome), n in self._metrics.labels.values().items() if outcome == "read"
            },
        )
