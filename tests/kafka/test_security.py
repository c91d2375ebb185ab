"""Passwords and TLS: what the settings say reaches every client, and what is wrong is said."""

from collections.abc import Awaitable, Callable

import pytest

from detectors.errors import BrokerError, SettingsError
from stream.backends import kafka
from stream.backends.kafka import KafkaSink, KafkaSource, KafkaTableReader
from stream.backends.kafka_admin import KafkaCluster
from stream.config import KafkaSettings, SaslMechanism, SecurityProtocol
from stream.config_layers import Secret
from stream.ports import OutRecord
from tests.contracts.backends import Listener
from tests.kafka.server import PASSWORD, USER, Server

pytestmark = pytest.mark.kafka

CASES = [
    (SecurityProtocol.SASL_PLAINTEXT, SaslMechanism.PLAIN),
    (SecurityProtocol.SASL_PLAINTEXT, SaslMechanism.SCRAM_SHA_256),
    (SecurityProtocol.SASL_PLAINTEXT, SaslMechanism.SCRAM_SHA_512),
    (SecurityProtocol.SSL, SaslMechanism.PLAIN),
    (SecurityProtocol.SASL_SSL, SaslMechanism.SCRAM_SHA_512),
]


def settings(
    server: Server, protocol: SecurityProtocol, mechanism: SaslMechanism, password: str = PASSWORD, trust: bool = True
) -> KafkaSettings:
    servers = {
        SecurityProtocol.SASL_PLAINTEXT: server.sasl,
        SecurityProtocol.SSL: server.tls,
        SecurityProtocol.SASL_SSL: server.sasl_tls,
    }
    return KafkaSettings(
        bootstrap_servers=servers[protocol],
        group_id=f"{protocol}-{mechanism}",
        security_protocol=protocol,
        sasl_mechanism=mechanism,
        sasl_username=USER,
        sasl_password=Secret(password),
        ssl_cafile=str(server.cafile) if trust else None,
        request_timeout_ms=10_000,
    )


@pytest.mark.parametrize(("protocol", "mechanism"), CASES, ids=lambda value: str(value))
async def test_every_client_gets_in(
    secured_kafka: Server, protocol: SecurityProtocol, mechanism: SaslMechanism
) -> None:
    chosen = settings(secured_kafka, protocol, mechanism)
    topic = f"{protocol}-{mechanism}"
    await secured_kafka.create_topics({topic: 1})
    sink, table, admin = KafkaSink(chosen), KafkaTableReader(chosen), KafkaCluster(chosen)
    source, listener = KafkaSource(chosen, [topic]), Listener()
    try:
        await sink.start()
        await sink.send([OutRecord(topic, b"k", b"v")])
        assert (await table.read_to_end(topic))[b"k"].value == b"v"
        await source.start(listener)
        assert {place.topic for place in listener.owned} == {topic}
        await admin.start()
        assert (await admin.topics([topic]))[topic].partitions == 1
    finally:
        for client in (sink, table, source, admin):
            await client.stop()


WAYS_IN: dict[str, Callable[[KafkaSettings], Awaitable[object]]] = {
    "sink": lambda chosen: KafkaSink(chosen).start(),
    "table": lambda chosen: KafkaTableReader(chosen).read_to_end("x"),
    "source": lambda chosen: KafkaSource(chosen, ["x"]).start(Listener()),
}


@pytest.mark.parametrize("way", WAYS_IN)
async def test_a_wrong_password_is_a_broker_error_that_does_not_show_it(secured_kafka: Server, way: str) -> None:
    chosen = settings(secured_kafka, SecurityProtocol.SASL_PLAINTEXT, SaslMechanism.SCRAM_SHA_256, password="wr0ng")
    with pytest.raises(BrokerError) as caught:
        await WAYS_IN[way](chosen)
    assert "wr0ng" not in str(caught.value)


async def test_a_server_that_is_not_trusted_is_a_broker_error(secured_kafka: Server) -> None:
    chosen = settings(secured_kafka, SecurityProtocol.SSL, SaslMechanism.PLAIN, trust=False)
    with pytest.raises(BrokerError):
        await KafkaSink(chosen).start()


def test_a_certificate_file_that_is_not_there_is_a_settings_error_that_names_it() -> None:
    chosen = KafkaSettings(security_protocol=SecurityProtocol.SSL, ssl_cafile="/nowhere/ca.pem")
    with pytest.raises(SettingsError, match=r"/nowhere/ca\.pem"):
        kafka.ssl_context(chosen)
