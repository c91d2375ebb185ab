"""The formats of messages, in the order in which they are tried. A new format is one more line here.

A format is a function of message, rules and limits. It returns the rows of a message in its format, and None for any
other message. It raises FormatError, and nothing else, for a broken message in its format.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from stream.formats import native
from stream.formats.message import Message
from stream.formats.row import Limits, Row, Rules

Headers = tuple[tuple[str, bytes], ...]
"""Names and values of a record's headers."""


class Format(NamedTuple):
    """One format.

    ``in_headers`` is for a format that headers identify. It returns True for every record in this format whose value
    may look like a native event. Without it, such a record would take the fast path for native events.
    """

    read: Callable[[Message, Mapping[str, Rules], Limits], list[Row] | None]
    in_headers: Callable[[Headers], bool] | None = None


FORMATS: dict[str, Format] = {
    "native": Format(native.read),
}
"""By name, which is also the name of the module. The first format that does not return None reads the message."""


def read(message: Message, rules: Mapping[str, Rules], limits: Limits) -> list[Row]:
    """All events of the message.

    Raises FormatError, and nothing else. For a message in no known format it gives the reason why the message is not a
    native event.
    """
    for form in FORMATS.values():
        rows = form.read(message, rules, limits)
        if rows is not None:
            return rows
    return native.required(message, rules, limits)


def is_native(message: Message, rules: Mapping[str, Rules], limits: Limits) -> bool:
    """Whether every format that is tried before the native one returns None for the message. Raises nothing."""
    for name, form in FORMATS.items():
        if name == "native":
            break
        try:
            if form.read(message, rules, limits) is not None:
                return False
        except Exception:
            return False
    return True


def claimed_by_headers(headers: Iterable[Headers]) -> set[int]:
    """Places of the records that are, by their headers, in another format than the native one."""
    checks = [form.in_headers for form in FORMATS.values() if form.in_headers is not None]
    if not checks:
        return set()
    return {at for at, own in enumerate(headers) if own and any(check(own) for check in checks)}
