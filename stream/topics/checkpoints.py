"""Checkpoints: a versioned record per unit, a manifest per partition, and how the two are reconciled.

A unit's record contains its events below offset ``stamp``. The manifest has the stamps that belonged together at offset
``next``. Records are written in any order, and by workers that may already have lost the partition, so they need not
match. ``reconcile`` returns where to start reading and what to skip, so that every event counts once.
"""

import zlib
from collections.abc import Mapping, Sequence
from urllib.parse import quote, unquote

import cramjam
import msgspec

from detectors.errors import CheckpointError
from detectors.features import UnitKey
from stream.topics.generations import Generation
from stream.topics.quarantine import Quarantine
from stream.topics.record import Partition

SCHEMA = 2
"""Schema 1 has ids as texts; it can still be read."""
READ = (1, SCHEMA)
ZSTD_LEVEL = 1
MAX_PLAIN_BYTES = 268_435_456
"""Largest snapshot. A record that names a larger size is not one of driftline's."""


class UnitRecord(msgspec.Struct, frozen=True, array_like=True):
    """The value of a unit's record. ``blob``: the snapshot, packed by zstd; ``crc``: that of the packed blob; ``size``:
    bytes of the snapshot, 0 for a unit in quarantine whose state could not be written. ``quarantine``: only in records
    of units that are in quarantine. ``topics``: the generations to which ``stamp`` and the labels' offsets belong; not
    in records of a version without them."""

    schema: int
    stamp: int
    settings: str
    reference: str | None
    crc: int
    size: int
    blob: bytes
    quarantine: Quarantine | None = None
    topics: dict[str, Generation] = {}


class Manifest(msgspec.Struct, frozen=True, array_like=True):
    """The value of a partition's record: each event below ``next`` is in a unit's record or was refused."""

    schema: int
    next: int
    stamps: dict[str, int]  # by quoted unit: the ``stamp`` of its record
    labels: dict[str, int] = {}  # by label partition: the next offset to read
    label_stamps: list[int] = []  # for each of ``stamps``: the sum of the unit's label offsets
    clock_ms: int | None = None  # the partition's clock at ``next``; None: of a version without it, or no event yet
    topics: dict[str, Generation] = {}  # those of ``next``, ``stamps`` and ``labels``; see ``UnitRecord``


class Restore(msgspec.Struct, frozen=True):
    """Where to start reading, and the offset below which each unit skips events; ``floor``: for units without a
    record. ``anew``: units of which events may be in no checkpoint: their topic was deleted before."""

    seek: int
    floor: int
    skip_below: dict[UnitKey, int]
    anew: frozenset[UnitKey] = frozenset()


class Description(msgspec.Struct, frozen=True):
    """A checked record of the checkpoint topic, to be shown. ``unit`` None: the manifest."""

    partition: Partition
    unit: UnitKey | None
    stamp: int
    schema: int
    settings: str | None
    reference: str | None
    size_bytes: int


_units = msgspec.msgpack.Decoder(UnitRecord)
_manifests = msgspec.msgpack.Decoder(Manifest)


def quoted(unit: UnitKey) -> str:
    """The unit as one text. A segment starts with "=", so that no segment differs from every name."""
    segment = "" if unit.segment is None else "=" + quote(unit.segment, safe="")
    return "/".join((quote(unit.model, safe=""), quote(unit.version, safe=""), segment))


def unquoted(text: str) -> UnitKey:
    """The inverse of ``quoted``. Raises CheckpointError."""
    parts = text.split("/")
    if len(parts) != 3 or (parts[2] and parts[2][0] != "="):
        raise CheckpointError(f"checkpoint: {text!r} names no unit")
    return UnitKey(unquote(parts[0]), unquote(parts[1]), unquote(parts[2][1:]) if parts[2] else None)


def unit_key(partition: Partition, unit: UnitKey) -> bytes:
    """The key of a unit's record."""
    return f"unit/{partition.topic}/{partition.partition}/{quoted(unit)}".encode()


