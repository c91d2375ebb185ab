"""The table of monitored models for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from stream.terminal.console import escape
from stream.terminal.exit_status import ExitStatus
from stream.terminal.live import STATE_STYLES
from stream.terminal.output import when, write_json

NAMES = ("model", "version", "segment")
"""Columns that are never broken over lines, since they are copied into other commands."""

COLUMNS = ("model", "version", "segment", "state", "events", "last event", "reason")


def show_list(console: Console, models: Sequence[Mapping[str, Any]], as_json: bool) -> int:
    """Prints the models. The exit status is 0 for any states."""
    if as_json:
        write_json(console, {"models": list(models)})
    elif not models:
        console.print("no models")
    else:
        console.print(_table(models))
    return ExitStatus.OK


def _interruptions(model: Mapping[str, Any]) -> list[str]:
    """What happened to the topics and checkpoints of a model."""
    found = model.get("interruptions")
    return [str(name).replace("_", " ") for name in found] if isinstance(found, Mapping) else []


def _table(models: Sequence[Mapping[str, Any]]) -> Table:
    shown = Table(box=None, pad_edge=False, header_style="bold")
    segments = any(model.get("segment") for model in models)
    for name in COLUMNS:
        if name != "segment" or segments:
            justify: Literal["left", "right"] = "right" if name == "events" else "left"
            shown.add_column(name, overflow="fold", justify=justify, no_wrap=name in NAMES)
    for model in models:
        state = str(model.get("state"))
        names = [escape(str(model.get(name) or "")) for name in NAMES if name != "segment" or segments]
        shown.add_row(
            *names,
            f"[{STATE_STYLES.get(state, 'bold')}]{escape(state)}[/]",
            f"{model.get('events') or 0:,}",
            when(model.get("last_event_ms")),
            escape("; ".join(filter(None, [str(model.get("reason") or ""), *_interruptions(model)]))),
        )
    return shown
