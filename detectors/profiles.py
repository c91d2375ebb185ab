"""The cumulative profile of a shard: counts since the epoch began, never increments.

A profile is a grow-only counter: of two profiles of one shard and epoch, the one with the larger ``next_offset``
contains the other, and profiles of different shards of one epoch add up. All inputs of evidence are integers, so their
sum does not depend on the order or on how rows were distributed over shards.
"""

import msgspec

from detectors.features import Kind, UnitKey
from detectors.outcomes import Outcomes

SCHEMA = 1


class Epoch(msgspec.Struct, frozen=True, omit_defaults=True):
    """The span of a shard under one reference and one set of settings. ``reference`` None: learning."""

    reference: str | None
    settings: str
    first_offset: int


class FeatureProfile(msgspec.Struct, frozen=True, omit_defaults=True):
    """One feature in one shard and epoch. ``count`` + ``missing`` + ``invalid`` = the epoch's events.

    ``cells`` are little-endian int64 counts: numeric, of the reference's cells; categorical, of the reference's
    categories, then other (known to the reference but not listed: never counted here, always 0), then unseen. ``sum1``
    and ``sum2`` are exact integers: the sums of q and q^2, q = rint((x - c) / s * 2^28), with c, s the reference's
    centre and scale (see moments); None while learning, when ``mean`` and ``m2`` are set instead.
    """

    feature: str
    kind: Kind
    count: int
    missing: int = 0
    invalid: int = 0
    cells: bytes = b""
    sum1: int | None = None
    sum2: int | None = None
    mean: float | None = None
    m2: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    sketch: bytes = b""  # quantile sketch: of all values while learning, else of those outside the reference's range
    categories: dict[str, int] = {}  # exact counts up to the limit; under a reference of unlisted ones only
    category_overflow: int = 0  # values of categories beyond the limit
    distinct: bytes = b""  # HLL sketch of the categories; empty for numeric features
    rises: int = 0  # numeric while learning: values above the one before
    falls: int = 0  # numeric while learning: values below the one before
    tau: float = 1.0  # serial-dependence factor of this shard while learning; 1 until it can be estimated
    local: list[float] = []  # local dependence of this shard while learning, by block length: see local_ratios


class Signal(msgspec.Struct, frozen=True, omit_defaults=True):
    """One finding of one detector on one feature of one shard. ``event`` counts the unit's events in this shard."""

    feature: str
    detector: str
    channel: str  # "u", "spread", "z.up", "z.down"
    event: int
    timestamp_ms: int
    next_offset: int


class Profile(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a shard (topic, partition, unit) has counted. ``signals``: the newest, limited; ``signal_count``: all."""

    schema: int
    model: str
    version: str
    segment: str | None
    topic: str
    partition: int
    epoch: Epoch
    next_offset: int
    events: int  # through all epochs
    epoch_events: int
    features: list[FeatureProfile]
    first_timestamp_ms: int | None = None  # of the epoch
    last_timestamp_ms: int | None = None  # largest event time seen
    late: int = 0
    duplicate: int = 0
    signals: list[Signal] = []
    signal_count: int = 0
    environments: dict[str, int] = {}  # canonical JSON of the fingerprint -> events of this epoch, bounded
    suppressed: dict[str, int] = {}  # name of a limit -> how often it was reached
    slot_end_ms: int | None = None  # end of the slot up to which it counts; None: of a version without slots
    slot_level: int = 0
    slot_open: bool = False  # the slot has not ended: a later profile with the same end holds more
    outcomes: Outcomes | None = None  # from labels; like ``events`` through all epochs

    @property
    def unit(self) -> UnitKey:
        return UnitKey(self.model, self.version, self.segment)

    @property
    def shard(self) -> str:
        """The shard's place in the input; it never names a worker."""
        return f"{self.topic}/{self.partition}"
