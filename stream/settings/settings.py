"""The settings: one YAML file, the environment on top, flags on top of that. The sole reader of the environment.

Only the records, their limits and defaults live here; how they are read and merged is in ``config_layers``. Every key
has a default, every number a range, and an unknown key is an error that names its path and the nearest known one.
"""

import os
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from detectors.features import Kind
from detectors.outcomes import Task
from stream.settings import layers as config_layers
from stream.settings.layers import Secret

PREFIX = "DRIFTLINE_"
"""Environment variables that begin so are settings; ``__`` separates levels: ``DRIFTLINE_HTTP__PORT=9200``."""

Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Port = Annotated[int, Meta(ge=0, le=65535)]
PredictionsKept = Annotated[int, Meta(ge=0, le=20_000)]  # an id of 200 characters each: 4 MB in a checkpoint
ObjectiveShare = Annotated[float, Meta(gt=0, lt=1)]
TopicName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,249}$")]


class SecurityProtocol(StrEnum):
    """As Kafka names them."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"


class SaslMechanism(StrEnum):
    """As Kafka names them."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"
    OAUTHBEARER = "OAUTHBEARER"


class Compression(StrEnum):
    """Of what driftline writes."""

    NONE = "none"
    GZIP = "gzip"
    SNAPPY = "snappy"
    LZ4 = "lz4"
    ZSTD = "zstd"


class KafkaSettings(msgspec.Struct, frozen=True):
    """How to reach the brokers and what to ask of them."""

    bootstrap_servers: Annotated[str, Meta(min_length=1)] = "127.0.0.1:9092"
    group_id: Annotated[str, Meta(min_length=1)] = "driftline"  # shared by the workers of one deployment
    client_id: str = "driftline"
    security_protocol: SecurityProtocol = SecurityProtocol.PLAINTEXT
    sasl_mechanism: SaslMechanism = SaslMechanism.PLAIN
    sasl_username: str | None = None  # PLAIN and SCRAM
    sasl_password: Secret | None = None
    sasl_oauth_token: Secret | None = None  # a bearer token; with sasl_oauth_token_file it is read anew when it ages
    sasl_oauth_token_file: str | None = None
    ssl_cafile: str | None = None  # PEM; not set: the system's own
    ssl_certfile: str | None = None  # client certificate, PEM
    ssl_keyfile: str | None = None
    ssl_key_password: Secret | None = None
    ssl_check_hostname: bool = True
    session_timeout_ms: Annotated[int, Meta(ge=6_000, le=300_000)] = 30_000  # silent so long: partitions move
    rebalance_timeout_ms: Annotated[int, Meta(ge=6_000, le=600_000)] = 60_000
    request_timeout_ms: Annotated[int, Meta(ge=1_000, le=300_000)] = 40_000
    compression: Compression = Compression.ZSTD  # as small as lz4, at Kafka's levels, in a tenth of its time
    start_from: Annotated[str, Meta(pattern="^(earliest|latest)$")] = "earliest"  # only where no checkpoint exists
    create_topics: bool = True  # at a worker's start
    partitions: Count = 4  # of topics that driftline creates; the checkpoints take the input's
    replication_factor: Annotated[int, Meta(ge=-1, le=10)] = -1  # -1: the broker's default
    max_message_bytes: Annotated[int, Meta(ge=65_536, le=67_108_864)] = 4_194_304  # of checkpoints and references

    def __post_init__(self) -> None:
        if not self.security_protocol.startswith("SASL"):
            return
        if self.sasl_mechanism is SaslMechanism.OAUTHBEARER:
            if self.sasl_oauth_token is None:
                raise ValueError("OAUTHBEARER needs sasl_oauth_token or sasl_oauth_token_file")
        elif self.sasl_username is None or self.sasl_password is None:
            raise ValueError(f"{self.sasl_mechanism} needs sasl_username and sasl_password (or sasl_password_file)")


class TopicSettings(msgspec.Struct, frozen=True):
    """Topic names. ``events`` and ``labels`` are the user's, the others driftline's own."""

    events: tuple[TopicName, ...] = ("inference-events",)
    labels: tuple[TopicName, ...] = ("inference-labels",)
    references: TopicName = "driftline-references"
    profiles: TopicName = "driftline-profiles"
    checkpoints: TopicName = "driftline-checkpoints"
    dead_letters: TopicName = "driftline-dead-letters"
    views: TopicName = "driftline-views"
    incidents: TopicName = "driftline-incidents"
    actions: TopicName = "driftline-actions"
    drift_events: TopicName = "drift-events"
    retrain_requests: TopicName = "retrain-requests"

    def __post_init__(self) -> None:
        names = [*self.events, *self.labels, *self.own()]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"topic {twice[0]!r} is used for two purposes")
        if not self.events:
            raise ValueError("events names no topic")

    def own(self) -> tuple[str, ...]:
        """The topics that driftline writes."""
        return (
            self.references,
            self.profiles,
            self.checkpoints,
            self.dead_letters,
            self.views,
            self.incidents,
            self.actions,
            self.drift_events,
            self.retrain_requests,
        )


