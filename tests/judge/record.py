"""``python -m tests.judge.record`` writes the recording anew: run it only with a judge that is known to be right.

One seed plays a small deployment: two models with versions and segments, references that come late or are replaced,
labels, broken and changed data, another environment, people who act, ticks of the clock, restarts.
"""

import random
import sys
from typing import Any

import msgspec
import numpy as np
import orjson

from detectors.features import Kind, UnitKey
from detectors.incidents.incident import Change
from detectors.outcomes import Outcomes, Tally, compared
from detectors.profiles import SCHEMA, Epoch, FeatureProfile, Profile, Signal
from detectors.reference import reference as references
from detectors.reference.builder import build_reference
from detectors.reference.reference import Reference
from detectors.sketches.quantiles import QuantileSketch
from stream.judge.effects import Health
from stream.judge.outcomes import Objective, OutcomeRules
from stream.topics import requests
from tests.judge import recordings
from tests.judge.recordings import Player, Step
from tests.judge.shards import MiniShard
from tests.settings.defaults import judge_settings

SEED, LOOKS = 11, 90
START_MS = 1_763_700_000_000
TRAINED = {"numpy": "1.26.4", "python": "3.11"}
SETTINGS = judge_settings(
    learning_events=900,
    budgets={"risk": 5.0},
    resolve_after_events=200,
    outcomes={"fraud": OutcomeRules(objectives=(Objective("accuracy", 0.9), Objective("latency", 0.5, 10.0)))},
)


class LearningShard:
    """A shard without a reference: what is learned from is a sketch of all values."""

    def __init__(self, unit: UnitKey) -> None:
        self.unit = unit
        self.sketch = QuantileSketch()
        self.events = 0
        self.total = self.squares = 0.0

    def add(self, values: Any, at_ms: int) -> Profile:
        self.sketch.update_many(values)
        self.events += len(values)
        self.total += float(values.sum())
        self.squares += float((values * values).sum())
        mean, n = self.total / self.events, self.events
        x = FeatureProfile(
            "x", Kind.NUMERIC, n, mean=mean, m2=self.squares - n * mean**2, sketch=self.sketch.to_bytes()
        )
        return Profile(
            SCHEMA, *self.unit, "inference-events", 0, Epoch(None, "s", 0), n, n, n, [x],
            first_timestamp_ms=START_MS, last_timestamp_ms=at_ms,
        )  # fmt: skip


class Stream:
    """The traffic of one unit."""

    def __init__(self, unit: UnitKey, reference: Reference | None, rng: np.random.Generator) -> None:
        self.unit, self.rng = unit, rng
        self.shards: list[MiniShard | LearningShard] = [LearningShard(unit)]
        if reference is not None:
            self.shards = [MiniShard(reference, partition) for partition in range(2)]
        self.shift, self.missing, self.accuracy = 0.0, 0.0, 0.9
        self.environment = TRAINED
        self.right = self.wrong = 0

    def profile(self, number: int, at_ms: int, rows: int) -> Profile:
        shard = self.shards[number % len(self.shards)]
        values = self.rng.normal(self.shift, 1.0, rows)
        if isinstance(shard, LearningShard):
            return shard.add(values, at_ms)
        columns = {
            "x": [None if self.rng.random() < self.missing else value for value in values.tolist()],
            "shop": self.rng.choice(["a", "b", "c"], rows, p=[0.6, 0.3, 0.1]).tolist(),
        }
        made = shard.add(columns, at_ms, self.environment)
        right = int((self.rng.random(rows) < self.accuracy).sum())
        self.right, self.wrong = self.right + right, self.wrong + rows - right
        signals = [Signal("x", "adwin", "u", made.events, at_ms, made.next_offset)] if number % 13 == 0 else []
        outcomes = outcomes_of(self.right, self.wrong) if self.unit.segment is None else None
        return msgspec.structs.replace(made, segment=self.unit.segment, outcomes=outcomes, signals=signals)

    def follow(self, reference: Reference) -> None:
        """As observers do when a reference is published."""
        self.shards = [
            MiniShard(reference, 0, old.events, old.events)
            if isinstance(old, LearningShard)
            else MiniShard(reference, old.partition, old.first_offset + old.events, old.events_before + old.events)
            for old in self.shards
        ]


def outcomes_of(right: int, wrong: int) -> Outcomes:
    one, other = compared("a", "a", 0), compared("a", "b", 0)
    pairs = zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)
    total = Tally(*(right * r + wrong * w for r, w in pairs))
    return Outcomes(msgspec.structs.replace(total, predicted=right + wrong, events=right + wrong), {}, right + wrong)


