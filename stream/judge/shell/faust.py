"""Faust: the judge's application with its settings, and the application while it runs. The only module that imports
Faust.

Every default of Faust that can lose or repeat records is replaced here. Nothing is decided here.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

import faust
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import CommitFailedError, KafkaConnectionError, KafkaError, KafkaTimeoutError
from faust.auth import OAuthCredentials
from faust.types import TP

from detectors.errors import BrokerAway, BrokerError
from stream.settings.settings import Compression, KafkaSettings, SaslMechanism, SecurityProtocol, Settings

log = logging.getLogger(__name__)

TABLE = "units"

BUFFERED_PROFILES = 256
"""Profiles of one partition in memory: at 100 KB each, 25 MB."""


def app_id(kafka: KafkaSettings) -> str:
    """The judge's consumer group, which is not the observers' group."""
    return f"{kafka.group_id}-judge"


def changelog_topic(kafka: KafkaSettings) -> str:
    """The topic of the table's rows, as Faust names it: compacted, with as many partitions as the profiles topic."""
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
        stream_wait_empty=False,  # a profile that is in no row is delivered again
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


class Runtime:
    """The Faust application while it runs: its consumer, its table and its worker in the loop that is running.

    ``topic``: the profiles. ``keep``: which changelog records are read back into the table (see ``_filter_changelog``).
    """

    def __init__(
        self,
        app: Any,
        settings: Settings,
        keep: Callable[[Iterable[Any], Any], Iterable[Any]],
        recovered: Callable[[], Awaitable[None]],
        revoked: Callable[..., Awaitable[None]],
    ) -> None:
        self._app = app
        self._topic = settings.topics.profiles
        self.name = changelog_topic(settings.kafka)
        self._table = app.Table(TABLE, key_type=bytes, value_type=bytes, partitions=None, on_recover=recovered)
        _filter_changelog(self._table, keep)
        app.on_partitions_revoked.connect(revoked)
        self._worker = _embedded_worker(app)

    @property
    def data(self) -> MutableMapping[bytes, bytes]:
        """The table's rows by key, those of every partition that this process holds or follows."""
        rows: MutableMapping[bytes, bytes] = self._table.data
        return rows

    @property
    def partitions(self) -> set[int]:
        """The partitions of the profiles topic that are assigned to this worker."""
        return {place.partition for place in self._app.assignor.assigned_actives() if place.topic == self._topic}

    @property
    def rebalancing(self) -> bool:
        return bool(self._app.rebalancing)

    def is_current(self, message: Any) -> bool:
        """False for a message that was fetched before the last rebalance: it is delivered again."""
        return bool(message.generation_id == self._app.consumer_generation_id)

    def run_for_each_message(self, work: Callable[[Any], Awaitable[None]]) -> None:
        """Calls ``work`` with one message of the profiles topic after the other. Must be called before ``start``.

        Messages are bytes, and Faust commits none of them: it acknowledges messages that it skips in a rebalance, and
        if messages are acknowledged in another order it commits beyond the first one that is not.
        """
        raw = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}

        async def judge(stream: Any) -> None:
            async for event in stream.noack().events():
                await work(event.message)

        self._app.agent(self._app.topic(self._topic, acks=False, **raw), concurrency=1, name="judge")(judge)

    def run_every(self, seconds: float, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Calls ``work`` at this interval. Must be called before ``start``."""
        self._app.timer(seconds, name=name)(work)

    async def start(self, set_begins: Callable[[Mapping[int, int]], None]) -> None:
        """Joins the group. ``set_begins`` is called with where each partition is read from; see
        ``_seek_from_beginning``. Raises BrokerError."""
        _seek_from_beginning(self._app, self._topic, set_begins)
        try:
            await self._worker.start()
        except Exception as error:
            raise _as_broker_error("cannot start", error) from error

    async def wait_for_crash(self) -> BaseException:
        """Waits until the application has stopped; returns the error that stopped it."""
        await self._worker.wait_until_stopped()
        reason: BaseException | None = self._worker.crash_reason or self._app.crash_reason
        if reason is None:
            return BrokerError("the judge's application stopped by itself")
        return _as_broker_error("stopped", reason)

    async def stop(self, timeout_seconds: float) -> None:
        """Leaves the group, within this time."""
        stop = asyncio.ensure_future(self._worker.stop())
        _, late = await asyncio.wait((stop,), timeout=timeout_seconds)
        if late:
            stop.cancel()
            log.warning(
                "the judge's application did not stop within %.0f s; driftline no longer waits for it", timeout_seconds
            )
        elif (error := stop.exception()) is not None:
            log.warning("the judge's application stopped with an error: %r", error)

    async def commit(self, offsets: Mapping[int, int]) -> bool:
        """Commits ``offsets``: the next one to read, by partition. Returns False if a rebalance came first, or if the
        broker is away: the next commit has the same offsets or later ones."""
        offers = {TP(self._topic, partition): offset for partition, offset in offsets.items()}
        _let_commits_fail(self._app.consumer)
        return bool(await self._app.consumer._commit(offers))

    async def seek(self, partition: int, offset: int) -> None:
        """Continues to read the partition at ``offset``."""
        await self._app.consumer.seek(TP(self._topic, partition), offset)

    def send_row(self, partition: int, key: bytes, value: bytes) -> Awaitable[Any]:
        """Starts to write a row to a partition of the changelog; completes when it is acknowledged."""
        sent: Awaitable[Any] = self._table.send_changelog(partition, key, value)
        return sent


def _seek_from_beginning(app: Any, topic: str, set_begins: Callable[[Mapping[int, int]], None]) -> None:
    """Lets a partition without a commit start with its first record.

    aiokafka would stay at its position, and what it had read and Faust dropped in a rebalance would never arrive.
    ``set_begins`` is called each time that Faust seeks, with the offset from which each partition is read.
    """
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
        set_begins({place.partition: offset for place, offset in begins.items()})
        return offsets

    consumer.seek_to_committed = seek


def _let_commits_fail(consumer: Any) -> None:
    """Makes a commit that a broker does not answer count as one that came too late. Faust would stop the application
    for it, as one in three restarts of a broker showed."""
    client = consumer._thread._consumer
    commit = client.commit
    if getattr(commit, "may_fail", False):
        return

    async def commit_or_skip(offsets: Any) -> None:
        try:
            await commit(offsets)
        except (KafkaError, OSError, TimeoutError) as error:
            if not _may_pass(error):
                raise
            log.info("a commit of the judge was skipped: %s", error or type(error).__name__)
            raise CommitFailedError("already rebalanced") from None  # the text by which Faust knows this case

    commit_or_skip.may_fail = True  # type: ignore[attr-defined]
    client.commit = commit_or_skip


def _may_pass(error: BaseException) -> bool:
    """Whether an error of Kafka passes by itself: no broker answers, or none can do what it is asked for now."""
    if not isinstance(error, KafkaError):
        return True
    return isinstance(error, (KafkaConnectionError, KafkaTimeoutError)) or bool(error.retriable)


def _as_broker_error(what: str, error: BaseException) -> BaseException:
    """``error`` as a BrokerError that names the judge, if it is one of Kafka's; otherwise itself."""
    if isinstance(error, (KafkaError, OSError, TimeoutError)):
        kind = BrokerAway if _may_pass(error) else BrokerError
        return kind(f"judge: {what}: {str(error) or type(error).__name__}")
    return error


def _filter_changelog(table: Any, keep: Callable[[Iterable[Any], Any], Iterable[Any]]) -> None:
    """Reads back into the table, as owner or as standby, only the records that ``keep`` returns. Faust would use the
    last row written."""
    apply = table.apply_changelog_batch
    table.apply_changelog_batch = lambda batch: apply(keep(batch, table.data))


def _embedded_worker(app: Any) -> Any:
    """A worker in the loop that is running. Signals, logging and output stay with the process."""
    worker = faust.Worker(
        app,
        loop=asyncio.get_running_loop(),
        redirect_stdouts=False,
        override_logging=False,
        quiet=True,
        daemon=False,
    )
    # The process handles signals itself; Faust would also open a debugger on SIGUSR2.
    worker.install_signal_handlers = lambda: None
    worker.spinner = None
    return worker


def _credentials(kafka: KafkaSettings, context: ssl.SSLContext | None, tokens: AbstractTokenProvider | None) -> Any:
    """The login settings in Faust's form; None for a connection in plain text."""
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
