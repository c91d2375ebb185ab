"""One chaos run: producers, workers, faults, and the count at the end."""

import asyncio
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np

from detectors.reference.builder import build_reference
from detectors.reference.reference import Reference
from tests.chaos import oracle
from tests.chaos.faults import Fleet, inflict
from tests.chaos.oracle import Verdict
from tests.chaos.producers import Producers, apart, country
from tests.kafka.server import Server
from tests.service.processes import PARTITIONS, Deployment

COUNTED_SECONDS = 90.0
"""Until everything must be published once the faults have ended."""

DISORDER_MS = 600_000
"""After an outage of the broker, the events of one partition may be written long after those of another."""


class Outcome(NamedTuple):
    """What was done, and the result. ``ended``: workers that ended by themselves and were started again. ``logs``: the
    last lines of their logs, and of all logs if something is wrong."""

    faults: list[tuple[str, float]]
    verdict: Verdict
    ended: int
    logs: list[str]
    seconds: float
    seed: int


async def chaos(broker: Server, folder: Path, *, short: bool, seed: int) -> Outcome:
    """Runs on a broker that may be killed."""
    began = time.monotonic()
    deployment = Deployment(
        broker.bootstrap_servers,
        folder,
        checkpoint_interval_seconds=2,
        learning_events=2_000,
        detection={"disorder_ms": DISORDER_MS},
    )
    await deployment.prepare()
    known = _population(seed)
    await deployment.publish_reference("steady", "1", known)
    given = [build_reference("steady", "1", known)]
    fleet, producers, stop = Fleet(deployment, broker, seed), Producers(deployment, seed), asyncio.Event()
    await fleet.start()
    sending = asyncio.create_task(producers.run(stop))
    try:
        await asyncio.sleep(8)
        shifting = asyncio.create_task(_shift(producers, 20 if short else 100))
        faults = await inflict(fleet, short=short)
        shifting.cancel()
        stop.set()
        async with asyncio.timeout(COUNTED_SECONDS):
            await sending
        verdict = await _settled(deployment, given)
        if not verdict.good:
            fleet.logs += [worker.text() for worker in fleet.workers if worker is not None]
    finally:
        stop.set()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await fleet.stop()
    return Outcome(faults, verdict, fleet.ended, fleet.logs, time.monotonic() - began, seed)


def _population(seed: int) -> dict[str, Any]:
    """Rows of all partitions together, as the producers make them."""
    random, chance = np.random.default_rng(seed), Random(seed)
    partitions = [row % PARTITIONS for row in range(20_000)]
    away = np.array([apart(partition) for partition in partitions])
    return {
        "amount": 50.0 + 10.0 * (random.normal(size=20_000) + away),
        "age": 40.0 + 8.0 * (random.normal(size=20_000) + away),
        "country": [country(chance, partition) for partition in partitions],
    }


async def _shift(producers: Producers, seconds: float) -> None:
    await asyncio.sleep(seconds)
    producers.shifted = True


async def _settled(deployment: Deployment, given: list[Reference]) -> Verdict:
    """Returns the verdict as soon as it is good, or when the time has passed."""
    deadline = time.monotonic() + COUNTED_SECONDS
    while True:
        async with asyncio.timeout(COUNTED_SECONDS):
            verdict = await oracle.judge(deployment, given)
        if verdict.good or time.monotonic() > deadline:
            return verdict
        await asyncio.sleep(2)


def table(outcome: Outcome) -> str:
    """The result as text, for people and for the docs."""
    verdict, lines = outcome.verdict, ["| fault | times |", "|---|---|"]
    judged = verdict.judged
    lines += [f"| {name} | {times} |" for name, times in Counter(name for name, _ in outcome.faults).items()]
    lines += [
        "",
        "| result | |",
        "|---|---|",
        f"| faults | {len(outcome.faults)} in {outcome.seconds:.0f} s |",
        f"| events in the log, without repeats | {verdict.produced} |",
        f"| counted | {verdict.counted} |",
        f"| missing | {verdict.missing} |",
        f"| extra | {verdict.extra} |",
        f"| profiles that differ from those computed again | {len(verdict.wrong)} |",
        f"| drift events and retrain requests, by id | {verdict.told} |",
        f"| of these published again, same id and content | {verdict.repeated - len(verdict.contradicting)} |",
        f"| published again with other content | {len(verdict.contradicting)} |",
        f"| incidents | {'; '.join(f'{model}: ' + ', '.join(names) for model, _, names in judged.incidents)} |",
        f"| events on incidents, signals and retraining: missing | {len(judged.missing)} |",
        f"| extra | {len(judged.extra)} |",
        f"| wrong | {len(judged.wrong)} |",
        f"| incidents that a run without faults does not have | {len(judged.elsewhere)} |",
        f"| workers that ended by themselves and were restarted | {outcome.ended} |",
    ]
    differences = [
        *verdict.wrong, *verdict.contradicting, *(f"missing: {text}" for text in judged.missing),
        *(f"extra: {text}" for text in judged.extra), *(f"wrong: {text}" for text in judged.wrong),
        *(f"elsewhere: {incident}" for incident in judged.elsewhere),
    ]  # fmt: skip
    return "\n".join([*lines, *differences])
