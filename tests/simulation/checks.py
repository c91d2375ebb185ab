"""Checks that the final state of a simulated world follows from its input."""

import msgspec

from detectors import merging
from detectors.errors import CheckpointError
from detectors.profiles import Profile
from stream.topics import keys
from tests.simulation import traffic
from tests.simulation.world import Diverged, Scheme, World

CHECKED = 4
"""Published profiles of a run that are computed again, in addition to each shard's last one."""


def simulate(seed: int, scheme: Scheme | None = None) -> World:
    """Runs one world and checks it. Raises Diverged."""
    world = World(seed, scheme or Scheme())
    try:
        world.run()
    except CheckpointError as error:
        raise Diverged(f"seed {seed}: a checkpoint of our own was refused: {error}") from error
    _check_states(seed, world)
    _check_letters(seed, world)
    _check_shards(seed, world)
    for profile in world.chance.sample(world.published, min(CHECKED, len(world.published))):
        _check_profile(seed, world, profile)
    return world


def _check_states(seed: int, world: World) -> None:
    """Compares states bit for bit, unless references arrived during the run."""
    if world.choice.coming:
        return
    for place, worker in world.owners.items():
        choice = world.choice
        wanted = traffic.oracle_state(choice.settings is traffic.WATCHING, choice.known, choice.logs, place.partition)
        if traffic.state_of(worker.observer, place) != wanted:
            raise Diverged(f"seed {seed}: {place}: state is not the fold of the log")


def _check_letters(seed: int, world: World) -> None:
    wanted = {where for place in world.places for where in traffic.unreadable(world.choice.logs, place.partition)}
    if world.letters != wanted:
        raise Diverged(f"seed {seed}: dead letters {sorted(world.letters ^ wanted)} are missing or too many")


def _check_shards(seed: int, world: World) -> None:
    """In the end the judge holds each unit as of the end of the log, and has merged each event once: never twice, and a
    few are missing only if a reference came meanwhile."""
    held = set()
    for place, worker in world.owners.items():
        for key, unit in worker.observer._partitions[place].units.items():
            shard = keys.profile_key(key, place)
            held.add(shard)
            judged = world.judged[shard].profile if shard in world.judged else None
            last = unit._counts.profile()
            if judged is None or (_counts(judged) != _counts(last) and not _tied(world, judged, last)):
                raise Diverged(f"seed {seed}: {place}: {key}: the judge does not hold the last profile")
            _check_profile(seed, world, judged)
            merged, few = world.merged[shard], bool(world.choice.coming)
            if merged > judged.events or (merged < judged.events and not few):
                raise Diverged(f"seed {seed}: {place}: {key}: {merged} events merged of {judged.events}")
    if held != set(world.judged):
        raise Diverged(f"seed {seed}: units {held ^ set(world.judged)} are published or held, not both")


def _counts(profile: Profile) -> Profile:
    """The profile without its slot, which ends without another event."""
    return msgspec.structs.replace(profile, slot_end_ms=None, slot_level=0, slot_open=False)


def _tied(world: World, judged: Profile, last: Profile) -> bool:
    """Whether the judge's profile is of a zombie that began under the same reference at another offset and ended at the
    same event. It is an equally valid fold of the log, with the same counts over all epochs, and stays until the next
    event. Nothing shows which worker owns the partition."""
    same = judged.epoch != last.epoch and judged.epoch.reference == last.epoch.reference
    tied = same and merging.place(judged) == merging.place(last) and world.choice.zombies
    world.troubles["tie"] += tied
    return tied


def _check_profile(seed: int, world: World, profile: Profile) -> None:
    wanted = traffic.oracle_profiles(world.choice.settings, world.choice.logs, profile)
    if _plain(profile, world) not in [_plain(one, world) for one in wanted]:
        raise Diverged(f"seed {seed}: {profile.shard}: {profile.unit}: a published profile is not the fold of its log")


def _plain(profile: Profile, world: World) -> object:
    """The profile without signals of earlier epochs, if there were several, and without outcomes, which no bank
    makes."""
    return msgspec.structs.replace(
        profile, signal_count=len(profile.signals) if world.choice.coming else profile.signal_count, outcomes=None
    )
