"""``driftline decode`` and ``driftline formats``: how records are read, and why not."""

import asyncio
import base64
import binascii
import json
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from rich.console import Console

from detectors.errors import DriftlineError, FormatError, SettingsError
from stream.backends.clock import SystemClock
from stream.backends.kafka.sample import from_offset
from stream.backends.registry_client import RegistryClient
from stream.formats import registry
from stream.formats.message import IgnoredRecord, Message
from stream.formats.row import Limits, Rules, row_of
from stream.formats.schemas import NO_SCHEMAS, Schemas
from stream.formats.topic_rules import NO_TOPIC_RULES
from stream.observe.shell.settings import observe_settings
from stream.settings.settings import Settings
from stream.terminal import output
from stream.terminal.console import escape
from stream.terminal.exit_status import ExitStatus
from stream.terminal.printable import printable
from stream.topics.record import Partition, Record


class Place(NamedTuple):
    """Records of a topic. ``offset`` None: the newest ones."""

    topic: str
    partition: int
    offset: int | None
    limit: int


class Answer(msgspec.Struct, omit_defaults=True):
    """How one record was read: what ``--json`` prints. ``outcome``: events, ignored, duplicate or dead_letter."""

    outcome: str
    rows: int
    format: str = ""
    file: str | None = None
    offset: int | None = None
    events: list[dict[str, Any]] = []
    reason: str | None = None
    left_out: dict[str, int] = {}


def show_formats(console: Console, as_json: bool) -> int:
    """Prints the formats in the order in which they are tried."""
    found = [{"format": name, "reads": _about(name)} for name in registry.FORMATS]
    if as_json:
        output.write_json(console, {"formats": found})
        return ExitStatus.OK
    width = max(len(one["format"]) for one in found)
    for one in found:
        console.print(f"[bold]{one['format']:<{width}}[/]  {escape(one['reads'])}", soft_wrap=True)
    return ExitStatus.OK


def from_files(console: Console, settings: Settings, files: Sequence[str], as_json: bool) -> int:
    """Reads one record a file, in order. Exit status 2 when one would be a dead letter. Raises SettingsError."""
    records = [(name, *_record(name)) for name in files]
    reader = _reader(settings, [record for _, _, record in records])
    return _show(console, ((name, reader.read(topic, record, file=name)) for name, topic, record in records), as_json)


def from_topic(console: Console, settings: Settings, place: Place, as_json: bool) -> int:
    """Reads records from Kafka. Exit status 2 when one would be a dead letter. Raises BrokerError."""
    where = Partition(place.topic, place.partition)
    records = asyncio.run(from_offset(settings.kafka, where, place.offset, place.limit))
    reader = _reader(settings, records)
    answers = (
        (f"{where} offset {record.offset}", reader.read(place.topic, record, offset=record.offset))
        for record in records
    )
    return _show(console, answers, as_json)


def _reader(settings: Settings, records: Sequence[Record]) -> "Reader":
    """A reader that knows the schemas of the records. Raises BrokerError when the registry does not answer."""
    schemas = Schemas(configured=settings.schema_registry.url is not None)
    names = schemas.missing(records)
    if names:
        asyncio.run(_fetch(settings, schemas, names))
    return Reader(settings, schemas)


async def _fetch(settings: Settings, schemas: Schemas, names: set[str]) -> None:
    client = RegistryClient(settings.schema_registry, schemas, SystemClock())
    try:
        await client.fetch(names)
    finally:
        await client.stop()


class Reader:
    """Reads records as a worker with these settings would. Raises SettingsError for a format that does not exist."""

    def __init__(self, settings: Settings, schemas: Schemas = NO_SCHEMAS) -> None:
        self._schemas = schemas
        observed = observe_settings(settings)
        self._rules: dict[str, Rules] = observed.rules
        self._limits: Limits = observed.message
        self._topics = observed.topics_read
        self._seen: set[tuple[Any, str]] = set()

    def read(self, topic: str, record: Record, *, file: str | None = None, offset: int | None = None) -> Answer:
        """How the record is read. An event whose id came before is a duplicate."""
        message = Message(
            topic, record, self._limits.event_bytes, self._topics.get(topic, NO_TOPIC_RULES), self._schemas
        )
        try:
            found = registry.find(message, self._limits)
            rows = [row_of(event, record, self._rules, self._limits) for event in found.events]
        except IgnoredRecord as error:
            return Answer("ignored", 0, file=file, offset=offset, reason=str(error))
        except FormatError as error:
            return Answer("dead_letter", 0, file=file, offset=offset, reason=str(error))
        keys = {(row.unit, row.identity) for row in rows if row.identity is not None}
        again = bool(rows) and len(keys) == len(rows) and keys <= self._seen
        self._seen |= keys
        events = []
        for event, row in zip(found.events, rows, strict=True):
            timed = event.get("ts") is not None and not row.clamped
            events.append({**_plain(event), **({"ts": row.timestamp_ms} if timed else {})})
        outcome = "duplicate" if again else "events"
        return Answer(outcome, len(rows), found.format, file, offset, events, left_out=message.limited)


def _plain(event: dict[str, Any]) -> dict[str, Any]:
    """The event without members that hold nothing."""
    return {name: value for name, value in event.items() if value is not None and value != {}}


def _about(name: str) -> str:
    """The first sentence of a format's module."""
    text = import_module(f"stream.formats.{name}").__doc__ or ""
    return " ".join(text.replace("No I/O.", "").split("\n\n")[0].split()).replace("``", "")


def _record(name: str) -> tuple[str, Record]:
    """Topic and record of a file. Raises SettingsError naming the file and what is wrong."""
    try:
        body = json.loads(sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8"))
        if not isinstance(body, dict) or not isinstance(body.get("topic"), str):
            raise DriftlineError("is not one record: an object with a text as topic")
        headers = tuple((str(key), _bytes(value) or b"") for key, value in body.get("headers") or ())
        record = Record(
            0, int(body.get("timestamp_ms", -1)), _bytes(body.get("key")), _bytes(body.get("value")), headers
        )
    except OSError as error:
        raise SettingsError(f"{name}: cannot be read: {error.strerror or error}") from None
    except (ValueError, TypeError, binascii.Error, DriftlineError) as error:
        raise SettingsError(f"{name}: {str(error).splitlines()[0][:200]}") from None
    return body["topic"], record


def _bytes(text: Any) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)


def _show(console: Console, answers: Iterable[tuple[str, Answer]], as_json: bool) -> int:
    refused = False
    for name, answer in answers:
        refused = refused or answer.outcome == "dead_letter"
        if as_json:
            output.write_json_line(console, answer)
            continue
        style = "red" if answer.outcome == "dead_letter" else "green" if answer.outcome == "events" else "yellow"
        about = f"{answer.rows} rows in the format {answer.format}" if answer.format else answer.reason or ""
        console.print(f"{escape(name)}: [{style}]{answer.outcome}[/] {escape(printable(about))}", soft_wrap=True)
        for event in answer.events:
            console.out(f"  {printable(msgspec.json.encode(event).decode())}", highlight=False)
        for limit, times in answer.left_out.items():
            console.print(f"  left out: {times} {escape(limit)}", soft_wrap=True)
    return ExitStatus.ERROR if refused else ExitStatus.OK