class HttpSettings(msgspec.Struct, frozen=True):
    """The metrics, the JSON and the page. What writes needs ``token``; without one nothing can be written."""

    host: str = "127.0.0.1"
    port: Port = 9108  # 0: any free one
    token: Secret | None = None  # not set: nothing can be written over HTTP
    max_request_bytes: Annotated[int, Meta(ge=1_024, le=16_777_216)] = 65_536


class LimitSettings(msgspec.Struct, frozen=True):
    """Bounds per worker or model; each is counted where it bites.

    Memory is about features x units x 8 KB: the defaults hold 1,000 units of 20 features in 160 MB.
    """

    models: Count = 1_000
    versions_per_model: Count = 10
    segments_per_model: Count = 50
    units: Count = 2_000  # (model, version, segment) in one partition
    features_per_model: Count = 1_000
    categories_per_feature: Count = 1_000
    category_length: Count = 256  # characters; a longer text is cut
    event_bytes: Count = 4_194_304
    rows_per_message: Count = 100_000
    dead_letters_per_second: Annotated[int, Meta(ge=0)] = 100
    feature_series_per_model: Count = 100  # in /metrics
    poll_records: Count = 5_000
    predictions_kept: PredictionsKept = 1_000  # newest of a unit, which a label can still find
    unit_checkpoint_bytes: Annotated[int, Meta(ge=65_536, le=67_108_864)] = 4_000_000  # below max_message_bytes
    signals_per_profile: Count = 50
    incidents_kept: Count = 1_000


class BlindSettings(msgspec.Struct, frozen=True):
    """When a model counts as unseen. A model silent for ``silent_factor`` times its usual gap is blind, but not
    before ``min_silent_seconds``; ``max_silent_seconds`` holds for a model whose usual gap is not known."""

    silent_factor: Positive = 20.0
    min_silent_seconds: Positive = 60.0
    max_silent_seconds: Positive = 3_600.0
    lag_seconds: Positive = 60.0  # the newest event read is older than this while there is more to read
    lag_records: Count = 1_000_000
    invalid_share: Share = 0.5  # of the records of the last minute
    invalid_records: Count = 100  # and at least so many
    labels_seconds: Positive = (
        86_400.0  # of event time without labels, where they are to come; or 3 of the longest pauses
    )


class DetectionSettings(msgspec.Struct, frozen=True):
    """What seldom needs touching; the promise is set by ``false_alarms_per_model_per_month`` alone."""

    tolerance: Annotated[float, Meta(ge=0, le=0.2)] = 0.02  # change too small to matter: .02 is a .05 sigma shift
    band_z: Annotated[float, Meta(ge=0, le=10)] = 4.5
    warning_share: Share = 0.75  # of the log threshold at which a model is in "warning"
    look_ms: Annotated[int, Meta(ge=100, le=3_600_000)] = 1_000  # of event time between two looks
    detectors: tuple[str, ...] = ("adwin", "page_hinkley")  # the second opinion
    page_hinkley_threshold: Positive = 53.0  # one false signal in 1e7 independent events
    adwin_delta: Annotated[float, Meta(gt=0, lt=1)] | None = None  # None: from the budget
    late_ms: Annotated[int, Meta(ge=0)] = 86_400_000
    resolve_after_events: Count = 1_000


class RetrainSettings(msgspec.Struct, frozen=True):
    """Guards of retrain requests."""

    enabled: bool = True
    dry_run: bool = False  # log what would be requested
    cooldown_seconds: Annotated[float, Meta(ge=0)] = 86_400.0
    weekly_cap: Annotated[int, Meta(ge=0)] = 3  # requests per model


class FeatureSettings(msgspec.Struct, frozen=True):
    """One feature, where the inferred kind is not what is meant."""

    kind: Kind | None = None


class ShareObjective(msgspec.Struct, frozen=True):
    """The share of a model's events that shall be good."""

    at_least: ObjectiveShare | None = None  # share of good events; not set: nothing is promised


