"""Whole workers, their own loop and order of writing included: whatever fails, every event counts once.

``DRIFTLINE_TEST_SEED=N`` replays one seed, ``DRIFTLINE_TEST_SEEDS=N`` says how many are tried: a tenth of it.
"""

import logging
import os
import secrets
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from stream.observe.shell.outbox import Outbox
from stream.observe.shell.references import References
from stream.observe.shell.runner import Runner
from stream.observe.shell.saver import Saver
from tests.simulation.service import simulate
from tests.simulation.world import Diverged

SEEDS = int(os.environ.get("DRIFTLINE_TEST_SEEDS", "2000")) // 10
SHARES = 2
"""Tests that the seeds are dealt to, so that processes of a parallel run share them."""
GIVEN = os.environ.get("DRIFTLINE_TEST_SEED")
FOUND_WITHIN = 100
"""Seeds in which a broken worker must be found."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Outages are what is looked for."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("share", range(1 if GIVEN else SHARES))
def test_whatever_fails_whole_workers_count_every_event_once(share: int, capsys: pytest.CaptureFixture[str]) -> None:
    first, half = 1_000_000 + secrets.randbelow(1 << 40), SEEDS // SHARES // 2
    seeds = [int(GIVEN)] if GIVEN else [*range(share * half, (share + 1) * half), *range(first, first + half)]
    with capsys.disabled():
        sys.stdout.write(f"\n{len(seeds)} services; random: seeds {seeds[len(seeds) // 2]} to {seeds[-1]}\n")
    troubles: Counter[str] = Counter()
    for seed in seeds:
        troubles += simulate(seed).troubles
    if not GIVEN:
        for trouble in ("crash", "zombie", "outage", "slow disk", "reference", "stop"):
            assert troubles[trouble] > len(seeds) / 10, troubles


def test_a_seed_is_the_same_service_again() -> None:
    first, again = simulate(7), simulate(7)
    for topic in ("driftline-profiles", "driftline-checkpoints", "driftline-dead-letters"):
        assert first.broker.records(topic) == again.broker.records(topic)


async def _nothing(*_: object) -> None: ...


def _without(*_: object) -> None: ...


BROKEN = {
    "records of before a restore are taken": (Runner, "_leave_unread", _without),
    "references are read once": (References, "follow", _nothing),
    "nothing is sent again": (Outbox, "flush", _nothing),
    "no checkpoint": (Saver, "save_if_due", _without),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_worker_is_found(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, broken = BROKEN[what]
    monkeypatch.setattr(owner, name, broken)
    for seed in range(FOUND_WITHIN):
        try:
            simulate(seed)
        except (Diverged, AssertionError, KeyError):
            return
    pytest.fail("not found")
