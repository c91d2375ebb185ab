"""InferencePublisher, which a model calls for every prediction. It never blocks and never raises in the caller.

A call costs one JSON encoding and one append to librdkafka's queue. Batching, compression, sending and retries
happen in librdkafka's own threads, outside the interpreter's lock. One further thread serves its callbacks. An event
that does not fit into the queue, or that cannot be delivered in time, is dropped and counted by reason. At any time
``logged == delivered + queued + sum(dropped.values())``.
"""

import ctypes
import itertools
import json
import logging
import math
import os
import secrets
import threading
import time
import weakref
from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import confluent_kafka
import msgspec
import orjson

from detectors import plain_values
from detectors.errors import SettingsError
from stream.fingerprint import fingerprint

log = logging.getLogger("driftline.publisher")

DEFAULT_EVENTS_TOPIC = "inference-events"
DEFAULT_LABELS_TOPIC = "inference-labels"

QUEUE_FULL = "queue_full"
"""The queue is full, by events or by bytes: the broker is unreachable, or slower than the model."""
TOO_LARGE = "too_large"
"""The event is larger than a Kafka message may be."""
UNENCODABLE = "unencodable"
"""The event cannot be written as JSON."""
UNDELIVERED = "undelivered"
"""The broker did not accept the event within the delivery timeout, or refused it."""
CLOSED = "closed"
"""The event was logged after ``close``, or was still queued when ``close`` ran out of time."""

POLL_SECONDS = 0.25
WARNING_SECONDS = 60.0
EXIT_FLUSH_SECONDS = 2.0

_ENCODING = orjson.OPT_SERIALIZE_NUMPY
_GENERAL_ENCODING = _ENCODING | orjson.OPT_NON_STR_KEYS


class PublisherStats(msgspec.Struct, frozen=True):
    """Counts of events since the publisher started in this process. ``queued`` events are still being sent."""

    logged: int
    delivered: int
    queued: int
    dropped: dict[str, int]
    last_error: str | None