class LatencyObjective(msgspec.Struct, frozen=True):
    """The share of a model's events that shall be answered in time."""

    below_ms: Positive | None = None  # latency_ms of a good event is at most this
    at_least: ObjectiveShare | None = None  # share of good events; not set: nothing is promised

    def __post_init__(self) -> None:
        if (self.below_ms is None) != (self.at_least is None):
            raise ValueError("latency needs both below_ms and at_least")


class ObjectiveSettings(msgspec.Struct, frozen=True):
    """A model's service level objectives: accuracy of labelled predictions, availability (no error) of all events,
    latency of those with ``latency_ms``."""

    accuracy: ShareObjective = ShareObjective()
    availability: ShareObjective = ShareObjective()
    latency: LatencyObjective = LatencyObjective()


class ModelSettings(msgspec.Struct, frozen=True):
    """One model, all its versions. ``reference``: a file, which is published to the artefact topic at start; ``topic``
    or ``learn``: what that topic has, and where it has none, the first ``learning_events`` become one."""

    reference: str = "topic"  # a file, "topic", or "learn"
    segment_by: str | None = None  # a feature whose values are judged each on its own
    features: dict[str, FeatureSettings] = {}
    ignore: tuple[str, ...] = ()  # features to leave out
    false_alarms_per_model_per_month: Positive | None = None
    learning_events: Annotated[int, Meta(ge=200)] | None = None
    predictions_kept: PredictionsKept | None = None  # not set: limits.predictions_kept
    task: Task | None = None  # not set: told from predictions and labels
    objectives: ObjectiveSettings = ObjectiveSettings()


class Settings(msgspec.Struct, frozen=True):
    """Everything. ``Settings()`` watches whatever arrives on a broker at 127.0.0.1:9092."""

    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    http: HttpSettings = HttpSettings()
    limits: LimitSettings = LimitSettings()
    blind: BlindSettings = BlindSettings()
    detection: DetectionSettings = DetectionSettings()
    retrain: RetrainSettings = RetrainSettings()
    models: dict[str, ModelSettings] = {}
    false_alarms_per_model_per_month: Annotated[float, Meta(gt=0, le=1_000)] = 1.0  # the one knob
    checkpoint_interval_seconds: Annotated[float, Meta(ge=0.1, le=3_600)] = 30.0
    learning_events: Annotated[int, Meta(ge=200)] = 10_000  # become the reference where there is none
    shutdown_seconds: Annotated[float, Meta(gt=0, le=60)] = 8.0  # for the last checkpoint
    log_level: Annotated[str, Meta(pattern="^(debug|info|warning|error)$")] = "info"

    def model(self, name: str) -> ModelSettings:
        """The model's own settings, with what they leave open filled in from the whole."""
        own = self.models.get(name, _NO_MODEL)
        budget, learning = own.false_alarms_per_model_per_month, own.learning_events
        return msgspec.structs.replace(
            own,
            false_alarms_per_model_per_month=self.false_alarms_per_model_per_month if budget is None else budget,
            learning_events=self.learning_events if learning is None else learning,
        )


_NO_MODEL = ModelSettings()

_NOT_SETTINGS = re.compile(
    r"^DRIFTLINE_(TEST_.*|CONFIG"
    # what Kubernetes sets in every pod for a service whose name begins with "driftline"
    r"|((?!.*__).*_)?(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_\d+_(TCP|UDP|SCTP)(_.*)?)?))$"
)


def load(
    path: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """The settings in force. ``flags`` are dotted keys (``kafka.bootstrap_servers``); those of None are left out.

    ``path`` None: the file that DRIFTLINE_CONFIG names, or none. Raises SettingsError.
    """
    variables = os.environ if environ is None else environ
    path = path or variables.get(PREFIX + "CONFIG")
    layers = config_layers.Layers(Settings)
    if path is not None:
        layers.add_file(Path(path))
    layers.add_environment({k: v for k, v in variables.items() if k.startswith(PREFIX) and not _NOT_SETTINGS.match(k)})
    layers.add_flags({key: value for key, value in (flags or {}).items() if value is not None})
    return layers.convert()


def environment_variable(name: str, environ: Mapping[str, str] | None = None) -> str | None:
    """A variable that is not a setting, for those who may not read the environment themselves."""
    return (os.environ if environ is None else environ).get(name)


def masked(settings: Settings) -> dict[str, Any]:
    """Plain values for showing; every secret reads ``****``."""
    plain = msgspec.to_builtins(settings, enc_hook=config_layers.show)
    assert isinstance(plain, dict)
    return plain
