"""Bounds what a packed batch of records unpacks to, before the memory is taken.

aiokafka unpacks a whole batch at once, whatever its size: 10 KB on the wire can become 200 MB. It has no setting for
this. Its record classes find the functions that unpack by name in their modules, so ``bound_unpacking`` replaces those
names. Only batches that are read within ``at_most`` are bounded; everything else goes to aiokafka's own functions.
"""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cramjam
from aiokafka.record import default_records, legacy_records

from detectors.errors import FormatError

_NAMES = ("gzip_decode", "snappy_decode", "lz4_decode", "zstd_decode")
_XERIAL = b"\x82SNAPPY\x00"
_XERIAL_HEADER = 16


class _Bound:
    """``most``: bytes that the batch being opened may unpack to; None: no bound. ``size``: those of the last batch.

    ``buffer`` is used again for each batch. Its pages take memory only as far as a batch has filled them.
    """

    most: int | None = None
    size: int = 0
    buffer: bytearray = bytearray()


@contextmanager
def at_most(most: int) -> Iterator[None]:
    """Batches that are opened within are unpacked to at most ``most`` bytes; FormatError for a larger or broken one."""
    _Bound.most, _Bound.size = most, 0
    try:
        yield
    finally:
        _Bound.most = None


def unpacked_size() -> int:
    """Bytes that the last batch opened within ``at_most`` was unpacked to; 0 for one that was not packed."""
    return _Bound.size


def bound_unpacking() -> None:
    """Replaces aiokafka's functions that unpack. Calling it again changes nothing."""
    modules = {__import__(one.__module__, fromlist=["_"]) for one in
               (default_records.DefaultRecordBatch, legacy_records.LegacyRecordBatch)}  # fmt: skip
    for module in modules:
        for name in _NAMES:
            own = getattr(module, name, None)
            if own is not None and not isinstance(own, _Unpack):
                setattr(module, name, _Unpack(name.removesuffix("_decode"), own))


class _Unpack:
    """One of aiokafka's functions, bounded within ``at_most``."""

    def __init__(self, codec: str, own: Callable[[Any], bytes]) -> None:
        self._codec, self._own = codec, own

    def __call__(self, packed: Any) -> bytes:
        most = _Bound.most
        if most is None:
            return self._own(packed)
        try:
            plain = _unpacked(self._codec, packed, most)
        except (cramjam.DecompressionError, zlib.error, ValueError, IndexError) as error:
            raise FormatError(f"a packed batch ({self._codec}) that does not unpack within {most} bytes") from error
        _Bound.size = len(plain)
        return plain


def _unpacked(codec: str, packed: Any, most: int) -> bytes:
    """Raises an error of the codec, or ValueError, when ``packed`` is broken or unpacks to more than ``most`` bytes."""
    if codec == "gzip":
        stream = zlib.decompressobj(wbits=31)
        plain = stream.decompress(packed, most + 1)
        if len(plain) > most or not stream.eof:
            raise ValueError("too long, or cut short")
        return plain
    if len(_Bound.buffer) < most:
        _Bound.buffer = bytearray(most)
    room = memoryview(_Bound.buffer)[:most]
    if codec == "snappy":
        return bytes(room[: _snappy(bytes(packed), room)])
    written = getattr(cramjam, codec).decompress_into(bytes(packed), room)
    return bytes(room[:written])


def _snappy(packed: bytes, room: memoryview) -> int:
    """Unpacks blocks in the framing of xerial, or one raw block, into ``room``; returns the bytes written."""
    if not packed.startswith(_XERIAL):
        return int(cramjam.snappy.decompress_raw_into(packed, room))
    at, written = _XERIAL_HEADER, 0
    while at < len(packed):
        end = at + 4 + int.from_bytes(packed[at : at + 4], "big")
        written += int(cramjam.snappy.decompress_raw_into(packed[at + 4 : end], room[written:]))
        at = end
    return written
