"""Which files a name stands for, and how their bytes are read: folders, patterns, other file systems, packed files.

Names with a scheme (``s3://``, ``gs://``) are read through pyarrow's file systems. gzip, bzip2, xz and Zstandard are
unpacked on the way.
"""

import atexit
import bz2
import fnmatch
import glob
import gzip
import io
import lzma
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, cast

from detectors.errors import FormatError
from stream.files.layout import STDIN

PACKED_SUFFIXES = (".gz", ".zst", ".bz2", ".xz")
SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".dat", ".data", ".parquet", ".pq", ".json", ".jsonl", ".ndjson")
"""Endings of the files that are read from a folder, also with one of ``PACKED_SUFFIXES`` behind them."""

SPOOLED_BYTES = 64 * 1024 * 1024
"""Standard input is kept in memory up to here, and in a temporary file beyond it."""

REMOTE_SECONDS = 20
"""A bucket that does not answer for so long cannot be read."""

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")
_UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError)
_EXCEL = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an Excel workbook; save the sheet as CSV (File, Save As) and read that"),
    (b"ARROW1", "is an Arrow (Feather) file; write it as Parquet and read that"),
    (b"ORC", "is an ORC file; write it as Parquet and read that"),
    (b"Obj\x01", "is an Avro file; write it as Parquet or JSON Lines and read that"),
    (b"SQLite format 3", "is an SQLite database; export the table as CSV and read that"),
    (b"%PDF", "is a PDF; export the table as CSV and read that"),
    (b"7z\xbc\xaf", "is a 7z archive; unpack it and read the file in it"),
    (b"Rar!", "is a RAR archive; unpack it and read the file in it"),
    (b"\x89HDF", "is an HDF5 file; write the table as Parquet and read that"),
    (b"\x80\x04\x95", "is a Python pickle, which is not read; write the table as Parquet"),
)


class Source:
    """An open file. ``raw`` is the file as it lies there; ``unpacked`` begins reading it anew."""

    __slots__ = ("file", "raw")

    def __init__(self, file: str, raw: BinaryIO) -> None:
        self.file, self.raw = file, raw

    def magic(self, size: int = 16) -> bytes:
        """The first bytes of the file as it lies there."""
        self.raw.seek(0)
        return self.raw.read(size)

    def unpacked(self) -> BinaryIO:
        """A stream from the start of the file, unpacked where it is packed."""
        magic = self.magic(8)
        self.raw.seek(0)
        if magic[:2] == b"\x1f\x8b":
            return cast(BinaryIO, gzip.GzipFile(fileobj=self.raw))
        if magic[:3] == b"BZh":
            return cast(BinaryIO, bz2.BZ2File(self.raw))
        if magic[:6] == b"\xfd7zXZ\x00":
            return cast(BinaryIO, lzma.LZMAFile(self.raw))
        if magic[:4] == b"\x28\xb5\x2f\xfd":
            pyarrow = _pyarrow(self.file, "Zstandard (.zst)")
            packed = pyarrow.PythonFile(_Foreign(self.raw), mode="r")  # closing it leaves the file open
            return cast(BinaryIO, io.BufferedReader(_Foreign(pyarrow.CompressedInputStream(packed, "zstd")), 1 << 20))
        return self.raw


