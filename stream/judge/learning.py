"""A unit without a reference: when it has enough events, one is learned from them."""

import msgspec

from detectors.features import UnitKey
from detectors.reference import learned
from stream.judge.effects import Effect, ReferenceBuilt
from stream.judge.look import Look


class LearningState(msgspec.Struct, frozen=True):
    """The snapshot of a ``Learning``."""

    learned: bool


class Learning:
    """``wanted``: events that make a reference. ``learned``: the unit's reference has been built; it is built once."""

    __slots__ = ("_unit", "learned", "wanted")

    def __init__(self, unit: UnitKey, wanted: int) -> None:
        self._unit = unit
        self.wanted = wanted
        self.learned = False

    def follow(self, look: Look) -> list[Effect]:
        """The reference learned from the shards' profiles, once there are enough events."""
        if look.digest is not None or self.learned or look.epoch_events < self.wanted:
            return []
        self.learned = True
        unit = self._unit
        built = learned.reference_from_profiles(unit.model, unit.version, look.present, segment=unit.segment)
        return [ReferenceBuilt(unit, built)]

    def snapshot(self) -> LearningState:
        return LearningState(self.learned)

    def restore(self, state: LearningState) -> None:
        self.learned = state.learned
