"""The parts of the benchmark. Each runs in a process of the pool and returns rows, by the name of their table."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from benchmarks.detection import changes, comparison, nulls, opponents, ordinary, pipeline, real
from benchmarks.detection.nulls import Rows
from benchmarks.detection.opponents import Opponent

TABLES = (
    "nulls",
    "changes",
    "dependent",
    "ordinary",
    "ordinary_changes",
    "pipeline_nulls",
    "pipeline_changes",
    "false_alarms",
    "comparison",
    "blame",
    "real",
    "real_incidents",
    "left_out",
)
"""The tables, in the order in which they are shown."""

ORDINARY_RATES = (0.1, 1.0, 10.0)
"""Events a second of ordinary streams. At ten a second a stream takes minutes."""


class Part(NamedTuple):
    """A name for people, and the function that makes the rows."""

    name: str
    run: Callable[[], Rows]


def chosen(quick: bool, seed: int, data: Path | None, alone: bool) -> list[Part]:
    """Every part, the longest first; ``alone``: without the opponents."""
    found = [] if alone else [Part(group[0].library, partial(_group, group, quick, seed)) for group in _longest_first()]
    for name in real.STREAMS if data is not None else ():
        assert data is not None
        found.append(Part(f"{name} (data)", partial(real.suite, name, data, seed)))
    for count in pipeline.PARTITIONS[::-1]:
        found.append(Part(f"pipeline, nulls, {count} partitions", partial(pipeline.null_suite, count, quick, seed)))
        found.append(Part(f"pipeline, changes, {count} partitions", partial(pipeline.change_suite, count, quick, seed)))
    keyed = partial(pipeline.null_suite, pipeline.KEYED, quick, seed, keyed=True)
    found.append(Part("pipeline, nulls, keyed partitions", keyed))
    found += [
        Part(f"null streams, {size:,} rows", partial(nulls.suite, size, quick, seed))
        for size in (nulls.QUICK_SIZES if quick else nulls.SIZES)[::-1]
    ]
    for rate in ORDINARY_RATES[:1] if quick else ORDINARY_RATES:
        seeds = 2 if quick else 10
        found += [
            Part(f"ordinary streams, {kind}, {rate:g} a second", partial(ordinary.null_suite, kind, rate, seeds, seed))
            for kind in ordinary.REFERENCES
        ]
        name = f"changes of ordinary streams, {rate:g} a second"
        found.append(Part(name, partial(ordinary.change_suite, rate, seeds, seed)))
    found.append(Part("null streams, 300 features", partial(nulls.wide, quick, seed)))
    found += [
        Part(f"changes, {size:,} rows", partial(changes.suite, size, quick, seed))
        for size in ((100_000,) if quick else changes.SIZES[::-1])
    ]
    found.append(Part("changes of dependent streams", partial(changes.dependent, quick, seed)))
    found.append(Part("driftline beside others", partial(comparison.ours, quick, seed)))
    return found


def _longest_first() -> list[list[Opponent]]:
    groups = opponents.by_library()
    return sorted(groups, key=lambda group: -sum(opponent.cost for opponent in group))


def _group(group: list[Opponent], quick: bool, seed: int) -> Rows:
    rows: Rows = {}
    for opponent in group:
        merge(rows, comparison.theirs(opponent, quick, seed))
    return rows


def merge(rows: Rows, more: Rows) -> None:
    """Adds the rows of ``more``, table by table."""
    for table, found in more.items():
        rows.setdefault(table, []).extend(found)


def run(parts: list[Part], jobs: int) -> Iterator[tuple[Part, Rows, float]]:
    """Runs parts. Yields each when it is done, with the seconds since the start."""
    start = perf_counter()
    with ProcessPoolExecutor(jobs) as pool:
        waiting = {pool.submit(part.run): part for part in parts}
        for done in as_completed(waiting):
            yield waiting[done], done.result(), perf_counter() - start


def ordered(rows: Rows) -> Rows:
    """The tables in their order, with rows in an order that does not depend on which part was done first."""
    found: Rows = {}
    for table in TABLES:
        if table in rows:
            found[table] = sorted(rows[table], key=_place)
    return found


TITLES = ("driftline", *(opponent.title for opponent in opponents.OPPONENTS))


def _place(row: dict[str, Any]) -> tuple[int, int, int]:
    """Sort key of a row: contenders as they are listed, other rows by rows of the reference and partitions."""
    title = row.get("detector")
    return TITLES.index(title) if title in TITLES else len(TITLES), row.get("reference", 0), row.get("partitions", 0)
