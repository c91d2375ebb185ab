"""That a model version, or a segment of it, is not watched any more: a person's word, as the record that carries it.

It lies in the topic of actions, newest by unit. What is forgotten is shown nowhere, is never blind and has no part in
its model's budget; its counts are kept, so that it goes on with them when it sends events again.
"""

import msgspec

from detectors.errors import FormatError
from detectors.features import UnitKey
from stream.topics import keys, requests

SCHEMA = 1

KEY = b"forget/"


class Forgetting(msgspec.Struct, frozen=True, omit_defaults=True):
    """``id`` tells it from all others: asked twice it counts once. ``at_ms`` is wall time."""

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


_decoder = msgspec.json.Decoder(Forgetting)
_encoder = msgspec.json.Encoder(order="deterministic")


def key(forgetting: Forgetting) -> bytes:
    """``forget/`` and the unit."""
    return KEY + keys.unit_key(forgetting.unit)


def encode(forgetting: Forgetting) -> bytes:
    """Deterministic JSON."""
    return _encoder.encode(forgetting)


def decode(value: bytes, where: str) -> Forgetting:
    """Raises FormatError naming ``where``."""
    try:
        forgetting = _decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FormatError(f"{where}: not a model to be forgotten: {error}") from error
    if forgetting.schema != SCHEMA:
        raise FormatError(f"{where}: schema {forgetting.schema}, this driftline reads {SCHEMA}")
    return forgetting


def asked(unit: UnitKey, body: bytes, at_ms: int, new_id: str) -> Forgetting:
    """What a request's ``body`` asks for. Raises FormatError with what is wrong, for the one who asked."""
    given = requests.asker(body)
    if given.silence_hours is not None:
        raise FormatError("silence_hours: only with ack or silence")
    return Forgetting(SCHEMA, given.id or new_id, *unit, given.by, at_ms, given.note)
