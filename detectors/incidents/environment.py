"""Differences between the environment that a model was trained in and those that it is served from."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec


class EnvironmentDifference(msgspec.Struct, frozen=True):
    """A library (or other property) that differs between serving and training. None: absent there."""

    name: str
    reference: str | None
    present: str | None
    events: int


def environment_differences(reference: Mapping[str, str], seen: Mapping[str, int]) -> list[EnvironmentDifference]:
    """The differences between ``reference`` and the environments ``seen`` (canonical JSON -> events), most events
    first.

    Only names that both sides have are compared: an absent library is not a difference.

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
    """A fingerprint as names and values; empty where it cannot be read."""
    try:
        value: Any = json.loads(text)
    except ValueError:
        return {}
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, dict) else {}
