"""The formats of messages, in the order in which they are tried. A new format is one more line here.

A format is a function of a message, limits, and a function that reads a message inside of it. It returns the events of
a message in its format, with the members of a native event, and None for any other message. It raises FormatError, and
nothing else, for a broken message in its format; IgnoredRecord for one without events that is no fault.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from detectors.errors import FormatError
from stream.formats import (
    bentoml,
    cloudevents,
    connect,
    databricks,
    flat,
    kserve,
    mlflow,
    native,
    open_inference,
    sagemaker,
    schema_registry,
)
from stream.formats.message import IgnoredRecord, Message
from stream.formats.row import Limits, Row, Rules, row_of
from stream.formats.topic_rules import AUTO, NO_TOPIC_RULES

Headers = tuple[tuple[str, bytes], ...]
"""Names and values of a record's headers."""

Inner = Callable[[Message], list[Any]]
"""Returns the events of a message that another one wraps, in any format. Raises FormatError."""


class Format(NamedTuple):
    """One format.

    ``in_headers`` is for a format that headers identify. It returns True for every record in this format whose value
    may look like a native event. Without it, such a record would take the fast path for native events. ``headers``:
    names in lower case; a record without any of them is not in the format. ``wraps``: the format only wraps messages in
    other formats, so it is recognised also in a topic whose format is set.
    """

    events: Callable[[Message, Limits, Inner], list[Any] | None]
    in_headers: Callable[[Headers], bool] | None = None
    headers: frozenset[str] = frozenset()
    wraps: bool = False


FORMATS: dict[str, Format] = {
    "cloudevents": Format(cloudevents.events, cloudevents.in_headers, cloudevents.HEADERS, wraps=True),
    "schema_registry": Format(schema_registry.events, schema_registry.in_headers, schema_registry.HEADERS, wraps=True),
    "connect": Format(connect.events, wraps=True),
    "kserve": Format(kserve.events),
    "open_inference": Format(open_inference.events),
    "sagemaker": Format(sagemaker.events),
    "databricks": Format(databricks.events),
    "bentoml": Format(bentoml.events),
    "mlflow": Format(mlflow.events),
    "native": Format(native.events),
    "flat": Format(flat.events),
}
"""By name, which is also the name of the module. The first format that does not return None reads the message."""


class Found(NamedTuple):
    """The events of a message, and the name of the format that read them: the one inside of all envelopes."""

    events: list[Any]
    format: str


def find(message: Message, limits: Limits) -> Found:
    """All events of the message, with the members of a native event.

    Raises FormatError, and nothing else: for a message in no known format with the reason why it is not a native event,
    or not in the format that the settings name for its topic.
    """
    record, wanted, inner = message.record, message.rules.format, [""]
    if record.value is None and (record.key is not None or message.rules is not NO_TOPIC_RULES):
        raise IgnoredRecord("tombstone")

    def inside(other: Message) -> list[Any]:
        found = find(other, limits)
        inner[0] = found.format
        return found.events

    for name, form in FORMATS.items():
        if form.wraps or wanted in (AUTO, name):
            events = form.events(message, limits, inside)
            if events is not None:
                if len(events) > limits.rows_per_message:
                    raise FormatError(
                        f"{len(events)} events in one message; at most {limits.rows_per_message} are read"
                    )
                return Found(events, inner[0] or name)
    if wanted not in (AUTO, "native"):
        message.json()  # the reason where it is not JSON
        raise FormatError(f"not in the format {wanted}, which the settings name for topic {message.topic}")
    return Found(native.required(message, limits), "native")


def read(message: Message, rules: Mapping[str, Rules], limits: Limits) -> list[Row]:
    """The rows of all events of the message. Raises as ``find`` does, and for an event that is broken."""
    return [row_of(event, message.record, rules, limits) for event in find(message, limits).events]


def is_native(message: Message, limits: Limits) -> bool:
    """Whether the message is a native one that can be read, without an envelope. Raises nothing."""
    try:
        for name, form in FORMATS.items():
            events = form.events(message, limits, _none)
            if events is not None:
                return name == "native"
    except Exception:
        return False
    return False


def _none(message: Message) -> list[Any]:
    return []


def claimed_by_headers(headers: Iterable[Headers]) -> set[int]:
    """Places of the records that are, by their headers, in another format than the native one.

    Cost: .3 us a record with headers that no format looks at.
    """
    found = set()
    for at, own in enumerate(headers):
        if own:
            for check in _checks(tuple(map(_name, own))):
                if check(own):
                    found.add(at)
    return found


_name = itemgetter(0)


@lru_cache(4_096)
def _checks(names: tuple[str, ...]) -> tuple[Callable[[Headers], bool], ...]:
    """``in_headers`` of the formats that look at a header of one of these names."""
    lower = {name.lower() for name in names}
    return tuple(form.in_headers for form in FORMATS.values() if form.in_headers and not lower.isdisjoint(form.headers))