def manifest_key(partition: Partition) -> bytes:
    """The key of a partition's manifest."""
    return f"manifest/{partition.topic}/{partition.partition}".encode()


def parse_key(key: bytes) -> tuple[Partition, UnitKey | None]:
    """The partition and the unit of a record; unit None for a manifest. Raises CheckpointError."""
    try:
        kind, topic, number, *rest = key.decode().split("/", 3)
        partition = Partition(topic, int(number))
    except ValueError as error:
        raise CheckpointError(f"checkpoint: key {key[:80]!r} is not the key of a checkpoint") from error
    if kind == "manifest" and not rest:
        return partition, None
    if kind == "unit" and rest:
        return partition, unquoted(rest[0])
    raise CheckpointError(f"checkpoint: key {key[:80]!r} is not the key of a checkpoint")


def encode_unit(
    stamp: int,
    settings: str,
    reference: str | None,
    plain: bytes,
    where: str,
    max_bytes: int,
    quarantine: Quarantine | None = None,
    topics: Mapping[str, Generation] | None = None,
) -> bytes:
    """The value of a unit's record. ``plain``: the snapshot. Raises CheckpointError if it is above ``max_bytes``."""
    blob = bytes(cramjam.zstd.compress(plain, ZSTD_LEVEL))
    members = [SCHEMA, stamp, settings, reference, zlib.crc32(blob), len(plain), blob]
    if topics:
        members += [quarantine, topics]
    elif quarantine is not None:
        members.append(quarantine)
    value = msgspec.msgpack.encode(members)
    if len(value) > max_bytes:
        raise CheckpointError(
            f"{where}: checkpoint of {len(value)} bytes, at most {max_bytes} fit (limits.unit_checkpoint_bytes, "
            "kafka.max_message_bytes); lower limits.features_per_model or limits.categories_per_feature"
        )
    return value


def decode_unit(value: bytes, where: str) -> UnitRecord:
    """A unit's record. Raises CheckpointError with ``where`` if it is damaged or of another schema."""
    try:
        record = _units.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CheckpointError(f"{where}: is not a checkpoint of driftline: {error}") from error
    if record.schema not in READ:
        raise CheckpointError(f"{where}: checkpoint schema {record.schema}, this driftline reads 1 to {SCHEMA}")
    if zlib.crc32(record.blob) != record.crc or record.size > MAX_PLAIN_BYTES:
        raise CheckpointError(f"{where}: checkpoint at stamp {record.stamp} is damaged (crc)")
    return record


def unit_blob(record: UnitRecord, where: str) -> bytes:
    """The snapshot in a unit's record. Raises CheckpointError."""
    return unpacked(record.blob, record.size, f"{where}: checkpoint at stamp {record.stamp}")


def unpacked(blob: bytes, size: int, what: str) -> bytes:
    """The ``size`` bytes that zstd packed into ``blob``. Raises CheckpointError that begins with ``what``."""
    plain = bytearray(size)
    try:
        written = cramjam.zstd.decompress_into(blob, plain)
    except Exception as error:  # cramjam raises its own and, for a short buffer, others
        raise CheckpointError(f"{what} cannot be unpacked: {error}") from error
    if written != size:
        raise CheckpointError(f"{what} is cut short")
    return bytes(plain)


def encode_manifest(
    next_offset: int,
    stamps: Mapping[UnitKey, int],
    labels: Mapping[str, int] | None = None,
    label_stamps: Mapping[UnitKey, int] | None = None,
    clock_ms: int | None = None,
    topics: Mapping[str, Generation] | None = None,
) -> bytes:
    """The value of a manifest's record."""
    found = {quoted(unit): stamp for unit, stamp in stamps.items()}
    own = [(label_stamps or {}).get(unit, 0) for unit in stamps]
    whole = Manifest(SCHEMA, next_offset, found, dict(labels or {}), own, clock_ms, dict(topics or {}))
    return msgspec.msgpack.encode(whole)


