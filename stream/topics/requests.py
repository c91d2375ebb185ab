"""A person's change to an incident, as the record that carries it from whichever worker was asked to the judge."""

import msgspec

from detectors.errors import FormatError
from detectors.incidents.incident import Change

SCHEMA = 1

MAX_NAME, MAX_NOTE, MAX_ID, MAX_SILENCE_HOURS = 100, 2_000, 64, 720.0
HOUR_MS = 3_600_000


class Action(msgspec.Struct, frozen=True, omit_defaults=True):
    """One change. ``id`` tells it from all others: asked twice it counts once. ``at_ms`` is wall time."""

    schema: int
    id: str
    incident: str
    action: Change
    by: str
    at_ms: int
    note: str = ""
    until_ms: int | None = None  # of a silence


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request. ``id``: the caller's own, for asking again after an answer that did not come."""

    by: str
    note: str = ""
    silence_hours: float | None = None
    id: str | None = None


_asked = msgspec.json.Decoder(Asked)
_decoder = msgspec.json.Decoder(Action)
_encoder = msgspec.json.Encoder(order="deterministic")


def key(action: Action) -> bytes:
    """Incident and change."""
    return f"{action.incident}/{action.id}".encode()


def encode(action: Action) -> bytes:
    """Deterministic JSON."""
    return _encoder.encode(action)


def decode(value: bytes, where: str) -> Action:
    """Raises FormatError naming ``where``."""
    try:
        action = _decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FormatError(f"{where}: not a change to an incident: {error}") from error
    if action.schema != SCHEMA:
        raise FormatError(f"{where}: schema {action.schema}, this driftline reads {SCHEMA}")
    return action


def asked(incident: str, change: Change, body: bytes, at_ms: int, new_id: str) -> Action:
    """The action that a request's ``body`` asks for. Raises FormatError with what is wrong, for the one who asked."""
    given = asker(body)
    hours = given.silence_hours
    if change is Change.NOTE and not given.note:
        raise FormatError("note: says nothing")
    if change is Change.SILENCE and hours is None:
        raise FormatError("silence_hours: for how long?")
    if hours is not None and change not in (Change.SILENCE, Change.ACK):
        raise FormatError("silence_hours: only with ack or silence")
    if hours is not None and not 0 <= hours <= MAX_SILENCE_HOURS:
        raise FormatError(f"silence_hours: from 0 to {MAX_SILENCE_HOURS:.0f}")
    until_ms = None if hours is None else at_ms + round(hours * HOUR_MS)
    return Action(SCHEMA, given.id or new_id, incident, change, given.by, at_ms, given.note, until_ms)


def asker(body: bytes) -> Asked:
    """What every request that changes something says, within its bounds. Raises FormatError for the one who asked."""
    try:
        given = _asked.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FormatError(f"the body is not as it must be: {error}") from None
    by, note = given.by.strip(), given.note.strip()
    if not 0 < len(by) <= MAX_NAME:
        raise FormatError(f"by: a name of at most {MAX_NAME} characters")
    if len(note) > MAX_NOTE:
        raise FormatError(f"note: at most {MAX_NOTE:,} characters")
    if given.id is not None and not 0 < len(given.id) <= MAX_ID:
        raise FormatError(f"id: at most {MAX_ID} characters")
    return msgspec.structs.replace(given, by=by, note=note)
