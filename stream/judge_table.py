"""The judge's rows in its Faust table, and which units are ahead of theirs. No Kafka, no Faust."""

from collections.abc import Hashable
from typing import Generic, TypeVar

import msgspec

from detectors import profiles
from detectors.errors import CheckpointError, FormatError
from detectors.features import UnitKey
from detectors.profiles import Profile

SCHEMA = 1

Waiting = TypeVar("Waiting", bound=Hashable)


class Stored(msgspec.Struct, frozen=True):
    """A row: one unit's judge. ``partition`` is the one its profiles arrive on, which never changes."""

    schema: int
    unit: UnitKey
    partition: int
    blob: bytes


_profile_decoder = msgspec.json.Decoder(Profile)
_stored_decoder = msgspec.msgpack.Decoder(Stored)
_encoder = msgspec.msgpack.Encoder()


def encode_stored(unit: UnitKey, partition: int, blob: bytes) -> bytes:
    return _encoder.encode(Stored(SCHEMA, unit, partition, blob))


def decode_stored(key: bytes, value: bytes) -> Stored:
    """Raises CheckpointError naming the key."""
    try:
        stored = _stored_decoder.decode(value)
    except msgspec.MsgspecError as error:
        raise CheckpointError(f"judge table: {key.decode(errors='replace')}: cannot be read: {error}") from error
    if stored.schema != SCHEMA:
        raise CheckpointError(
            f"judge table: {key.decode(errors='replace')}: schema {stored.schema}, this driftline reads {SCHEMA}"
        )
    return stored


def decode_profile(value: bytes) -> Profile:
    """Raises FormatError with the reason the dead letter is stamped with."""
    try:
        profile = _profile_decoder.decode(value)
    except msgspec.MsgspecError as error:
        raise FormatError(f"not a profile: {error}") from error
    if profile.schema != profiles.SCHEMA:
        raise FormatError(f"profile schema {profile.schema}, this driftline reads {profiles.SCHEMA}")
    return profile


class Pending(Generic[Waiting]):
    """Units ahead of their stored row, and what may be acknowledged once the row is written."""

    __slots__ = ("_since_ms", "_waiting", "partitions")

    def __init__(self) -> None:
        self._since_ms: dict[UnitKey, int] = {}
        self._waiting: dict[UnitKey, list[Waiting]] = {}
        self.partitions: dict[UnitKey, int] = {}

    def __len__(self) -> int:
        return len(self._since_ms)

    def touch(self, unit: UnitKey, partition: int, now_ms: int, waiting: Waiting | None = None) -> None:
        """The unit changed, by ``waiting`` if given."""
        self._since_ms.setdefault(unit, now_ms)
        self.partitions[unit] = partition
        if waiting is not None:
            self._waiting.setdefault(unit, []).append(waiting)

    def due(self, before_ms: int, limit: int) -> list[UnitKey]:
        """At most ``limit`` units that have been ahead since ``before_ms`` or earlier, longest first."""
        units = [unit for unit, since in self._since_ms.items() if since <= before_ms]
        return sorted(units, key=self._since_ms.__getitem__)[:limit]

    def take(self, unit: UnitKey) -> list[Waiting]:
        """What waited for the unit, which is now stored."""
        self._since_ms.pop(unit, None)
        return self._waiting.pop(unit, [])

    def clear(self) -> None:
        """Forget everything: after a rebalance it is all delivered again."""
        self._since_ms.clear()
        self._waiting.clear()
        self.partitions.clear()
