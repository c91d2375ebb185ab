"""The examples talk to the same broker as the publisher's tests."""

from tests.publisher.conftest import broker, servers

__all__ = ["broker", "servers"]
