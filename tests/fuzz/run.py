"""Gives inputs to the targets, and reports the findings."""

import asyncio
import random
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tests.fuzz import handlers, http
from tests.fuzz.mutate import mutated
from tests.fuzz.targets import Target, byte_targets

HTTP_SHARE = 0.01
SLOW_SECONDS = 5.0
"""Processor seconds of this process, independent of other processes."""
KEPT = 5
"""Most findings of a target that are reported."""


class Report(NamedTuple):
    """The result of one target. ``findings``: each input with the error."""

    target: str
    inputs: int
    accepted: int
    seconds: float
    findings: list[tuple[bytes, str]]


@contextmanager
def all_targets() -> Iterator[list[Target]]:
    """The targets that need no client. ``http`` needs one and runs apart."""
    with handlers.requests() as requests:
        yield [*byte_targets(), requests]


def fuzz(inputs: int, seed: int, only: str | None = None) -> list[Report]:
    """Runs the targets. Returns one report for each."""
    with all_targets() as targets:
        reports = [
            fuzz_one(target, inputs if only else int(inputs * target.share), seed)
            for target in targets
            if only in (None, target.name)
        ]
    if only in (None, "http"):
        count, began = inputs if only else int(inputs * HTTP_SHARE), time.monotonic()
        accepted, findings = asyncio.run(http.fuzz(count, seed))
        reports.append(Report("http", count, accepted, time.monotonic() - began, findings))
    return reports


def fuzz_one(target: Target, inputs: int, seed: int) -> Report:
    chance, began = random.Random(f"{seed}/{target.name}"), time.monotonic()
    accepted, findings, kinds = 0, list[tuple[bytes, str]](), set[str]()
    for _ in range(inputs):
        data = mutated(chance, target.corpus)
        asked = time.process_time()
        try:
            accepted += target.run(data)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__}: {str(error)[:120]} at {where.filename.rsplit('/', 1)[-1]}:{where.lineno}"
            if kind not in kinds and len(findings) < KEPT:
                kinds.add(kind)
                findings.append((data, kind))
        if (seconds := time.process_time() - asked) > SLOW_SECONDS:
            findings.append((data, f"took {seconds:.1f} s"))
    return Report(target.name, inputs, accepted, time.monotonic() - began, findings)


def table(reports: list[Report]) -> str:
    lines = ["| target | inputs | accepted | findings | seconds |", "|---|---|---|---|---|"]
    lines += [f"| {r.target} | {r.inputs} | {r.accepted} | {len(r.findings)} | {r.seconds:.0f} |" for r in reports]
    lines += [f"{r.target}: {what}\n    {data[:300]!r}" for r in reports for data, what in r.findings]
    return "\n".join(lines)
