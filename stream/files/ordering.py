"""Times of a file's rows: a row without one takes the time before it, and rows that run backwards are noticed."""

from collections.abc import Sequence
from typing import Any

from detectors import plain_values, values
from detectors.errors import FormatError
from stream.files.remarks import Remarks

DISORDER_SHARE = 0.05
"""Largest share of late rows. A file with more of them has no order of time, or the reverse one."""


class OutOfOrder(FormatError):
    """Times run further backwards than the service accepts, so that it would leave rows out."""


class Times:
    """The times of one file's rows, in the order of the file.

    :param late_ms: a row that is older than the newest by more than this is late; None: no row is.
    :param accept: count late rows instead of raising OutOfOrder at the first. The newest time is then one that two
        rows in a row have reached, so that a single wrong clock does not make all later rows late.
    """

    __slots__ = (
        "_accept", "_confirmed_ms", "_late_ms", "_newest_ms", "_previous_ms", "_remarks", "first_late", "last_ms",
        "late", "rows",
    )  # fmt: skip

    def __init__(self, remarks: Remarks, late_ms: int | None, *, accept: bool) -> None:
        self._remarks, self._late_ms, self._accept = remarks, late_ms, accept
        self._newest_ms = self._confirmed_ms = self._previous_ms = self.late = self.rows = 0
        self.first_late: str | None = None
        self.last_ms: int | None = None

    def column(self, found: Sequence[Any], numbers: Sequence[int], where: str, name: str) -> list[int]:
        """The times of a column. Raises FormatError naming a value that cannot be a time, or a column without any."""
        given = zip(found, numbers, strict=True)
        moments = [self._moment(value, f"{where}: row {number}: {name}") for value, number in given]
        first = self.last_ms if self.last_ms is not None else next((m for m in moments if m is not None), None)
        if first is None:
            raise FormatError(
                f"{where}: rows {numbers[0]:,} to {numbers[-1]:,}: {name} has no time; {values.TIME_FORMS}"
            )
        filled = [self.next(moment, first) for moment in moments]
        for moment, number in zip(filled, numbers, strict=True):
            self.check(moment, where, number, name)
        return filled

    def next(self, moment: int | None, first: int) -> int:
        """The time of the next row: its own, else the time before it, else ``first``."""
        if moment is None:
            self._remarks.count_without_time()
            return first if self.last_ms is None else self.last_ms
        self.last_ms = moment
        return moment

    def check(self, moment: int, where: str, number: int, name: str) -> None:
        """Counts a row; raises OutOfOrder if it is late and late rows are not accepted."""
        self.rows += 1
        self._confirmed_ms = max(self._confirmed_ms, min(self._previous_ms, moment))
        self._previous_ms = moment
        newest_ms = self._confirmed_ms if self._accept else self._newest_ms
        if self._late_ms is not None and moment < newest_ms - self._late_ms:
            self.late += 1
            self.first_late = (
                self.first_late or f"{where}: times run backwards from row {number:,} on; sort the file by {name}"
            )
            if not self._accept:
                raise OutOfOrder(self.first_late)
        self._newest_ms = max(self._newest_ms, moment)

    def refuse_disorder(self) -> None:
        """Raises FormatError where so many rows are late that the first rows of the file are not its oldest."""
        if self.first_late is not None and self.late > DISORDER_SHARE * self.rows:
            raise FormatError(
                f"{self.first_late}: its first rows, which the reference is built from, are not the oldest"
            )

    @staticmethod
    def _moment(value: Any, where: str) -> int | None:
        bare = value.strip() if isinstance(value, str) else value
        if plain_values.is_absent(bare) or (isinstance(bare, str) and bare in values.MISSING_NUMBER):
            return None
        return moment_ms(bare, where)


def moment_ms(value: object, where: str) -> int:
    """A time in milliseconds. Raises FormatError naming ``where``, the value and the forms that are read."""
    found = values.time_ms(value)
    if found is None:
        shown = int(value) if isinstance(value, float) and value.is_integer() else value
        raise FormatError(f"{where}: {str(shown)[:60]!r} is not a time; {values.TIME_FORMS}")
    return found
