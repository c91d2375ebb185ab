"""Incidents for the terminal: the one picture of them that replay, incidents and others share."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from stream.terminal.exit_status import ExitStatus
from stream.terminal.output import number, when, write_json

Incident = Mapping[str, Any]
STYLES = {"critical": "bold red", "warning": "yellow", "info": "cyan"}
SHOWN_FEATURES = 4
MOST_COLUMNS = 1_000
"""Of a line that is written where no terminal bounds it."""


def show_list(console: Console, incidents: Sequence[Incident], as_json: bool) -> int:
    """Exit status 1 when one is open."""
    if as_json:
        write_json(console, {"incidents": list(incidents)})
    elif not incidents:
        console.print("no incidents")
    else:
        _print_list(console, incidents)
    return ExitStatus.DRIFT if any(is_open(incident) for incident in incidents) else ExitStatus.OK


def _print_list(console: Console, incidents: Sequence[Incident]) -> None:
    """One line for each where that fits or nobody's eyes are on it, else two: an id that is broken cannot be copied."""
    shown = table(incidents, with_model=True)
    needed = Measurement.get(console, console.options.update(max_width=MOST_COLUMNS), shown).maximum
    if needed <= console.width:
        console.print(shown)
    elif not console.is_terminal:
        console.width = needed
        console.print(shown)
    else:
        for incident in incidents:
            console.print(_brief(incident), soft_wrap=True)


def _brief(incident: Incident) -> Text:
    style = STYLES.get(str(incident.get("severity")), "")
    over = "" if is_open(incident) else f" to {when(incident.get('resolved_at_ms'))}"
    names = _names(incident.get("features") or ())
    return Text.assemble(
        (str(incident.get("id")), "bold"),
        f"\n  {_model(incident)}  ",
        (str(incident.get("severity")), style),
        f"  {incident.get('verdict')}\n  {when(incident.get('opened_at_ms'))}{over}{'  ' if names else ''}{names}",
    )


def _model(incident: Incident) -> str:
    return "/".join(str(incident[part]) for part in ("model", "version", "segment") if incident.get(part) is not None)


def show_one(console: Console, incident: Incident, as_json: bool) -> int:
    """All that is known of one."""
    if as_json:
        write_json(console, incident)
        return ExitStatus.OK
    for key in ("id", "model", "version", "segment", "kind", "severity", "verdict", "reason", "summary"):
        if incident.get(key) is not None:
            console.print(f"[bold]{key:<9}[/] {escape(str(incident[key]))}")
    console.print(f"[bold]{'opened':<9}[/] {when(incident.get('opened_at_ms'))}{_at(incident.get('opened_at_event'))}")
    console.print(f"[bold]{'resolved':<9}[/] {when(incident.get('resolved_at_ms'))}")
    for note in incident.get("notes") or ():
        said = f"{when(note.get('at_ms'))} {note.get('by', '')}: {note.get('text', '')}"
        console.print(f"[bold]{note.get('action', 'note')!s:<9}[/] {escape(said)}")
    console.print(feature_table(incident.get("features") or ()))
    return ExitStatus.OK


def table(incidents: Sequence[Incident], *, with_model: bool = False) -> Table:
    """One line for each."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    over = not with_model or any(not is_open(incident) for incident in incidents)
    columns = ["incident", *(["model"] if with_model else []), "severity", "verdict", "opened"]
    columns += [*(["resolved"] if over else []), "features"]
    for name in columns:
        shown.add_column(name, overflow="fold", no_wrap=name == "incident")
    for incident in incidents:
        style = STYLES.get(str(incident.get("severity")), "")
        model = [escape(_model(incident))] if with_model else []
        moments = (
            [when(incident.get("opened_at_ms")), when(incident.get("resolved_at_ms"))]
            if with_model
            else [_event(incident.get("opened_at_event")), _event(incident.get("resolved_at_event"))]
        )
        row = [str(incident.get("id"))[:8] if not with_model else str(incident.get("id")), *model]
        row += [f"[{style}]{incident.get('severity')}[/]" if style else str(incident.get("severity"))]
        row += [str(incident.get("verdict")), *moments[: 1 + over], escape(_names(incident.get("features") or ()))]
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


def _names(features: Sequence[Mapping[str, Any]]) -> str:
    names = [str(feature.get("feature")) for feature in features]
    more = len(names) - SHOWN_FEATURES
    return ", ".join(names[:SHOWN_FEATURES]) + (f" and {more} more" if more > 0 else "")


def _event(event: int | None) -> str:
    return "-" if event is None else f"event {event:,}"


def _at(event: int | None) -> str:
    return "" if event is None else f" (event {event:,})"