class _Link:
    """The producer, its callback thread and the counters. They outlive the publisher object until everything is
    flushed."""

    __slots__ = (
        "_client",
        "_fatal",
        "_lock",
        "_reported",
        "_stopping",
        "_thread",
        "_warned_at",
        "dropped",
        "last_error",
        "producer",
    )

    def __init__(self, client: dict[str, Any]) -> None:
        self._client = {**client, "error_cb": self._on_error, "on_delivery": self._on_delivery}
        self._fatal = False
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._warned_at = -math.inf
        self._reported = 0
        self.dropped: dict[str, int] = {}
        self.last_error: str | None = None
        try:
            self.producer = confluent_kafka.Producer(self._client, logger=log)
        except (confluent_kafka.KafkaException, TypeError, ValueError) as error:
            raise SettingsError(f"publisher: {_text(error)}") from error
        self._thread = threading.Thread(target=self._serve, name="driftline-publisher", daemon=True)
        self._thread.start()

    def drop(self, reason: str) -> None:
        with self._lock:
            self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def close(self, timeout_seconds: float) -> None:
        """Sends queued events. Events that are left at the deadline are dropped as CLOSED."""
        if self._stopping.is_set():
            return
        self.producer.flush(timeout_seconds)
        self._stopping.set()
        self.producer.purge()
        self.producer.flush(1.0)
        self._thread.join(1.0)
        self._warn(time.monotonic(), math.inf)

    def abandon(self) -> None:
        """Keeps the producer from being destroyed in a forked child. Its threads do not exist there, and destroying
        it would wait for them."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.producer))

    def _serve(self) -> None:
        while not self._stopping.is_set():
            self.producer.poll(POLL_SECONDS)
            if self._fatal:
                self._replace()
            self._warn(time.monotonic(), WARNING_SECONDS)

    def _replace(self) -> None:
        """Starts a new producer. After a fatal error an idempotent producer refuses every further event."""
        self._fatal = False
        broken, self.producer = self.producer, confluent_kafka.Producer(self._client, logger=log)
        broken.purge()
        broken.flush(1.0)

    def _warn(self, now: float, interval: float) -> None:
        dropped = sum(self.dropped.values())
        if dropped > self._reported and (interval is math.inf or now - self._warned_at >= interval):
            log.warning(
                "dropped %d events so far: %s (%s)", dropped, self.dropped, self.last_error or "no broker error"
            )
            self._warned_at, self._reported = now, dropped

    def _on_error(self, error: confluent_kafka.KafkaError) -> None:
        if self.last_error is None:
            log.warning("%s; events wait in the queue", error.str())
        self.last_error = error.str()
        self._fatal = self._fatal or error.fatal()

    def _on_delivery(self, error: confluent_kafka.KafkaError | None, _message: object) -> None:
        if error is None:  # never called for delivered events: delivery.report.only.error
            return
        purged = error.code() in (confluent_kafka.KafkaError._PURGE_QUEUE, confluent_kafka.KafkaError._PURGE_INFLIGHT)
        if not purged:
            self.last_error = error.str()
        self.drop(CLOSED if purged and self._stopping.is_set() else UNDELIVERED)


class InferencePublisher:
    """Publishes one model version's inferences as native events.

    ::

        with InferencePublisher("fraud", "3", bootstrap_servers="kafka:9092") as publisher:
            publisher.log({"amount": 12.5, "country": "NL"}, prediction=0, scores={"fraud": 0.03})

    Events without a key are spread over the topic's partitions, one whole batch to a partition at a time. The
    environment fingerprint is sent with the first event and then every ``environment_interval_seconds``, so that every
    partition gets it, and so does a worker that starts later. Safe to use from several threads, and after a fork (a
    child has its own queue).

    :param max_queue_events, max_queue_bytes: limits while the broker is unreachable; 64 MiB: about 100,000 events.
    :param delivery_timeout_seconds: time after which an event that was not delivered is dropped.
    :param close_timeout_seconds: longest time that leaving the ``with`` block may take.
    :param environment: fingerprint to send; default: the libraries imported so far (``stream.fingerprint``).
    :param client: further librdkafka settings (``security.protocol``, ``sasl.username``, ...); they win over others.
    :raises SettingsError: a client setting is wrong. An unreachable broker raises nothing.
    """

    _environment_due_ms: int
    _link: _Link

    def __init__(
        self,
        model: str,
        version: str,
        *,
        bootstrap_servers: str = "127.0.0.1:9092",
        topic: str = DEFAULT_EVENTS_TOPIC,
        labels_topic: str = DEFAULT_LABELS_TOPIC,
        max_queue_events: int = 100_000,
        max_queue_bytes: int = 64 * 1024 * 1024,
        delivery_timeout_seconds: float = 120.0,
        close_timeout_seconds: float = 5.0,
        environment: Mapping[str, str] | None = None,
        environment_interval_seconds: float = 10.0,
        client: Mapping[str, Any] | None = None,
    ) -> None:
        self.model, self.version, self.topic, self.labels_topic = model, str(version), topic, labels_topic
        self.environment = dict(fingerprint() if environment is None else environment)
        self._client = {
            "bootstrap.servers": bootstrap_servers,
            "queue.buffering.max.messages": max_queue_events,
            "queue.buffering.max.kbytes": max(1, max_queue_bytes // 1024),
            "message.timeout.ms": round(delivery_timeout_seconds * 1000),
            "delivery.report.only.error": True,
            "enable.idempotence": True,  # a retry must not become a second event
            "linger.ms": 20,
            "compression.type": "lz4",
            "log_level": 2,  # connection errors are reported once, through error_cb
            **(client or {}),
        }
        self._close_timeout_seconds = close_timeout_seconds
        self._environment_interval_ms = round(environment_interval_seconds * 1000)
        self._begin()
        os.register_at_fork(after_in_child=_after_fork(weakref.ref(self)))

    def log(
        self,
        features: Mapping[str, Any],
        prediction: Any = None,
        *,
        scores: Mapping[str, float] | None = None,
        id: str | None = None,  # noqa: A002 - the name of the event's field
        segment: str | None = None,
        latency_ms: float | None = None,
        error: bool | None = None,
        ts: int | datetime | None = None,
        key: str | None = None,
    ) -> str:
        """Queues one inference and returns its id, under which a label can be sent later.

        ``key``: the key of the record, such as a customer; events of one key are in one partition, in their order.
        Without ``id`` a new one is made. Never blocks and never raises; ``stats()`` counts dropped events. Numbers that
        are not finite become null (missing), and so do the missing values of pandas and NumPy. A Series is its
        ``to_dict()``; features that are no mapping are dropped as UNENCODABLE. Cost: about 2 us for 20 features.
        """
        number = next(self._numbers)
        event_id = id if id is not None else f"{self._id_prefix}{number:x}"
        now_ms = time.time_ns() // 1_000_000
        event: dict[str, Any] = {
            "id": event_id,
            "model": self.model,
            "version": self.version,
            "ts": now_ms if ts is None else ts,
            "features": features,
            "prediction": prediction,
        }
        if scores is not None:
            event["scores"] = scores
        if segment is not None:
            event["segment"] = segment
        if latency_ms is not None:
            event["latency_ms"] = latency_ms
        if error is not None:
            event["error"] = error
        if now_ms >= self._environment_due_ms:
            self._environment_due_ms = now_ms + self._environment_interval_ms
            event["env"] = self.environment
        if type(features) is not dict and features is not None and (mapping := _mapping(features)) is not features:
            if mapping is None:
                self._link.drop(UNENCODABLE)
                return event_id
            event["features"] = mapping
        self._send(self.topic, event, key)
        return event_id

    def log_label(self, id: str, label: Any, *, ts: int | datetime | None = None) -> None:  # noqa: A002
        """Queues the label (the true outcome) of the inference ``id``. Never blocks and never raises."""
        next(self._numbers)
        ts = time.time_ns() // 1_000_000 if ts is None else ts
        self._send(self.labels_topic, {"id": id, "model": self.model, "label": label, "ts": ts})

    def stats(self) -> PublisherStats:
        """Counts of all events logged so far, by what happened to them."""
        link = self._link
        with self._stats_lock:
            # Reading the counter advances it. So log() needs no lock: next() is atomic, += is not.
            logged = next(self._numbers) - 1 - self._stats_calls
            self._stats_calls += 1
        # In this order an event that is being sent can only be missing from ``delivered``.
        waiting = len(link.producer)  # also counts librdkafka's own messages
        dropped = dict(link.dropped)
        kept = logged - sum(dropped.values())
        queued = min(waiting, kept)
        return PublisherStats(logged, kept - queued, queued, dropped, link.last_error)

    def flush(self, timeout_seconds: float) -> bool:
        """Waits until every event is delivered or dropped; False when time ran out. Blocks, like ``close``."""
        return int(self._link.producer.flush(timeout_seconds)) == 0

    def close(self, timeout_seconds: float | None = None) -> None:
        """Sends queued events for at most ``timeout_seconds``. Events that are logged later are dropped as CLOSED."""
        self._closed = True
        self._link.close(self._close_timeout_seconds if timeout_seconds is None else timeout_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self) -> None:
        self._closed = False
        self._numbers = itertools.count(1)
        self._stats_lock = threading.Lock()
        self._stats_calls = 0
        self._id_prefix = secrets.token_hex(6) + "-"
        self._environment_due_ms = 0
        self._link = _Link(self._client)
        self._exit = weakref.finalize(self, self._link.close, EXIT_FLUSH_SECONDS)

    def _begin_in_child(self) -> None:
        self._exit.detach()
        self._link.abandon()
        if not self._closed:
            self._begin()

    def _send(self, topic: str, event: dict[str, Any], key: str | None = None) -> None:
        link = self._link
        if self._closed:
            link.drop(CLOSED)
            return
        try:
            value = orjson.dumps(event, _default, _ENCODING)
        except Exception:
            encoded = _encode_slowly(event)
            if encoded is None:
                link.drop(UNENCODABLE)
                return
            value = encoded
        try:
            link.producer.produce(topic, value, key)
        except BufferError:
            link.drop(QUEUE_FULL)
        except confluent_kafka.KafkaException as error:
            too_large = error.args[0].code() == confluent_kafka.KafkaError.MSG_SIZE_TOO_LARGE
            link.last_error = _text(error)
            link.drop(TOO_LARGE if too_large else UNDELIVERED)


def _after_fork(reference: "weakref.ref[InferencePublisher]") -> Any:
    def after_in_child() -> None:
        publisher = reference()
        if publisher is not None:
            publisher._begin_in_child()

    return after_in_child


def _mapping(features: Any) -> Mapping[str, Any] | None:
    """Features as a mapping: a Series as its ``to_dict()``; None where they are no mapping."""
    if isinstance(features, Mapping):
        return features
    try:
        found = features.to_dict()
    except Exception:
        return None
    return found if isinstance(found, dict) else None


def _default(value: Any) -> Any:
    """A JSON value for types that orjson does not know: arrays, tensors and scalars of other libraries, Series,
    Decimal, the missing values of pandas and NumPy, dates and durations."""
    value = plain_values.plain(value)
    if value is None or isinstance(value, bytes | bytearray | memoryview):  # binary values are not monitored
        return None
    if isinstance(value, str | int | float | bool | list):
        return value
    for method in ("tolist", "item", "to_dict"):
        convert = getattr(value, method, None)
        if callable(convert):
            return convert()
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "__float__"):
        return float(value)
    return str(value)


def _encode_slowly(event: dict[str, Any]) -> bytes | None:
    """The slow encoding, for keys that are not strings, integers over 64 bits and broken text. None if it fails too."""
    try:
        return orjson.dumps(event, _default, _GENERAL_ENCODING)
    except Exception:
        log.debug("an event cannot be encoded directly as JSON; trying the slow encoding", exc_info=True)
    try:
        return json.dumps(_plain(event), allow_nan=False).encode()
    except Exception:
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int):
        return value
    return _plain(_default(value))


def _text(error: BaseException) -> str:
    inner = error.args[0] if error.args else error
    return inner.str() if isinstance(inner, confluent_kafka.KafkaError) else str(inner)
