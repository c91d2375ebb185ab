"""The connection to Kafka: arguments that all aiokafka clients share, and their errors as BrokerError."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import aiokafka.conn
from aiokafka.abc import AbstractTokenProvider
from aiokafka.conn import OAuthAuthenticator, collect_hosts, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    SaslAuthenticationFailed,
    UnknownTopicOrPartitionError,
    UnsupportedSaslMechanismError,
)

from detectors.errors import BrokerAway, BrokerError, SettingsError
from stream.settings.settings import KafkaSettings, SaslMechanism, SecurityProtocol

log = logging.getLogger(__name__)

STOP_SECONDS = 4.0
"""Longest wait for ``stop`` of an aiokafka client, which can hang while the broker is unreachable."""

PROBE_MS = 5_000

_REFUSED = (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
    UnknownTopicOrPartitionError,  # aiokafka retries it; a topic that is missing does not come back by waiting
)

T = TypeVar("T")


def ssl_context(kafka: KafkaSettings) -> ssl.SSLContext | None:
    """The TLS context; None for a protocol without TLS. Raises SettingsError if a file cannot be read."""
    if kafka.security_protocol not in (SecurityProtocol.SSL, SecurityProtocol.SASL_SSL):
        return None
    password = None if kafka.ssl_key_password is None else kafka.ssl_key_password.reveal()
    try:
        context = ssl.create_default_context(cafile=kafka.ssl_cafile)
        if kafka.ssl_certfile is not None:
            context.load_cert_chain(kafka.ssl_certfile, kafka.ssl_keyfile, password)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(f for f in (kafka.ssl_cafile, kafka.ssl_certfile, kafka.ssl_keyfile) if f)
        raise SettingsError(f"kafka.ssl_*: cannot use {files}: {error}") from None
    context.check_hostname = kafka.ssl_check_hostname
    return context


class _Token(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no types
    """A bearer token. One from a file is read again for every connection, since such tokens expire."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka

    async def token(self) -> str:
        path = self._kafka.sasl_oauth_token_file
        if path is not None:
            return (await asyncio.to_thread(Path(path).read_text, "utf-8")).strip()
        assert self._kafka.sasl_oauth_token is not None  # the settings require it
        return self._kafka.sasl_oauth_token.reveal()


class _CheckedOAuth(OAuthAuthenticator):  # type: ignore[misc]  # aiokafka has no types
    """Reports a token that the broker refused.

    aiokafka 0.14.0 treats every answer to a token as success. A broker that refuses a token answers with JSON that has
    the reason (RFC 7628, 3.2.2) and closes the connection at the next request, which would look like an unreachable
    broker.
    """

    async def step(self, payload: bytes | None) -> Any:
        if payload:
            raise SaslAuthenticationFailed(f"the broker refused the token: {payload[:200].decode(errors='replace')}")
        return await super().step(payload)


aiokafka.conn.OAuthAuthenticator = _CheckedOAuth


def token_provider(kafka: KafkaSettings) -> AbstractTokenProvider | None:
    """The provider of the token for OAUTHBEARER; None for other mechanisms."""
    uses = kafka.security_protocol.startswith("SASL") and kafka.sasl_mechanism is SaslMechanism.OAUTHBEARER
    return _Token(kafka) if uses else None


def connection(kafka: KafkaSettings) -> dict[str, Any]:
    """The arguments that all aiokafka clients share."""
    arguments: dict[str, Any] = {
        "bootstrap_servers": [server.strip() for server in kafka.bootstrap_servers.split(",")],
        "client_id": kafka.client_id,
        "security_protocol": kafka.security_protocol.value,
        "ssl_context": ssl_context(kafka),
    }
    if kafka.security_protocol.startswith("SASL"):
        arguments["sasl_mechanism"] = kafka.sasl_mechanism.value
        arguments["sasl_plain_username"] = kafka.sasl_username
        arguments["sasl_plain_password"] = None if kafka.sasl_password is None else kafka.sasl_password.reveal()
        arguments["sasl_oauth_token_provider"] = token_provider(kafka)
    return arguments


async def answer(kafka: KafkaSettings, what: str, question: Awaitable[T]) -> T:
    """The answer to a request within ``request_timeout_ms``. Raises BrokerError that names ``what`` as what could not
    be done."""
    try:
        async with asyncio.timeout(kafka.request_timeout_ms / 1000):
            return await question
    except (KafkaError, OSError, TimeoutError) as error:
        raise failed(kafka, what, error) from None


async def bounded(work: Awaitable[None], seconds: float) -> None:
    """Waits for a client to close, for at most ``seconds``. Errors are logged."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        log.warning("a Kafka client did not close within %.0f s; driftline no longer waits for it", seconds)
    except (KafkaError, OSError) as error:
        log.warning("a Kafka client closed with an error: %s", error)


async def start(
    kafka: KafkaSettings, what: str, client: Any, close: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Starts an aiokafka client. Raises BrokerAway if no broker answers, BrokerError if one refuses it. ``close``: its
    method that closes it, if that is not ``stop``."""
    try:
        await client.start()
    except (KafkaError, OSError) as error:
        await bounded((close or client.stop)(), STOP_SECONDS)
        raise failed(kafka, what, await _reason(kafka, error)) from None


async def _reason(kafka: KafkaSettings, error: BaseException) -> BaseException:
    """Why no broker could be reached. aiokafka only reports that none could, also when one refused the login."""
    if not isinstance(error, KafkaConnectionError):
        return error
    arguments = connection(kafka)
    found: BaseException = error
    for host, port, _ in collect_hosts(arguments.pop("bootstrap_servers")):
        try:
            probe = await create_conn(host, port, request_timeout_ms=PROBE_MS, **arguments)
        except (KafkaError, OSError, TimeoutError) as reason:
            found = reason
            if not is_away(found):
                break
        else:
            probe.close()
    return found


def is_away(error: BaseException) -> bool:
    """Whether a later attempt may succeed with the same settings: the broker cannot be reached, does not answer in
    time, or is about to take over a partition or a group. Running out of open files counts as away too."""
    if isinstance(error, _REFUSED):
        return False
    if isinstance(error, ssl.SSLError):
        return isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError))
    if isinstance(error, KafkaError):
        dead = type(error) is KafkaError  # aiokafka's group coordination ended by an error
        return dead or isinstance(error, (KafkaConnectionError, KafkaTimeoutError)) or bool(error.retriable)
    return isinstance(error, (BrokerAway, OSError, TimeoutError))


def failed(kafka: KafkaSettings, what: str, error: BaseException) -> BrokerError:
    """The BrokerError for ``what``, which could not be done. Its text names the brokers and the reason."""
    reason = str(error) or type(error).__name__
    kind = BrokerAway if is_away(error) else BrokerError
    return kind(f"{kafka.bootstrap_servers}: cannot {what}: {reason}")
