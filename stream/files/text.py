"""Text files as lines: the encoding (UTF-8, UTF-16, else Latin-1), the delimiter, ``sep=`` and comment lines."""

import codecs
import contextlib
import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

from detectors.errors import FormatError
from stream.files import cells
from stream.files.remarks import Remarks
from stream.files.sources import Source

SAMPLE_BYTES = 65_536
DELIMITERS = ",;\t|"
MAX_LINE_CHARACTERS = 16_777_216

_ESCAPED = re.compile("[\udc80-\udcff]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_SEPARATOR = re.compile(r'^"?sep=(.)"?\s*$', re.IGNORECASE)
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class TextForm(NamedTuple):
    """How a text file is written.

    ``skipped``: lines before the header. ``hash_header``: the header is the last of them, behind a ``#``. ``sample``:
    the first lines behind the skipped ones.
    """

    encoding: str
    delimiter: str
    skipped: int
    hash_header: str | None
    sample: list[str]


def encoding_of(file: str, sample: bytes) -> str:
    """The encoding by the first bytes. Raises FormatError for bytes that are no text."""
    for mark, encoding in MARKS:
        if sample.startswith(mark):
            return encoding
    if b"\x00" in sample:
        even, odd = sample[0::2].count(0), sample[1::2].count(0)
        half = len(sample) // 2
        if odd > 0.4 * half and even < 0.05 * half:
            return "utf-16-le"
        if even > 0.4 * half and odd < 0.05 * half:
            return "utf-16-be"
        raise FormatError(f"{file}: contains zero bytes, so it is neither UTF-8 text nor Parquet")
    text = sample.decode("latin-1")
    if len(_CONTROL.findall(text)) > len(text) / 100:
        raise FormatError(f"{file}: contains control characters, so it is neither text nor Parquet")
    return "utf-8"


def form_of(source: Source, remarks: Remarks) -> TextForm:
    """How the file is written, by its first bytes. Raises FormatError where it is no text or empty."""
    sample = read_up_to(source.unpacked(), SAMPLE_BYTES)
    if sample[:4] == b"PAR1":
        raise FormatError(f"{source.file}: is Parquet that was packed once more; unpack it and read that")
    encoding = encoding_of(source.file, sample)
    lines = sample.decode(encoding, "replace").splitlines()
    if len(sample) == SAMPLE_BYTES and len(lines) > 1:
        lines.pop()  # it may be cut
    if not any(line.strip() for line in lines):
        raise FormatError(f"{source.file}: has no rows")
    skipped, delimiter, comments = 0, None, 0
    for line in lines:
        named = _SEPARATOR.match(line)
        if named and delimiter is None:
            delimiter = named[1]
        elif line.startswith("#"):
            comments += 1
        elif line.strip():
            break
        skipped += 1
    rest = [line for line in lines[skipped:] if line.strip()]
    if not rest:
        raise FormatError(f"{source.file}: has no rows")
    delimiter = delimiter or delimiter_of(rest[:50])
    header = _hash_header(lines[skipped - 1], rest, delimiter) if comments else None
    comments -= header is not None
    if comments:
        remarks.note(f"{source.file}: {comments} comment line{'s' if comments > 1 else ''} (#) before the header")
    return TextForm(encoding, delimiter, skipped, header, rest)


def _hash_header(line: str, rest: Sequence[str], delimiter: str) -> str | None:
    """The header, where the last line that begins with ``#`` is one: rows with as many fields and no header follow."""
    bare = line.lstrip("#").strip()
    head, *below = csv.reader([bare, *rest[:20]], delimiter=delimiter, skipinitialspace=True)
    if len(head) < 2 or len(head) != len(below[0]) or cells.is_header(below):
        return None
    return bare if cells.is_header([head, *below]) else None


def delimiter_of(lines: Sequence[str]) -> str:
    """The delimiter that splits most lines into equally many fields; a comma where none splits them."""

    def score(delimiter: str) -> tuple[int, int]:
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=delimiter)]
        except csv.Error:
            return 0, 0
        common = max(set(widths), key=lambda width: (widths.count(width), width))
        return (widths.count(common) if common > 1 else 0, common)

    return max(DELIMITERS, key=score)


class Lines:
    """The lines of a text file behind the skipped ones, with their ends.

    Bytes that are not UTF-8 are read as Latin-1 (as Windows extends it); the first such line is noted with its column.
    """

    __slots__ = ("_form", "_remarks", "_source", "number")

    def __init__(self, source: Source, form: TextForm, remarks: Remarks) -> None:
        self._source, self._form, self._remarks = source, form, remarks
        self.number = 0  # of the last line

    def __iter__(self) -> Iterator[str]:
        wrapped = io.TextIOWrapper(
            self._source.unpacked(), encoding=self._form.encoding, errors="surrogateescape", newline=""
        )
        foreign = False
        try:
            while line := wrapped.readline(MAX_LINE_CHARACTERS + 1):
                self.number += 1
                if len(line) > MAX_LINE_CHARACTERS:
                    raise FormatError(f"{self._source.file}: line {self.number}: longer than 16 million characters")
                if not line.isascii() and _ESCAPED.search(line):
                    if not foreign:
                        self._note(line)
                    foreign = True
                    line = _ESCAPED.sub(_latin, line)
                if self.number > self._form.skipped:
                    yield line
        except UnicodeError as error:
            raise FormatError(
                f"{self._source.file}: line {self.number + 1}: not {self._form.encoding} ({error})"
            ) from None
        finally:
            with contextlib.suppress(ValueError):  # the file is closed where reading it ended early
                wrapped.detach()

    def _note(self, line: str) -> None:
        before = line[: _ESCAPED.search(line).start()]  # type: ignore[union-attr]
        delimiter = self._form.delimiter
        header = next(csv.reader([self._form.hash_header or self._form.sample[0]], delimiter=delimiter), [])
        try:
            place = len(next(csv.reader([before], delimiter=delimiter), [""])) or 1
        except csv.Error:
            place = 1
        column = header[place - 1].strip() if 0 < place <= len(header) else str(place)
        column = _ESCAPED.sub(_latin, column)
        self._remarks.note(
            f"{self._source.file}: line {self.number}, column {column!r}: not UTF-8; read as Latin-1 "
            "(iconv -f latin1 -t utf-8 converts the file)"
        )


def _latin(found: re.Match[str]) -> str:
    byte = bytes((ord(found[0]) - 0xDC00,))
    try:
        return byte.decode("cp1252")
    except UnicodeDecodeError:
        return byte.decode("latin-1")


def read_up_to(stream: BinaryIO, size: int) -> bytes:
    """Up to ``size`` bytes; a packed stream may give fewer at a time."""
    parts: list[bytes] = []
    left = size
    while left > 0 and (part := stream.read(min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
