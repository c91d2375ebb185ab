"""The settings: their names, limits and only defaults. The one module that reads the environment.

A YAML file is overridden by environment variables and these by flags; ``layers`` reads and merges them. Every key has
a default, every number a range, and an unknown key is an error that names its path and the nearest known key.
"""

import os
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from detectors.features import Kind
from detectors.outcomes import Task
from stream.settings.layers import Layers, Secret, show

PREFIX = "DRIFTLINE_"
"""Prefix of environment variables that are settings; ``__`` separates levels: ``DRIFTLINE_HTTP__PORT=9200``."""

Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Port = Annotated[int, Meta(ge=0, le=65535)]
PredictionsKept = Annotated[int, Meta(ge=0, le=20_000)]  # with ids of 200 characters, 4 MB in a checkpoint
ObjectiveShare = Annotated[float, Meta(gt=0, lt=1)]
TopicName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,249}$")]


_HOST_NAME = re.compile(r"[A-Za-z0-9._-]+|\[?[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*\]?")  # a name, or an IP address


class SecurityProtocol(StrEnum):
    """The protocols for a connection to Kafka, by Kafka's names."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"


class SaslMechanism(StrEnum):
    """The mechanisms for a login to Kafka, by Kafka's names."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"
    OAUTHBEARER = "OAUTHBEARER"


class Compression(StrEnum):
    """How the records that driftline writes are compressed."""

    NONE = "none"
    GZIP = "gzip"
    SNAPPY = "snappy"
    LZ4 = "lz4"
    ZSTD = "zstd"


class IsolationLevel(StrEnum):
    """Which records of transactions are read, by Kafka's names."""

    READ_COMMITTED = "read_committed"
    READ_UNCOMMITTED = "read_uncommitted"


class KafkaSettings(msgspec.Struct, frozen=True):
    """How to connect to the brokers, and how topics are created."""

    bootstrap_servers: Annotated[str, Meta(min_length=1)] = "127.0.0.1:9092"
    group_id: Annotated[str, Meta(min_length=1)] = "driftline"  # shared by the workers of one deployment
    client_id: str = "driftline"
    security_protocol: SecurityProtocol = SecurityProtocol.PLAINTEXT
    sasl_mechanism: SaslMechanism = SaslMechanism.PLAIN
    sasl_username: str | None = None  # PLAIN and SCRAM
    sasl_password: Secret | None = None
    sasl_oauth_token: Secret | None = None  # a bearer token; from a _file it is read again when it expires
    sasl_oauth_token_file: str | None = None
    ssl_cafile: str | None = None  # PEM; not set: the certificates of the system
    ssl_certfile: str | None = None  # client certificate, PEM
    ssl_keyfile: str | None = None
    ssl_key_password: Secret | None = None
    ssl_check_hostname: bool = True
    session_timeout_ms: Annotated[int, Meta(ge=6_000, le=300_000)] = 30_000  # then a silent worker loses its partitions
    rebalance_timeout_ms: Annotated[int, Meta(ge=6_000, le=600_000)] = 60_000
    request_timeout_ms: Annotated[int, Meta(ge=1_000, le=300_000)] = 40_000
    outage_seconds: Positive | None = None  # a worker ends when no broker answers for this long; not set: it waits
    compression: Compression = Compression.ZSTD  # about lz4's size at a tenth of the CPU
    start_from: Annotated[str, Meta(pattern="^(earliest|latest)$")] = "earliest"  # without a checkpoint
    isolation_level: IsolationLevel = IsolationLevel.READ_COMMITTED  # records of aborted transactions are left out
    create_topics: bool = True  # create missing topics when a worker starts
    partitions: Count = 4  # of topics that driftline creates; the checkpoints' topic gets as many as the input topic
    replication_factor: Annotated[int, Meta(ge=-1, le=10)] = -1  # -1: the broker's default
    max_message_bytes: Annotated[int, Meta(ge=65_536, le=67_108_864)] = 4_194_304  # largest record

    def __post_init__(self) -> None:
        if not self.security_protocol.startswith("SASL"):
            return
        if self.sasl_mechanism is SaslMechanism.OAUTHBEARER:
            if self.sasl_oauth_token is None or not self.sasl_oauth_token.reveal().strip():
                raise ValueError("OAUTHBEARER needs sasl_oauth_token or sasl_oauth_token_file")
        elif self.sasl_username is None or self.sasl_password is None:
            raise ValueError(f"{self.sasl_mechanism} needs sasl_username and sasl_password (or sasl_password_file)")


