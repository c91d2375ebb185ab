"""NannyML's univariate drift methods on chunks of a thousand rows, with its own thresholds."""

import os

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"  # read when the library is imported

import nannyml
import numpy as np
import pandas as pd

from benchmarks.detection.workers.protocol import Method, Prepared, Scores, serve

CHUNK = 1_000
METHODS = ("jensen_shannon", "kolmogorov_smirnov", "wasserstein", "hellinger")


def chunks(name: str) -> Method:
    def method(reference: np.ndarray, streams: np.ndarray) -> Prepared:
        names = [f"x{run}" for run in range(len(streams))]
        calculator = nannyml.UnivariateDriftCalculator(
            column_names=names, continuous_methods=[name], chunk_size=CHUNK
        ).fit(pd.DataFrame(dict.fromkeys(names, reference)))
        whole = streams.shape[1] // CHUNK * CHUNK
        present = pd.DataFrame(dict(zip(names, streams[:, :whole], strict=True)))
        found = calculator.calculate(present).filter(period="analysis").to_df()
        values = np.stack([found[x][name]["value"].to_numpy(float) for x in names])
        said = np.stack([found[x][name]["alert"].to_numpy(bool) for x in names])
        return Scores(np.arange(CHUNK, whole + 1, CHUNK), values, said).alarms

    return method


if __name__ == "__main__":
    serve({name: chunks(name) for name in METHODS})
