"""Whole workers, both stages: evidence, incidents and every published figure are those of a run without faults.

``DRIFTLINE_TEST_SEED=N`` replays the log of one seed under three runs of faults. ``DRIFTLINE_TEST_WHOLE_LOGS=N`` adds N
logs that chance picks. The log of seed 5000019 differs from the ordered run by one event that comes behind in it.
"""

import logging
import os
import secrets
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.simulation import whole
from tests.simulation.event_time.test_cores import EVENTFUL

GIVEN = os.environ.get("DRIFTLINE_TEST_SEED")
RUNS = 3
LEARNING = (16, 20)
"""Logs from which references are learned, so that shards of a unit are in different epochs for a while."""

LOGS = int(os.environ.get("DRIFTLINE_TEST_WHOLE_LOGS", "0"))
"""Logs that chance picks, in addition to those; each with one run."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Outages must have happened."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


def test_whatever_fails_everything_published_is_that_of_a_run_without_faults(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = 1_000_000 + secrets.randbelow(1 << 40)
    runs = [(seed, number) for seed in (*EVENTFUL, *LEARNING) for number in range(RUNS)]
    runs += [(seed, 0) for seed in (*range(1, 11), *range(first, first + LOGS))]
    if GIVEN:
        runs = [(int(GIVEN), number) for number in range(RUNS)]
    with capsys.disabled():
        chance = f"; the random logs are seeds {first} to {runs[-1][0]}" if LOGS else ""
        sys.stdout.write(f"\n{len(runs)} runs of whole workers{chance}\n")
    troubles: Counter[str] = Counter()
    opened = 0
    for seed, number in runs:
        world = whole.simulate(seed, f"{seed}/{number}")
        troubles += world.troubles
        opened += len(whole.published(world).incidents)
    if not GIVEN:
        assert opened >= len(EVENTFUL)
        for trouble in (*whole.TROUBLES, "crash at row", "crash at output"):
            assert troubles[trouble] > 3, troubles


def test_a_seed_is_the_same_run_again() -> None:
    one, other = (whole.simulate(3, "3/0") for _ in range(2))
    for topic in ("driftline-profiles", "driftline-checkpoints", "drift-events"):
        assert one.broker.records(topic) == other.broker.records(topic)