class _Foreign(io.RawIOBase):
    """A stream of pyarrow as one of Python. Closing it leaves the other stream open."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._stream.seekable())

    def seek(self, offset: int, whence: int = 0) -> int:
        self._stream.seek(offset, whence)
        return self.tell()

    def tell(self) -> int:
        return int(self._stream.tell())

    def readinto(self, buffer: Any) -> int:
        found = self._stream.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)


@contextmanager
def opened(file: str | Path) -> Iterator[Source]:
    """Opens a file for reading. Raises FormatError naming the file where it cannot be read, also while it is read."""
    name = str(file)
    try:
        if name == STDIN:
            yield Source(name, _spooled(sys.stdin.buffer))
        elif _SCHEME.match(name):
            system, path = _file_system(name)
            with system.open_input_file(path) as stream:
                yield Source(name, cast(BinaryIO, io.BufferedReader(_Foreign(stream), 1 << 20)))
        else:
            with open(file, "rb") as raw:
                yield Source(name, raw)
    except _UNREADABLE as error:
        raise FormatError(f"{name}: cannot be read: {_reason(error)}") from None
    except ValueError as error:  # a name with a zero byte
        if isinstance(error, UnicodeError):
            raise
        raise FormatError(f"{name}: cannot be read: {_reason(error)}") from None


@lru_cache(1)
def _spooled(stream: BinaryIO) -> BinaryIO:
    """A copy of standard input, which can be read more than once."""
    spooled = tempfile.SpooledTemporaryFile(SPOOLED_BYTES)  # noqa: SIM115 - read until the process ends
    atexit.register(spooled.close)
    shutil.copyfileobj(stream, spooled)
    return cast(BinaryIO, spooled)


def refuse_foreign(source: Source) -> None:
    """Raises FormatError with what to do for a file in a form that is not read: a workbook, an archive."""
    magic, suffix = source.magic(), Path(source.file).suffix.lower()
    if magic[:4] == b"PK\x03\x04":
        if suffix in _EXCEL:
            raise FormatError(f"{source.file}: {_MAGIC[0][1]}")
        raise FormatError(
            f"{source.file}: is a zip archive or a workbook; unpack it, or save the sheet as CSV, and read that"
        )
    for begin, remedy in _MAGIC:
        if magic.startswith(begin):
            raise FormatError(f"{source.file}: {remedy}")
    if suffix in _EXCEL:
        raise FormatError(f"{source.file}: {_MAGIC[0][1]}")


def files_of(names: Sequence[str]) -> list[str]:
    """The files that the names stand for, in order: a folder's files and a pattern's by name.

    Raises FormatError for a folder without files of a known ending, and for a pattern that no file fits.
    """
    found: list[str] = []
    for name in names:
        if name == STDIN:
            found.append(name)
        elif _SCHEME.match(name):
            found += _remote(name)
        elif not name:
            raise FormatError("the name of a file is empty")
        elif Path(name).is_dir():
            inside = sorted(str(path) for path in Path(name).rglob("*") if _is_data(path.relative_to(name)))
            found += [path for path in inside if Path(path).is_file()]
            if not inside:
                raise FormatError(f"{name}: the folder has no file that ends in {', '.join(SUFFIXES)}")
        elif glob.has_magic(name) and not Path(name).exists():
            matching = sorted(path for path in glob.glob(name, recursive=True) if Path(path).is_file())
            if not matching:
                raise FormatError(f"{name}: no file has such a name")
            found += matching
        else:
            found.append(name)
    return found


def _is_data(path: Path) -> bool:
    """Whether a file of a folder holds data: hidden files and those that begin with an underscore do not."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in PACKED_SUFFIXES:
        suffixes.pop()
    return bool(suffixes) and suffixes[-1] in SUFFIXES and not any(part[0] in "._" for part in path.parts)


def _remote(name: str) -> list[str]:
    """The files that a name in another file system stands for."""
    scheme, rest = name.split("://", 1)
    base, _, query = rest.partition("?") if "?" in rest and "=" in rest.partition("?")[2] else (rest, "", "")
    options = f"?{query}" if query else ""
    fixed = base if not glob.has_magic(base) else base[: re.search(r"[*?[]", base).start()].rpartition("/")[0]  # type: ignore[union-attr]
    try:
        system, path = _file_system(f"{scheme}://{fixed}{options}")
        info = system.get_file_info([path])[0]
        if info.type.name != "Directory":
            if fixed == base:
                return [name]
            raise FormatError(f"{name}: no file has such a name")
        from pyarrow import fs

        inside = [one.path for one in system.get_file_info(fs.FileSelector(path, recursive=True)) if one.is_file]
    except _UNREADABLE as error:
        raise FormatError(f"{name}: cannot be read: {_reason(error)}") from None
    if fixed == base:
        found = [one for one in inside if _is_data(Path(one[len(path) :].lstrip("/")))]
    else:
        pattern = path.rstrip("/") + base[len(fixed) :]
        found = [one for one in inside if _fits(one, pattern)]
    if not found:
        raise FormatError(f"{name}: no file has such a name")
    return [f"{scheme}://{one}{options}" for one in sorted(found)]


def _fits(path: str, pattern: str) -> bool:
    """Whether a path fits a pattern, part by part; ``**`` stands for any parts. Hidden files fit none."""
    parts, wanted = path.split("/"), pattern.split("/")
    if parts[-1][:1] in ("", ".", "_"):
        return False
    if "**" in wanted:
        return fnmatch.fnmatchcase(path, pattern.replace("/**/", "/*"))
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def _file_system(name: str) -> tuple[Any, str]:
    _pyarrow(name, "another file system")
    from pyarrow import fs

    given = name
    if name.startswith(("gs://", "gcs://")) and "retry_limit_seconds" not in name:  # pyarrow's own limit is 15 minutes
        given += ("&" if "?" in name else "?") + f"retry_limit_seconds={REMOTE_SECONDS}"
    try:
        system, path = fs.FileSystem.from_uri(given)
    except (ValueError, NotImplementedError, ImportError) as error:
        if name.startswith(("http://", "https://")):
            raise FormatError(f"{name}: is not read from the web; download it and read the file") from None
        raise FormatError(f"{name}: cannot be read: {_reason(error)}") from None
    return system, path


def _pyarrow(file: str, what: str) -> Any:
    try:
        import pyarrow
    except ImportError:
        raise FormatError(f"{file}: reading {what} needs pyarrow: pip install 'driftline[parquet]'") from None
    return pyarrow


def _reason(error: BaseException) -> str:
    lines = str(getattr(error, "strerror", None) or error).splitlines()
    return lines[0][:300] if lines else type(error).__name__
