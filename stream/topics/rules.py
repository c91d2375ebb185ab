"""The topics that driftline needs, and how existing topics differ from them. Pure, given a ``Cluster``.

A topic with wrong settings loses data silently: references are deleted by age, or drift events by compaction. So an
existing topic with wrong settings is refused, with the difference named, and never changed.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from detectors.errors import BrokerError
from stream.settings.settings import Settings

COMPACT, DELETE = "compact", "delete"
QUICK_COMPACTION = {"segment.ms": "3600000", "min.cleanable.dirty.ratio": "0.1"}
"""A restore reads everything that is not compacted yet. Without these settings a quiet topic is compacted weekly."""
UNCOMPACTED_MS = 3_600_000
"""A judge reads profiles of several slots of one shard after a restart. Compaction must leave them so long."""
MIN_RETENTION_MS = 3_600_000
"""With a shorter retention a worker that was down for an hour finds its events deleted."""


class Level(StrEnum):
    """The severity of a finding. WRONG and MISSING stop a worker; the others are shown."""

    OK = "ok"
    CREATED = "created"
    WARNING = "warning"
    MISSING = "missing"
    WRONG = "wrong"


class Finding(msgspec.Struct, frozen=True):
    """One statement about one topic, or about the cluster if ``topic`` is empty."""

    level: Level
    topic: str
    text: str


class WantedTopic(msgspec.Struct, frozen=True):
    """A topic as it must be. ``partitions`` None: any number, that of the settings when created. ``user``: a topic of
    the user, not of driftline. ``uncompacted_ms``: for so long compaction may remove no record."""

    name: str
    cleanup: str | None
    partitions: int | None = None
    max_message_bytes: int | None = None
    user: bool = False
    uncompacted_ms: int = 0

    def create_configs(self) -> dict[str, str]:
        """The topic's settings when it is created."""
        configs: dict[str, str] = {}
        if self.cleanup is not None:
            configs["cleanup.policy"] = self.cleanup
        if self.cleanup == COMPACT:
            configs.update(QUICK_COMPACTION)
        if self.uncompacted_ms:
            configs["min.compaction.lag.ms"] = str(self.uncompacted_ms)
        if self.max_message_bytes is not None:
            configs["max.message.bytes"] = str(self.max_message_bytes)
        return configs


class FoundTopic(msgspec.Struct, frozen=True):
    """An existing topic. ``configs`` None: driftline has no permission to read them."""

    name: str
    partitions: int
    replication_factor: int
    configs: dict[str, str] | None = None


class Cluster(Protocol):
    """A connection to a Kafka cluster, as ``ensure`` needs it."""

    async def start(self) -> None: ...

    async def topics(self, names: Sequence[str]) -> Mapping[str, FoundTopic]: ...

    async def brokers(self) -> int: ...

    async def create(self, name: str, partitions: int, replication_factor: int, configs: Mapping[str, str]) -> None: ...

    async def grow(self, name: str, partitions: int) -> None: ...

    async def stop(self) -> None: ...


def wanted_topics(settings: Settings, changelogs: Iterable[str], input_partitions: int) -> list[WantedTopic]:
    """Every topic of driftline's own. ``input_partitions``: the largest number of partitions of an events topic."""
    topics, large = settings.topics, settings.kafka.max_message_bytes
    wanted = [
        WantedTopic(topics.references, COMPACT, max_message_bytes=large),
        WantedTopic(topics.profiles, COMPACT, max_message_bytes=large, uncompacted_ms=UNCOMPACTED_MS),
        WantedTopic(topics.checkpoints, COMPACT, partitions=input_partitions, max_message_bytes=large),
        WantedTopic(topics.dead_letters, DELETE, max_message_bytes=large),
        WantedTopic(topics.views, COMPACT, max_message_bytes=large),
        WantedTopic(topics.incidents, COMPACT),
        WantedTopic(topics.actions, DELETE),
        WantedTopic(topics.drift_events, DELETE),
        WantedTopic(topics.retrain_requests, DELETE),
    ]
    return wanted + [WantedTopic(name, COMPACT, max_message_bytes=large) for name in changelogs]


