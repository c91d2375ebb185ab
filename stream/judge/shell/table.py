"""The judge's rows as bytes, and the profiles that it reads. No Kafka, no Faust."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from detectors import profiles
from detectors.errors import CheckpointError, FormatError
from detectors.features import UnitKey
from detectors.profiles import Profile

SCHEMA = 1

Reach = tuple[int, int]
"""Timestamp and offset of the furthest profile that a row contains. The timestamp comes first, since offsets start at 0
again if the topic is recreated."""


class Stored(msgspec.Struct, frozen=True):
    """A row: the judge's state of one unit. ``partition``: that of its profiles, which is its model's."""

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
    """The value of a row; see ``Stored``."""
    return _encoder.encode(Stored(SCHEMA, unit, partition, blob, reach))


def furthest(rows: Iterable[Any], held: Mapping[bytes, bytes]) -> Iterator[Any]:
    """The changelog events in ``rows`` that are not behind the row of their key in ``held`` or earlier in ``rows``.

    A worker that was frozen and was replaced meanwhile may write a row over a newer one; its row contains fewer of the
    same profiles. The newer row is lost if compaction has removed it by then. Compaction never touches the active
    segment.
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
    """How far the row reaches; (0, 0) for one that cannot be decoded, which ``decode_stored`` refuses later."""
    try:
        return (0, 0) if value is None else _reach_decoder.decode(value).reach
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return 0, 0


def decode_stored(key: bytes, value: bytes) -> Stored:
    """A row. Raises CheckpointError with its key."""
    try:
        stored = _stored_decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CheckpointError(f"judge table: {key.decode(errors='replace')}: cannot be read: {error}") from error
    if stored.schema != SCHEMA:
        raise CheckpointError(
            f"judge table: {key.decode(errors='replace')}: schema {stored.schema}, this driftline reads {SCHEMA}"
        )
    return stored


def decode_profile(value: bytes) -> Profile:
    """A profile. Raises FormatError with the reason for the dead letter."""
    try:
        profile = _profile_decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"not a profile: {error}") from error
    if profile.schema != profiles.SCHEMA:
        raise FormatError(f"profile schema {profile.schema}, this driftline reads {profiles.SCHEMA}")
    return profile
