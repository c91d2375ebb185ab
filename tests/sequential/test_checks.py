"""The test kit for detectors: what is built in and river's pass it, what breaks the protocol is told how."""

import struct
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
from river import drift

from detectors import checks
from detectors.errors import DetectorCheckError
from detectors.sequential import detector_factory, plugins
from detectors.sequential.adwin import Adwin
from detectors.sequential.page_hinkley import PageHinkley
from stream.settings.settings import DetectionSettings, Settings
from tests.judge.streams import reference_of, replayed


class OneAdwin:
    """The built-in ADWIN on one feature."""

    channel = "u"

    def __init__(self) -> None:
        self.inner = Adwin(1, 0.002)

    def update_many(self, values: list[float]) -> Sequence[int]:
        return [row for row, _ in self.inner.update(np.array(values, np.float64)[:, None])]

    def snapshot(self) -> bytes:
        return self.inner.snapshot()

    def restore(self, data: bytes) -> None:
        if self.inner.restore(data):
            raise ValueError("cold")


class OnePageHinkley:
    """The built-in Page-Hinkley on one feature."""

    channel = "z"

    def __init__(self) -> None:
        self.inner = PageHinkley(1)

    def update_many(self, values: list[float]) -> Sequence[int]:
        return sorted(d.row for d in self.inner.update(np.array(values)[:, None]))

    def snapshot(self) -> bytes:
        return self.inner.snapshot()

    def restore(self, data: bytes) -> None:
        if self.inner.restore(data):
            raise ValueError("cold")


class Count:
    """Fires at every value that is a run of 20 above .9; what the ones below get wrong, it gets right."""

    def __init__(self) -> None:
        self.run = 0

    def update_many(self, values: list[float]) -> Sequence[int]:
        fired = []
        for row, value in enumerate(values):
            self.run = self.run + 1 if value > 0.9 else 0
            if self.run == 20:
                fired.append(row)
                self.run = 0
        return fired

    def snapshot(self) -> bytes:
        return struct.pack("<4sq", b"runs", self.run)

    def restore(self, data: bytes) -> None:
        magic, self.run = struct.unpack("<4sq", data)
        if magic != b"runs":
            raise ValueError("not a snapshot")


RIVER = ("river.drift.ADWIN", "river.drift.PageHinkley", "river.drift.KSWIN")
GOOD: dict[str, Any] = {"adwin": OneAdwin, "page_hinkley": OnePageHinkley, "own": Count}
GOOD |= {name: detector_factory(name) for name in RIVER}
SLOW = [pytest.mark.slow]  # KSWIN takes 200 us a value
NAMES = [pytest.param(name, marks=SLOW if "KSWIN" in name else []) for name in GOOD]


@pytest.mark.parametrize("check", checks.CHECKS, ids=checks.name_of)
@pytest.mark.parametrize("name", NAMES)
def test_the_detectors_that_are_built_in_and_rivers_pass_every_check(name: str, check: checks.Check) -> None:
    check(GOOD[name])


class NoSnapshot(Count):
    snapshot = None  # type: ignore[assignment]


class OtherChannel(Count):
    channel = "raw"


class Shared(Count):
    runs: ClassVar[list[float]] = []

    def update_many(self, values: list[float]) -> Sequence[int]:
        self.runs += values
        return [0] if len(self.runs) % 7 == 0 and values else []


class PerCall(Count):
    def update_many(self, values: list[float]) -> Sequence[int]:
        return [len(values) - 1] if values and sum(values) / len(values) > 0.6 else []


class Forgets(Count):
    def restore(self, data: bytes) -> None:
        super().restore(data)
        self.run = 0


class TakesAll(Count):
    def restore(self, data: bytes) -> None:
        self.run = len(data)


class Writes(Count):
    def update_many(self, values: list[float]) -> Sequence[int]:
        fired = super().update_many(values)
        values.sort()
        return fired


class Grows(Count):
    def __init__(self) -> None:
        super().__init__()
        self.all: list[float] = []

    def update_many(self, values: list[float]) -> Sequence[int]:
        self.all += values
        return super().update_many(values)

    def snapshot(self) -> bytes:
        return np.array(self.all).tobytes()


class Beyond(Count):
    def update_many(self, values: list[float]) -> Sequence[int]:
        return [row + 1 for row in super().update_many(values)] + [len(values)]


class Noisy(Count):
    def update_many(self, values: list[float]) -> Sequence[int]:
        return [row for row, value in enumerate(values) if value > 0.5]


class Deaf(Count):
    def update_many(self, values: list[float]) -> Sequence[int]:
        return []


class Divides(Count):
    def update_many(self, values: list[float]) -> Sequence[int]:
        return [row for row, value in enumerate(values) if 1 / value < 1.001 and row > len(values)]


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (NoSnapshot, "check_protocol"),
        (OtherChannel, "check_protocol"),
        (Shared, "check_runs_are_equal"),
        (PerCall, "check_cuts_do_not_matter"),
        (Forgets, "check_snapshots_continue"),
        (TakesAll, "check_foreign_snapshots_are_refused"),
        (Writes, "check_values_are_left_alone"),
        (Grows, "check_snapshots_are_small_bytes"),
        (Beyond, "check_rows"),
        (Noisy, "check_quiet"),
        (Deaf, "check_hears"),
        (Divides, "check_extremes"),
    ],
)
def test_each_way_to_break_the_protocol_is_told(broken: Any, check: str) -> None:
    with pytest.raises(DetectorCheckError, match=check):
        checks.check_detector(broken)


@pytest.mark.parametrize("name", ["river.drift.KSWIN", f"{__name__}:Count"])
def test_a_detector_named_in_the_settings_is_seen_in_the_signals(name: str) -> None:
    rng = np.random.default_rng(1)
    reference = reference_of({"x": rng.normal(size=2_000)})
    values = np.concatenate((rng.normal(size=400), rng.normal(3, 1, 400)))
    settings = Settings(detection=DetectionSettings(detectors=(name,)))
    report = replayed(reference, {"x": values}, settings=settings, partitions=2)
    assert {s["detector"] for s in report["signals"]} == {name}
    assert any(400 < s["at_event"] <= 600 for s in report["signals"])


def test_rivers_own_adwin_by_name_says_what_the_built_in_one_says() -> None:
    rng = np.random.default_rng(2)
    values = np.concatenate((rng.random(2_000), rng.random(2_000) / 2 + 0.5)).tolist()
    named = detector_factory("river.drift.ADWIN")()
    river = drift.ADWIN()
    fired = [row for row, value in enumerate(values) if (river.update(value), river.drift_detected)[1]]
    assert list(named.update_many(values)) == fired == list(OneAdwin().update_many(values))


def test_a_line_in_the_table_gives_a_built_in_detector_a_short_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(plugins.BUILT_IN, "count", f"{__name__}:Count")
    assert not plugins.is_compiled("count")
    assert type(detector_factory("count")()).__name__ == "Count"


def test_the_public_import_has_every_check() -> None:
    assert {check.__name__ for check in checks.CHECKS} <= set(checks.__all__)
    assert all(getattr(checks, name) is not None for name in checks.__all__)