def decode_manifest(value: bytes, where: str) -> Manifest:
    """A manifest. Raises CheckpointError with ``where``."""
    try:
        manifest = _manifests.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CheckpointError(f"{where}: is not a manifest of driftline: {error}") from error
    if manifest.schema not in READ:
        raise CheckpointError(f"{where}: manifest schema {manifest.schema}, this driftline reads 1 to {SCHEMA}")
    return manifest


def reconcile(manifest: Manifest | None, stamps: Mapping[UnitKey, int], where: str, begin: int = 0) -> Restore | None:
    """Where to read from, given the manifest and the stamps of the units' newest records; None if there is neither.
    ``begin``: the position at which the topic's present generation begins.

    * The stamp is that of the manifest: the unit has no event between it and ``next``, so skip below the larger one.
    * The stamp is lower, since a former owner overwrote the record late: read the unit's events from there again.
    * The stamp is higher or the manifest lacks the unit, since a checkpoint was not completed: skip below the stamp.
    * What was to be read is of an earlier generation: it is gone, so read from the first record of the present one.

    Raises CheckpointError if a unit of the manifest has no record.
    """
    if manifest is None:
        if not stamps:
            return None
        # no manifest was completed: read everything, and skip what the units contain
        return _from_begin(begin, begin, dict(stamps), begin)
    wanted = {unquoted(text): stamp for text, stamp in manifest.stamps.items()}
    lost = [str(unit) for unit in wanted if unit not in stamps]
    if lost:
        raise CheckpointError(
            f"{where}: unit {lost[0]} is in the manifest at next offset {manifest.next} but has no checkpoint "
            f"({len(lost)} such); restore the topic or give the partition up with 'driftline checkpoints drop'"
        )
    skip = {unit: max(stamp, manifest.next) if stamp == wanted.get(unit) else stamp for unit, stamp in stamps.items()}
    return _from_begin(min([manifest.next, *skip.values()]), manifest.next, skip, begin)


def _from_begin(seek: int, floor: int, skip: dict[UnitKey, int], begin: int) -> Restore:
    anew = frozenset(unit for unit, below in skip.items() if below < begin)
    return Restore(max(seek, begin), max(floor, begin), {unit: max(at, begin) for unit, at in skip.items()}, anew)


def label_positions(
    manifest: Manifest | None, units: Mapping[UnitKey, tuple[int, Mapping[str, int]]]
) -> dict[str, int]:
    """By label partition the offset to read labels from, so that none is missed. A label read twice changes nothing.

    ``units``: stamp and label positions of every unit's record. A unit that agrees with the manifest contains
    all labels below the manifest's offsets.
    """
    stamps: dict[str, tuple[int, int]] = {}
    parts: list[Mapping[str, int]] = []
    if manifest is not None:
        found = zip(manifest.stamps.items(), manifest.label_stamps, strict=False)  # none in an older manifest
        stamps = {name: (stamp, own) for (name, stamp), own in found}
        parts = [manifest.labels]
    for unit, (stamp, labels) in units.items():
        if stamps.get(quoted(unit)) != (stamp, sum(labels.values())):
            parts.append(labels)
    return lowest(parts)


def lowest(positions: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """The smallest position of each partition; one that a mapping lacks counts as 0."""
    names = {name for part in positions for name in part}
    return {name: min(part.get(name, 0) for part in positions) for name in names}


def describe(key: bytes, value: bytes) -> Description:
    """Describes a record of the checkpoint topic after a full check. Raises CheckpointError."""
    partition, unit = parse_key(key)
    where = f"{partition}" if unit is None else f"{partition}: {unit}"
    if unit is None:
        manifest = decode_manifest(value, where)
        return Description(partition, None, manifest.next, manifest.schema, None, None, len(value))
    record = decode_unit(value, where)
    unit_blob(record, where)
    return Description(partition, unit, record.stamp, record.schema, record.settings, record.reference, len(value))
