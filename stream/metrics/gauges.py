"""Gauges of models and features: of 1,000 models with 20 features 200,000 series, written as text at half a microsecond
each. The client library makes a dictionary and an object of each and takes twenty times as long.
"""

import math
from collections.abc import Sequence

from prometheus_client import Metric
from prometheus_client.samples import Sample

PREFIX = "driftline_"


class Gauge(Metric):
    """A family of gauges that is filled once and shown once."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...]) -> None:
        super().__init__(PREFIX + name, text, "gauge")
        self._labelnames = labels
        self._rows: list[tuple[Sequence[str], float]] = []

    def add(self, labels: Sequence[str], value: object) -> None:
        """A series with its labels' values in order. What is no finite number is left out: an absent series is honest,
        a zero is not."""
        if isinstance(value, int | float) and math.isfinite(value):
            self._rows.append((labels, float(value)))

    @property
    def samples(self) -> list[Sample]:
        """As the client library has them."""
        names = self._labelnames
        return [Sample(self.name, dict(zip(names, labels, strict=True)), value) for labels, value in self._rows]

    @samples.setter
    def samples(self, _: list[Sample]) -> None:
        """The base class begins with none."""

    def text(self) -> str:
        """Of the text format and of OpenMetrics, which agree on gauges.

        >>> gauge = Gauge("heat", "How hot.", ("place",))
        >>> gauge.add(("the sun",), 5772)
        >>> print(gauge.text(), end="")
        # HELP driftline_heat How hot.
        # TYPE driftline_heat gauge
        driftline_heat{place="the sun"} 5772.0
        """
        places = sorted(enumerate(self._labelnames), key=lambda place: place[1])  # as the client library has them
        shape = self.name + "{{" + ",".join(f'{name}="{{{at}}}"' for at, name in places) + "}} "
        quotes = 2 * len(self._labelnames)
        lines = [f"# HELP {self.name} {self.documentation}\n# TYPE {self.name} gauge\n"]
        for labels, value in self._rows:
            head = shape.format(*labels)
            if "\\" in head or "\n" in head or head.count('"') != quotes:
                head = shape.format(*map(_escaped, labels))
            lines.append(f"{head}{value!r}\n")
        return "".join(lines)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
