"""Reads tables from files in chunks of columns: CSV and similar formats, LIBSVM's sparse rows, Parquet.

Text becomes values only here. The first rows decide whether a column is numeric, boolean or categorical. A value that
does not fit a numeric column stays text and counts as invalid later. Rows are counted from 1, without the header.
"""

import csv
import gzip
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from detectors.errors import FormatError
from stream.files import cells

CHUNK_ROWS = 4_096
"""Rows kept as text at once: 20 columns of 8 characters need about 5 MB as Python objects."""

SAMPLE_BYTES = 65_536
DELIMITERS = ",;\t|"
PARQUET_SUFFIXES = (".parquet", ".pq")
_SPARSE = re.compile(r"^\s*[^\s:,]+(\s+\d+:[^\s:,]+)+\s*$")
OnBytes = Callable[[int], None]


class Chunk(NamedTuple):
    """Columns of equal length in the order of the file, the number of the first row, and the number of rows."""

    columns: dict[str, Sequence[Any]]
    first_row: int
    rows: int


def read_table(file: str | Path, on_bytes: OnBytes | None = None, chunk_rows: int = CHUNK_ROWS) -> Iterator[Chunk]:
    """Chunks of the table in ``file``; ``on_bytes`` is called with the number of bytes read so far.

    Parquet is recognised by suffix or first bytes; everything else is text. Delimiter, header and the rows of LIBSVM
    (``label 1:v 2:v``) are detected; gzip is unpacked. A numeric column is a float64 array where every value is a
    number, else a list of float, text (not a number) and None (missing). Raises FormatError naming the file, the row
    and what is wrong.
    """
    path = Path(file)
    try:
        with open(path, "rb") as raw:
            magic = raw.read(4)
            raw.seek(0)
            count_bytes = on_bytes or (lambda _: None)
            if path.suffix.lower() in PARQUET_SUFFIXES or magic == b"PAR1":
                yield from _parquet(str(file), raw, count_bytes, chunk_rows)
            else:
                yield from _text(str(file), raw, count_bytes, chunk_rows)
    except (OSError, EOFError) as error:  # EOFError: a gzip file that ends too early
        reason = getattr(error, "strerror", None) or error
        raise FormatError(f"{file}: cannot be read: {reason}") from None


def _text(file: str, raw: BinaryIO, on_bytes: OnBytes, chunk_rows: int) -> Iterator[Chunk]:
    packed = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    source: BinaryIO = gzip.GzipFile(fileobj=raw) if packed else raw  # type: ignore[assignment]
    sample = source.read(SAMPLE_BYTES)
    if b"\x00" in sample:
        raise FormatError(f"{file}: contains zero bytes, so it is neither UTF-8 text nor Parquet")
    lines = [line for line in sample.decode("utf-8-sig", "replace").splitlines() if line.strip()]
    if not lines:
        raise FormatError(f"{file}: has no rows")
    if lines[0].lstrip().startswith(("{", "[")):
        raise FormatError(f"{file}: looks like JSON, not a table; if its lines are events, rename it to .jsonl")
    source.seek(0)
    whole = lines if len(sample) < SAMPLE_BYTES else lines[:-1] or lines  # the last line may be cut
    if all(_SPARSE.match(line) for line in whole[:20]):
        yield from _sparse(file, source, raw, on_bytes, chunk_rows)
    else:
        yield from _delimited(file, source, raw, on_bytes, chunk_rows, _delimiter(whole[:50]))


def _delimiter(lines: Sequence[str]) -> str:
    """The delimiter that splits most lines into equally many fields; a comma where none splits them."""

    def score(delimiter: str) -> tuple[int, int]:
        widths = [len(row) for row in csv.reader(lines, delimiter=delimiter)]
        common = max(set(widths), key=lambda width: (widths.count(width), width))
        return (widths.count(common) if common > 1 else 0, common)

    return max(DELIMITERS, key=score)


def _delimited(
    file: str, source: BinaryIO, raw: BinaryIO, on_bytes: OnBytes, chunk_rows: int, delimiter: str
) -> Iterator[Chunk]:
    with _lines(source) as lines:
        reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
        rows = _rows(file, reader)
        head = list(islice(rows, 20))
        named = cells.is_header(head)
        names = _names(file, head[0] if named else [""] * len(head[0]))
        kinds = cells.Kinds(len(names))
        pending, first = head[1:] if named else head, 1
        if not pending:
            raise FormatError(f"{file}: has a header and no rows")
        while pending:
            pending.extend(islice(rows, max(chunk_rows - len(pending), 0)))
            for number, row in enumerate(pending, first):
                if len(row) != len(names):
                    fields = "1 field" if len(row) == 1 else f"{len(row)} fields"
                    raise FormatError(f"{file}: row {number}: {fields}, but there are {len(names)} columns")
            columns = [kinds.values(place, column) for place, column in enumerate(zip(*pending, strict=True))]
            on_bytes(raw.tell())
            yield Chunk(dict(zip(names, columns, strict=True)), first, len(pending))
            first, pending = first + len(pending), list(islice(rows, chunk_rows))


