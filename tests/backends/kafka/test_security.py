"""Passwords and TLS: the settings reach every client, and errors name what is wrong."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from detectors.errors import BrokerError, SettingsError
from stream.backends.kafka import connection as kafka
from stream.backends.kafka.cluster import KafkaCluster
from stream.backends.kafka.sink import KafkaSink
from stream.backends.kafka.source import KafkaSource
from stream.backends.kafka.tables import KafkaTableReader
from stream.settings.layers import Secret
from stream.settings.settings import KafkaSettings, SaslMechanism, SecurityProtocol
from stream.topics.record import OutRecord
from tests.backends.contract import Listener
from tests.kafka.papers import KEY_PASSWORD, PASSWORD, USER
from tests.kafka.server import Server

pytestmark = pytest.mark.kafka

CASES = [
    (SecurityProtocol.SASL_PLAINTEXT, SaslMechanism.PLAIN),
    (SecurityProtocol.SASL_PLAINTEXT, SaslMechanism.SCRAM_SHA_256),
    (SecurityProtocol.SASL_PLAINTEXT, SaslMechanism.SCRAM_SHA_512),
    (SecurityProtocol.SSL, SaslMechanism.PLAIN),
    (SecurityProtocol.SASL_SSL, SaslMechanism.SCRAM_SHA_512),
    (SecurityProtocol.SASL_PLAINTEXT, SaslMechanism.OAUTHBEARER),
    (SecurityProtocol.SASL_SSL, SaslMechanism.OAUTHBEARER),
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
        sasl_oauth_token=Secret(server.papers.token()) if mechanism is SaslMechanism.OAUTHBEARER else None,
        ssl_cafile=str(server.papers.cafile) if trust else None,
        request_timeout_ms=10_000,
    )


@pytest.mark.parametrize(("protocol", "mechanism"), CASES, ids=lambda value: str(value))
async def test_every_client_gets_in(
    secured_kafka: Server, protocol: SecurityProtocol, mechanism: SaslMechanism
) -> None:
    await gets_in(secured_kafka, settings(secured_kafka, protocol, mechanism), f"{protocol}-{mechanism}")


async def gets_in(server: Server, chosen: KafkaSettings, topic: str) -> None:
    """Uses each of driftline's clients once."""
    await server.create_topics({topic: 1})
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


def certified(server: Server, **changes: object) -> KafkaSettings:
    plain = settings(server, SecurityProtocol.SSL, SaslMechanism.PLAIN)
    own: dict[str, object] = {
        "bootstrap_servers": server.mutual_tls,
        "ssl_certfile": str(server.papers.certfile),
        "ssl_keyfile": str(server.papers.keyfile),
        "ssl_key_password": Secret(KEY_PASSWORD),
    }
    return msgspec.structs.replace(plain, **{**own, **changes})


async def test_a_client_certificate_under_our_own_authority_gets_every_client_in(secured_kafka: Server) -> None:
    await gets_in(secured_kafka, certified(secured_kafka), "mutual")


async def test_without_the_certificate_that_the_broker_wants_nobody_gets_in(secured_kafka: Server) -> None:
    with pytest.raises(BrokerError):
        await KafkaSink(certified(secured_kafka, ssl_certfile=None, ssl_keyfile=None)).start()


def test_a_wrong_password_of_the_key_is_a_settings_error_that_does_not_show_it(secured_kafka: Server) -> None:
    with pytest.raises(SettingsError, match=r"client\.key") as caught:
        kafka.ssl_context(certified(secured_kafka, ssl_key_password=Secret("wr0ng")))
    assert "wr0ng" not in str(caught.value)


@pytest.mark.parametrize("what", ["expired", "for somebody else", "of another key", "no token at all"])
async def test_a_token_that_does_not_hold_is_a_broker_error_that_does_not_show_it(
    secured_kafka: Server, what: str
) -> None:
    papers = secured_kafka.papers
    tokens = {
        "expired": papers.token(seconds=-600),
        "for somebody else": papers.token(audience="others"),
        "of another key": papers.token().rsplit(".", 1)[0] + "." + "A" * 342,
        "no token at all": "nonsense",
    }
    chosen = settings(secured_kafka, SecurityProtocol.SASL_PLAINTEXT, SaslMechanism.OAUTHBEARER)
    chosen = msgspec.structs.replace(chosen, sasl_oauth_token=Secret(tokens[what]))
    with pytest.raises(BrokerError) as caught:
        await KafkaSink(chosen).start()
    assert tokens[what] not in str(caught.value)


async def test_a_token_file_is_read_anew_for_each_connection(secured_kafka: Server, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(secured_kafka.papers.token(seconds=-600))
    chosen = settings(secured_kafka, SecurityProtocol.SASL_PLAINTEXT, SaslMechanism.OAUTHBEARER)
    chosen = msgspec.structs.replace(chosen, sasl_oauth_token=Secret("not this one"), sasl_oauth_token_file=str(file))
    with pytest.raises(BrokerError):
        await KafkaSink(chosen).start()
    file.write_text(secured_kafka.papers.token() + "\n")
    sink = KafkaSink(chosen)
    await sink.start()
    await sink.stop()


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
