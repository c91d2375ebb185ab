"""Topics: missing ones are created with the right settings, wrong ones are refused by name, weak settings are
reported."""

from collections.abc import Mapping, Sequence

import msgspec
import pytest

from detectors.errors import BrokerError
from stream.settings.settings import KafkaSettings, Settings, TopicSettings
from stream.topics import rules
from stream.topics.rules import Finding, FoundTopic, Level

SETTINGS = Settings()


class Brokers:
    """A cluster in memory that keeps topics as Kafka does."""

    def __init__(self, brokers: int = 1, replicas: int = 1) -> None:
        self.found: dict[str, FoundTopic] = {}
        self.count = brokers
        self.replicas = replicas
        self.running = False

    async def start(self) -> None:
        self.running = True

    async def stop(self) -> None:
        self.running = False

    async def brokers(self) -> int:
        return self.count

    async def topics(self, names: Sequence[str]) -> dict[str, FoundTopic]:
        assert self.running
        return {name: self.found[name] for name in names if name in self.found}

    async def create(self, name: str, partitions: int, replication_factor: int, configs: Mapping[str, str]) -> None:
        assert name not in self.found
        replicas = self.replicas if replication_factor == -1 else replication_factor
        defaults = {"cleanup.policy": "delete", "max.message.bytes": "1048588", "retention.ms": "604800000"}
        self.found[name] = FoundTopic(name, partitions, replicas, {**defaults, **configs})

    async def grow(self, name: str, partitions: int) -> None:
        self.found[name] = msgspec.structs.replace(self.found[name], partitions=partitions)


async def ensure(cluster: Brokers, settings: Settings = SETTINGS, *, create: bool = True) -> list[Finding]:
    return await rules.ensure(settings, cluster, create=create)


def of(findings: Sequence[Finding], level: Level) -> list[str]:
    return [finding.topic for finding in findings if finding.level is level]


async def test_a_second_check_finds_everything_well() -> None:
    cluster = Brokers(brokers=3, replicas=3)
    first = await ensure(cluster)
    assert len(of(first, Level.CREATED)) == len(cluster.found)
    second = await ensure(cluster)
    assert {finding.level for finding in second} == {Level.OK}
    assert not cluster.running


async def test_without_create_nothing_is_created_and_what_is_missing_is_refused() -> None:
    cluster = Brokers()
    findings = await ensure(cluster, create=False)
    assert not cluster.found
    with pytest.raises(BrokerError, match="driftline-references: does not exist"):
        rules.refuse(findings)


async def test_compacted_and_deleted_topics_are_created_as_the_contract_says() -> None:
    cluster = Brokers()
    await ensure(cluster)
    policy = {name: (topic.configs or {})["cleanup.policy"] for name, topic in cluster.found.items()}
    topics = SETTINGS.topics
    compacted = {topics.references, topics.profiles, topics.checkpoints, topics.views, topics.incidents}
    assert {name for name, value in policy.items() if value == "compact"} == compacted | set(
        rules.judge_changelogs(SETTINGS)
    )


async def test_checkpoints_have_as_many_partitions_as_the_events() -> None:
    cluster = Brokers()
    await cluster.create("inference-events", 12, 1, {})
    await ensure(cluster)
    assert cluster.found["driftline-checkpoints"].partitions == 12


async def test_checkpoints_grow_with_the_events_and_are_never_too_many() -> None:
    cluster = Brokers()
    await cluster.create("inference-events", 4, 1, {})
    await ensure(cluster)
    await cluster.grow("inference-events", 8)
    findings = await ensure(cluster)
    assert of(findings, Level.CREATED) == ["driftline-checkpoints"]
    await cluster.grow("driftline-checkpoints", 16)
    assert of(await ensure(cluster), Level.WRONG) == ["driftline-checkpoints"]


@pytest.mark.parametrize(
    ("topic", "configs", "expected"),
    [
        ("driftline-references", {"cleanup.policy": "delete"}, "cleanup.policy is delete and must be compact"),
        ("driftline-references", {"cleanup.policy": "compact,delete"}, "cleanup.policy is compact,delete"),
        ("drift-events", {"cleanup.policy": "compact"}, "cleanup.policy is compact and must be delete"),
        (
            "driftline-checkpoints",
            {"cleanup.policy": "compact", "max.message.bytes": "1000012"},
            "max.message.bytes is 1,0",
        ),
    ],
)
async def test_a_topic_that_would_lose_data_is_refused_with_the_difference(
    topic: str, configs: dict[str, str], expected: str
) -> None:
    cluster = Brokers()
    full = {"max.message.bytes": str(SETTINGS.kafka.max_message_bytes), **configs}
    await cluster.create(topic, SETTINGS.kafka.partitions, 1, full)
    findings = await ensure(cluster)
    with pytest.raises(BrokerError) as caught:
        rules.refuse(findings)
    assert f"{topic}: " in str(caught.value)
    assert expected in str(caught.value)


async def test_settings_that_may_not_be_read_are_a_warning() -> None:
    cluster = Brokers()
    await ensure(cluster)
    cluster.found["drift-events"] = FoundTopic("drift-events", 4, 1, None)
    assert "drift-events" in of(await ensure(cluster), Level.WARNING)


async def test_events_that_vanish_before_they_are_read_are_a_warning() -> None:
    cluster = Brokers()
    await cluster.create("inference-events", 4, 1, {"cleanup.policy": "compact", "retention.ms": "60000"})
    texts = [f.text for f in await ensure(cluster) if f.topic == "inference-events"]
    assert len(texts) == 2
    assert "keeps events for 1 minutes" in texts[1]


async def test_weak_durability_is_said_once_for_all_topics() -> None:
    cluster = Brokers()
    warnings = [f for f in await ensure(cluster) if f.level is Level.WARNING]
    assert len(warnings) == 1
    assert "the cluster has one broker" in warnings[0].text
    strong = Brokers(brokers=3, replicas=3)
    await strong.create("drift-events", 4, 3, {"min.insync.replicas": "1"})
    warnings = [f for f in await ensure(strong) if f.level is Level.WARNING]
    assert [w.text.endswith("in drift-events") for w in warnings] == [True]


async def test_every_name_and_size_comes_from_the_settings() -> None:
    topics = TopicSettings(events=("in",), labels=("truth",), references="r", profiles="p", checkpoints="c")
    settings = Settings(topics=topics, kafka=KafkaSettings(group_id="g", partitions=2, replication_factor=1))
    cluster = Brokers()
    await ensure(cluster, settings)
    assert {"in", "truth", "r", "p", "c", "g-judge-units-changelog"} <= set(cluster.found)
    assert {topic.partitions for topic in cluster.found.values()} == {2}


async def test_a_reference_that_is_published_first_finds_its_topic_as_a_worker_wants_it() -> None:
    cluster, name = Brokers(brokers=3, replicas=3), SETTINGS.topics.references
    assert of(await rules.ensure_topic(SETTINGS, cluster, name), Level.CREATED) == [name]
    assert of(await rules.ensure_topic(SETTINGS, cluster, name), Level.OK) == [name]
    assert name not in of(await ensure(cluster), Level.WRONG)
    await Brokers.create(cluster, "driftline-refs", 4, -1, {})
    other = Settings(topics=TopicSettings(references="driftline-refs"))
    assert of(await rules.ensure_topic(other, cluster, "driftline-refs"), Level.WRONG)
