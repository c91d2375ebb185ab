"""The judge's rows in its Faust table, which units are ahead of theirs, what may be committed. No Kafka, no Faust."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from detectors import profiles
from detectors.errors import CheckpointError, FormatError
from detectors.features import UnitKey
from detectors.profiles import Profile
from stream.topics import keys

SCHEMA = 1

Reach = tuple[int, int]
"""Timestamp and offset of the furthest profile that is in a row. The timestamp comes first: offsets begin anew where
somebody makes the topic again."""


class Stored(msgspec.Struct, frozen=True):
    """A row: one unit's judge. ``partition`` is the one its profiles arrive on: its model's."""

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


def moved(rows: Iterable[tuple[bytes, bytes]], partitions: int) -> list[tuple[int, bytes, bytes]]:
    """Partition, key and value of rows to be written so that each unit has one where its profiles lie.

    ``rows`` of all partitions: of a unit the furthest counts. The copy is further by one than what it was made of. That
    stays where it is: a table holds one row a key, whatever partition it came from, and a tombstone would empty both.
    """
    furthest_rows: dict[bytes, Stored] = {}
    for key, value in rows:
        stored = decode_stored(key, value)
        if key not in furthest_rows or stored.reach > furthest_rows[key].reach:
            furthest_rows[key] = stored
    found = []
    for key, stored in furthest_rows.items():
        home = keys.model_partition(stored.unit.model, partitions)
        if stored.partition != home:
            at_ms, offset = stored.reach
            found.append((home, key, encode_stored(stored.unit, home, stored.blob, (at_ms, offset + 1))))
    return found


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


class Pending:
    """Units ahead of their stored row, and how far each partition may be committed: up to the first profile that is in
    no stored row. Units share a partition and their rows are written at different times."""

    __slots__ = ("_committable", "_read", "_since_ms", "_waiting", "partitions", "reached")

    def __init__(self) -> None:
        self._since_ms: dict[UnitKey, int] = {}
        self._waiting: dict[UnitKey, list[int]] = {}
        self._read: dict[int, dict[int, bool]] = {}  # by partition: offsets as they came, and whether they are done
        self._committable: dict[int, int] = {}
        self.partitions: dict[UnitKey, int] = {}
        self.reached: dict[UnitKey, Reach] = {}

    def __len__(self) -> int:
        return len(self._since_ms)

    def read(self, partition: int, offset: int) -> None:
        """The record at ``offset`` is being worked on; the first of a partition may come twice."""
        if offset >= self._committable.get(partition, 0):
            self._read.setdefault(partition, {}).setdefault(offset, False)

    def touch(self, unit: UnitKey, partition: int, now_ms: int, offset: int | None = None) -> None:
        """The unit changed, by the profile at ``offset`` if given."""
        self._since_ms[unit] = min(self._since_ms.get(unit, now_ms), now_ms)  # the clock may be set back
        self.partitions[unit] = partition
        if offset is not None:
            self._waiting.setdefault(unit, []).append(offset)

    def reach(self, unit: UnitKey, timestamp_ms: int, offset: int) -> None:
        """The unit took in the profile at ``offset``."""
        self.reached[unit] = max(self.reached.get(unit, (0, 0)), (timestamp_ms, offset))

    def due(self, before_ms: int, limit: int) -> list[UnitKey]:
        """At most ``limit`` units that have been ahead since ``before_ms`` or earlier, longest first."""
        units = [unit for unit, since in self._since_ms.items() if since <= before_ms]
        return sorted(units, key=self._since_ms.__getitem__)[:limit]

    def take(self, unit: UnitKey) -> list[int]:
        """The offsets that are in the row which is being written; they are done once it is acknowledged."""
        self._since_ms.pop(unit, None)
        return self._waiting.pop(unit, [])

    def done(self, partition: int, offsets: Iterable[int]) -> None:
        """Nothing is lost any more when these are not delivered again."""
        read = self._read.get(partition, {})
        read.update((offset, True) for offset in offsets if offset in read)
        while read and read[first := next(iter(read))]:
            del read[first]
            self._committable[partition] = first + 1

    @property
    def committable(self) -> dict[int, int]:
        """By partition the offset to begin at: all that was read before it is done."""
        return dict(self._committable)

    def clear(self) -> None:
        """Forget everything: after a rebalance it is all delivered again."""
        self._since_ms.clear()
        self._waiting.clear()
        self._read.clear()
        self._committable.clear()
        self.partitions.clear()
        self.reached.clear()
