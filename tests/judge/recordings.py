"""What a judge was given and what it returned, step by step, as plain JSON; and the player that gives it again."""

import base64
import json
import lzma
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson

from detectors.features import UnitKey
from detectors.profiles import Profile
from detectors.reference import reference as references
from detectors.reference.reference import Reference
from stream.judge import snapshot
from stream.judge.effects import DriftEvent, Effect, Health, IncidentRecord, ReferenceBuilt
from stream.judge.judge import Judge
from stream.judge.settings import JudgeSettings
from stream.topics.requests import ForgetRequest, IncidentRequest

FILE = Path(__file__).with_name("recording.jsonl.xz")

RELATIVE, ABSOLUTE = 1e-9, 1e-9
"""Processors round differently; a sum in which terms cancel has no digits of its own below the absolute bound."""

Json = dict[str, Any]
Plain = Any


class Step(msgspec.Struct):
    """One call of the judge, named by ``op``, and what came of it. ``late``: after a restart the references are read
    after the rows."""

    op: str
    now_ms: int = 0
    offset: int = 0
    late: bool = False
    settings: JudgeSettings | None = None
    reference: Reference | None = None
    profiles: list[Profile] = []
    health: Health | None = None
    action: IncidentRequest | None = None
    forgetting: ForgetRequest | None = None
    effects: list[Json] = []
    states: dict[str, str] = {}
    snapshots: dict[str, Json] = {}


class Player:
    """Gives steps to a judge of its own."""

    def __init__(self, settings: JudgeSettings) -> None:
        self.settings = settings
        self.references: dict[str, Reference] = {}
        self.judge = Judge(settings)

    def play(self, step: Step) -> Step:
        """The step with what this judge makes of it."""
        effects = getattr(self, f"_{step.op}")(step)
        units = sorted(self.judge.units, key=str)
        return msgspec.structs.replace(
            step,
            effects=[plain_effect(effect) for effect in effects],
            states={str(unit): self.judge.state(unit) for unit in units},
            snapshots={str(unit): self._plain_snapshot(unit) for unit in units if step.op == "snapshots"},
        )

    def _snapshots(self, step: Step) -> list[Effect]:
        return []

    def _plain_snapshot(self, unit: UnitKey) -> Json:
        found: Json = json.loads(snapshot.unpack(unit, self.judge.snapshot(unit)))
        return found

    def _reference(self, step: Step) -> list[Effect]:
        assert step.reference is not None
        self.references.pop(step.reference.digest, None)
        self.references[step.reference.digest] = step.reference
        return self.judge.on_reference(step.reference)

    def _profiles(self, step: Step) -> list[Effect]:
        return self.judge.on_profiles(step.profiles, step.now_ms, step.offset)

    def _tick(self, step: Step) -> list[Effect]:
        return self.judge.on_tick(step.now_ms, step.health)

    def _act(self, step: Step) -> list[Effect]:
        assert step.action is not None
        return self.judge.act(step.action)

    def _forget(self, step: Step) -> list[Effect]:
        assert step.forgetting is not None
        return self.judge.forget_model(step.forgetting)

    def _restart(self, step: Step) -> list[Effect]:
        """Another worker takes over from the rows."""
        rows = {unit: self.judge.snapshot(unit) for unit in sorted(self.judge.units, key=str)}
        known = list(self.references.values())
        self.judge = Judge(self.settings, [] if step.late else known)
        for unit, row in rows.items():
            self.judge.restore(unit, row)
        return [effect for one in (known if step.late else []) for effect in self.judge.on_reference(one)]


def plain_effect(effect: Effect) -> Json:
    """An effect as plain JSON. A reference's digest is left out: it is another one where a last digit is."""
    if isinstance(effect, DriftEvent):
        made: Json = {"event": effect.kind.value, "at_ms": effect.at_ms, "data": effect.data, "what": list(effect.what)}
    elif isinstance(effect, IncidentRecord):
        made = {"incident": effect.id, "data": effect.data}
    elif isinstance(effect, ReferenceBuilt):
        made = {"reference": orjson.loads(references.encode(effect.reference))}
    else:
        made = {"retrain": effect.outcome.value}
    plain: Json = orjson.loads(orjson.dumps({**made, "unit": list(effect.unit)}, option=orjson.OPT_SERIALIZE_NUMPY))
    return plain


def write(steps: list[Step]) -> None:
    """One JSON text a line. The standard library's: moments are integers beyond 64 bits."""
    lines = "\n".join(json.dumps(msgspec.to_builtins(step), separators=(",", ":")) for step in steps)
    FILE.write_bytes(lzma.compress(lines.encode(), preset=9))


def read() -> list[Step]:
    lines = lzma.decompress(FILE.read_bytes()).decode().splitlines()
    return [msgspec.convert(json.loads(line), Step) for line in lines]


def differences(wanted: Plain, found: Plain, where: str = "") -> Iterator[str]:
    """Where the two differ: texts and integers in anything, numbers by more than rounding."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        if list(wanted) != list(found):
            yield f"{where}: members {list(wanted)}, now {list(found)}"
        for name in wanted.keys() & found.keys():
            read_as = ARRAYS.get(name)
            one, other = wanted[name], found[name]
            if read_as is not None and isinstance(one, str) and isinstance(other, str):
                one, other = read_as(one), read_as(other)
            yield from differences(one, other, f"{where}.{name}")
    elif isinstance(wanted, list) and isinstance(found, list):
        if len(wanted) != len(found):
            yield f"{where}: {len(wanted)} members, now {len(found)}"
        for number, (one, other) in enumerate(zip(wanted, found, strict=False)):
            yield from differences(one, other, f"{where}[{number}]")
    elif isinstance(wanted, float) and isinstance(found, float):
        if not math.isclose(wanted, found, rel_tol=RELATIVE, abs_tol=ABSOLUTE):
            yield f"{where}: {wanted!r}, now {found!r}"
    elif type(wanted) is not type(found) or wanted != found:
        yield f"{where}: {wanted!r}, now {found!r}"


def _array(kind: str) -> Callable[[str], list[Any]]:
    return lambda text: np.frombuffer(base64.b64decode(text), kind).tolist()


def _rounded_array(text: str) -> list[Any]:
    """Single precision has seven digits."""
    values = np.frombuffer(base64.b64decode(text), "<f4")
    return [float(f"{value:.5g}") for value in values.tolist()]


ARRAYS: dict[str, Callable[[str], list[Any]]] = {
    **dict.fromkeys(("base", "block", "log_r", "climb", "excess", "pooled", "sums", "counts"), _array("<f8")),
    **dict.fromkeys(("since", "since_ms"), _array("<i8")),
    "table": _rounded_array,
}
"""Members of a snapshot that are arrays in base64."""