def _rows(file: str, reader: Any) -> Iterator[list[str]]:
    """The rows that are not blank. Raises FormatError naming a line that is not valid CSV or UTF-8."""
    while True:
        try:
            row = next(reader, None)
        except UnicodeDecodeError as error:
            place = f"after line {reader.line_num}" if reader.line_num else "near its start"
            raise FormatError(f"{file}: not UTF-8 {place} ({error.reason})") from None
        except csv.Error as error:
            raise FormatError(f"{file}: line {reader.line_num}: {error}") from None
        if row is None:
            return
        if row and (len(row) > 1 or row[0].strip()):
            yield row


def _names(file: str, header: Sequence[str]) -> list[str]:
    names = [name.strip() or f"column_{place}" for place, name in enumerate(header, 1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FormatError(f"{file}: the header has two columns named {twice[0]!r}")
    return names


def _sparse(file: str, source: BinaryIO, raw: BinaryIO, on_bytes: OnBytes, chunk_rows: int) -> Iterator[Chunk]:
    """Rows of LIBSVM: a target (several ones separated by ``;``), then ``place:value``; an omitted place is 0.

    Columns are ``target``, ``target_2``, ..., ``f1``, ``f2``, ... A first pass over the file counts them.
    """
    targets, places = 1, 0
    with _lines(source) as lines:
        for line in _filled(file, lines):
            fields = line.split()
            targets = max(targets, fields[0].count(";") + 1)
            place = fields[-1].partition(":")[0]
            places = max(places, int(place) if len(fields) > 1 and place.isdecimal() else 0)
    if places > cells.MAX_COLUMNS:
        raise FormatError(f"{file}: a row has place {places:,}, but at most {cells.MAX_COLUMNS:,} columns are allowed")
    names = ["target", *(f"target_{k}" for k in range(2, targets + 1)), *(f"f{k}" for k in range(1, places + 1))]
    source.seek(0)
    kinds = cells.Kinds(len(names))
    pending: list[list[str]] = []
    number = 0
    with _lines(source) as lines:
        for number, line in enumerate(_filled(file, lines), 1):
            pending.append(_sparse_row(file, number, line, targets, places))
            if len(pending) == chunk_rows:
                yield _sparse_chunk(names, kinds, pending, number)
                on_bytes(raw.tell())
                pending = []
    if pending:
        yield _sparse_chunk(names, kinds, pending, number)
        on_bytes(raw.tell())


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


def _sparse_chunk(names: list[str], kinds: cells.Kinds, rows: list[list[str]], last: int) -> Chunk:
    columns = [kinds.values(place, column) for place, column in enumerate(zip(*rows, strict=True))]
    return Chunk(dict(zip(names, columns, strict=True)), last - len(rows) + 1, len(rows))


def _filled(file: str, lines: io.TextIOWrapper) -> Iterator[str]:
    try:
        yield from (line for line in lines if line.strip())
    except UnicodeDecodeError as error:
        raise FormatError(f"{file}: not UTF-8 ({error.reason})") from None


@contextmanager
def _lines(source: BinaryIO) -> Iterator[io.TextIOWrapper]:
    """The lines of ``source``, which stays open afterwards."""
    lines = io.TextIOWrapper(source, encoding="utf-8-sig", newline="")
    try:
        yield lines
    finally:
        lines.detach()


def _parquet(file: str, raw: BinaryIO, on_bytes: OnBytes, chunk_rows: int) -> Iterator[Chunk]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise FormatError(f"{file}: reading Parquet needs pyarrow: pip install 'driftline[parquet]'") from None
    first = 1
    try:
        table = pyarrow.parquet.ParquetFile(raw)
        for batch in table.iter_batches(batch_size=chunk_rows):
            if batch.num_rows:
                columns = {name: _plain(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
                on_bytes(raw.tell())
                yield Chunk(columns, first, batch.num_rows)
                first += batch.num_rows
    except pyarrow.ArrowException as error:
        at = f" after row {first - 1:,}" if first > 1 else ""
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise FormatError(f"{file}: not readable as Parquet{at}: {reason}") from None
    if first == 1:
        raise FormatError(f"{file}: has no rows")


def _plain(column: Any) -> Sequence[Any]:
    """An array for a numeric column without nulls, else a list of Python values."""
    import pyarrow.types as types

    if (types.is_floating(column.type) or types.is_integer(column.type)) and not column.null_count:
        numbers: Sequence[Any] = column.to_numpy(zero_copy_only=False)
        return numbers
    values: Sequence[Any] = column.to_pylist()
    if types.is_decimal(column.type):
        return [None if value is None else float(value) for value in values]
    return values