class Script:
    """Chooses what happens next, plays it and keeps the steps."""

    def __init__(self, seed: int) -> None:
        self.chance, self.rng = random.Random(seed), np.random.default_rng(seed)
        self.player = Player(SETTINGS)
        self.steps = [Step("settings", settings=SETTINGS)]
        self.now_ms, self.offset, self.requests = START_MS, 0, 0
        self.references = {model: [self.reference(model, n) for n in range(2)] for model in ("fraud", "risk")}
        self.streams = [
            Stream(UnitKey("fraud", "1", None), self.references["fraud"][0], self.rng),
            Stream(UnitKey("risk", "1", None), self.references["risk"][0], self.rng),
            Stream(UnitKey("fraud", "1", "de"), self.references["fraud"][0], self.rng),
            Stream(UnitKey("new", "1", None), None, self.rng),
        ]

    def reference(self, model: str, number: int) -> Reference:
        columns = {
            "x": self.rng.normal(0.0, 1.0, 3_000),
            "shop": self.rng.choice(["a", "b", "c"], 3_000, p=[0.6, 0.3, 0.1]).tolist(),
        }
        return build_reference(model, "1", columns, environment=TRAINED, source={"revision": str(number)})

    def play(self, step: Step) -> list[dict[str, Any]]:
        played = self.player.play(step)
        self.steps.append(played)
        for effect in played.effects:
            if "reference" in effect:
                self.publish(references.decode(orjson.dumps(effect["reference"])), UnitKey(*effect["unit"]))
        return played.effects

    def publish(self, reference: Reference, unit: UnitKey | None = None) -> None:
        self.play(Step("reference", reference=reference))
        for stream in self.streams:
            if stream.unit == unit:
                stream.follow(reference)

    def run(self) -> list[Step]:
        self.publish(self.references["fraud"][0])
        for look in range(LOOKS):
            if look == 10:
                self.publish(self.references["risk"][0])  # its unit waits for it
            stream = self.chance.choice(self.streams)
            self.change(stream)
            self.look(stream, look)
            if self.chance.random() < 0.3:
                self.tick(look)
            if self.chance.random() < 0.2:
                self.act()
            if self.chance.random() < 0.1:
                self.play(Step("restart", late=self.chance.random() < 0.5))
            if look % 30 == 29:
                self.play(Step("snapshots"))
        return self.steps

    def change(self, stream: Stream) -> None:
        """Now and then something about the unit's traffic is another from now on."""
        dice = self.chance.random()
        if dice < 0.12:
            stream.shift = self.chance.choice((0.0, 1.0, 4.0))
        elif dice < 0.16:
            stream.missing = self.chance.choice((0.0, 0.4))
        elif dice < 0.3:
            stream.accuracy = self.chance.choice((0.9, 0.3))
        elif dice < 0.35:
            stream.environment = self.chance.choice((TRAINED, {**TRAINED, "numpy": "2.1.0"}))
        elif dice < 0.37 and stream.unit.model in self.references:
            self.publish(self.references[stream.unit.model][1], stream.unit)

    def look(self, stream: Stream, look: int) -> None:
        self.now_ms += self.chance.choice((1_000, 5_000))
        profiles = [stream.profile(look + n, self.now_ms, self.chance.choice((60, 120, 240))) for n in range(2)]
        if self.chance.random() < 0.1:
            profiles.append(profiles[0])
        self.play(Step("profiles", now_ms=self.now_ms, offset=self.offset, profiles=profiles))
        self.offset += 1

    def tick(self, look: int) -> None:
        health = self.chance.choice(
            (
                Health(),
                Health(records={"fraud": 200}, invalid={"fraud": 150}),
                Health(lag_records=10, lag_seconds=900.0),
                Health(labels={"fraud": 50 * look}),
            )
        )
        later_ms = self.chance.choice((0, 0, 0, 4_000_000))
        self.play(Step("tick", now_ms=self.now_ms + later_ms, health=health))

    def act(self) -> None:
        self.requests += 1
        if self.chance.random() < 0.1:
            unit = self.chance.choice(self.streams).unit
            wanted = requests.ForgetRequest(requests.SCHEMA, str(self.requests), *unit, "ann", self.now_ms, "gone")
            self.play(Step("forget", forgetting=wanted))
            return
        incidents = self.player.judge.incidents()
        if not incidents:
            return
        change = self.chance.choice((*Change, Change.ACCEPT))
        action = requests.IncidentRequest(
            requests.SCHEMA, str(self.requests), self.chance.choice(incidents[-4:])["id"], change, "bob", self.now_ms,
            "why", self.now_ms + 3_600_000 if change is Change.SILENCE else None,
        )  # fmt: skip
        for _ in range(self.chance.randint(1, 2)):
            self.play(Step("act", action=action))


if __name__ == "__main__":
    recordings.write(Script(SEED).run())
    sys.stdout.write(f"{recordings.FILE}: {recordings.FILE.stat().st_size:,} bytes\n")
