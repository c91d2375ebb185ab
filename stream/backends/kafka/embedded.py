"""A Kafka broker inside this process: librdkafka's mock cluster, from the library in the confluent-kafka wheel.

Real clients connect to it over loopback, with commits and outages. It keeps 5 MiB per partition and deletes older
records without notice, compacts nothing, and has no admin requests: for the demo and for tests, never to measure speed.
A group has one member: a second one is refused (InvalidRequest) if the leader syncs first, which aiokafka does.
"""

import ctypes
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from detectors.errors import BrokerError

_PRODUCER = 0
_OK = 0
_ERROR_BYTES = 512


class EmbeddedBroker:
    """A broker at ``bootstrap_servers``, from construction to ``close``. Topics that are not in ``topics`` are created
    with ``partitions`` partitions when a client asks for them."""

    def __init__(self, brokers: int = 1, partitions: int = 4, topics: Mapping[str, int] | None = None) -> None:
        self._library = _library()
        self._handle: int | None = None
        self._cluster: int | None = None
        error = ctypes.create_string_buffer(_ERROR_BYTES)
        settings = self._library.rd_kafka_conf_new()
        for name, value in (("client.id", "embedded"), ("log_level", "0")):
            self._library.rd_kafka_conf_set(settings, name.encode(), value.encode(), error, _ERROR_BYTES)
        # The cluster needs a client handle to live in; this one connects to nothing.
        self._handle = self._library.rd_kafka_new(_PRODUCER, settings, error, _ERROR_BYTES)
        if not self._handle:
            raise BrokerError(f"the embedded broker cannot start: {error.value.decode()}")
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._handle, brokers)
        if not self._cluster:
            self.close()
            raise BrokerError("the embedded broker cannot start: no port on loopback")
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self.brokers = brokers
        self.partitions = partitions
        self.bootstrap_servers: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        for name, count in (topics or {}).items():
            self.create_topic(name, count)

    def create_topic(self, name: str, partitions: int | None = None) -> None:
        """Raises BrokerError if the topic exists."""
        count = self.partitions if partitions is None else partitions
        self._call("create topic " + name, self._library.rd_kafka_mock_topic_create, name.encode(), count, self.brokers)

    def down(self, broker: int = 1) -> None:
        """Closes the broker's connections and accepts no new ones, until ``up``."""
        self._call("go down", self._library.rd_kafka_mock_broker_set_down, broker)

    def up(self, broker: int = 1) -> None:
        self._call("come up", self._library.rd_kafka_mock_broker_set_up, broker)

    def delay(self, broker: int, milliseconds: int) -> None:
        """Delays every answer of the broker by this time."""
        self._call("wait", self._library.rd_kafka_mock_broker_set_rtt, broker, milliseconds)

    def close(self) -> None:
        """Ends the broker; its records are gone."""
        cluster, self._cluster = self._cluster, None
        handle, self._handle = self._handle, None
        if cluster:
            self._library.rd_kafka_mock_cluster_destroy(cluster)
        if handle:
            self._library.rd_kafka_destroy(handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, what: str, function: Callable[..., int], *arguments: Any) -> None:
        if self._cluster is None:
            raise BrokerError(f"the embedded broker cannot {what}: it is closed")
        code = function(self._cluster, *arguments)
        if code != _OK:
            reason = self._library.rd_kafka_err2str(code).decode()
            raise BrokerError(f"the embedded broker cannot {what}: {reason}")


def _library() -> Any:
    """librdkafka from the confluent-kafka wheel, with the signatures that are used here."""
    library = ctypes.CDLL(str(_path()))
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_conf_set": (number, [pointer, text, text, text, ctypes.c_size_t]),
        "rd_kafka_new": (pointer, [number, pointer, text, ctypes.c_size_t]),
        "rd_kafka_destroy": (None, [pointer]),
        "rd_kafka_err2str": (text, [number]),
        "rd_kafka_mock_cluster_new": (pointer, [pointer, number]),
        "rd_kafka_mock_cluster_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_bootstraps": (text, [pointer]),
        "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_topic_create": (number, [pointer, text, number, number]),
        "rd_kafka_mock_broker_set_down": (number, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_broker_set_up": (number, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_broker_set_rtt": (number, [pointer, ctypes.c_int32, number]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _path() -> Path:
    """The library's file in the wheel: beside the package on Linux, inside it on macOS and Windows."""
    found = importlib.util.find_spec("confluent_kafka")
    if found is None or found.origin is None:
        raise BrokerError("the embedded broker needs the package confluent-kafka")
    package = Path(found.origin).parent
    for folder in (package.parent / "confluent_kafka.libs", package / ".dylibs", package):
        for pattern in ("librdkafka-*.so*", "librdkafka*.so*", "librdkafka*.dylib", "librdkafka*.dll"):
            for path in sorted(folder.glob(pattern)):
                return path
    raise BrokerError(f"the embedded broker needs confluent-kafka as a wheel: no librdkafka beside {package}")
