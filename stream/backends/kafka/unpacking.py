"""Bounds what a packed batch of records unpacks to, before the memory is taken.

aiokafka unpacks a whole batch at once, whatever its size: 10 KB on the wire can become 200 MB. It has no setting for
this. Its record classes find the functions that unpack by name in their modules, so ``bound_unpacking`` replaces those
names. Only batches that are opened inside ``with Bound(...)`` are bounded; all others go to aiokafka's own functions.
"""

import threading
import zlib
from collections.abc import Callable
from importlib import import_module
from typing import Any

import cramjam
from aiokafka.record import default_records, legacy_records

from detectors.errors import FormatError

CODECS = ("gzip", "snappy", "lz4", "zstd")
FIRST_ROOM, GROWTH, MARGIN = 4_096, 8, 1.25
"""A batch first gets room for what the one before would have needed, and a quarter more; then eight times as much."""

LZ4_RATIO = 255
"""A byte of a packed block stands for at most 255 bytes."""

_LZ4 = b"\x04\x22\x4d\x18"
_XERIAL = b"\x82SNAPPY\x00"
_XERIAL_HEADER = 16
_BROKEN = (cramjam.DecompressionError, zlib.error, ValueError, IndexError, OverflowError)


_opening = threading.local()
"""``bound``: the Bound that opens a batch in this thread. The judge reads in a thread of its own, and unpacking lets
other threads run."""


class Bound:
    """How many bytes a batch may unpack to.

    The buffer is used again for each batch. ``size``: bytes that the last batch was unpacked to; 0 where it was not
    packed.
    """

    def __init__(self, most: int) -> None:
        bound_unpacking()
        self._most, self._buffer = most, bytearray()
        self._usual = 8.0
        self.size = 0

    def __enter__(self) -> None:
        """A batch that is opened from now on raises FormatError if it unpacks to more than ``most`` bytes, or is
        broken. No other task of this thread may run until the end of the block."""
        _opening.bound, self.size = self, 0

    def __exit__(self, *_: object) -> None:
        _opening.bound = None

    def unpack(self, codec: str, packed: Any, own: Callable[[Any], bytes]) -> bytes:
        """The plain bytes of a batch; ``own``: aiokafka's function that unpacks it. Raises FormatError."""
        try:
            plain = self._plain(codec, packed, own)
        except _BROKEN as error:
            raise FormatError(f"a batch packed by {codec} does not unpack within {self._most} bytes") from error
        self.size = len(plain)
        return plain

    def _plain(self, codec: str, packed: Any, own: Callable[[Any], bytes]) -> bytes:
        if codec == "gzip":
            return self._gunzip(packed)
        packed = bytes(packed)
        if codec == "zstd" or (codec == "lz4" and _lz4_most(packed) > self._most):
            return self._unpack(codec, packed)
        if codec == "snappy" and _snappy_size(packed) > self._most:
            raise ValueError("too long")
        return own(packed)

    def _gunzip(self, packed: Any) -> bytes:
        parts, left, rest = list[bytes](), self._most, bytes(packed)
        while rest:  # a stream may have several members
            stream = zlib.decompressobj(wbits=31)
            parts.append(stream.decompress(rest, left + 1))
            left -= len(parts[-1])
            if left < 0 or not stream.eof:
                raise ValueError("too long, or cut short")
            rest = stream.unused_data
        return b"".join(parts)

    def _unpack(self, codec: str, packed: bytes) -> bytes:
        """cramjam takes time for all the room that it gets, so the room follows the last batch. A batch that does not
        fit is tried again with more."""
        into = getattr(cramjam, codec).decompress_into
        size = min(self._most, max(FIRST_ROOM, int(self._usual * len(packed))))
        while True:
            if len(self._buffer) < size:
                self._buffer = bytearray(size)
            room = memoryview(self._buffer)[:size]
            try:
                written = int(into(packed, room))
            except _BROKEN:
                if size == self._most:
                    raise
                size = min(self._most, GROWTH * size)
            else:
                self._usual = MARGIN * written / len(packed)
                return bytes(room[:written])


def _snappy_size(packed: bytes) -> int:
    """The bytes that blocks in the framing of xerial, or one raw block, unpack to: each block begins with them."""
    if not packed.startswith(_XERIAL):
        return int(cramjam.snappy.decompress_raw_len(packed))
    at, size = _XERIAL_HEADER, 0
    while at < len(packed):
        end = at + 4 + int.from_bytes(packed[at : at + 4], "big")
        if not at + 4 < end <= len(packed):
            raise ValueError("cut short")
        size += int(cramjam.snappy.decompress_raw_len(packed[at + 4 : end]))
        at = end
    return size


def _lz4_most(packed: bytes) -> int:
    """A bound on what a frame unpacks to: the most that its header allows a block, for each block. See the description
    of the LZ4 frame format, 1.6."""
    if len(packed) < 7 or packed[:4] != _LZ4:
        raise ValueError("no frame")
    flags, most = packed[4], 1 << (8 + 2 * (packed[5] >> 4 & 7))
    at = 7 + (8 if flags & 8 else 0) + (4 if flags & 1 else 0)
    size = 0
    while at + 4 <= len(packed):
        length = int.from_bytes(packed[at : at + 4], "little") & 0x7FFFFFFF
        if not length:
            break
        size += min(most, LZ4_RATIO * length)
        at += 4 + length + (4 if flags & 16 else 0)
    return size


class _Unpack:
    """One of aiokafka's functions, bounded while a ``Bound`` opens a batch."""

    def __init__(self, codec: str, own: Callable[[Any], bytes]) -> None:
        self._codec, self._own = codec, own

    def __call__(self, packed: Any) -> bytes:
        bound: Bound | None = getattr(_opening, "bound", None)
        return self._own(packed) if bound is None else bound.unpack(self._codec, packed, self._own)


def bound_unpacking() -> None:
    """Replaces aiokafka's functions that unpack. Calling it again changes nothing."""
    for record in (default_records.DefaultRecordBatch, legacy_records.LegacyRecordBatch):
        module = import_module(record.__module__)
        for codec in CODECS:
            own = getattr(module, f"{codec}_decode", None)
            if own is not None and not isinstance(own, _Unpack):
                setattr(module, f"{codec}_decode", _Unpack(codec, own))
