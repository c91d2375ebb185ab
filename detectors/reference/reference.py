"""The reference: what production is compared with, one small artefact for each model version.

Only the record and what is cheap to derive from it are here. ``builder`` builds one, ``transform`` maps values by it.

A numeric feature is described by *cells*: ``edges`` e_0 < e_1 < ... < e_{k-1} divide the line into k + 1 half-open
cells ``(-inf, e_0), [e_0, e_1), ..., [e_{k-1}, inf)`` and ``counts`` are the reference's exact counts in them. e_0 is
the smallest value and e_{k-1} the float after the largest, so the outer cells are empty in the reference. A value that
is often repeated (an atom) has a cell of its own, ``[a, nextafter(a))``. Cells are counted and merged as integers, and
every coarser binning is a grouping of them.
"""

import hashlib
import math
import operator
from typing import Any

import msgspec

from detectors.errors import ReferenceError
from detectors.features import Kind, ModelKey

LEARNED, ACCEPTED, FIRST_ROWS = "learned", "accepted", "first rows"
"""The kinds of references (``source["kind"]``) whose rows are those of the stream, in its order."""

SCHEMA = 1
"""Version of the artefact's layout. Another version is refused with an error that names it."""

LARGEST = 2**53
"""Counts above this are not exact as floats."""


class Stratum(msgspec.Struct, frozen=True, omit_defaults=True):
    """Cell counts of the reference rows in a part of the day (and week): ``hour_from`` <= UTC hour < ``hour_to``."""

    hour_from: int
    hour_to: int
    weekdays: tuple[int, ...]  # 0 = Monday; empty = every day
    days: int  # number of different days with rows
    counts: list[int]  # per cell (numeric) or per category, then other and unseen (categorical)
    spread: list[float] = []  # between-day standard deviation of the cumulative share at each edge / of each share


class FeatureReference(msgspec.Struct, frozen=True, omit_defaults=True):
    """One feature in the reference. ``present`` + ``missing`` + ``invalid`` are the reference's rows."""

    feature: str
    kind: Kind
    present: int
    missing: int = 0
    invalid: int = 0
    # numeric
    edges: list[float] = []
    counts: list[int] = []
    mean: float | None = None
    std: float | None = None
    rank_error: float = 0.0  # largest error of a cumulative share, when built from a sketch; 0 when exact
    # categorical and boolean: most frequent first, ties by name
    categories: list[str] = []
    category_counts: list[int] = []
    other: int = 0  # rows in categories beyond the list
    unlisted: float = 0.0  # share of new rows to expect outside the list: new categories, and those beyond it
    unlisted_error: float = 0.0  # largest error of ``unlisted``
    distinct: int = 0
    identifier: bool = False  # an id or counter: nearly every value is new, so new values mean nothing
    # dependence and season
    tau: float = 1.0  # serial-dependence factor >= 1: block variance over the independent one
    tau_within: float = 0.0  # tau within a day (or part) with known mean; 0 where it is not much less
    tau_presence: float = 0.0  # tau of being missing or not; 0: the same as tau
    tau_local: float = 0.0  # tau of neighbouring blocks, without the season (see dependence); 0: not known
    reach: list[float] = []  # how far the cumulative share at each cell may move: seasons.reach
    strata: list[Stratum] = []

    @property
    def rows(self) -> int:
        return self.present + self.missing + self.invalid


class Reference(msgspec.Struct, frozen=True, omit_defaults=True):
    """The artefact. ``digest`` identifies its content: the encoding is deterministic, so equal content has equal
    digests.
    """

    schema: int
    model: str
    version: str
    rows: int
    features: list[FeatureReference]
    environment: dict[str, str] = {}
    source: dict[str, Any] = {}  # file, data revision (git, DVC, MLflow), "learned", "accepted"
    segment: str | None = None  # None: for every segment without a reference of its own
    first_timestamp_ms: int | None = None
    last_timestamp_ms: int | None = None

    @property
    def model_key(self) -> ModelKey:
        return ModelKey(self.model, self.version)

    @property
    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(encode(self)).hexdigest()

    @property
    def of_stream(self) -> bool:
        """Whether its rows are those of the stream itself, in its order: its dependence factors are the stream's."""
        return self.source.get("kind") in (LEARNED, ACCEPTED, FIRST_ROWS)

    def feature(self, name: str) -> FeatureReference | None:
        """The feature of that name, or None. Cost: linear; keep a dict for frequent use."""
        return next((f for f in self.features if f.feature == name), None)


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Reference)


def encode(reference: Reference) -> bytes:
    """The reference as deterministic JSON."""
    return _encoder.encode(reference)


def decode(data: bytes, where: str = "reference") -> Reference:
    """Decodes a reference. Raises ReferenceError with ``where``, the path inside the artefact and the problem."""
    try:
        reference = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ReferenceError(f"{where}: not a reference of driftline: {error}") from error
    if reference.schema != SCHEMA:
        raise ReferenceError(
            f"{where}: reference schema {reference.schema}, this driftline reads {SCHEMA}; rebuild it with "
            "'driftline reference build'"
        )
    names = [feature.feature for feature in reference.features]
    wrong = "it has a feature twice" if len(set(names)) < len(names) else ""
    for feature in reference.features:
        wrong = wrong or _contradiction(feature)
    if wrong:
        raise ReferenceError(f"{where}: {wrong}; rebuild it with 'driftline reference build'")
    return reference


def _contradiction(feature: FeatureReference) -> str:
    """The reason why a feature of a reference is unusable, as text; empty when it is usable."""
    name, edges, counts = f"feature {feature.feature!r}", feature.edges, feature.counts
    if (edges or counts) and len(counts) != len(edges) + 1:
        return f"{name} has {len(counts)} counts for {len(edges)} edges"
    if not all(map(math.isfinite, edges)) or any(map(operator.ge, edges, edges[1:])):
        return f"{name} has edges that are not finite and ascending"
    if len(feature.category_counts) != len(feature.categories) or len(set(feature.categories)) < len(
        feature.categories
    ):
        return f"{name} has {len(feature.category_counts)} counts for {len(set(feature.categories))} categories"
    cells = len(counts) if feature.kind is Kind.NUMERIC else len(feature.categories) + 2
    for stratum in feature.strata:
        if len(stratum.counts) != cells:
            return f"{name} has a stratum with {len(stratum.counts)} counts for {cells} cells"
        if not all(0 <= day < 7 for day in stratum.weekdays) or not 0 <= stratum.hour_from < stratum.hour_to <= 24:
            return f"{name} has a stratum without valid hours or weekdays"
    whole = [feature.present, feature.missing, feature.invalid, feature.other, feature.distinct, *counts]
    whole += [*feature.category_counts, *(n for stratum in feature.strata for n in stratum.counts)]
    if min(whole) < 0 or max(whole) >= LARGEST:
        return f"{name} has a count below 0 or above {LARGEST}"
    if not 0.0 <= feature.unlisted <= 1.0 or not 0.0 <= feature.unlisted_error <= 1.0:
        return f"{name} has a share that is not between 0 and 1"
    if feature.reach and len(feature.reach) != cells:
        return f"{name} has a reach for {len(feature.reach)} of {cells} cells"
    factors = (feature.tau, feature.tau_within or 1.0, feature.tau_presence or 1.0, feature.tau_local or 1.0)
    if min(factors) < 1.0 or (feature.std or 0.0) < 0.0:
        return f"{name} has a negative standard deviation or a dependence factor below 1"
    return ""
