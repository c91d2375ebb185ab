"""alibi-detect's online Cramér-von Mises detector, which looks at every event.

It has no default but what its documentation shows; the expected run time ``ert`` is what a user sets. With a parameter
its test statistics are compared with that many times its thresholds, since finding thresholds for a longer run time by
its bootstrap takes hours.
"""

from functools import cache

import numpy as np
from alibi_detect.cd import CVMDriftOnline

from benchmarks.detection.workers.protocol import Prepared, Scores, serve

ROWS, BOOTSTRAPS = 1_000, 2_000
"""Its bootstrap takes a minute with these, and its default of 10,000 takes eight at twice the rows."""
WINDOWS, EXPECTED_RUN_TIME = [25, 50, 100], 150


@cache
def _detector(known: bytes) -> CVMDriftOnline:
    np.random.seed(1)  # the library's own random numbers
    rows = np.frombuffer(known, np.float32)[:, None]
    return CVMDriftOnline(rows, EXPECTED_RUN_TIME, WINDOWS, n_bootstraps=BOOTSTRAPS, verbose=False)


def cvm(reference: np.ndarray, streams: np.ndarray) -> Prepared:
    detector = _detector(reference[:ROWS].astype(np.float32).tobytes())
    values, said = np.zeros((2, *streams.shape))
    for row, verdicts, run in zip(values, said, streams.astype(np.float32), strict=True):
        detector.reset_state()
        for i, value in enumerate(run):
            data = detector.predict(np.array([value]))["data"]
            ratios = np.asarray(data["test_stat"]).reshape(-1) / np.asarray(data["threshold"]).reshape(-1)
            row[i] = np.nan_to_num(ratios, nan=0.0).max()
            verdicts[i] = data["is_drift"]
    return Scores(np.arange(1, streams.shape[1] + 1), values, said.astype(bool), rest=max(WINDOWS)).alarms


if __name__ == "__main__":
    serve({"cvm": cvm})
