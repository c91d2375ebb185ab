"""Reads tables from files in chunks of columns: CSV and similar formats, LIBSVM's sparse rows, Parquet, JSON rows.

Text becomes values only here. The first rows decide whether a column is numeric, boolean or categorical, unless a
reference has decided it. A value that does not fit a numeric column stays text and counts as invalid later. Rows are
counted from 1, without the header.
"""

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from detectors.errors import FormatError
from detectors.features import Kind
from stream.files import arrow, cells, documents, sources, text
from stream.files.remarks import Remarks
from stream.files.sources import Source
from stream.files.text import Lines, TextForm

CHUNK_ROWS = 4_096
"""Rows kept as text at once: 20 columns of 8 characters need about 5 MB as Python objects."""

PARQUET_SUFFIXES = (".parquet", ".pq")
_SPARSE = re.compile(r"^\s*[^\s:,]+(\s+\d+:[^\s:,]+)+\s*$")
OnBytes = Callable[[int], None]


class Chunk(NamedTuple):
    """Columns of equal length in the order of the file, the number of the first row, and the number of rows.

    ``open_ended``: rows of this file need not have the same columns.
    """

    columns: dict[str, Sequence[Any]]
    first_row: int
    rows: int
    open_ended: bool = False


class TableReading:
    """How the files of one table are read: the kinds of their columns, what is noticed, which columns are needed.

    ``ignored``: columns whose values are not converted. ``on_bytes`` is called with the number of bytes read so far.
    """

    __slots__ = ("chunk_rows", "ignored", "kinds", "on_bytes", "remarks")

    def __init__(
        self,
        remarks: Remarks | None = None,
        known: Mapping[str, Kind] | None = None,
        ignored: frozenset[str] = frozenset(),
        on_bytes: OnBytes | None = None,
        chunk_rows: int = CHUNK_ROWS,
    ) -> None:
        self.remarks = remarks or Remarks()
        self.kinds = cells.Kinds(known or {}, self.remarks)
        self.ignored, self.chunk_rows = ignored, chunk_rows
        self.on_bytes = on_bytes or (lambda _: None)


def read_table(file: str | Path, on_bytes: OnBytes | None = None, chunk_rows: int = CHUNK_ROWS) -> Iterator[Chunk]:
    """Chunks of the table in ``file``; see ``read_chunks``."""
    yield from read_chunks(str(file), TableReading(on_bytes=on_bytes, chunk_rows=chunk_rows))


def read_chunks(file: str, reading: TableReading) -> Iterator[Chunk]:
    """Chunks of the table in ``file``.

    Parquet is recognised by suffix or first bytes, JSON rows by their first character; everything else is text. The
    encoding, delimiter, header and the rows of LIBSVM (``label 1:v 2:v``) are detected; packed files are unpacked. A
    numeric column is a float64 array where every value is a number, else a list of float, text (not a number) and None
    (missing). Raises FormatError naming the file, the row and what is wrong.
    """
    with sources.opened(file) as source:
        if is_parquet(source):
            yield from _parquet(source, reading)
            return
        sources.refuse_foreign(source)
        form = text.form_of(source, reading.remarks)
        if form.sample[0].lstrip().startswith(("{", "[")):
            if not documents.is_plain(source):
                raise FormatError(f"{file}: looks like JSON events, not a table; name it first, before any table")
            yield from _json_rows(source, reading)
        elif all(_SPARSE.match(line) for line in form.sample[:20]):
            yield from _sparse(source, form, reading)
        else:
            yield from _delimited(source, form, reading)


def is_parquet(source: Source) -> bool:
    """Whether a file is Parquet, by its ending or its first bytes."""
    return Path(source.file).suffix.lower() in PARQUET_SUFFIXES or source.magic(4) == b"PAR1"


def _delimited(source: Source, form: TextForm, reading: TableReading) -> Iterator[Chunk]:
    file, lines = source.file, Lines(source, form, reading.remarks)
    reader = csv.reader(iter(lines), delimiter=form.delimiter, strict=True, skipinitialspace=True)
    rows = _rows(file, reader, lines)
    head = list(islice(rows, 20))
    if form.hash_header is not None:
        head.insert(0, next(csv.reader([form.hash_header], delimiter=form.delimiter, skipinitialspace=True)))
    if not head:
        raise FormatError(f"{file}: has no rows")
    named = form.hash_header is not None or cells.is_header(head)
    names = _names(file, head[0] if named else [""] * len(head[0]))
    pending, first = head[1:] if named else head, 1
    if not pending:
        raise FormatError(f"{file}: has a header and no rows")
    comments = 0
    while pending:
        pending.extend(islice(rows, max(reading.chunk_rows - len(pending), 0)))
        given = [row for row in pending if len(row) == len(names) or not row[0].startswith("#")]
        comments += len(pending) - len(given)
        for number, row in enumerate(given, first):
            if len(row) != len(names):
                fields = "1 field" if len(row) == 1 else f"{len(row)} fields"
                raise FormatError(f"{file}: row {number}: {fields}, but there are {len(names)} columns")
        columns = dict(zip(names, zip(*given, strict=True), strict=True))
        reading.on_bytes(source.raw.tell())
        if given:
            yield Chunk(reading.kinds.columns(columns, form.delimiter), first, len(given))
        first, pending = first + len(given), list(islice(rows, reading.chunk_rows))
    if comments:
        reading.remarks.note(f"{file}: {comments} comment line{'s' if comments > 1 else ''} (#) among the rows")


