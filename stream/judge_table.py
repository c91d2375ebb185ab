"""The judge's rows in its Faust table, and which units are ahead of theirs. No Kafka, no Faust."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from detectors import profiles
from detectors.errors import CheckpointError, FormatError
from detectors.features import UnitKey
from detectors.profiles import Profile

SCHEMA = 1

Waiting = TypeVar("Waiting", bound=Hashable)


Reach = tuple[int, int]
"""Timestamp and offset of the furthest profile that is in a row. The timestamp comes first: offsets begin anew where
somebody makes the topic again."""


class Stored(msgspec.Struct, frozen=True):
    """A row: one unit's judge. ``partition`` is the one its profiles arrive on, which never changes."""

    schema: int
    unit: UnitKey
    partition: int
    blob: bytes
    reach: Reach = (0, 0)


class _Reached(msgspec.Struct, frozen=True):
    reach: Reach = (0, 0)


_profile_decoder = msgspec.json.Decoder(Profile)
_stored_decoder = msgspec.msgpack.Decoder(Stored)
_reach_decoder = msgspec.msgpack.Decoder(_Reached)
_encoder = msgspec.msgpack.Encoder()


def encode_stored(unit: UnitKey, partition: int, blob: bytes, reach: Reach) -> bytes:
    return _encoder.encode(Stored(SCHEMA, unit, partition, blob, reach))


def furthest(rows: Iterable[Any], held: Mapping[bytes, bytes]) -> Iterator[Any]:
    """Changelog events that are not behind what is ``held`` or came before them.

    A worker that was frozen and does not know that it was replaced may write a row over a newer one; its row holds
    fewer of the same profiles. (Where compaction has taken the newer one by then nothing helps; it leaves the active
    segment alone.)
    """
    reached: dict[bytes, Reach] = {}
    for row in rows:
        key, value = row.message.key, row.message.value
        if value is not None:
            before = reached.get(key) or _reach(held.get(key))
            reached[key] = _reach(value)
            if reached[key] < before:
                reached[key] = before
                continue
        yield row


def _reach(value: bytes | None) -> Reach:
    """Nowhere for what cannot be read, which ``decode_stored`` will say."""
    try:
        return (0, 0) if value is None else _reach_decoder.decode(value).reach
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return 0, 0


def decode_stored(key: bytes, value: bytes) -> Stored:
    """Raises CheckpointError naming the key."""
    try:
        stored = _stored_decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
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
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FormatError(f"not a profile: {error}") from error
    if profile.schema != profiles.SCHEMA:
        raise FormatError(f"profile schema {profile.schema}, this driftline reads {profiles.SCHEMA}")
    return profile


class Pending(Generic[Waiting]):
    """Units ahead of their stored row, and what may be acknowledged once the row is written."""

    __slots__ = ("_since_ms", "_waiting", "partitions", "reached")

    def __init__(self) -> None:
        self._since_ms: dict[UnitKey, int] = {}
        self._waiting: dict[UnitKey, list[Waiting]] = {}
        self.partitions: dict[UnitKey, int] = {}
        self.reached: dict[UnitKey, Reach] = {}

    def __len__(self) -> int:
        return len(self._since_ms)

    def touch(self, unit: UnitKey, partition: int, now_ms: int, waiting: Waiting | None = None) -> None:
        """The unit changed, by ``waiting`` if given."""
        self._since_ms[unit] = min(self._since_ms.get(unit, now_ms), now_ms)  # the clock may be set back
        self.partitions[unit] = partition
        if waiting is not None:
            self._waiting.setdefault(unit, []).append(waiting)

    def reach(self, unit: UnitKey, timestamp_ms: int, offset: int) -> None:
        """The unit took in the profile at ``offset``."""
        self.reached[unit] = max(self.reached.get(unit, (0, 0)), (timestamp_ms, offset))

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
        self.reached.clear()
