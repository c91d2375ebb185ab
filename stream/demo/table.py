"""The table at the end of the demo: what was injected and found, with the delays, and any false reports."""

from collections.abc import Mapping

from rich import box
from rich.console import Console
from rich.table import Table

from stream.demo.story import Outcome, Summary
from stream.terminal.live import brief, clock

WIDTH = 150
"""Width of the table where output is no terminal."""


def show(console: Console, summary: Summary, logged: Mapping[str, int], dropped: Mapping[str, int]) -> None:
    if not console.is_terminal:
        console.width = max(console.width, WIDTH)
    console.print(_table(summary))
    for report in summary.false_reports:
        line = f"{clock(report.received_ms)} {report.model}: {report.verdict}"
        console.print(f"FALSE REPORT: {line} ({brief(report.features)})", style="red", highlight=False, markup=False)
    events = ", ".join(f"{name} {count:,}" for name, count in logged.items())
    lost = f"; dropped by the publishers: {dict(dropped)}" if dropped else ""
    console.print(f"events published: {events}{lost}", highlight=False, markup=False)
    console.print(verdict(summary), style="green" if summary.passed else "red", highlight=False, markup=False)


def verdict(summary: Summary) -> str:
    """The last line of the demo."""
    found = sum(outcome.found for outcome in summary.outcomes)
    false = len(summary.false_reports)
    return f"{found} of {len(summary.outcomes)} injected changes found, {false or 'no'} false report{'s'[: false != 1]}"


def _table(summary: Summary) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("model", "injected", "at", "found at", "by"):
        table.add_column(column, overflow="fold")
    table.add_column("delay, events", justify="right")
    table.add_column("delay, s", justify="right")
    for outcome in summary.outcomes:
        table.add_row(*_row(outcome), style=None if outcome.found else "red")
    return table


def _row(outcome: Outcome) -> list[str]:
    injected, report = outcome.injected, outcome.report
    at = "not injected" if injected is None else f"{clock(injected.at_ms)}, event {injected.after_events:,}"
    if report is None:
        return [outcome.injection.model, outcome.injection.what, at, "not found", "", "", ""]
    by = f"{report.verdict}: {brief(report.features)}" if report.verdict else brief(report.features)
    events, delay_ms = outcome.delay_events, outcome.delay_ms
    return [
        outcome.injection.model,
        outcome.injection.what,
        at,
        clock(report.received_ms),
        by,
        "" if events is None else f"{events:,}",
        "" if delay_ms is None else f"{delay_ms / 1000:.1f}",
    ]
