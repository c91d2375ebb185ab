"""Tables of incidents and features for the terminal, which all commands share."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from stream.terminal.exit_status import ExitStatus
from stream.terminal.output import escape, number, printable, when, write_json

Incident = Mapping[str, Any]
STYLES = {"critical": "bold red", "warning": "yellow", "info": "cyan"}
SHOWN_FEATURES = 4
MOST_COLUMNS = 1_000
"""Width of a line if standard output is not a terminal."""


def show_list(console: Console, incidents: Sequence[Incident], as_json: bool) -> int:
    """Prints the incidents. Exit status 1 if one of them is open."""
    if as_json:
        write_json(console, {"incidents": list(incidents)})
    elif not incidents:
        console.print("no incidents")
    else:
        _print_list(console, incidents)
    return ExitStatus.DRIFT if any(is_open(incident) for incident in incidents) else ExitStatus.OK


def _print_list(console: Console, incidents: Sequence[Incident]) -> None:
    """Prints one line for each incident if that fits or the output is not a terminal, else three.

    An id is never broken over lines, since a broken id cannot be copied.
    """
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
    names = printable(_names(incident.get("features") or ()))
    return Text.assemble(
        (str(incident.get("id")), "bold"),
        f"\n  {printable(_model(incident))}  ",
        (str(incident.get("severity")), style),
        f"  {incident.get('verdict')}\n  {when(incident.get('opened_at_ms'))}{over}{'  ' if names else ''}{names}",
    )


def _model(incident: Incident) -> str:
    return "/".join(str(incident[part]) for part in ("model", "version", "segment") if incident.get(part) is not None)


def show_one(console: Console, incident: Incident, as_json: bool) -> int:
    """Prints everything that is known about one incident."""
    if as_json:
        write_json(console, incident)
        return ExitStatus.OK
    for key in ("id", "model", "version", "segment", "kind", "severity", "verdict", "reason", "summary"):
        if incident.get(key) is not None:
            console.print(f"[bold]{key:<9}[/] {escape(str(incident[key]))}")
    console.print(f"[bold]{'opened':<9}[/] {when(incident.get('opened_at_ms'))}{_at(incident.get('opened_at_event'))}")
    console.print(f"[bold]{'resolved':<9}[/] {when(incident.get('resolved_at_ms'))}")
    for note in incident.get("notes") or ():
        entry = f"{when(note.get('at_ms'))} {note.get('by', '')}: {note.get('text', '')}"
        console.print(f"[bold]{note.get('action', 'note')!s:<9}[/] {escape(entry)}")
    console.print(feature_table(incident.get("features") or ()))
    return ExitStatus.OK


def table(incidents: Sequence[Incident], *, with_model: bool = False) -> Table:
    """A table with one row for each incident."""
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
    """A table of the evidence and the sizes of features, in the given order."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("feature")
    sizes = ("evidence_log10", "psi", "wasserstein", "kolmogorov_smirnov", "jensen_shannon")
    for name in ("evidence", "PSI", "Wasserstein", "KS", "Jensen-Shannon"):
        shown.add_column(name, justify="right")
    for feature in features:
        shown.add_row(escape(str(feature.get("feature"))), *(number(feature.get(size)) for size in sizes))
    return shown


def is_open(incident: Incident) -> bool:
    """Whether the incident has not been resolved."""
    return incident.get("resolved_at_ms") is None


def _names(features: Sequence[Mapping[str, Any]]) -> str:
    names = [str(feature.get("feature")) for feature in features]
    more = len(names) - SHOWN_FEATURES
    return ", ".join(names[:SHOWN_FEATURES]) + (f" and {more} more" if more > 0 else "")


def _event(event: int | None) -> str:
    return "-" if event is None else f"event {event:,}"


def _at(event: int | None) -> str:
    return "" if event is None else f" (event {event:,})"
