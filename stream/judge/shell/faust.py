"""Faust, configured: the application, its credentials, and a worker that lives inside a loop of ours.

Every default of Faust that recovery.md warns of is set here. No decisions and no messages. Faust's one home.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import faust
from aiokafka.abc import AbstractTokenProvider
from faust.auth import OAuthCredentials
from faust.types import TP

from stream.settings.settings import Compression, KafkaSettings, SaslMechanism, SecurityProtocol, Settings

TABLE = "units"

BUFFERED_PROFILES = 256
"""Per partition in memory: at 100 KB a profile, 25 MB."""


def app_id(kafka: KafkaSettings) -> str:
    """The judge's consumer group, apart from the observers'."""
    return f"{kafka.group_id}-judge"


def changelog_topic(kafka: KafkaSettings) -> str:
    """Compacted, with as many partitions as the profiles topic; Faust names it so."""
    return f"{app_id(kafka)}-{TABLE}-changelog"


def application(
    settings: Settings,
    ssl_context: ssl.SSLContext | None = None,
    tokens: AbstractTokenProvider | None = None,
    standbys: int = 1,
) -> Any:
    """The judge's application, not yet started."""
    kafka = settings.kafka
    servers = [server.strip() for server in kafka.bootstrap_servers.split(",")]
    app = faust.App(
        app_id(kafka),
        broker=";".join(f"kafka://{server}" for server in servers),
        broker_client_id=f"{kafka.client_id}-judge",
        broker_credentials=_credentials(kafka, ssl_context, tokens),
        broker_session_timeout=kafka.session_timeout_ms / 1000,
        broker_rebalance_timeout=kafka.rebalance_timeout_ms / 1000,
        broker_request_timeout=max(kafka.request_timeout_ms, kafka.session_timeout_ms + 1_000) / 1000,
        broker_heartbeat_interval=min(3.0, kafka.session_timeout_ms / 10_000),
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=kafka.max_message_bytes,
        producer_acks=-1,
        producer_max_request_size=kafka.max_message_bytes,
        producer_compression_type=None if kafka.compression is Compression.NONE else kafka.compression.value,
        env_prefix="DRIFTLINE_FAUST_",  # no stray variable of the environment sets anything
        store="memory://",
        stream_buffer_maxsize=BUFFERED_PROFILES,
        stream_wait_empty=False,  # what is in no row is delivered again
        table_standby_replicas=standbys,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        worker_redirect_stdouts=False,
        autodiscover=False,
    )
    # Faust makes folders for stores on disk; ours are in memory and the disk may be read-only.
    app._create_directories = lambda: None
    return app


def raw_topic(app: Any, name: str) -> Any:
    """Bytes, which Faust commits nothing of: it acknowledges messages that it skips in a rebalance, and where messages
    are acknowledged in another order it commits beyond the first one that is not."""
    return app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", acks=False)


async def commit(app: Any, topic: str, offsets: Mapping[int, int]) -> bool:
    """``offsets``: by partition the next one to read. False when a rebalance came first."""
    return bool(await app.consumer._commit({TP(topic, partition): offset for partition, offset in offsets.items()}))


def seek_from_beginning(app: Any, topic: str, told: Callable[[Mapping[int, int]], None]) -> None:
    """Where nothing of a partition is committed, begin with its first record: aiokafka would stay where it is, and
    what it had read and Faust dropped in a rebalance would never come. ``told``: by partition where reading begins,
    each time that Faust goes back."""
    consumer = app.consumer
    seek_to_committed = consumer.seek_to_committed

    async def seek() -> Mapping[TP, int | None]:
        offsets: Mapping[TP, int | None] = await seek_to_committed()
        begins = {place: offset for place, offset in offsets.items() if place.topic == topic and offset}
        if new := [place for place, offset in offsets.items() if place.topic == topic and not offset]:
            earliest = await consumer.earliest_offsets(*new)
            for place, offset in earliest.items():
                await consumer.seek(place, offset)
            begins |= earliest
        told({place.partition: offset for place, offset in begins.items()})
        return offsets

    consumer.seek_to_committed = seek


async def seek(app: Any, topic: str, partition: int, offset: int) -> None:
    """Reads from there."""
    await app.consumer.seek(TP(topic, partition), offset)


def filter_changelog(table: Any, keep: Callable[[Iterable[Any], Any], Iterable[Any]]) -> None:
    """What is read back into the table, as owner or as standby, is what ``keep`` lets through of it: Faust would take
    the last row written."""
    apply = table.apply_changelog_batch
    table.apply_changelog_batch = lambda batch: apply(keep(batch, table.data))


def embedded_worker(app: Any) -> Any:
    """A worker in the loop that is running; ``start`` and ``stop`` it. Signals, logging and output stay ours."""
    worker = faust.Worker(
        app,
        loop=asyncio.get_running_loop(),
        redirect_stdouts=False,
        override_logging=False,
        quiet=True,
        daemon=False,
    )
    # Signals belong to the composition root; Faust would also open a debugger on SIGUSR2.
    worker.install_signal_handlers = lambda: None
    worker.spinner = None
    return worker


def _credentials(kafka: KafkaSettings, context: ssl.SSLContext | None, tokens: AbstractTokenProvider | None) -> Any:
    """Faust's form of the settings; None is plain text."""
    if kafka.security_protocol is SecurityProtocol.PLAINTEXT:
        return None
    if kafka.security_protocol is SecurityProtocol.SSL:
        return faust.SSLCredentials(context=context)
    if kafka.sasl_mechanism is SaslMechanism.OAUTHBEARER:
        return OAuthCredentials(oauth_cb=tokens, ssl_context=context)
    password = kafka.sasl_password
    return faust.SASLCredentials(
        username=kafka.sasl_username,
        password=None if password is None else password.reveal(),
        ssl_context=context,
        mechanism=kafka.sasl_mechanism.value,
    )
