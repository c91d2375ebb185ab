"""What is wrong with what arrives, apart from its distribution: environments, silence, things that cannot be read."""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec


class BlindReason(StrEnum):
    """Why a model cannot be seen."""

    MISSING_REFERENCE = "missing-reference"
    SILENT = "silent"
    LAG = "lag"
    UNREADABLE = "unreadable"
    UNMATCHED_LABELS = "unmatched-labels"
    MISSING_LABELS = "missing-labels"


class EnvironmentDifference(msgspec.Struct, frozen=True):
    """A library (or other property) of the serving side that is not the one of training. None: not there."""

    name: str
    reference: str | None
    present: str | None
    events: int


def environment_differences(reference: Mapping[str, str], seen: Mapping[str, int]) -> list[EnvironmentDifference]:
    """What the environments ``seen`` (canonical JSON -> events) differ by, most events first.

    Only what both sides state is compared: one that says nothing of a library says nothing about it.

    >>> environment_differences({"numpy": "1.26.4"}, {'{"numpy":"2.1.0"}': 5})[0].present
    '2.1.0'
    """
    found: dict[tuple[str, str], int] = {}
    for text, events in seen.items():
        for name, value in parsed(text).items():
            expected = reference.get(name)
            if events > 0 and expected is not None and expected != value:
                found[name, value] = found.get((name, value), 0) + events
    rows = [EnvironmentDifference(name, reference.get(name), value, n) for (name, value), n in found.items()]
    return sorted(rows, key=lambda row: (-row.events, row.name, row.present or ""))


def parsed(text: str) -> dict[str, str]:
    """A fingerprint as names and values; what cannot be read is empty."""
    try:
        value: Any = json.loads(text)
    except ValueError:
        return {}
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, dict) else {}


class Rhythm:
    """How often something is heard of a unit, on the wall clock: told from the stream, not set.

    ``mean_ms`` is a running mean of the gaps (weight 1/16), ``longest_ms`` the longest, forgotten by 1 % a gap.
    """

    __slots__ = ("heard_ms", "longest_ms", "mean_ms")

    def __init__(self, heard_ms: int | None = None, mean_ms: float = 0.0, longest_ms: float = 0.0) -> None:
        self.heard_ms = heard_ms
        self.mean_ms = mean_ms
        self.longest_ms = longest_ms

    def heard(self, now_ms: int) -> None:
        """Something came."""
        if self.heard_ms is not None and now_ms > self.heard_ms:
            gap = now_ms - self.heard_ms
            self.mean_ms = gap if not self.mean_ms else self.mean_ms + (gap - self.mean_ms) / 16
            self.longest_ms = max(self.longest_ms * 0.99, gap)
        self.heard_ms = now_ms

    def silent_ms(self, now_ms: int) -> int:
        """Since when nothing came; from now on where nothing ever did, or the clock was set back."""
        if self.heard_ms is None or now_ms < self.heard_ms:
            self.heard_ms = now_ms
        return now_ms - self.heard_ms

    def patience_ms(self, factor: float, least_ms: int, unknown_ms: int) -> float:
        """A usual silence: ``factor`` mean gaps or three of the longest; ``unknown_ms`` before there is any gap."""
        if not self.mean_ms:
            return float(unknown_ms)
        return max(factor * self.mean_ms, 3 * self.longest_ms, float(least_ms))