def user_topics(settings: Settings) -> list[WantedTopic]:
    """The topics of events and labels. They are created if they are missing, and never refused."""
    return [WantedTopic(name, None, user=True) for name in (*settings.topics.event_names, *settings.topics.labels)]


def compare(wanted: WantedTopic, found: FoundTopic) -> list[Finding]:
    """The findings about an existing topic: what is wrong or weak, or one finding that it is right."""
    findings: list[Finding] = []
    if wanted.partitions is not None and found.partitions < wanted.partitions:
        findings.append(
            Finding(
                Level.WRONG,
                wanted.name,
                f"has {found.partitions} partitions, and the events' topic has {wanted.partitions}: "
                f"driftline check adds them",
            )
        )
    elif wanted.partitions is not None and found.partitions > wanted.partitions:
        findings.append(
            Finding(
                Level.WRONG,
                wanted.name,
                f"has {found.partitions} partitions and needs {wanted.partitions}, one for each of the events' topic; "
                f"delete it (counts start again at 0) or set topics.checkpoints to a new name",
            )
        )
    configs = found.configs
    if configs is None:
        findings.append(Finding(Level.WARNING, wanted.name, "no permission to read its settings"))
    elif wanted.user:
        findings.extend(_compare_user(wanted, configs))
    else:
        findings.extend(_compare_own(wanted, configs))
    count = f"{found.partitions} partition{'' if found.partitions == 1 else 's'}"
    policy = "" if configs is None else f", {configs.get('cleanup.policy', 'policy unknown')}"
    return findings or [Finding(Level.OK, wanted.name, f"{count}{policy}, replication {found.replication_factor}")]


def _compare_own(wanted: WantedTopic, configs: Mapping[str, str]) -> Iterable[Finding]:
    policy = configs.get("cleanup.policy")
    if wanted.cleanup is not None and policy is not None and policy != wanted.cleanup:
        alter = f"kafka-configs --alter --entity-type topics --entity-name {wanted.name}"
        yield Finding(
            Level.WRONG,
            wanted.name,
            f"cleanup.policy is {policy} and must be {wanted.cleanup}: {alter} --add-config "
            f"cleanup.policy={wanted.cleanup}",
        )
    size = configs.get("max.message.bytes")
    if wanted.max_message_bytes is not None and size is not None and int(size) < wanted.max_message_bytes:
        yield Finding(
            Level.WRONG,
            wanted.name,
            f"max.message.bytes is {int(size):,} and must be at least {wanted.max_message_bytes:,} "
            "(kafka.max_message_bytes of the settings)",
        )
    lag = configs.get("min.compaction.lag.ms")
    if lag is not None and int(lag) < wanted.uncompacted_ms:
        alter = f"kafka-configs --alter --entity-type topics --entity-name {wanted.name}"
        yield Finding(
            Level.WARNING,
            wanted.name,
            f"min.compaction.lag.ms is {lag} and should be {wanted.uncompacted_ms}: compaction may join slots that a "
            f"restarted judge has not judged: {alter} --add-config min.compaction.lag.ms={wanted.uncompacted_ms}",
        )


def _compare_user(wanted: WantedTopic, configs: Mapping[str, str]) -> Iterable[Finding]:
    if "compact" in configs.get("cleanup.policy", ""):
        yield Finding(
            Level.WARNING, wanted.name, "is compacted: events that share a key may be deleted before they are read"
        )
    retention = int(configs.get("retention.ms", "-1"))
    if 0 <= retention < MIN_RETENTION_MS:
        yield Finding(
            Level.WARNING,
            wanted.name,
            f"keeps events for {retention / 60_000:.0f} minutes only; a worker with a longer downtime misses events",
        )