class EventTopic(msgspec.Struct, frozen=True):
    """A topic of events with a form of its own, as an entry of ``topics.events``. Columns are names of members,
    dotted where nested."""

    topic: TopicName
    format: str = "auto"  # a name that `driftline formats` prints; auto: recognised record by record
    model: Annotated[str, Meta(min_length=1)] | None = None  # the model of all records that name none
    version: Annotated[str, Meta(min_length=1)] | None = None
    id: str | None = None  # column with the event's id; key: the record's key
    ts: str | None = None  # column with the event's time
    ts_unit: Literal["s", "ms", "us", "ns"] | None = None  # unit of numbers in that column
    prediction: str | None = None  # column with the prediction
    label: str | None = None  # column with the truth; it is no feature
    segment: str | None = None  # column with the segment
    latency_ms: str | None = None  # column with the latency in milliseconds
    columns: tuple[str, ...] = ()  # names by place, for rows without names
    ignore: tuple[str, ...] = ()  # columns that are not features


class TopicSettings(msgspec.Struct, frozen=True):
    """Topic names. ``events`` and ``labels`` are the user's topics, the others are driftline's own."""

    events: tuple[TopicName | EventTopic, ...] = ("inference-events",)  # topics that models publish to
    labels: tuple[TopicName, ...] = ("inference-labels",)  # topics with the labels of predictions
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
        names = [*self.event_names, *self.labels, *self.own()]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"topic {twice[0]!r} is used for two purposes")
        if not self.events:
            raise ValueError("events names no topic")

    @property
    def event_names(self) -> tuple[str, ...]:
        """The names of the topics of events."""
        return tuple(one.topic if isinstance(one, EventTopic) else one for one in self.events)

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


class SchemaRegistrySettings(msgspec.Struct, frozen=True):
    """A schema registry with Confluent's interface, for values that only their schema explains (Avro)."""

    url: str | None = None  # as http://registry:8081; not set: only JSON is read
    username: str | None = None  # basic authentication
    password: Secret | None = None
    token: Secret | None = None  # a bearer token
    ssl_cafile: str | None = None  # PEM; not set: the certificates of the system

    def __post_init__(self) -> None:
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url is {self.url!r}; it must begin with http:// or https://")
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password (or password_file) are needed together")


class HttpSettings(msgspec.Struct, frozen=True):
    """The server of metrics, JSON and page. Requests that change something need ``token``."""

    host: str = "127.0.0.1"  # address to listen on
    port: Port = 9108  # 0: any free port
    token: Secret | None = None  # not set: every request that changes something is refused
    allowed_hosts: tuple[str, ...] = ()  # names in the header Host besides localhost, as behind a proxy
    max_request_bytes: Annotated[int, Meta(ge=1_024, le=16_777_216)] = 65_536

    def __post_init__(self) -> None:
        if self.token is not None and not self.token.reveal().strip():
            raise ValueError("token is empty; remove it, or set a secret")
        for host in self.allowed_hosts:
            if not _HOST_NAME.fullmatch(host):
                raise ValueError(f"allowed_hosts: {host!r} must be a host's name or address, without a port")


