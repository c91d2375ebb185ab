"""The cost of a look. No other part of the benchmark runs at the same time."""

import time

import numpy as np

from benchmarks.detection import looks
from detectors.calibration import synthetic
from detectors.evidence import e_detector
from detectors.features import UnitKey
from stream.judge.judge import Judge
from stream.judge.settings import judge_settings
from stream.settings.settings import Settings
from tests.judge.shards import MiniShard

TARGET_SHARE = 0.2
MODELS = 1_000
LOOKS = 200


def measured(seed: int) -> dict[str, float]:
    """One look of a 20-feature model: the evidence alone, and the whole judge with a profile of one shard.

    ``core_share``: share of a core for MODELS models with one look a second.
    """
    e_detector.compile_loops()
    bench = looks.Bench(synthetic.normal, 20_000, 20, seed)
    counts = list(bench.looks(bench.stream(32_000, 0), 100))
    watch = bench.watch()
    start = time.process_time()
    for i, part in enumerate(counts):
        watch.look(part, i * 1_000, (i + 1) * 100)
    look_us = (time.process_time() - start) / len(counts) * 1e6
    judge, shard = Judge(judge_settings(Settings()), [bench.reference]), MiniShard(bench.reference)
    parts = np.split(bench.stream(100 * LOOKS, 0), LOOKS)
    profiles = [
        shard.add({f"x{f}": part[:, f].tolist() for f in range(20)}, i * 1_000)  # not part of the measured time
        for i, part in enumerate(parts)
    ]
    judge.on_profile(profiles.pop(0), 0)  # builds the bets, once per reference
    start = time.process_time()
    for i, profile in enumerate(profiles):
        judge.on_profile(profile, i * 1_000)
    profile_us = (time.process_time() - start) / len(profiles) * 1e6
    start = time.process_time()
    judge.model_view(UnitKey("bench", "1", None))
    view_us = (time.process_time() - start) * 1e6
    return {
        "look_us": look_us,
        "profile_us": profile_us,
        "view_us": view_us,
        "core_share": MODELS * look_us / 1e6,
        "core_share_with_profiles": MODELS * profile_us / 1e6,
        "target": TARGET_SHARE,
    }
