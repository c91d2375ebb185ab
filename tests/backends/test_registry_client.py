"""Schemas of a registry: fetched once, waited for, and refused by name."""

import struct
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from detectors.errors import BrokerError, FormatError
from stream.backends import registry_client
from stream.backends.clock import SystemClock
from stream.backends.registry_client import RegistryClient
from stream.formats.schemas import Schemas
from stream.settings.layers import Secret
from stream.settings.settings import SchemaRegistrySettings
from stream.topics.record import Record
from tests.backends.schema_registry import SchemaRegistry

GUID = str(UUID(int=5))


@pytest.fixture
def registry() -> Iterator[SchemaRegistry]:
    with SchemaRegistry({"7": '"int"', GUID: '"long"'}) as made:
        yield made


def records(*numbers: int) -> list[Record]:
    return [Record(at, 0, None, b"\0" + struct.pack(">i", number) + b"x") for at, number in enumerate(numbers)]


def client(url: str, **more: Any) -> tuple[RegistryClient, Schemas]:
    schemas = Schemas(configured=True)
    return RegistryClient(SchemaRegistrySettings(url=url, **more), schemas, SystemClock()), schemas


async def test_each_schema_is_fetched_once(registry: SchemaRegistry) -> None:
    made, schemas = client(registry.url)
    header = Record(0, 0, None, b"x", (("__value_schema_id", b"\1" + UUID(GUID).bytes),))
    for _ in range(3):
        assert await made.know([*records(7, 7, 8), header])
    assert schemas.get("7").text == '"int"'
    assert schemas.get(GUID).text == '"long"'
    with pytest.raises(FormatError, match="schema 8 is not in the registry"):
        schemas.get("8")
    assert sorted(registry.asked) == [f"/schemas/guids/{GUID}", "/schemas/ids/7", "/schemas/ids/8"]
    await made.stop()


async def test_events_wait_for_a_registry_that_does_not_answer(
    registry: SchemaRegistry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(registry_client, "FIRST_WAIT_MS", 1)
    monkeypatch.setattr(registry_client, "TURN_SECONDS", 0.01)
    registry.failing = 3
    made, schemas = client(registry.url)
    while registry.failing:
        assert not await made.know(records(7))
    while not await made.know(records(7)):
        """The wait between two attempts has not passed."""
    assert schemas.get("7").text == '"int"'
    assert len([line for line in caplog.messages if "status 503; events wait for it" in line]) == 1
    await made.stop()


async def test_a_registry_that_is_away_leaves_the_schemas_missing() -> None:
    made, schemas = client("http://127.0.0.1:9")
    for _ in range(2):
        assert not await made.know(records(7))
    assert schemas.missing(records(7)) == {"7"}
    await made.stop()


@pytest.mark.parametrize(
    ("more", "header"),
    [
        ({"username": "ann", "password": Secret("pw")}, "Basic YW5uOnB3"),
        ({"token": Secret("t")}, "Bearer t"),
    ],
)
async def test_the_login_is_sent(registry: SchemaRegistry, more: dict[str, Any], header: str) -> None:
    registry.login = header
    made, _ = client(registry.url, **more)
    await made.fetch(["7"])
    await made.stop()
    other, _ = client(registry.url)
    with pytest.raises(BrokerError, match="status 401"):
        await other.fetch(["7"])
    await other.stop()
