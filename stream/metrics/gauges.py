"""Gauges of models and features, which write themselves as text.

1,000 models with 20 features have 200,000 series. A series takes half a microsecond here; the client library makes a
dictionary and an object of each and takes twenty times as long.
"""

import math
from collections.abc import Sequence

from prometheus_client import Metric
from prometheus_client.samples import Sample

PREFIX = "driftline_"


class Gauge(Metric):
    """A family of gauges: made, filled and written for one scrape."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...]) -> None:
        super().__init__(PREFIX + name, text, "gauge")
        self._labelnames = labels
        self._rows: list[tuple[Sequence[str], float]] = []

    def add_series(self, labels: Sequence[str], value: object) -> None:
        """Adds a series, with the values of its labels in order. A value that is not a finite number is left out: a
        zero would be read as a measurement."""
        if isinstance(value, int | float) and math.isfinite(value):
            self._rows.append((labels, float(value)))

    @property
    def samples(self) -> list[Sample]:
        """The series as the client library's objects."""
        names = self._labelnames
        return [Sample(self.name, dict(zip(names, labels, strict=True)), value) for labels, value in self._rows]

    @samples.setter
    def samples(self, _: list[Sample]) -> None:
        """Ignored: the base class sets an empty list."""

    def text(self) -> str:
        """The family in Prometheus' text format. For gauges OpenMetrics has the same format.

        >>> gauge = Gauge("heat", "How hot.", ("place",))
        >>> gauge.add_series(("the sun",), 5772)
        >>> print(gauge.text(), end="")
        # HELP driftline_heat How hot.
        # TYPE driftline_heat gauge
        driftline_heat{place="the sun"} 5772.0
        """
        places = sorted(enumerate(self._labelnames), key=lambda place: place[1])  # in the order of the client library
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