def weaknesses(found: Sequence[FoundTopic], brokers: int) -> list[Finding]:
    """Settings with which acknowledged records can be lost; one finding for all topics with the same weakness."""
    single = sorted(topic.name for topic in found if topic.replication_factor < 2)
    lonely = sorted(
        topic.name
        for topic in found
        if topic.replication_factor >= 2 and int((topic.configs or {}).get("min.insync.replicas", "2")) < 2
    )
    findings: list[Finding] = []
    if single:
        why = "the cluster has one broker" if brokers < 2 else f"the cluster has {brokers} brokers"
        findings.append(
            Finding(
                Level.WARNING,
                "",
                f"replication 1 ({why}): if a disk is lost, so are the records of {', '.join(single)}",
            )
        )
    if lonely:
        findings.append(
            Finding(
                Level.WARNING,
                "",
                "min.insync.replicas below 2: if a broker is lost, so may be records that it acknowledged, in "
                + ", ".join(lonely),
            )
        )
    return findings


def judge_changelogs(settings: Settings) -> tuple[str, ...]:
    """The changelog topics of the judge's Faust tables: application ``GROUP-judge``, table ``units``."""
    return (f"{settings.kafka.group_id}-judge-units-changelog",)


async def ensure(settings: Settings, cluster: Cluster, *, create: bool) -> list[Finding]:
    """Compares all topics, and creates missing ones with ``create``. Raises BrokerError if no broker answers."""
    await cluster.start()
    try:
        return await _ensure(settings, cluster, judge_changelogs(settings), create)
    finally:
        await cluster.stop()


async def ensure_topic(settings: Settings, cluster: Cluster, name: str) -> list[Finding]:
    """``ensure`` for one of driftline's own topics, for a process that may write to no other."""
    wanted = next(topic for topic in wanted_topics(settings, [], settings.kafka.partitions) if topic.name == name)
    await cluster.start()
    try:
        present = (await cluster.topics([name])).get(name)
        if present is not None:
            return compare(wanted, present)
        return [await _create(settings, cluster, wanted, wanted.partitions or settings.kafka.partitions, create=True)]
    finally:
        await cluster.stop()


async def _ensure(settings: Settings, cluster: Cluster, changelogs: Sequence[str], create: bool) -> list[Finding]:
    users = user_topics(settings)
    before = await cluster.topics([topic.name for topic in users])
    inputs = [before[name].partitions for name in settings.topics.event_names if name in before]
    count = max(inputs, default=settings.kafka.partitions)
    wanted = [*users, *wanted_topics(settings, changelogs, count)]
    found = dict(await cluster.topics([topic.name for topic in wanted]))
    profiles = found.get(settings.topics.profiles)
    tables = profiles.partitions if profiles is not None else settings.kafka.partitions
    findings: list[Finding] = []
    for topic in wanted:
        # a Faust table has as many partitions as the topic whose keys it contains
        partitions = tables if topic.name in changelogs else topic.partitions or settings.kafka.partitions
        present = found.get(topic.name)
        if present is None:
            findings.append(await _create(settings, cluster, topic, partitions, create))
        elif topic.partitions is not None and present.partitions < topic.partitions and create:
            await cluster.grow(topic.name, topic.partitions)
            findings.append(
                Finding(Level.CREATED, topic.name, f"grown from {present.partitions} to {count} partitions")
            )
        else:
            findings.extend(compare(topic, present))
    created = [finding.topic for finding in findings if finding.level is Level.CREATED]
    found.update(await cluster.topics(created) if created else {})
    return findings + weaknesses([found[name] for name in sorted(found)], await cluster.brokers())


async def _create(settings: Settings, cluster: Cluster, topic: WantedTopic, partitions: int, create: bool) -> Finding:
    if not create:
        return Finding(Level.MISSING, topic.name, f"does not exist; it would be created with {partitions} partitions")
    await cluster.create(topic.name, partitions, settings.kafka.replication_factor, topic.create_configs())
    return Finding(
        Level.CREATED,
        topic.name,
        f"created with {partitions} partitions, cleanup.policy {topic.cleanup or 'of the broker'}",
    )


def refuse(findings: Iterable[Finding]) -> None:
    """Raises BrokerError with every topic that is wrong or missing."""
    wrong = [
        f"{finding.topic}: {finding.text}" for finding in findings if finding.level in (Level.WRONG, Level.MISSING)
    ]
    if wrong:
        raise BrokerError("topics are missing or have wrong settings:\n  " + "\n  ".join(wrong))
