"""The exit statuses of every command, in one table."""

from enum import IntEnum


class ExitStatus(IntEnum):
    """How a command ended, for scripts. A crash is ERROR too: 1 would read as drift."""

    OK = 0  # judged, and nothing found; for other commands: done
    DRIFT = 1  # an incident opened or is open; two references differ
    ERROR = 2  # usage, an error, or something missing or wrong
    INTERRUPTED = 130  # Ctrl-C