class LimitSettings(msgspec.Struct, frozen=True):
    """Limits per worker or model. Each time that one is reached is counted.

    Memory is about features x units x 8 KB: 1,000 units of 20 features need 160 MB.
    """

    models: Count = 1_000  # in one partition
    versions_per_model: Count = 10
    segments_per_model: Count = 50
    units: Count = 2_000  # (model, version, segment) in one partition
    silent_days: Positive = 30.0  # a model version without events for longer does not count for the limits above
    features_per_model: Count = 1_000
    categories_per_feature: Count = 1_000
    category_length: Count = 256  # characters; a longer category is cut
    event_bytes: Count = 4_194_304
    rows_per_message: Count = 100_000
    names_per_event: Annotated[int, Meta(ge=2_000)] = 10_000  # features and scores; an event with more is a dead letter
    dead_letters_per_second: Annotated[int, Meta(ge=0)] = 100  # of a worker; further ones are counted and not copied
    feature_series_per_model: Count = 100  # features of a model version with series in /metrics
    poll_records: Count = 5_000  # most records read at once
    predictions_kept: PredictionsKept = 1_000  # newest predictions of a unit that a label can still be joined to
    unit_checkpoint_bytes: Annotated[int, Meta(ge=65_536, le=67_108_864)] = 4_000_000  # below max_message_bytes
    signals_per_profile: Count = 50  # most signals in one profile
    incidents_kept: Count = 1_000  # in the memory of a worker; the oldest resolved ones go first


class BlindSettings(msgspec.Struct, frozen=True):
    """When a model counts as blind: silent for ``silent_factor`` times its usual gap between events, but not before
    ``min_silent_seconds``. For a model whose usual gap is unknown ``max_silent_seconds`` counts. A silence that is
    usual at its hour is quiet instead."""

    silent_factor: Positive = 20.0  # silent for this many times the usual gap between events
    min_silent_seconds: Positive = 60.0  # and at least this long
    max_silent_seconds: Positive = 3_600.0  # silence of a model whose usual gap is unknown
    lag_seconds: Positive = 60.0  # the newest event read is older than this while more are waiting
    lag_records: Count = 1_000_000  # more records than this are waiting to be read
    invalid_share: Share = 0.5  # share of the last minute's records that are invalid
    invalid_records: Count = 100  # and at least this many
    labels_seconds: Positive = 86_400.0  # event time without expected labels, or 3 times the longest earlier pause


class DetectionSettings(msgspec.Struct, frozen=True):
    """Rarely changed. The number of false alarms depends on ``false_alarms_per_model_per_month`` alone."""

    tolerance: Annotated[float, Meta(ge=0, le=0.2)] = 0.02  # ignored change: 0.02 is a shift of 0.05 sd
    band_z: Annotated[float, Meta(ge=0, le=10)] = 4.5  # standard errors of the reference that count as no change
    warning_share: Share = 0.75  # state "warning" from this share of the logarithm of the threshold
    look_ms: Annotated[int, Meta(ge=100, le=3_600_000)] = 1_000  # event time between two looks at a model
    disorder_ms: Annotated[int, Meta(ge=0, le=600_000)] = 500  # how much later an event comes than newer ones
    detectors: tuple[str, ...] = ("adwin", "page_hinkley")  # second opinions, which never raise an incident
    page_hinkley_threshold: Positive = 53.0  # one false signal in 1e7 independent events
    adwin_delta: Annotated[float, Meta(gt=0, lt=1)] | None = None  # not set: 2e-4, about as seldom
    late_ms: Annotated[int, Meta(ge=0)] = 86_400_000  # events older than the newest one by more than this are left out
    resolve_after_events: Count = 1_000  # events without a difference that resolve an incident
    season: Literal["auto", "none"] = "auto"  # auto: learn seasons and dependence; none: all hours are alike
    reopen_seconds: Annotated[float, Meta(ge=0)] = 3_600.0  # a change again within this reopens its incident; 0: never


class RetrainSettings(msgspec.Struct, frozen=True):
    """When retraining is requested."""

    enabled: bool = True
    dry_run: bool = False  # count requests and send none
    cooldown_seconds: Annotated[float, Meta(ge=0)] = 86_400.0  # event time between two requests of a model version
    weekly_cap: Annotated[int, Meta(ge=0)] = 3  # requests of a model version in seven days


