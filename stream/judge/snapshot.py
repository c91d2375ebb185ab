"""The wire form of a unit's snapshot: a versioned, checked, compressed envelope. Plain records, never a pickle.

The parts of a unit's judge snapshot and restore themselves, each with a record of its own. Here their members are put
into one record and taken apart again.
"""

import zlib
from collections.abc import Iterable
from typing import Any, TypeVar

import cramjam
import msgspec

from detectors.errors import CheckpointError
from detectors.evidence.watch import WatchState
from detectors.features import UnitKey
from detectors.incidents.activity import ActivityState
from detectors.incidents.incident import Incident
from detectors.merging import Place
from detectors.outcomes import Outcomes
from detectors.performance.label_arrival import LabellingState
from detectors.performance.outcome_watch import OutcomeWatchState
from detectors.profiles import Epoch, Profile
from detectors.reference.accepted import Tally
from stream.judge.frontier import NOWHERE
from stream.judge.shard import ShardState
from stream.topics.checkpoints import ZSTD_LEVEL, unpacked
from stream.topics.quarantine import Quarantine
from stream.topics.requests import ForgetRequest

MAGIC = b"DLJU"
SCHEMA = 2
DEFLATED = 1
"""The earlier schema, which packs the body in another way. It is read and never written."""

MAX_PLAIN_BYTES = 256_000_000


class StoredShard(msgspec.Struct, frozen=True, omit_defaults=True):
    """A ShardState on the wire."""

    profile: bytes  # JSON, whose integers have no limit
    passed: list[Epoch] = []
    judged: bool = False
    base: bool = False
    reached: Place | None = None


class StoredUnit(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that a judge knows of a unit, but for what the reference gives. The order of the members is part of
    the format; a member has the name that it has in the record of its part."""

    unit: UnitKey
    shards: dict[str, StoredShard]
    digest: str | None
    left: list[str | None]
    watch: WatchState | None
    state: str
    transitions: int
    episodes: int
    clock_ms: int | None
    incidents: list[Incident]
    retrain_log: list[dict[str, Any]]
    requested_ms: list[int]
    history: list[tuple[int, float]]
    history_step_ms: int
    environment_event: int
    learned: bool
    rhythm: tuple[float, float]
    baselines: dict[str, Tally] = {}
    outcomes: dict[str, tuple[int, Outcomes]] = {}
    forgotten: ForgetRequest | None = None
    away: bool = False
    first_offset: int = msgspec.field(default=0, name="first_heard")
    sharers: int = 1
    labelling: LabellingState | None = None
    outcome_watch: OutcomeWatchState | None = None
    looked_ms: int = NOWHERE
    look_level: int = 0
    recent_by_shard: dict[str, tuple[int, int]] = {}
    first_slot_ms: int | None = None
    behind_slots: int = 0
    activity: ActivityState | None = None
    delay_ms: int = 0
    quarantined: dict[str, Quarantine] = {}


_profiles = msgspec.json.Encoder()
_profile_decoder = msgspec.json.Decoder(Profile)
_encoder = msgspec.json.Encoder()  # sums are integers beyond 64 bits, which msgpack cannot hold
_decoder = msgspec.json.Decoder(StoredUnit)

Members = dict[str, Any]
"""Members of all parts by name; ``shards`` are ShardStates."""

Part = TypeVar("Part", bound=msgspec.Struct)


def encode(unit: UnitKey, parts: Iterable[msgspec.Struct]) -> bytes:
    """The records of all parts, packed. Cost: about 0.8 ms for 20 features."""
    members: Members = {}
    for part in parts:
        members.update(msgspec.structs.asdict(part))
    members["shards"] = {
        name: StoredShard(_profiles.encode(s.profile), s.passed, s.judged, s.base, s.reached)
        for name, s in members["shards"].items()
    }
    return pack(_encoder.encode(StoredUnit(unit=unit, **members)))


def decode(unit: UnitKey, blob: bytes) -> Members:
    """The members that ``encode`` packed. Raises CheckpointError naming the unit."""
    try:
        stored = _decoder.decode(unpack(unit, blob))
        shards = {
            name: ShardState(_profile_decoder.decode(s.profile), s.passed, s.judged, s.base, s.reached)
            for name, s in stored.shards.items()
        }
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CheckpointError(f"judge of {unit}: snapshot cannot be read: {error}") from error
    if stored.unit != unit:
        raise CheckpointError(f"judge of {unit}: snapshot is of {stored.unit}")
    return {**msgspec.structs.asdict(stored), "shards": shards}


def record_of(part: type[Part], members: Members) -> Part:
    """The record of one part."""
    return part(**{name: members[name] for name in part.__struct_fields__})


def pack(plain: bytes) -> bytes:
    """The envelope of ``plain``: magic, schema, checksum of the body, its plain size, body."""
    body = bytes(cramjam.zstd.compress(plain, ZSTD_LEVEL))
    head = MAGIC + SCHEMA.to_bytes(2, "little") + zlib.crc32(body).to_bytes(4, "little")
    return head + len(plain).to_bytes(4, "little") + body


def unpack(unit: UnitKey, blob: bytes) -> bytes:
    """The bytes that ``pack`` was given. Raises CheckpointError naming the unit."""
    schema = int.from_bytes(blob[4:6], "little")
    start = 10 if schema == DEFLATED else 14
    body, size = blob[start:], int.from_bytes(blob[10:14], "little")
    if blob[:4] != MAGIC:
        raise CheckpointError(f"judge of {unit}: not a snapshot of a judge")
    if schema not in (DEFLATED, SCHEMA):
        raise CheckpointError(f"judge of {unit}: snapshot schema {schema}, this driftline reads up to {SCHEMA}")
    if zlib.crc32(body) != int.from_bytes(blob[6:10], "little") or (schema == SCHEMA and size > MAX_PLAIN_BYTES):
        raise CheckpointError(f"judge of {unit}: snapshot is damaged, its checksum differs")
    what = f"judge of {unit}: snapshot"
    if schema == SCHEMA:
        return unpacked(body, size, what)
    try:
        return zlib.decompress(body)
    except zlib.error as error:
        raise CheckpointError(f"{what} cannot be unpacked: {error}") from error
