"""Describes, creates and grows topics of a Kafka cluster. The rules for topics are in ``stream.topics.rules``."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from detectors.errors import BrokerError
from stream.backends.kafka.connection import connection, failed, start
from stream.settings.settings import KafkaSettings
from stream.topics.rules import FoundTopic

BROKER_DEFAULT = -1
UNKNOWN_TOPIC, ALREADY_EXISTS, NO_ERROR = 3, 36, 0
TIMEOUT_MS = 30_000
LOOKS, LOOK_SECONDS = 50, 0.1


class KafkaCluster:
    """An admin client between ``start`` and ``stop``."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._client: AIOKafkaAdminClient | None = None

    async def start(self) -> None:
        """Raises BrokerError if no broker answers, or if it refuses the login."""
        client = AIOKafkaAdminClient(**connection(self._settings), request_timeout_ms=TIMEOUT_MS)
        await start(self._settings, "connect", client, client.close)
        self._client = client

    async def stop(self) -> None:
        """Closes the connection."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def brokers(self) -> int:
        """The number of brokers in the cluster."""
        return len((await self._ask("describe the cluster", self._admin.describe_cluster()))["brokers"])

    async def topics(self, names: Sequence[str]) -> dict[str, FoundTopic]:
        """The topics in ``names`` that exist. No topic is created by asking."""
        if not names:
            return {}
        existing = set(await self._ask("list topics", self._admin.list_topics()))
        present = [name for name in names if name in existing]
        if not present:
            return {}
        described = await self._ask("describe topics", self._admin.describe_topics(present))
        configs = await self._configs(present)
        found: dict[str, FoundTopic] = {}
        for topic in described:
            self._refuse(topic["error_code"], f"describe topic {topic['topic']}", ignore=UNKNOWN_TOPIC)
            parts = topic["partitions"]
            if parts:
                replicas = min(len(part["replicas"]) for part in parts)
                found[topic["topic"]] = FoundTopic(topic["topic"], len(parts), replicas, configs.get(topic["topic"]))
        return found

    async def create(self, name: str, partitions: int, replication_factor: int, configs: Mapping[str, str]) -> None:
        """Creates a topic. It is not an error if another worker created it meanwhile."""
        replicas = await self._default_replication() if replication_factor == BROKER_DEFAULT else replication_factor
        wanted = NewTopic(name, partitions, replicas, topic_configs=dict(configs))
        answer = await self._ask(f"create topic {name}", self._admin.create_topics([wanted]))
        for error in answer.to_object()["topic_errors"]:
            self._refuse(error["error_code"], f"create topic {name}", error.get("error_message"), ignore=ALREADY_EXISTS)
        await self._until_seen(name, 1)

    async def grow(self, name: str, partitions: int) -> None:
        """Adds partitions to a topic, up to ``partitions``."""
        wanted = {name: NewPartitions(partitions)}
        answer = await self._ask(f"grow topic {name}", self._admin.create_partitions(wanted))
        for error in answer.to_object()["topic_errors"]:
            self._refuse(
                error["error_code"], f"grow topic {name} to {partitions} partitions", error.get("error_message")
            )
        await self._until_seen(name, partitions)

    async def _until_seen(self, name: str, partitions: int) -> None:
        """Waits until the brokers show the topic, since the controller answers before they know it. Gives up after some
        seconds: the next use of the topic then reports what is wrong."""
        for _ in range(LOOKS):
            found = (await self.topics([name])).get(name)
            if found is not None and found.partitions >= partitions:
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def _default_replication(self) -> int:
        """The broker's default number of replicas, for which aiokafka's request has no value. If there is no permission
        to read it: 3, or the number of brokers if that is lower."""
        cluster = await self._ask("describe the cluster", self._admin.describe_cluster())
        node = cluster["brokers"][0]["node_id"]
        resource = ConfigResource(ConfigResourceType.BROKER, str(node))
        found = self._entries(await self._ask("read broker settings", self._admin.describe_configs([resource])))
        default = found.get(str(node), {}).get("default.replication.factor")
        return int(default) if default is not None else min(3, len(cluster["brokers"]))

    async def _configs(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        """The settings of each topic. A topic is absent if there is no permission to read its settings."""
        wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        return self._entries(await self._ask("read topic settings", self._admin.describe_configs(wanted)))

    @staticmethod
    def _entries(answers: Iterable[Any]) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for answer in answers:
            for resource in answer.to_object()["resources"]:
                if resource["error_code"] == NO_ERROR:
                    entries = resource["config_entries"]
                    found[resource["resource_name"]] = {
                        entry["config_names"]: entry["config_value"] for entry in entries if entry["config_value"]
                    }
        return found

    @property
    def _admin(self) -> AIOKafkaAdminClient:
        assert self._client is not None, "not started"
        return self._client

    async def _ask(self, what: str, answer: Any) -> Any:
        try:
            return await answer
        except (KafkaError, OSError) as error:
            raise failed(self._settings, what, error) from None

    def _refuse(self, code: int, what: str, message: str | None = None, *, ignore: int = NO_ERROR) -> None:
        if code not in (NO_ERROR, ignore):
            kind = for_code(code)
            reason = message or getattr(kind, "description", None) or kind.__name__
            raise BrokerError(f"{self._settings.bootstrap_servers}: cannot {what}: {reason} ({kind.__name__})")
