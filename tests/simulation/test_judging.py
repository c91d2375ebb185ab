"""Judges that come and go publish what one undisturbed judge does: the log alone decides how a budget is shared.

``DRIFTLINE_TEST_SEED=N`` replays one seed.
"""

import os
import secrets
import sys
from collections import Counter
from collections.abc import Callable

import pytest

from stream.judge.budget import Sharing
from stream.judge.shell.pending import Pending
from stream.judge.unit import UnitJudge
from stream.topics import keys
from tests.simulation import judging
from tests.simulation.world import Diverged

SEEDS = 20
GIVEN = os.environ.get("DRIFTLINE_TEST_SEED")
FOUND_WITHIN = 40
"""Seeds in which a broken judge must be found."""


def test_the_same_is_published_whoever_holds_which_units(capsys: pytest.CaptureFixture[str]) -> None:
    first = 1_000_000 + secrets.randbelow(1 << 40)
    seeds = [int(GIVEN)] if GIVEN else [*range(SEEDS // 2), *range(first, first + SEEDS // 2)]
    with capsys.disabled():
        sys.stdout.write(f"\n{len(seeds)} worlds of judges; random: seeds {seeds[len(seeds) // 2]} to {seeds[-1]}\n")
    troubles: Counter[str] = Counter()
    opened = 0
    for seed in seeds:
        world = judging.simulate(seed)
        troubles += world.troubles
        opened += sum(name[0] == "io.driftline.incident.opened.v1" for name in world.published)
    if not GIVEN:
        assert opened > len(seeds)
        for trouble in ("rebalance", "crash"):
            assert troubles[trouble] > len(seeds), troubles


def _by_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    place = lambda unit: keys.partition_of(keys.unit_key(unit), judging.PARTITIONS)  # noqa: E731
    monkeypatch.setattr(judging, "home", place)


def _by_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Sharing.sharers
    monkeypatch.setattr(Sharing, "sharers", lambda self, model, offset: known(self, model, 1 << 60))


def _by_every_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    on_profiles = UnitJudge.on_profiles

    def eager(self: UnitJudge, profiles: object, newest: object, now_ms: int, sharers: int) -> object:
        self.current.share_budget(sharers)
        return on_profiles(self, profiles, newest, now_ms, sharers)  # type: ignore[arg-type]

    monkeypatch.setattr(UnitJudge, "on_profiles", eager)


def _committed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pending, "start_row", lambda self, unit: list(self._started[self.partitions[unit]]))


BROKEN: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "profiles are dealt out by unit": _by_unit,
    "all units that are held share": _by_what_is_held,
    "what is delivered again shares anew": _by_every_delivery,
    "rows that were not written are committed": _committed_over,
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_judge_is_found(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    BROKEN[what](monkeypatch)
    for seed in range(FOUND_WITHIN):
        try:
            judging.simulate(seed)
        except (Diverged, AssertionError, KeyError):
            return
    pytest.fail("not found")
