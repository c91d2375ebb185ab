"""A unit's slots of event time, and the profiles of slots that ended and were not handed out yet. No I/O."""

import msgspec

from detectors.profiles import Profile
from stream.observe.slots import Cut, Slots, SlotState


class CutState(msgspec.Struct, frozen=True, array_like=True):
    """Plain state of ``Cuts``. ``clock_ms``: the partition's clock at the unit's stamp. ``rank``: see ``Slots``.

    ``kept``: profiles as JSON, which holds their exact sums of any size. ``begun``: a profile was handed out.
    """

    slots: SlotState | None = None
    last: Cut | None = None
    kept: list[bytes] = []
    clock_ms: int | None = None
    rank: int | None = None
    begun: bool = False


_encoder = msgspec.json.Encoder()
_profiles = msgspec.json.Decoder(Profile)


class Cuts:
    """``slots``: the open slot. ``last``: the slot that ended last; None before the first one. ``kept``: profiles of
    slots that ended, oldest first, none of them handed out. ``clock_ms``: the partition's clock at the unit's stamp;
    None when it is unknown. ``begun``: the profile of a slot was handed out.
    """

    __slots__ = ("_handed_out", "_rank", "_shown_below", "begun", "clock_ms", "kept", "last", "slots")

    def __init__(self, look_ms: int, look_events: int, rank: int, state: CutState | None = None) -> None:
        state = state or CutState()
        self._rank = rank if state.rank is None else state.rank
        self.slots = Slots(look_ms, look_events, self._rank, state.slots)
        self.last, self.clock_ms, self.begun = state.last, state.clock_ms, state.begun
        self.kept = [_profiles.decode(profile) for profile in state.kept]
        self._handed_out, self._shown_below = False, 0

    def stamped(self, profile: Profile) -> Profile:
        """``profile`` as that of the open slot; of the last one when none is open."""
        cut, opened = self.slots.open, True
        if cut is None:
            cut, opened = self.last, False
        if cut is None:
            return profile
        return msgspec.structs.replace(profile, slot_end_ms=cut.end_ms, slot_level=cut.level, slot_open=opened)

    def cut(self, profile: Profile) -> None:
        """Ends the open slot, whose profile is ``profile``, and keeps that."""
        self.last = self.slots.cut()
        self.kept.append(self.stamped(profile))
        self.shown(profile)

    def thin_out(self) -> bool:
        """Removes every second of the profiles that are kept, beginning with the newest but one; the last one goes too.

        Returns False when none was kept.
        """
        found = bool(self.kept)
        self.kept = self.kept[::-2][::-1] if len(self.kept) > 1 else []
        return found

    def hand_out(self, clock_ms: int | None = None) -> list[Profile]:
        """The profiles that are kept, which the caller must publish. Those of slots after ``clock_ms`` stay."""
        count = len(self.kept)
        while clock_ms is not None and count and (self.kept[count - 1].slot_end_ms or 0) > clock_ms:
            count -= 1
        found, self.kept = self.kept[:count], self.kept[count:]
        self._handed_out, self.begun = self._handed_out or bool(found), self.begun or bool(found)
        return found

    def handed_out(self) -> bool:
        """Whether a profile was handed out since the last call."""
        found, self._handed_out = self._handed_out, False
        return found

    def shown(self, profile: Profile) -> None:
        """``profile`` is published before anything that comes later."""
        self._shown_below = profile.next_offset

    def changed(self, next_offset: int) -> bool:
        """Whether rows came since the newest profile; ``next_offset`` is the unit's."""
        return next_offset != self._shown_below

    def forget(self) -> None:
        """Removes the profiles that are kept: their epoch was never durable, and has ended."""
        self.kept = []

    def without_slot(self) -> CutState:
        """Plain state in which no slot is open and no profile is kept."""
        level = self.slots.snapshot().level
        return CutState(SlotState(level), self.last, [], self.clock_ms, self._rank, self.begun)

    @property
    def first_kept_ms(self) -> int:
        """The end of the oldest slot whose profile is kept."""
        return self.kept[0].slot_end_ms or 0

    def stamp_at(self, clock_ms: int | None) -> None:
        """The partition's clock at the unit's stamp."""
        self.clock_ms = clock_ms

    def snapshot(self) -> CutState:
        """Plain state."""
        return CutState(
            self.slots.snapshot(),
            self.last,
            [_encoder.encode(profile) for profile in self.kept],
            self.clock_ms,
            self._rank,
            self.begun,
        )
