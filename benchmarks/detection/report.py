"""Tables of the results: for a terminal, and as the page of the documentation."""

from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.detection import changes
from benchmarks.detection.nulls import Rows
from detectors.calibration import evaluation

Row = dict[str, Any]

TITLES = {
    "nulls": "Null streams: false alarms at a guarantee of one in 1e10 feature-events",
    "changes": "Changes: delay in events at that guarantee, one normal feature",
    "dependent": "The same on streams that depend on time",
    "ordinary": "Ordinary streams without a change: incidents in 28 days of one feature at a budget of one a month",
    "ordinary_changes": "The same with a shift on the tenth day, training rows in random order: delay in events",
    "pipeline_nulls": "The whole pipeline without a change: incidents at a budget of one a month",
    "pipeline_changes": "The whole pipeline, changes: delay in events, and the features that incidents name",
    "false_alarms": "Side by side: false alarms per 100,000 events of one feature",
    "comparison": "Side by side: median delay in events (90th percentile; missed)",
    "blame": "Side by side: features blamed for a shift of .5 sigma within 3,000 events, precision / recall",
    "real": "Real streams at a budget of one a month",
    "real_incidents": "Incidents of the real streams",
    "left_out": "Left out",
    "cost": "Cost",
}


def pivoted(rows: list[Row], column: str, cell: str) -> list[Row]:
    """Rows with one column for every value of ``column``: one row for each contender and setting."""
    found: dict[tuple[str, str], Row] = {}
    for row in rows:
        head = {key: row[key] for key in ("detector", "setting", "parameter")}
        found.setdefault((row["detector"], row["setting"]), head)[str(row[column])] = cell.format(**_cells(row))
    return list(found.values())


def _cells(row: Row) -> Row:
    shown = {key: text(value) for key, value in row.items()}
    if "missed" in row:
        shown["missed"] = f"{100 * row['missed']:.0f} %"
    return shown


def tables(results: Row) -> dict[str, list[Row]]:
    """The parts of each table of the results that are shown."""
    found: Rows = {name: results[name] for name in TITLES if results.get(name)}
    if "comparison" in found:
        found["comparison"] = pivoted(found["comparison"], "change", "{median} ({p90}; {missed})")
    if "blame" in found:
        found["blame"] = pivoted(found["blame"], "changed", "{precision} / {recall}")
    return found


def text(value: object) -> str:
    """A figure as text; a dash when there is none."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def show(console: Console, results: Row) -> None:
    """Prints every table."""
    for name, rows in tables(results).items():
        shown = Table(title=TITLES[name], header_style="bold", title_justify="left")
        for key in rows[0]:
            shown.add_column(
                key.replace("_", " "), justify="right" if isinstance(rows[0][key], int | float) else "left"
            )
        for row in rows:
            shown.add_row(*(text(row.get(key)) for key in rows[0]))
        console.print(shown)


def verdicts(results: Row) -> tuple[str, list[str]]:
    """What the null streams show, and which targets failed."""
    counted = [row for row in results["nulls"] if row["counts"]]
    bound = evaluation.false_alarms(
        sum(row["alarms"] for row in counted), sum(row["feature_events"] for row in counted)
    )
    told = (
        f"null streams: {bound.alarms} alarms in {bound.watched:.3g} feature-events, so one in at least "
        f"{bound.mean_time_at_least:.3g} with 95 % confidence"
    )
    failed = [f"alarms on null streams: {bound.alarms}"] if bound.alarms else []
    failed += [f"later than its target: {name}" for name in changes.late(results["changes"])]
    failed += [
        f"pipeline: {row['incidents']} incidents in {row['months']:.2g} months of {row['stream']}, "
        f"{row['partitions']} partitions"
        for row in results["pipeline_nulls"]
        if not row["kept"]
    ]
    return told, failed


HEAD = """# Detection, measured

This page shows whether driftline keeps its promise on false alarms, how soon it finds a change, and the same for
other libraries. Every figure comes from one command and is determined by its seed, except the cost, which depends on
the machine. `DIR` contains real streams. It may be left out:

```console
$ make bench-detection ARGS='--data DIR --out docs'
```

The figures below were made with `{arguments}`.

{told}. {failed}

* *Null streams*: nothing changes in them, so every alarm is false. There is one event a minute; a day is 1,440
  events. If *counts* is "no", a reference of a few days cannot know how much days differ: the row shows what that
  costs and is not part of the sum. No alarm in T events supports a mean time of at least T / 3 between alarms at 95
  %: this is the column *at least*.
* *Delay*: events from the change to the alarm; *missed*: the share not found within the horizon, which is 10,000
  events (30,000 on streams that depend on time, 5,000 side by side). driftline looks every 32 events here.
* *default*: the library's own defaults. *equal*: the parameter at which the library raised one false alarm in 100,000
  events of a normal stream, found by bisection. For driftline this parameter is its guarantee. At its default
  driftline promises one false alarm a month; at one event a second that is one in 2.6 million. Where false alarms are
  frequent, a short delay may be chance: read both tables.
* The other libraries run in an environment of their own each, with a reference of 20,000 rows (1,000 rows for
  Evidently's Kolmogorov-Smirnov test, which is its default up to that size, and for alibi-detect's bootstrap). River
  gets raw values. Evidently and NannyML get windows of 1,000 events, and a change comes in the middle of one.

![delay of driftline and other libraries at equal false alarms](images/benchmark-delay.png)

![false alarms at defaults](images/benchmark-false-alarms.png)
"""


def page(results: Row) -> str:
    """The text of docs/benchmark-detection.md."""
    told, failed = verdicts(results)
    said = "Nothing was above its target." if not failed else "What did not hold: " + "; ".join(failed) + "."
    parts = [HEAD.format(arguments=results["arguments"], told=told[0].upper() + told[1:], failed=said)]
    for name, rows in tables(results).items():
        parts.append(f"\n## {TITLES[name]}\n\n| {' | '.join(key.replace('_', ' ') for key in rows[0])} |")
        parts.append("|" + "---|" * len(rows[0]))
        parts += ["| " + " | ".join(text(row.get(key)) for key in rows[0]) + " |" for row in rows]
    return "\n".join(parts) + "\n"
