"""Marks: how far a partition of the events has been read, for judges of units that have nothing in it.

A mark lies in every partition of the profiles topic. It comes after every profile that it stands for.
"""

import msgspec

from detectors.errors import FormatError
from stream.topics.quarantine import Quarantined
from stream.topics.record import Partition

SCHEMA = 1

KEY = b"mark/"


class Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """Every slot that ends at or before ``clock_ms`` of event time is published.

    ``partitions``: how many partitions the topic has. ``at_ms``: wall time of the worker. ``read_to_end``: by then the
    partition held no record that the worker had not read. ``quarantined``: all units of the partition that are in
    quarantine; None: the same as in the mark before.
    """

    schema: int
    topic: str
    partition: int
    partitions: int
    clock_ms: int
    at_ms: int
    read_to_end: bool
    quarantined: list[Quarantined] | None = None

    @property
    def place(self) -> Partition:
        """The partition of the events topic."""
        return Partition(self.topic, self.partition)


_decoder = msgspec.json.Decoder(Mark)
_encoder = msgspec.json.Encoder()


def key(place: Partition) -> bytes:
    """The key of a partition's marks: only the newest one is kept by compaction."""
    return KEY + f"{place.topic}/{place.partition}".encode()


def encode(mark: Mark) -> bytes:
    """JSON."""
    return _encoder.encode(mark)


def decode(value: bytes) -> Mark:
    """The mark of a record. Raises FormatError with the reason."""
    try:
        mark = _decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"not a mark: {error}") from error
    if mark.schema != SCHEMA:
        raise FormatError(f"mark schema {mark.schema}, this driftline reads {SCHEMA}")
    return mark
