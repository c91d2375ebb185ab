"""Crashes, torn checkpoints, zombies, outages and late references change no number; and a deliberately broken scheme is
found.

``DRIFTLINE_TEST_SEED=N`` replays one seed, ``DRIFTLINE_TEST_SEEDS=N`` sets the number of seeds: some 2,500 a minute and
core, and ``make test`` uses two.
"""

import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence

import msgspec
import pytest

from detectors import merging
from detectors.features import UnitKey
from detectors.merging import Place, Step
from detectors.profiles import Epoch, Profile
from stream.judge import shard
from stream.topics import checkpoints
from stream.topics.checkpoints import Manifest, Restore
from tests.simulation.checks import simulate
from tests.simulation.world import Diverged, Scheme

SEEDS = int(os.environ.get("DRIFTLINE_TEST_SEEDS", "2000"))
SHARES = 4
"""Tests over which the seeds are distributed, so that processes of a parallel run share them."""
GIVEN = os.environ.get("DRIFTLINE_TEST_SEED")
FOUND_WITHIN = 800
"""Seeds in which a broken scheme must be found."""

Stamps = Mapping[UnitKey, int]
true_reconcile = checkpoints.reconcile
true_step = merging.step


@pytest.mark.parametrize("share", range(1 if GIVEN else SHARES))
def test_whatever_fails_every_event_counts_once(share: int, capsys: pytest.CaptureFixture[str]) -> None:
    each = SEEDS // SHARES
    seeds = [int(GIVEN)] if GIVEN else [*range(share * each, share * each + each // 2), *_new_seeds(each - each // 2)]
    with capsys.disabled():
        sys.stdout.write(
            f"\n{len(seeds)} simulations, the random ones are seeds {seeds[-len(seeds) // 2]} to {seeds[-1]}\n"
        )
    published = moves = ties = 0
    for seed in seeds:
        seen = simulate(seed)
        published, moves = published + len(seen.published), moves + seen.moves
        ties += seen.troubles["tie"]
    if GIVEN:
        return
    assert published > 10 * len(seeds), "hardly anything was published"
    assert moves > len(seeds), "hardly anything failed"
    assert ties <= 2 + len(seeds) / 100, "an old owner's epoch should hardly ever be as far as the present one's"


def _new_seeds(count: int) -> range:
    first = 1_000_000 + secrets.randbelow(1 << 40)
    return range(first, first + count)


def test_a_seed_is_the_same_world_again() -> None:
    first, again = simulate(7), simulate(7)
    encode = msgspec.json.encode
    assert [encode(p) for p in first.published] == [encode(p) for p in again.published]
    assert first.saved == again.saved


def _one_common_offset(manifest: Manifest | None, stamps: Stamps, where: str, begin: int = 0) -> Restore | None:
    """Broken: every unit continues at the manifest's offset, with any stamp of its own record."""
    true = true_reconcile(manifest, stamps, where, begin)
    return true and Restore(true.floor, true.floor, dict.fromkeys(stamps, true.floor))


def _no_manifest(manifest: Manifest | None, stamps: Stamps, where: str, begin: int = 0) -> Restore | None:
    """Broken: units continue at their own stamps, without a manifest that says which stamps belong together."""
    return Restore(min(stamps.values()), 0, dict(stamps)) if stamps else None


def _nothing_skipped(manifest: Manifest | None, stamps: Stamps, where: str, begin: int = 0) -> Restore | None:
    """Broken: events that are read again are counted again."""
    true = true_reconcile(manifest, stamps, where, begin)
    return true and Restore(true.seek, 0, dict.fromkeys(stamps, 0))


def _old_owner_believed(manifest: Manifest | None, stamps: Stamps, where: str, begin: int = 0) -> Restore | None:
    """Broken: a record that a zombie wrote over a newer one is treated as the newer one."""
    true = true_reconcile(manifest, stamps, where, begin)
    return true and Restore(true.floor, true.floor, {unit: max(at, true.floor) for unit, at in stamps.items()})


Reconcile = Callable[[Manifest | None, Stamps, str, int], Restore | None]


@pytest.mark.parametrize("broken", [_one_common_offset, _no_manifest, _nothing_skipped, _old_owner_believed])
def test_a_broken_restore_is_found(broken: Reconcile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "reconcile", broken)
    assert _first_found(Scheme())


@pytest.mark.parametrize("fault", Scheme._fields)
def test_a_broken_order_is_found(fault: str) -> None:
    assert _first_found(Scheme(**{fault: False}))


def _last_one_written(
    newest: Profile, profile: Profile, passed: Sequence[Epoch], reached: Place, wanted: str | None
) -> Step:
    """Broken: the last written profile counts, from any worker."""
    return Step.NEXT


def _epochs_come_back(
    newest: Profile, profile: Profile, passed: Sequence[Epoch], reached: Place, wanted: str | None
) -> Step:
    """Broken: an epoch that was left is treated as a new one."""
    return true_step(newest, profile, passed, reached) if profile.epoch == newest.epoch else Step.FULL


def _newest_is_furthest(
    newest: Profile, profile: Profile, passed: Sequence[Epoch], reached: Place, wanted: str | None
) -> Step:
    """Broken: the counts of the earlier epoch are forgotten when the next one begins behind it."""
    return true_step(newest, profile, passed, merging.place(newest), wanted)


@pytest.mark.parametrize(
    ("broken", "once"), [(_last_one_written, 768), (_epochs_come_back, 4), (_newest_is_furthest, 237)]
)
def test_a_broken_merge_is_found(broken: Callable[..., Step], once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard.merging, "step", broken)
    assert _first_found(Scheme(), once)


def _first_found(scheme: Scheme, once: int = 0) -> str:
    """The text of the first divergence; empty if there is none. ``once``: the seed that showed it when this was
    written; it is tried first."""
    for seed in (*range(once, FOUND_WITHIN), *range(once)):
        try:
            simulate(seed, scheme)
        except Diverged as found:
            return str(found)
    return ""


def test_worlds_are_as_bad_as_they_should_be() -> None:
    """Each kind of trouble happens; otherwise the suite would prove nothing."""
    troubles: dict[str, int] = {}
    for seed in range(40):
        for trouble, times in simulate(seed).troubles.items():
            troubles[trouble] = troubles.get(trouble, 0) + times
    for trouble in (
        "crash",
        "torn checkpoint",
        "zombie write",
        "outage",
        "slow disk",
        "late reference",
        "repeated batch",
        "judge restarted",
    ):
        assert troubles.get(trouble, 0) >= 5, troubles
