"""Requests by people, as records of the actions topic: to change an incident, or to stop watching a model.

Any worker may receive a request over HTTP; the record carries it to the judge of the model. Pure.
"""

from typing import Any, TypeVar

import msgspec

from detectors.errors import FormatError
from detectors.features import UnitKey
from detectors.incidents.incident import Change
from stream.topics import keys

SCHEMA = 1

FORGET_KEY, RELEASE_KEY = b"forget/", b"release/"
"""Keys of requests to forget and to release start with these; every other key is one of an incident request."""

REQUESTS_KEPT = 10_000
"""Units whose newest request is kept, for units that are assigned to a worker later: at most some 500 bytes each."""

MAX_NAME, MAX_NOTE, MAX_ID, MAX_SILENCE_HOURS = 100, 2_000, 64, 720.0
HOUR_MS = 3_600_000


class IncidentRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request to change an incident. A second request with the same ``id`` changes nothing. ``at_ms``: wall time."""

    schema: int
    id: str
    incident: str
    change: Change = msgspec.field(name="action")
    by: str
    at_ms: int
    note: str = ""
    until_ms: int | None = None  # of a silence


class UnitRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request about a model version or one segment of it. ``at_ms``: wall time."""

    schema: int
    id: str
    model: str
    version: str
    segment: str | None
    by: str
    at_ms: int
    note: str = ""

    @property
    def unit(self) -> UnitKey:
        return UnitKey(self.model, self.version, self.segment)


class ForgetRequest(UnitRequest, frozen=True, omit_defaults=True):
    """A request to stop watching a model version or one segment of it.

    A forgotten unit is shown nowhere, is never blind, and has no share in its model's budget. Its counts are kept, so
    that it continues with them when it sends events again. A second request with the same ``id`` changes nothing.
    """


class ReleaseRequest(UnitRequest, frozen=True, omit_defaults=True):
    """A request to end the quarantine of a model version or one segment of it.

    The unit begins a new epoch at the present. The same ``id`` ends no quarantine that begins later.
    """


Request = IncidentRequest | ForgetRequest | ReleaseRequest


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of an HTTP request that changes something. ``id``: chosen by the caller, who can then repeat a request
    that was not answered."""

    by: str
    note: str = ""
    silence_hours: float | None = None
    id: str | None = None


_bodies = msgspec.json.Decoder(Body)
_incident_requests = msgspec.json.Decoder(IncidentRequest)
_forget_requests = msgspec.json.Decoder(ForgetRequest)
_release_requests = msgspec.json.Decoder(ReleaseRequest)
_encoder = msgspec.json.Encoder(order="deterministic")


def key(request: Request) -> bytes:
    """The record's key: incident and request; or ``forget/`` or ``release/`` and the unit, so that the newest of a unit
    is kept."""
    if isinstance(request, ForgetRequest):
        return FORGET_KEY + keys.unit_key(request.unit)
    if isinstance(request, ReleaseRequest):
        return RELEASE_KEY + keys.unit_key(request.unit)
    return f"{request.incident}/{request.id}".encode()


def encode(request: Request) -> bytes:
    """The record's value: JSON, with the same bytes for equal requests."""
    return _encoder.encode(request)


def decode(key: bytes, value: bytes, where: str) -> Request:
    """The request in a record. Raises FormatError that begins with ``where``."""
    decoder: msgspec.json.Decoder[Any] = _incident_requests
    kind = "change an incident"
    if key.startswith(FORGET_KEY):
        decoder, kind = _forget_requests, "forget a model"
    elif key.startswith(RELEASE_KEY):
        decoder, kind = _release_requests, "release a model"
    try:
        request: Request = decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"{where}: is no request to {kind}: {error}") from error
    if request.schema != SCHEMA:
        raise FormatError(f"{where}: schema {request.schema}, this driftline reads {SCHEMA}")
    return request


def incident_request(incident: str, change: Change, body: bytes, at_ms: int, new_id: str) -> IncidentRequest:
    """The request in an HTTP body. Raises FormatError with what is wrong, for the caller."""
    given = decode_body(body)
    hours = given.silence_hours
    if change is Change.NOTE and not given.note:
        raise FormatError("note is required")
    if change is Change.SILENCE and hours is None:
        raise FormatError("silence_hours is required for silence")
    if hours is not None and change not in (Change.SILENCE, Change.ACK):
        raise FormatError("silence_hours is allowed with ack and silence only")
    if hours is not None and not 0 <= hours <= MAX_SILENCE_HOURS:
        raise FormatError(f"silence_hours must be from 0 to {MAX_SILENCE_HOURS:.0f}")
    until_ms = None if hours is None else at_ms + round(hours * HOUR_MS)
    return IncidentRequest(SCHEMA, given.id or new_id, incident, change, given.by, at_ms, given.note, until_ms)


R = TypeVar("R", bound=UnitRequest)


def unit_request(kind: type[R], unit: UnitKey, body: bytes, at_ms: int, new_id: str) -> R:
    """The request about a unit in an HTTP body. Raises FormatError with what is wrong, for the caller."""
    given = decode_body(body)
    if given.silence_hours is not None:
        raise FormatError("silence_hours is allowed with ack and silence only")
    return kind(SCHEMA, given.id or new_id, *unit, given.by, at_ms, given.note)


K = TypeVar("K")
V = TypeVar("V")


def keep(kept: dict[K, V], key: K, value: V) -> None:
    """Keeps the newest request of ``key`` among at most REQUESTS_KEPT; the one that was kept first goes first."""
    if key not in kept and len(kept) >= REQUESTS_KEPT:
        del kept[next(iter(kept))]
    kept[key] = value


def decode_body(body: bytes) -> Body:
    """An HTTP body within its limits. Raises FormatError for the caller."""
    try:
        given = _bodies.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"the request body is invalid: {error}") from None
    by, note = given.by.strip(), given.note.strip()
    if not 0 < len(by) <= MAX_NAME:
        raise FormatError(f"by must be a name of 1 to {MAX_NAME} characters")
    if len(note) > MAX_NOTE:
        raise FormatError(f"note must have at most {MAX_NOTE:,} characters")
    if given.id is not None and not 0 < len(given.id) <= MAX_ID:
        raise FormatError(f"id must have 1 to {MAX_ID} characters")
    return msgspec.structs.replace(given, by=by, note=note)
