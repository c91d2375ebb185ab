"""All shards of one unit: how a new profile follows what is held, and which of its counts are new."""

from collections.abc import Iterable

import msgspec

from detectors.evidence.counts import Counts, counts_of
from detectors.evidence.sheets import Layout
from detectors.merging import Step
from detectors.profiles import Profile
from stream.judge.shard import Shard, ShardState
from stream.judge.slot_buffer import SlotBuffer


class ShardsState(msgspec.Struct, frozen=True):
    """The snapshot of a ``Shards``: its shards by name."""

    shards: dict[str, ShardState]
    clock_ms: int | None
    first_offset: int


class Shards:
    """``clock_ms``: the newest event time of all shards. ``first_offset``: the offset of the unit's first profile in
    the profiles topic. ``slots``: profiles that wait for other partitions and are in no shard yet."""

    __slots__ = ("_by_name", "clock_ms", "first_offset", "slots")

    def __init__(self, look_ms: int, first_offset: int = 0) -> None:
        self.slots = SlotBuffer(look_ms)
        self._by_name: dict[str, Shard] = {}
        self.clock_ms: int | None = None
        self.first_offset = first_offset

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def collecting(self) -> bool:
        """Whether profiles wait and none has been judged yet."""
        return not self._by_name and len(self.slots) > 0

    @property
    def events(self) -> int:
        """Events accepted over all shards and epochs, each counted once."""
        return sum(shard.profile.events for shard in self._by_name.values())

    @property
    def newest(self) -> dict[str, Profile]:
        """The newest profile of each shard, by the shard's name."""
        return {name: shard.profile for name, shard in self._by_name.items()}

    def under(self, digest: str | None) -> list[Profile]:
        """The newest profiles of the shards that are under the reference ``digest``."""
        return [s.profile for s in self._by_name.values() if s.profile.epoch.reference == digest]

    def bring_events(self, profiles: Iterable[Profile]) -> bool:
        """Whether ``profiles`` hold events that no shard has counted yet."""
        known = self._by_name
        return any(p.shard not in known or p.events > known[p.shard].profile.events for p in profiles)

    def brings_events(self, profile: Profile) -> bool:
        """Whether ``profile`` holds events that no shard has counted and no waiting profile of its shard holds."""
        known = self._by_name.get(profile.shard)
        return profile.events > max(known.profile.events if known else -1, self.slots.events_of(profile.shard))

    def held(self, profile: Profile, wanted: str | None) -> tuple[Profile | None, Step]:
        """The profile held of the same shard, and how ``profile`` follows it. ``wanted``: digest of the model's newest
        reference."""
        known = self._by_name.get(profile.shard)
        return (None, Step.FULL) if known is None else (known.profile, known.step(profile, wanted))

    def fold_in(self, profile: Profile, how: Step, layout: Layout | None) -> Counts | None:
        """Holds ``profile`` and returns its new counts. ``layout``: of the reference that is judged, where the profile
        is under it; without it nothing is counted."""
        counts = counts_of(profile, layout) if layout is not None else None
        known = self._by_name.get(profile.shard)
        if known is None:
            self._by_name[profile.shard] = Shard(profile, [], counts)
            return counts
        return known.fold_in(profile, how, counts, layout is not None)

    def advance_clock(self, profile: Profile) -> None:
        """Sets the clock to the profile's last event time if that is newer."""
        at_ms = profile.last_timestamp_ms
        if at_ms is not None:
            self.clock_ms = max(self.clock_ms or at_ms, at_ms)

    def count_again(self, digest: str | None, layout: Layout) -> list[Counts]:
        """Counts the shards under ``digest`` in the layout of that reference, which was read only now. Returns the
        counts of all that are not a base."""
        under = (s for s in self._by_name.values() if s.profile.epoch.reference == digest)
        counted = [shard.count_again(layout) for shard in under]
        return [counts for counts in counted if counts is not None]

    def begin_again(self, offset: int) -> None:
        """Notes that the profiles topic was created again: the unit now begins at ``offset``."""
        self.first_offset = offset

    def snapshot(self, judged: str | None) -> ShardsState:
        """Everything that is kept of the shards. ``judged``: digest of the reference with evidence, if there is any."""
        shards = {
            name: shard.snapshot(judged is not None and shard.profile.epoch.reference == judged)
            for name, shard in self._by_name.items()
        }
        return ShardsState(shards, self.clock_ms, self.first_offset)

    def restore(self, state: ShardsState, with_evidence: bool) -> None:
        """Restores ``snapshot``. ``with_evidence``: the evidence is restored too; without it, profiles whose counts
        were in the evidence become bases."""
        self._by_name = {
            name: Shard(s.profile, s.passed, None, s.base or (s.judged and not with_evidence), s.reached)
            for name, s in state.shards.items()
        }
        self.clock_ms, self.first_offset = state.clock_ms, state.first_offset
