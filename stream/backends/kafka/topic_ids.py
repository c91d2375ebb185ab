"""Asks brokers for the ids of topics: a topic that was deleted and made again has another one.

aiokafka 0.14 asks for metadata in versions up to 5, which have no ids. So the request is here, in version 10 (Kafka
2.8).
"""

import asyncio
import uuid
from collections.abc import Collection, Mapping
from io import BytesIO
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import IncompatibleBrokerVersion, NodeNotReadyError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

CONNECTIONS = "topic-ids"
"""The request has a connection of its own: on that of the fetches it would wait until a fetch is answered."""

NO_ID = str(uuid.UUID(int=0))


class _Uuid(AbstractType[str]):  # type: ignore[misc]  # aiokafka has no types
    """16 bytes."""

    @classmethod
    def encode(cls, value: str) -> bytes:
        return uuid.UUID(value).bytes

    @classmethod
    def decode(cls, data: BytesIO) -> str:
        return str(uuid.UUID(bytes=data.read(16)))


class _TopicsResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(("node_id", Int32), ("host", CompactString("utf-8")), ("port", Int32),
                                 ("rack", CompactString("utf-8")), ("tags", TaggedFields))),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        ("topics", CompactArray(
            ("error_code", Int16), ("topic", CompactString("utf-8")), ("topic_id", _Uuid), ("is_internal", Boolean),
            ("partitions", CompactArray(
                ("error_code", Int16), ("partition", Int32), ("leader", Int32), ("leader_epoch", Int32),
                ("replicas", CompactArray(Int32)), ("isr", CompactArray(Int32)),
                ("offline_replicas", CompactArray(Int32)), ("tags", TaggedFields))),
            ("authorized_operations", Int32), ("tags", TaggedFields))),
        ("authorized_operations", Int32),
        ("tags", TaggedFields),
    )  # fmt: skip


class _TopicsRequestStruct(RequestStruct):  # type: ignore[misc]  # aiokafka has no types
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 10
    RESPONSE_TYPE = _TopicsResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("topic", CompactString("utf-8")), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _TopicsRequest(Request[_TopicsRequestStruct]):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 3
    _CLASSES = (_TopicsRequestStruct,)

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class([(NO_ID, topic, {}) for topic in sorted(self._topics)], False, False, False, {})

    def prepare(self, versions: Mapping[int, tuple[int, int]]) -> Any:
        lowest, highest = versions.get(self.API_KEY, (0, 0))
        if not lowest <= _TopicsRequestStruct.API_VERSION <= highest:
            raise IncompatibleBrokerVersion("the broker's metadata has no ids of topics")
        return self.build(_TopicsRequestStruct)


async def topic_ids(consumer: AIOKafkaConsumer, topics: Collection[str], nodes: Collection[int] = ()) -> dict[str, str]:
    """The ids of those of ``topics`` that exist. Empty if the broker is too old to have ids. Creates no topic.

    ``nodes``: brokers that are asked, all of them; otherwise one broker. If they differ, the topic is absent. A broker
    knows about a topic before it serves its records: so what a broker sent before it was asked belongs to that id, or
    to a topic before it.

    Raises KafkaError or OSError.
    """
    client = consumer._client
    if not topics:
        return {}
    asked = set(nodes) or {client.get_random_node()}
    if None in asked:
        raise NodeNotReadyError("no broker is known")
    try:
        answers = await asyncio.gather(
            *(client.send(node, _TopicsRequest(topics), group=CONNECTIONS) for node in sorted(asked))
        )
    except IncompatibleBrokerVersion:
        return {}
    found: dict[str, set[str]] = {}
    for answer in answers:
        for error, topic, topic_id, *_ in answer.topics:
            found.setdefault(topic, set()).add("" if error or topic_id == NO_ID else topic_id)
    return {topic: ids.pop() for topic, ids in found.items() if len(ids) == 1 and ids != {""}}


def leaders(consumer: AIOKafkaConsumer, places: Collection[Any]) -> set[int]:
    """The brokers from which partitions are fetched, as far as the client knows them."""
    cluster = consumer._client.cluster
    known = (cluster.leader_for_partition(place) for place in places)
    return {node for node in known if node is not None and node >= 0}
