"""Reads files as the events of one model: the first rows as a reference, the other rows as native events.

Rows of a table become native events, so that a replay uses the same decoder as records from Kafka.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from detectors.features import Kind
from detectors.reference.reference import Reference
from stream.files import documents, sources, text
from stream.files.event_log import EventLog
from stream.files.layout import JSON_SUFFIXES, STDIN, FileLayout
from stream.files.ordering import OutOfOrder
from stream.files.reference_rows import Row
from stream.files.remarks import Remarks
from stream.files.table import Table

T = TypeVar("T")


class Dataset(Protocol):
    """Files that are read once, from their start: ``reference`` first if it is needed, then ``events``."""

    remarks: Remarks

    @property
    def has_times(self) -> bool:
        """Whether the rows that ``events`` returns next have times of their own, as far as they were read."""
        ...

    def reference(self, rows: int | None) -> Reference:
        """The reference of the next ``rows`` rows (None: of all). Raises FormatError if there are fewer."""
        ...

    @property
    def labels(self) -> dict[int, Any]:
        """Labels by row number, of the rows that ``events`` has returned. The reader of a label removes it."""
        ...

    def events(self) -> Iterator[Row]:
        """The remaining rows: each row's number, its time in milliseconds, and the row as a native event."""
        ...

    def place(self, number: int) -> str:
        """The file and the row in it that have a number."""
        ...


def open_dataset(
    layout: FileLayout,
    *,
    known: Mapping[str, Kind] | None = None,
    late_ms: int | None = None,
    sort: bool = False,
) -> Dataset:
    """The dataset in the files of a layout.

    :param known: the kinds that a reference's features have; they decide how text is read.
    :param late_ms: raises OutOfOrder at a row that is older than the newest by more than this; None: at none.
    :param sort: sort all rows by their times first. A reference of the first rows is refused where most are late.
    """
    files = sources.files_of((layout.file, *layout.more))
    if is_log(files[0]):
        return EventLog(layout, files, late_ms=late_ms, sort=sort)
    return Table(layout, files, known or {}, late_ms=late_ms, sort=sort)


def in_order(layout: FileLayout, late_ms: int, known: Mapping[str, Kind], use: Callable[[Dataset], T]) -> T:
    """The result of ``use``. A file whose times run backwards is sorted by time first, and a note says so."""
    try:
        return use(open_dataset(layout, known=known, late_ms=late_ms))
    except OutOfOrder as found:
        reason = str(found).partition(";")[0]
    dataset = open_dataset(layout, known=known, late_ms=late_ms, sort=True)
    dataset.remarks.note(f"{reason}; all rows were sorted by time first")
    return use(dataset)


def is_log(file: str) -> bool:
    """Whether a file holds events, and not the rows of a table."""
    return is_json(file) and not _is_plain(file)


def is_json(file: str) -> bool:
    """Whether a file holds JSON: by its ending, or by its first character."""
    path = Path(file)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in sources.PACKED_SUFFIXES:
        suffixes.pop()
    if file == STDIN or (suffixes and suffixes[-1] in JSON_SUFFIXES):
        return True
    with sources.opened(file) as source:
        first = text.read_up_to(source.unpacked(), 256)
    for mark, encoding in text.MARKS:
        if first.startswith(mark):
            first = first.decode(encoding, "replace").encode()
            break
    return first.lstrip()[:1] in (b"{", b"[")


def _is_plain(file: str) -> bool:
    with sources.opened(file) as source:
        return documents.is_plain(source)
