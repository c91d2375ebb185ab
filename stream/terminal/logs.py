"""The log of every process: one line an entry, in which text of other people is escaped."""

import logging
import sys
import time
import traceback
from collections.abc import Callable, Sequence

from stream.terminal.printable import message, printable

FLOOD_SECONDS = 30.0
KINDS, KIND_LENGTH = 1_000, 200


class LogFormatter(logging.Formatter):
    """Formats an entry as one line, and the traceback of an error as indented lines below it.

    So a name in an entry neither carries out a command of the terminal that shows the log, nor looks like an entry.
    """

    def format(self, record: logging.LogRecord) -> str:
        record.exc_text = None  # another formatter's text of the same entry
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the name that logging calls
        return message(super().formatMessage(record))

    def formatException(self, error: object) -> str:  # noqa: N802
        return _indented(super().formatException(error))  # type: ignore[arg-type]

    def formatStack(self, stack: str) -> str:  # noqa: N802
        return _indented(super().formatStack(stack))


class FloodGate(logging.Filter):
    """Passes at most one entry of each kind in FLOOD_SECONDS, of the loggers that it is for, and shows how many were
    left out. While a broker is away its client libraries log thousands of lines a second.

    An entry's kind is its logger and its text before the values are put in.
    """

    def __init__(self, loggers: Sequence[str], now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._roots = frozenset(loggers)
        self._now = now
        self._kinds: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.split(".")[0] not in self._roots:
            return True
        kind, now = (record.name, str(record.msg)[:KIND_LENGTH]), self._now()
        passed_at, left_out = self._kinds.get(kind, (float("-inf"), 0))
        if now - passed_at < FLOOD_SECONDS:
            self._kinds[kind] = (passed_at, left_out + 1)
            return False
        if len(self._kinds) >= KINDS:
            self._kinds.clear()
        self._kinds[kind] = (now, 0)
        if left_out:
            record.msg, record.args = f"{record.getMessage()} (and {left_out:,} more such lines before)", None
        return True


def configure(level: str, floods: Sequence[str] = ()) -> None:
    """Writes the log of this process to standard error, from this level on. ``floods``: see ``FloodGate``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(FloodGate(floods))
    handler.setFormatter(LogFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])


def guard_warnings() -> None:
    """Applies the formatter to warnings of a command that configures no log."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(LogFormatter("%(message)s"))


def traceback_text() -> str:
    """The traceback of the error that is being handled, indented."""
    return _indented(traceback.format_exc().rstrip("\n"))


def _indented(text: str) -> str:
    return "\n".join("  " + printable(line) for line in text.split("\n"))
