"""What reading a file left out or had to decide, for the report: columns, rows, and one line for each decision."""

from detectors.errors import FormatError

LEAST_ROWS = 200
"""Up to this many rows, one that cannot be read refuses the file."""

INVALID_SHARE = 20
"""In a longer file one row in so many may be unreadable and is left out; beyond it the file is refused."""

MOST_NOTES = 200


class Remarks:
    """What one reading of files noticed.

    ``not_watched``: columns that are left out, each with the reason. ``notes``: decisions that a user may want to know.
    ``invalid``: rows that cannot be read. ``without_time``: rows that have no time and took the time before them.
    """

    __slots__ = ("_first_invalid", "invalid", "not_watched", "notes", "without_time")

    def __init__(self) -> None:
        self.not_watched: dict[str, str] = {}
        self.notes: list[str] = []
        self.invalid = self.without_time = 0
        self._first_invalid: str | None = None

    def note(self, text: str) -> None:
        """Keeps a line, once."""
        if text not in self.notes and len(self.notes) < MOST_NOTES:
            self.notes.append(text)

    def leave_out(self, column: str, reason: str) -> None:
        """Names a column that is not watched; the first reason stays."""
        self.not_watched.setdefault(column, reason)

    def count_without_time(self) -> None:
        """Counts a row that took the time of the row before it."""
        self.without_time += 1

    def leave_out_row(self, message: str) -> None:
        """Counts a row that cannot be read."""
        self.invalid += 1
        if self._first_invalid is None:
            self._first_invalid = message

    def refuse_invalid(self, rows: int) -> None:
        """Raises FormatError naming the first unreadable row where too many of ``rows`` are."""
        if self._first_invalid is None or self.invalid <= (rows // INVALID_SHARE if rows > LEAST_ROWS else 0):
            return
        more = f"; {self.invalid:,} of {rows:,} rows cannot be read" if self.invalid > 1 else ""
        raise FormatError(f"{self._first_invalid}{more}")

    def lines(self) -> list[str]:
        """The notes, with those on rows that were left out or took another row's time."""
        found = list(self.notes)
        if self.without_time:
            rows = "1 row has" if self.without_time == 1 else f"{self.without_time:,} rows have"
            found.append(f"{rows} no time; the time of the row before is used")
        if self._first_invalid is not None:
            more = f" (and {self.invalid - 1:,} more)" if self.invalid > 1 else ""
            found.append(f"left out, cannot be read: {self._first_invalid}{more}")
        return found
