"""Keys and partitions of the records in driftline's own topics. Pure."""

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
    """The partition of a record with this key, in a topic with this many partitions.

    >>> partition_of(b"fraud/3/", 4) in range(4)
    True
    """
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def model_partition(model: str, partitions: int) -> int:
    """The partition of the profiles topic for all versions and segments of a model.

    They share the model's budget of false alarms, so one judge must read all of them, in one order.

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
    """The inverse of ``reference_key``; a part that is not encoded is used unchanged. Raises FormatError.

    >>> parse_reference_key(b"fraud/3")
    ModelKey(model='fraud', version='3')
    """
    try:
        model, version = map(unquote, key.decode().split("/"))
    except ValueError:
        raise FormatError(f"{key!r} is not the key of a reference: model/version") from None
    return ModelKey(model, version)


def profile_key(unit: UnitKey, shard: Partition) -> bytes:
    """The key of a shard's profile. Its record is in partition ``model_partition(unit.model, ...)``.

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
        raise FormatError(f"{key!r} is not the key of a profile") from None


def _part(text: str) -> bytes:
    return quote(text, safe="").encode("ascii")


def keep_newest(found: dict[bytes, Record], records: Iterable[Record]) -> None:
    """Applies ``records`` to a table as Kafka compacts a topic: the newest of each key, and no key with a tombstone."""
    for record in records:
        if record.key is None:
            continue
        if record.value is None:
            found.pop(record.key, None)
        else:
            found[record.key] = record
