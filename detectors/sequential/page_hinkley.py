"""Page-Hinkley over many features at a time: river's, as one compiled loop over plain arrays.

river defines what ADWIN and Page-Hinkley detect; the loops here are only faster. Nothing here counts, publishes or
knows what a feature is: the input are columns of values, the output rows at which a detector fired.
"""

import numpy as np

from detectors.columns import Bools, Floats, Integers
from detectors.compiled import EVERYTHING, compiled
from detectors.sequential.detection import Detection


class PageHinkley:
    """river's PageHinkley(alpha=1, mode="both") on F features at once.

    With ``dev_t = x_t - mean(x_1..x_t)``: fires up when ``U_t - min U > threshold``, ``U_t = sum(dev - delta)``; down
    when ``max D - D_t > threshold``, ``D_t = sum(dev + delta)``, after 30 values; then starts anew.

    :param threshold: in units of x (here normal scores): 34.5 / 44 / 53 give one false alarm in 1e5 / 1e6 / 1e7
        independent events.
    :param delta: in units of x.

    The sums run in sequence, so state does not depend on how rows were cut into batches. Their rounding differs from
    river's recurrence by some 1e-12 of the sums, and detections are the same. A value that is not ``present`` does not
    exist for the detector. Cost: about 6 ns a value.
    Source: Page (1954), doi:10.1093/biomet/41.1-2.100.

    >>> z = np.concatenate((np.tile([-1.0, 1.0], 200), np.full(40, 3.0)))[:, None]
    >>> [(d.row, d.channel) for d in PageHinkley(1, threshold=53.0, delta=0.125).update(z)]
    [(418, 'z.up')]
    """

    MIN_VALUES = 30
    __slots__ = ("_state", "delta", "threshold")

    def __init__(self, features: int, threshold: float = 53.0, delta: float = 0.125) -> None:
        self.threshold, self.delta = threshold, delta
        self._state = np.zeros((6, features))  # values, sum of x, U, D, min U, max D
        self._state[4], self._state[5] = np.inf, -1.0

    def update(self, values: Floats, present: Bools | None = None) -> list[Detection]:
        """Adds rows of values, shape (n, F), where ``present``; returns all detections, in no order."""
        mask = EVERYTHING if present is None else present
        hits = _page_hinkley(values, mask, self._state, self.threshold, self.delta, self.MIN_VALUES)
        return [Detection(row, column, "z.up" if rises else "z.down") for row, column, rises in hits.tolist()]

    def snapshot(self) -> bytes:
        """Six float64 a feature, little-endian."""
        return self._state.tobytes()

    def restore(self, data: bytes) -> int:
        """Restores a snapshot; returns how many detectors had to start cold: all or none."""
        if len(data) != self._state.nbytes:
            return self._state.shape[1]
        self._state = np.frombuffer(data, np.float64).reshape(self._state.shape).copy()
        return 0


@compiled
def _page_hinkley(
    values: Floats, present: Bools, state: Floats, threshold: float, delta: float, min_values: int
) -> Integers:
    """Rows of (row, column, whether the upper test fired)."""
    rows, features = values.shape
    masked = len(present) > 0
    hits = np.empty((features * (rows // min_values + 1), 3), np.int64)
    found = 0
    for column in range(features):
        count, total, rises, falls = state[0, column], state[1, column], state[2, column], state[3, column]
        lowest, highest = state[4, column], state[5, column]
        for row in range(rows):
            if masked and not present[row, column]:
                continue
            count += 1.0
            total += values[row, column]
            deviation = values[row, column] - total / count
            rises += deviation - delta
            falls += deviation + delta
            lowest, highest = min(lowest, rises), max(highest, falls)
            rising = rises - lowest > threshold
            if count >= min_values and (rising or highest - falls > threshold):
                hits[found, 0], hits[found, 1], hits[found, 2] = row, column, rising
                found += 1
                count = total = rises = falls = 0.0
                lowest, highest = np.inf, -1.0
        state[0, column], state[1, column], state[2, column], state[3, column] = count, total, rises, falls
        state[4, column], state[5, column] = lowest, highest
    return hits[:found]