def _rows(file: str, reader: Any, lines: Lines) -> Iterator[list[str]]:
    """The rows that are not blank. Raises FormatError naming a line that is not valid CSV."""
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise FormatError(f"{file}: line {lines.number}: {error}") from None
        if row is None:
            return
        if row and (len(row) > 1 or row[0].strip()):
            yield row


def _names(file: str, header: Sequence[str]) -> list[str]:
    names = [name.strip() or f"column_{place}" for place, name in enumerate(header, 1)]
    if len(names) > cells.MAX_COLUMNS:
        raise FormatError(f"{file}: {len(names):,} columns, but at most {cells.MAX_COLUMNS:,} are allowed")
    refuse_twins(file, names)
    return names


def refuse_twins(file: str, names: Sequence[str]) -> None:
    """Raises FormatError if two columns have one name."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise FormatError(f"{file}: the header has two columns named {name!r}; rename one")
        seen.add(name)


def _sparse(source: Source, form: TextForm, reading: TableReading) -> Iterator[Chunk]:
    """Rows of LIBSVM: a target (several ones separated by ``;``), then ``place:value``; an omitted place is 0.

    Columns are ``target``, ``target_2``, ..., ``f1``, ``f2``, ... A first pass over the file counts them.
    """
    file, targets, places = source.file, 1, 0
    for line in _filled(Lines(source, form, reading.remarks)):
        fields = line.split()
        targets = max(targets, fields[0].count(";") + 1)
        place = fields[-1].partition(":")[0]
        places = max(places, int(place) if len(fields) > 1 and place.isdecimal() and len(place) < 10 else 0)
    if max(places, targets) > cells.MAX_COLUMNS:
        raise FormatError(f"{file}: a row has place {places:,}, but at most {cells.MAX_COLUMNS:,} columns are allowed")
    names = ["target", *(f"target_{k}" for k in range(2, targets + 1)), *(f"f{k}" for k in range(1, places + 1))]
    pending: list[list[str]] = []
    number = 0

    def chunk() -> Chunk:
        columns = dict(zip(names, zip(*pending, strict=True), strict=True))
        return Chunk(reading.kinds.columns(columns, " "), number - len(pending) + 1, len(pending))

    for number, line in enumerate(_filled(Lines(source, form, reading.remarks)), 1):
        pending.append(_sparse_row(file, number, line, targets, places))
        if len(pending) == reading.chunk_rows:
            yield chunk()
            reading.on_bytes(source.raw.tell())
            pending = []
    if pending:
        yield chunk()
        reading.on_bytes(source.raw.tell())


def _sparse_row(file: str, number: int, line: str, targets: int, places: int) -> list[str]:
    fields = line.split()
    target = fields[0].split(";")
    row = target + [""] * (targets - len(target)) + ["0"] * places
    for field in fields[1:]:
        place, colon, value = field.partition(":")
        if not colon or not place.isdecimal() or not 1 <= int(place) <= places:
            raise FormatError(f"{file}: row {number}: {field!r} is not place:value with ascending places from 1")
        row[targets + int(place) - 1] = value
    return row


def _filled(lines: Lines) -> Iterator[str]:
    return (line for line in lines if line.strip())


def _parquet(source: Source, reading: TableReading) -> Iterator[Chunk]:
    first = 1
    source.raw.seek(0)
    for names, columns, rows in arrow.batches(source.file, source.raw, reading.chunk_rows, reading.ignored):
        refuse_twins(source.file, names)
        reading.on_bytes(source.raw.tell())
        yield Chunk(dict(zip(names, columns, strict=True)), first, rows)
        first += rows
    if first == 1:
        raise FormatError(f"{source.file}: has no rows")


def _json_rows(source: Source, reading: TableReading) -> Iterator[Chunk]:
    """Objects that are no events, as rows; a member that a row lacks is missing."""
    names: dict[str, None] = {}
    first, rows = 1, documents.plain_rows(source, reading.remarks)
    while batch := list(islice(rows, reading.chunk_rows)):
        for row in batch:
            names.update(dict.fromkeys(row))
        if len(names) > cells.MAX_COLUMNS:
            raise FormatError(f"{source.file}: more than {cells.MAX_COLUMNS:,} different names")
        yield Chunk({name: [row.get(name) for row in batch] for name in names}, first, len(batch), True)
        first += len(batch)
    reading.remarks.refuse_invalid(first - 1 + reading.remarks.invalid)
    if first == 1:
        raise FormatError(f"{source.file}: has no rows")