class FeatureSettings(msgspec.Struct, frozen=True):
    """One feature whose inferred kind is wrong."""

    kind: Kind | None = None  # numeric or categorical; not set: inferred from the values


class ShareObjective(msgspec.Struct, frozen=True):
    """The share of a model's events that should be good."""

    at_least: ObjectiveShare | None = None  # share of good events; not set: no objective


class LatencyObjective(msgspec.Struct, frozen=True):
    """The share of a model's events that should be answered in time."""

    below_ms: Positive | None = None  # a good event has at most this latency_ms
    at_least: ObjectiveShare | None = None  # share of good events; not set: no objective

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
    """One model, all its versions.

    ``reference``: a file, which is published to the references topic at start; ``topic`` or ``learn``: the reference in
    that topic, and if there is none, the first ``learning_events`` become the reference.
    """

    reference: str = "topic"  # a file, "topic", or "learn"
    segment_by: str | None = None  # a feature; each of its categories is judged on its own
    features: dict[str, FeatureSettings] = {}
    ignore: tuple[str, ...] = ()  # features that are not watched
    false_alarms_per_model_per_month: Positive | None = None  # not set: that of the top level
    learning_events: Annotated[int, Meta(ge=200)] | None = None  # not set: that of the top level
    predictions_kept: PredictionsKept | None = None  # not set: limits.predictions_kept
    task: Task | None = None  # not set: inferred from predictions and labels
    objectives: ObjectiveSettings = ObjectiveSettings()


class Settings(msgspec.Struct, frozen=True):
    """All settings. ``Settings()`` watches every model whose events arrive on a broker at 127.0.0.1:9092."""

    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    http: HttpSettings = HttpSettings()
    schema_registry: SchemaRegistrySettings = SchemaRegistrySettings()
    limits: LimitSettings = LimitSettings()
    blind: BlindSettings = BlindSettings()
    detection: DetectionSettings = DetectionSettings()
    retrain: RetrainSettings = RetrainSettings()
    models: dict[str, ModelSettings] = {}
    false_alarms_per_model_per_month: Annotated[float, Meta(gt=0, le=1_000)] = 1.0  # the budget of false alarms
    checkpoint_interval_seconds: Annotated[float, Meta(ge=0.1, le=3_600)] = 30.0  # time between two checkpoints
    learning_events: Annotated[int, Meta(ge=200)] = 10_000  # events that become the reference of a model without one
    shutdown_seconds: Annotated[float, Meta(gt=0, le=60)] = 8.0  # time for the last checkpoint when a worker stops
    log_level: Annotated[str, Meta(pattern="^(debug|info|warning|error)$")] = "info"

    def model(self, name: str) -> ModelSettings:
        """The model's settings. A setting that the model leaves open has the value of the top level."""
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
    # Kubernetes sets these in every pod for a service whose name begins with "driftline"
    r"|((?!.*__).*_)?(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_\d+_(TCP|UDP|SCTP)(_.*)?)?))$"
)


def load(
    path: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """The settings in use. ``flags``: values by dotted key (``kafka.bootstrap_servers``); None values are left out.

    ``path`` None: the file that DRIFTLINE_CONFIG names, or no file. Raises SettingsError.
    """
    variables = os.environ if environ is None else environ
    path = path or variables.get(PREFIX + "CONFIG")
    layers = Layers(Settings)
    if path is not None:
        layers.add_file(Path(path))
    layers.add_environment({k: v for k, v in variables.items() if k.startswith(PREFIX) and not _NOT_SETTINGS.match(k)})
    layers.add_flags({key: value for key, value in (flags or {}).items() if value is not None})
    return layers.convert()


def environment_variable(name: str, environ: Mapping[str, str] | None = None) -> str | None:
    """An environment variable that is not a setting, for modules that may not read the environment."""
    return (os.environ if environ is None else environ).get(name)


def masked(settings: Settings) -> dict[str, Any]:
    """The settings as plain values to show; every secret is ``****``."""
    plain = msgspec.to_builtins(settings, enc_hook=show)
    assert isinstance(plain, dict)
    return plain
