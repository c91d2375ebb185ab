"""Incidents for the terminal: the one picture of them that replay, incidents and others share."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

Incident = Mapping[str, Any]
STYLES = {"critical": "bold red", "warning": "yellow", "info": "cyan"}
SHOWN_FEATURES = 4
STABLE, DRIFT = 0, 1


def show_list(console: Console, incidents: Sequence[Incident], as_json: bool) -> int:
    """Exit status 1 when one is open."""
    if as_json:
        write_json(console, {"incidents": list(incidents)})
    elif not incidents:
        console.print("no incidents")
    else:
        console.print(table(incidents, with_model=True))
    return DRIFT if any(is_open(incident) for incident in incidents) else STABLE


def show_one(console: Console, incident: Incident, as_json: bool) -> int:
    """All that is known of one."""
    if as_json:
        write_json(console, incident)
        return STABLE
    for key in ("id", "model", "version", "segment", "kind", "severity", "verdict", "reason", "summary"):
        if incident.get(key) is not None:
            console.print(f"[bold]{key:<9}[/] {escape(str(incident[key]))}")
    console.print(f"[bold]{'opened':<9}[/] {when(incident.get('opened_at_ms'))}{_at(incident.get('opened_at_event'))}")
    console.print(f"[bold]{'resolved':<9}[/] {when(incident.get('resolved_at_ms'))}")
    for note in incident.get("notes") or ():
        said = f"{when(note.get('at_ms'))} {note.get('by', '')}: {note.get('text', '')}"
        console.print(f"[bold]{note.get('action', 'note')!s:<9}[/] {escape(said)}")
    console.print(feature_table(incident.get("features") or ()))
    return STABLE


def table(incidents: Sequence[Incident], *, with_model: bool = False) -> Table:
    """One line for each."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    columns = ["incident", *(["model"] if with_model else []), "severity", "verdict", "opened", "resolved", "features"]
    for name in columns:
        shown.add_column(name, overflow="fold")
    for incident in incidents:
        style = STYLES.get(str(incident.get("severity")), "")
        model = [f"{incident.get('model')}/{incident.get('version')}"] if with_model else []
        moments = (
            [when(incident.get("opened_at_ms")), when(incident.get("resolved_at_ms"))]
            if with_model
            else [_event(incident.get("opened_at_event")), _event(incident.get("resolved_at_event"))]
        )
        row = [str(incident.get("id"))[:8] if not with_model else str(incident.get("id")), *model]
        row += [f"[{style}]{incident.get('severity')}[/]" if style else str(incident.get("severity"))]
        row += [str(incident.get("verdict")), *moments, escape(_names(incident.get("features") or ()))]
        shown.add_row(*row)
    return shown


def feature_table(features: Sequence[Mapping[str, Any]]) -> Table:
    """Evidence and sizes, strongest first as they come."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("feature")
    sizes = ("evidence_log10", "psi", "wasserstein", "kolmogorov_smirnov", "jensen_shannon")
    for name in ("evidence", "PSI", "Wasserstein", "KS", "Jensen-Shannon"):
        shown.add_column(name, justify="right")
    for feature in features:
        shown.add_row(escape(str(feature.get("feature"))), *(number(feature.get(size)) for size in sizes))
    return shown


def is_open(incident: Incident) -> bool:
    """Whether it has not been resolved."""
    return incident.get("resolved_at_ms") is None


def when(moment_ms: int | None) -> str:
    """A moment in UTC, to the second; a dash for none."""
    if moment_ms is None:
        return "-"
    try:
        return f"{datetime.fromtimestamp(moment_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"
    except (OverflowError, ValueError, OSError):
        return f"{moment_ms} ms"


def number(value: object) -> str:
    """Three significant figures; a dash for none."""
    return f"{value:.3g}" if isinstance(value, int | float) else "-"


def write_json(console: Console, value: object) -> None:
    """One JSON document, as it is: no colours, no wrapping."""
    console.out(msgspec.json.format(msgspec.json.encode(value), indent=2).decode(), highlight=False)


def _names(features: Sequence[Mapping[str, Any]]) -> str:
    names = [str(feature.get("feature")) for feature in features]
    more = len(names) - SHOWN_FEATURES
    return ", ".join(names[:SHOWN_FEATURES]) + (f" and {more} more" if more > 0 else "")


def _event(event: int | None) -> str:
    return "-" if event is None else f"event {event:,}"


def _at(event: int | None) -> str:
    return "" if event is None else f" (event {event:,})"
