"""The least rights that a worker needs on the brokers, as kafka-acls lines and as a Strimzi KafkaUser."""

import shlex
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from stream.settings.settings import SaslMechanism, SecurityProtocol, Settings
from stream.topics.rules import judge_changelogs

READ, WRITE, CREATE, ALTER, SETTINGS = "Read", "Write", "Create", "Alter", "DescribeConfigs"
"""Kafka's names of operations. Reading and writing include describing."""


class Right(msgspec.Struct, frozen=True):
    """What a worker may do with one resource. ``kind``: ``topic`` or ``group``."""

    kind: str
    name: str
    operations: tuple[str, ...]


def least_rights(settings: Settings) -> list[Right]:
    """The rights of a worker with both roles. Creating topics and reading their settings is needed only with
    ``kafka.create_topics``."""
    topics, kafka = settings.topics, settings.kafka
    needed: dict[str, list[str]] = {name: [READ] for name in (*topics.event_names, *topics.labels)}
    tables = (topics.references, topics.profiles, topics.checkpoints, topics.views, topics.incidents, topics.actions)
    for name in (*tables, *judge_changelogs(settings)):
        needed[name] = [READ, WRITE]
    for name in (topics.dead_letters, topics.drift_events, topics.retrain_requests):
        needed[name] = [WRITE]
    if kafka.create_topics:
        for operations in needed.values():
            operations += [CREATE, SETTINGS]
        needed[topics.checkpoints].append(ALTER)  # it gets as many partitions as the events have
    rights = [Right("topic", name, tuple(operations)) for name, operations in needed.items()]
    return rights + [Right("group", name, (READ,)) for name in (kafka.group_id, f"{kafka.group_id}-judge")]


def principal(settings: Settings) -> str:
    """The name of the worker's user: that of its login, else the group's."""
    return settings.kafka.sasl_username or settings.kafka.group_id


def kafka_acls(rights: Iterable[Right], user: str, bootstrap_servers: str) -> list[str]:
    """One command line for each resource, for the tool ``kafka-acls`` that comes with Kafka."""
    lines = []
    for right in rights:
        operations = [part for operation in right.operations for part in ("--operation", operation)]
        command = ["kafka-acls", "--bootstrap-server", bootstrap_servers, "--add", "--allow-principal", f"User:{user}"]
        lines.append(shlex.join([*command, *operations, f"--{right.kind}", right.name]))
    return lines


def strimzi_user(rights: Sequence[Right], user: str, settings: Settings) -> dict[str, Any]:
    """The KafkaUser of the Strimzi operator. The name of the cluster in its label is to be adapted."""
    kafka = settings.kafka
    spec: dict[str, Any] = {}
    if kafka.security_protocol is SecurityProtocol.SSL:
        spec["authentication"] = {"type": "tls"}
    elif kafka.sasl_mechanism is SaslMechanism.SCRAM_SHA_512:
        spec["authentication"] = {"type": "scram-sha-512"}
    acls = [
        {
            "resource": {"type": right.kind, "name": right.name, "patternType": "literal"},
            "operations": list(right.operations),
        }
        for right in rights
    ]
    return {
        "apiVersion": "kafka.strimzi.io/v1beta2",
        "kind": "KafkaUser",
        "metadata": {"name": user, "labels": {"strimzi.io/cluster": "kafka"}},
        "spec": {**spec, "authorization": {"type": "simple", "acls": acls}},
    }
