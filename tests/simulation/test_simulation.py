"""Crashes, torn checkpoints, zombies, outages and late references change no number; and what was broken is found.

``DRIFTLINE_TEST_SEED=N`` replays one seed, ``DRIFTLINE_TEST_SEEDS=N`` says how many are tried (a minute: some 3,000).
"""

import os
import secrets
import sys
from collections.abc import Callable, Mapping

import msgspec
import pytest

from detectors.features import UnitKey
from stream import checkpoints
from stream.checkpoints import Manifest, Restore
from tests.simulation.checks import simulate
from tests.simulation.world import Diverged, Scheme, World

SEEDS = int(os.environ.get("DRIFTLINE_TEST_SEEDS", "300"))
GIVEN = os.environ.get("DRIFTLINE_TEST_SEED")
FOUND_WITHIN = 300
"""Seeds in which a broken scheme must be found."""

Stamps = Mapping[UnitKey, int]
true_reconcile = checkpoints.reconcile


def test_whatever_fails_every_event_counts_once(capsys: pytest.CaptureFixture[str]) -> None:
    seeds = [int(GIVEN)] if GIVEN else [*range(SEEDS // 2), *_new_seeds(SEEDS - SEEDS // 2)]
    with capsys.disabled():
        sys.stdout.write(f"\n{len(seeds)} simulations, the random ones end at seed {seeds[-1]}\n")
    worlds = [simulate(seed) for seed in seeds]
    if GIVEN:
        return
    assert sum(len(world.published) for world in worlds) > 10 * len(seeds), "hardly anything was published"
    assert sum(world.moves for world in worlds) > len(seeds), "hardly anything failed"


def _new_seeds(count: int) -> range:
    first = 1_000_000 + secrets.randbelow(1 << 40)
    return range(first, first + count)


def test_a_seed_is_the_same_world_again() -> None:
    first, again = simulate(7), simulate(7)
    encode = msgspec.json.encode
    assert [encode(p) for p in first.published] == [encode(p) for p in again.published]
    assert first.saved == again.saved


def _one_common_offset(manifest: Manifest | None, stamps: Stamps, where: str) -> Restore | None:
    """Every unit goes on from the manifest's offset, whatever its own record says."""
    true = true_reconcile(manifest, stamps, where)
    return true and Restore(true.floor, true.floor, dict.fromkeys(stamps, true.floor))


def _no_manifest(manifest: Manifest | None, stamps: Stamps, where: str) -> Restore | None:
    """Units go on from their own stamps, and nothing says what belongs together."""
    return Restore(min(stamps.values()), 0, dict(stamps)) if stamps else None


def _nothing_skipped(manifest: Manifest | None, stamps: Stamps, where: str) -> Restore | None:
    """What is read again is counted again."""
    true = true_reconcile(manifest, stamps, where)
    return true and Restore(true.seek, 0, dict.fromkeys(stamps, 0))


def _old_owner_believed(manifest: Manifest | None, stamps: Stamps, where: str) -> Restore | None:
    """A record that a zombie wrote over a newer one is taken for the newer one."""
    true = true_reconcile(manifest, stamps, where)
    return true and Restore(true.floor, true.floor, {unit: max(at, true.floor) for unit, at in stamps.items()})


Reconcile = Callable[[Manifest | None, Stamps, str], Restore | None]


@pytest.mark.parametrize("broken", [_one_common_offset, _no_manifest, _nothing_skipped, _old_owner_believed])
def test_a_broken_restore_is_found(broken: Reconcile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "reconcile", broken)
    assert _first_found(Scheme())


@pytest.mark.parametrize("fault", Scheme._fields)
def test_a_broken_order_is_found(fault: str) -> None:
    assert _first_found(Scheme(**{fault: False}))


def _first_found(scheme: Scheme) -> str:
    for seed in range(FOUND_WITHIN):
        try:
            simulate(seed, scheme)
        except Diverged as found:
            return str(found)
    return ""


def test_worlds_are_as_bad_as_they_should_be() -> None:
    """Each kind of trouble happens, or the suite shows nothing."""
    troubles: dict[str, int] = {}
    for seed in range(40):
        world: World = simulate(seed)
        for trouble, times in world.troubles.items():
            troubles[trouble] = troubles.get(trouble, 0) + times
    for trouble in ("crash", "torn checkpoint", "zombie write", "outage", "late reference"):
        assert troubles.get(trouble, 0) >= 5, troubles
