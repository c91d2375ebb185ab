"""Fixtures that every test may use. A real Kafka starts once per test process, and only when a test asks for it."""

import logging
import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.kafka import server

settings.register_profile("driftline", deadline=None)  # the time that one example takes is no measure here
settings.load_profile("driftline")
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

# Workers and commands are processes of their own: without stored bytecode each would compile 2,000 modules again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Cluster]:
    """A Kafka: DRIFTLINE_TEST_KAFKA=host:port where it is set, else one of our own from Java and Maven.

    Without either the test is skipped by name; where CI is set it fails.
    """
    given = os.environ.get("DRIFTLINE_TEST_KAFKA")
    if given:
        if not server.answers(given):
            pytest.fail(f"no Kafka answers at DRIFTLINE_TEST_KAFKA={given}")
        yield server.Cluster(given)
        return
    broker = own_kafka(tmp_path_factory)
    yield broker
    broker.stop()


@pytest.fixture
def restartable_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Server]:
    """A Kafka of this test alone, to be stopped, killed, paused and started again."""
    broker = own_kafka(tmp_path_factory)
    yield broker
    broker.stop()


@pytest.fixture
def guarded_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Server]:
    """A Kafka of this test alone, in which a user who has logged in may do only what an ACL allows."""
    broker = own_kafka(tmp_path_factory, security=True, acls=True)
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def secured_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Server]:
    """A Kafka with listeners ``sasl`` (SCRAM, PLAIN), ``tls`` and ``sasl_tls`` in addition to the plain one."""
    broker = own_kafka(tmp_path_factory, security=True)
    yield broker
    broker.stop()


def own_kafka(tmp_path_factory: pytest.TempPathFactory, *, security: bool = False, acls: bool = False) -> server.Server:
    """Started; the caller stops it."""
    broker: server.Server | None = None
    try:
        broker = server.Server(tmp_path_factory.mktemp("kafka"), security=security, acls=acls)
        broker.start()
    except server.Unavailable as reason:
        if broker is not None:
            broker.stop()
        if os.environ.get("CI"):
            pytest.fail(f"left out for want of a Kafka: {reason}")
        pytest.skip(f"left out for want of a Kafka: {reason} (or set DRIFTLINE_TEST_KAFKA=host:port)")
    return broker


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that may take minutes begin first, so that no process ends alone with one of them."""
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)
