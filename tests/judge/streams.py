"""Columns through the product without a broker: native events in, shards, judge, the replay's report out."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from detectors.reference import builder
from detectors.reference.reference import Reference
from stream.replay.options import ReplayOptions
from stream.replay.replay import LOOK_EVENTS, Replay
from stream.settings.settings import Settings

Columns = Mapping[str, Sequence[Any] | np.ndarray]
MODEL, VERSION = "m", "1"
START_MS = 1_700_000_000_000
EMITTED = ("prediction", "latency_ms", "error")


def reference_of(columns: Columns, **options: Any) -> Reference:
    """A reference of columns by feature key."""
    return builder.build_reference(MODEL, VERSION, columns, **options)


def replayed(
    reference: Reference | None,
    columns: Columns,
    *,
    settings: Settings | None = None,
    partitions: int = 1,
    step_ms: int = 1_000,
    environments: Sequence[Mapping[str, str]] | None = None,
) -> dict[str, Any]:
    """What a replay of these columns reports. Keys that begin with ``@`` are what the model emits."""
    options = ReplayOptions("columns.jsonl", partitions=partitions)
    replay = Replay(options, settings or Settings(), reference)
    rows = events(columns, step_ms, environments)
    for start in range(0, len(rows), LOOK_EVENTS):
        replay.feed(rows[start : start + LOOK_EVENTS])
    return replay.report().as_json()


def events(
    columns: Columns, step_ms: int, environments: Sequence[Mapping[str, str]] | None = None
) -> list[tuple[int, int, bytes]]:
    """Native events of a table's rows."""
    plain = {name: [v.item() if isinstance(v, np.generic) else v for v in column] for name, column in columns.items()}
    names = list(plain)
    made = []
    for number, row in enumerate(zip(*plain.values(), strict=True), 1):
        at_ms = START_MS + number * step_ms
        event: dict[str, Any] = {"id": str(number), "model": MODEL, "version": VERSION, "ts": at_ms, "features": {}}
        for name, value in zip(names, row, strict=True):
            _place(event, name, value)
        if environments is not None:
            event["env"] = environments[number - 1]
        made.append((number, at_ms, msgspec.json.encode(event)))
    return made


def _place(event: dict[str, Any], name: str, value: Any) -> None:
    if name.startswith("@score."):
        event.setdefault("scores", {})[name.removeprefix("@score.")] = value
    elif name.removeprefix("@") in EMITTED and name.startswith("@"):
        event[name.removeprefix("@")] = value
    else:
        event["features"][name] = value


def opened(report: Mapping[str, Any]) -> list[tuple[str, list[str], str]]:
    """Kind, features and reason of every incident."""
    return [(i["kind"], [f["feature"] for f in i["features"]], i["reason"]) for i in report["incidents"]]
