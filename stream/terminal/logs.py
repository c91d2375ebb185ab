"""The log of every process: one line an entry, in which text of other people is escaped."""

import logging
import sys
import traceback

from stream.terminal.printable import message, printable


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


def configure(level: str) -> None:
    """Writes the log of this process to standard error, from this level on."""
    handler = logging.StreamHandler(sys.stderr)
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
