"""A broker that is away is waited for as long as the settings allow, with a log line every few seconds."""

import asyncio
import logging
import ssl

import pytest
from aiokafka import errors

from detectors.errors import BrokerAway, BrokerError
from stream.backends.kafka import connection, outage
from stream.backends.kafka.cluster import KafkaCluster
from stream.backends.kafka.outage import Outage, wait_out
from stream.backends.kafka.sink import KafkaSink
from stream.backends.kafka.tables import KafkaTableReader
from stream.settings.settings import KafkaSettings

NOBODY = KafkaSettings(bootstrap_servers="127.0.0.1:1")


class Attempts:
    """Fails this many times, then returns its number."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.failures, self.error, self.made = failures, error or BrokerAway("kafka:1: cannot x"), 0

    async def __call__(self) -> int:
        self.made += 1
        if self.made <= self.failures:
            raise self.error
        return self.made


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(outage, "LONGEST_PAUSE_SECONDS", 0.01)


async def test_a_broker_that_comes_back_is_used() -> None:
    ours, attempts = Outage(), Attempts(20)
    assert await wait_out(NOBODY, attempts, ours) == 21
    assert not ours.lasting


async def test_others_see_that_a_broker_is_waited_for() -> None:
    ours = Outage()
    waiting = [asyncio.create_task(wait_out(NOBODY, Attempts(10**9), ours)) for _ in range(2)]
    await asyncio.sleep(0.05)
    assert ours.lasting
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert not ours.lasting


async def test_the_setting_ends_the_wait_and_is_named() -> None:
    limited = KafkaSettings(outage_seconds=0.05)
    with pytest.raises(BrokerError, match=r"kafka\.outage_seconds, 0\.05 s") as caught:
        await wait_out(limited, Attempts(10**9), Outage())
    assert not isinstance(caught.value, BrokerAway)


async def test_what_does_not_pass_by_waiting_is_raised_at_once() -> None:
    attempts = Attempts(3, BrokerError("topics have wrong settings"))
    with pytest.raises(BrokerError, match="wrong settings"):
        await wait_out(NOBODY, attempts, Outage())
    assert attempts.made == 1


async def test_one_line_every_few_seconds_for_all_that_waits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [1_000.0]
    monkeypatch.setattr(outage.time, "monotonic", lambda: now[0])
    caplog.set_level(logging.INFO)
    ours = Outage()
    ours.begin()
    ours.begin()
    for _ in range(10_000):
        ours.report(BrokerAway("kafka:1: cannot x"))
        now[0] += 0.01
    ours.end()
    ours.end()
    lines = [record.getMessage() for record in caplog.records]
    assert 15 <= len(lines) <= 25
    assert lines[1] == "waiting for the broker, for 5 s so far: kafka:1: cannot x"
    assert lines[-1].startswith("no longer waiting for the broker, after 100.0 s")


AWAY = [
    ConnectionRefusedError(111, "refused"),
    OSError(24, "Too many open files"),
    TimeoutError(),
    ssl.SSLEOFError(8, "EOF"),
    errors.KafkaConnectionError("x"),
    errors.KafkaTimeoutError(),
    errors.RequestTimedOutError(),
    errors.NodeNotReadyError("x"),
    errors.LeaderNotAvailableError(),
    errors.NotLeaderForPartitionError(),
    errors.NotEnoughReplicasError(),
    errors.GroupCoordinatorNotAvailableError(),
    errors.KafkaError("Unexpected error during coordination x"),
    BrokerAway("x"),
]
REFUSED = [
    errors.SaslAuthenticationFailed("x"),
    errors.AuthenticationFailedError("x"),
    errors.TopicAuthorizationFailedError(),
    errors.GroupAuthorizationFailedError(),
    errors.UnknownTopicOrPartitionError(),
    errors.MessageSizeTooLargeError(),
    ssl.SSLCertVerificationError(1, "x"),
    BrokerError("x"),
    ValueError("x"),
    AssertionError(),
]


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
def test_errors_that_pass_by_waiting(error: Exception) -> None:
    assert connection.is_away(error)


@pytest.mark.parametrize("error", REFUSED, ids=lambda error: type(error).__name__)
def test_errors_that_do_not(error: Exception) -> None:
    assert not connection.is_away(error)


async def test_commands_do_not_wait_for_a_broker_and_name_the_reason() -> None:
    for client in (KafkaSink(NOBODY).start(), KafkaTableReader(NOBODY).read_to_end("t"), KafkaCluster(NOBODY).start()):
        with pytest.raises(BrokerAway, match=r"127\.0\.0\.1:1: cannot .*(refused|Connect call failed)"):
            await asyncio.wait_for(client, 10)
