"""Keys and partitions of driftline's own topics. Pure; topic names come from the settings."""

from collections.abc import Iterable
from urllib.parse import quote, unquote

from detectors.errors import FormatError
from detectors.features import ModelKey, UnitKey
from stream.topics.record import Partition, Record

_M, _R, _SEED, _MASK = 0x5BD1E995, 24, 0x9747B28C, 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """The hash by which Kafka's own clients, aiokafka and Faust choose a partition; 32 bits, unsigned.

    >>> murmur2(b"21") - 2**32
    -973932308
    >>> murmur2(b"foobar") - 2**32
    -790332482
    """
    length = len(data)
    value = _SEED ^ length
    whole = length - length % 4
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * _M & _MASK
        word = (word ^ word >> _R) * _M & _MASK
        value = value * _M & _MASK ^ word
    if whole < length:
        value = (value ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    value = (value ^ value >> 13) * _M & _MASK
    return value ^ value >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """Where a record with this key goes, of so many partitions.

    >>> partition_of(b"fraud/3/", 4) in range(4)
    True
    """
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def model_partition(model: str, partitions: int) -> int:
    """Which of the profiles topic's partitions a model's profiles lie in, all versions and segments of it: they share
    its budget of false alarms, so that one judge must see them all, in one order.

    >>> model_partition("fraud", 4) == partition_of(b"fraud", 4)
    True
    """
    return partition_of(_part(model), partitions)


def unit_key(unit: UnitKey) -> bytes:
    """``model/version/segment`` with each part percent-encoded; empty for no segment.

    >>> unit_key(UnitKey("fraud/eu", "3", None))
    b'fraud%2Feu/3/'
    """
    return b"/".join(map(_part, (unit.model, unit.version, unit.segment or "")))


def reference_key(model: ModelKey) -> bytes:
    """``model/version``, each part percent-encoded."""
    return b"/".join(map(_part, model))


def parse_reference_key(key: bytes) -> ModelKey:
    """The inverse of ``reference_key``; a part that is not encoded is taken as it is. Raises FormatError.

    >>> parse_reference_key(b"fraud/3")
    ModelKey(model='fraud', version='3')
    """
    try:
        model, version = map(unquote, key.decode().split("/"))
    except ValueError:
        raise FormatError(f"{key!r} is no key of a reference: model/version") from None
    return ModelKey(model, version)


def profile_key(unit: UnitKey, shard: Partition) -> bytes:
    """A shard's key. Its record lies in ``model_partition(unit.model, ...)``.

    >>> profile_key(UnitKey("fraud", "3", None), Partition("inference-events", 2))
    b'fraud/3//inference-events/2'
    """
    return b"/".join((unit_key(unit), _part(shard.topic), str(shard.partition).encode()))


def parse_profile_key(key: bytes) -> tuple[UnitKey, Partition]:
    """The inverse of ``profile_key``. Raises FormatError.

    >>> parse_profile_key(b'fraud%2Feu/3//inference-events/2')
    (UnitKey(model='fraud/eu', version='3', segment=None), Partition(topic='inference-events', partition=2))
    """
    try:
        model, version, segment, topic, partition = map(unquote, key.decode("ascii").split("/"))
        return UnitKey(model, version, segment or None), Partition(topic, int(partition))
    except ValueError:
        raise FormatError(f"{key!r} is no key of a profile") from None


def _part(text: str) -> bytes:
    return quote(text, safe="").encode("ascii")


def keep_newest(found: dict[bytes, Record], records: Iterable[Record]) -> None:
    """Reads ``records`` into a table as Kafka compacts a topic: newest by key, none where it is a tombstone."""
    for record in records:
        if record.key is None:
            continue
        if record.value is None:
            found.pop(record.key, None)
        else:
            found[record.key] = record
