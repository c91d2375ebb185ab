"""The metrics as the text that Prometheus scrapes."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder

from stream.metrics.gauges import Gauge


class Families(Protocol):
    """The metric families to show."""

    def quick(self) -> Iterable[Metric]:
        """Families that are read in the event loop, which also changes them."""
        ...

    def slow(self) -> Iterable[Metric]:
        """Families that are read in a thread because there are many of them."""
        ...


class Exposition:
    """Writes all families as text. Scrapes run one after the other, so that few threads and little memory are used."""

    __slots__ = ("_families", "_scraping")

    def __init__(self, families: Families) -> None:
        self._families = families
        self._scraping = asyncio.Lock()

    async def text(self, accept: str) -> tuple[bytes, str]:
        """The text and its content type: OpenMetrics or Prometheus' text format, as the header ``accept`` prefers."""
        encoder, content_type = choose_encoder(accept)
        quick = list(self._families.quick())  # in the event loop, which changes them
        async with self._scraping:
            body = await asyncio.to_thread(_encoded, quick, self._families.slow(), encoder)
        return body, content_type


class _Collected:
    """The one method of a registry that the client library's encoders call."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _encoded(quick: list[Metric], slow: Iterable[Metric], encoder: Callable[[Any], bytes]) -> bytes:
    """All families as text. Gauges come first, because the client library's encoder ends with the end marker."""
    gauges: list[str] = []
    for family in slow:
        if isinstance(family, Gauge):
            gauges.append(family.text())
        else:
            quick.append(family)
    return "".join(gauges).encode() + encoder(_Collected(quick))
