"""The result of a replay, as the JSON object of ``replay --json`` and as text for a terminal."""

from typing import Any

import msgspec
from rich.console import Console

from stream.replay import calibration_report
from stream.replay.calibration_report import Calibrated
from stream.terminal import incidents as incident_tables
from stream.terminal.console import escape
from stream.terminal.exit_status import ExitStatus

SHOWN_COLUMNS = 20
"""Most columns that are not watched, and most notes, that are shown in a terminal."""


DEPENDENT = 1.5
"""The dependence factor from which on its cost is shown."""


class Point(msgspec.Struct, frozen=True):
    """The evidence (log10) at one event."""

    event: int
    at_ms: int
    evidence_log10: float


class ReadRows(msgspec.Struct, frozen=True):
    """What became of the rows after the reference: ``rows`` is the sum of the other counts.

    ``not_watched``: columns that are left out, each with the reason. ``notes``: decisions made while reading.
    """

    rows: int
    judged: int
    late: int
    duplicate: int
    invalid: int
    not_watched: dict[str, str] = {}
    notes: list[str] = []

    def as_json(self) -> dict[str, Any]:
        """The member ``read`` of ``replay --json``."""
        columns = [{"column": name, "reason": reason} for name, reason in self.not_watched.items()]
        return {**msgspec.structs.asdict(self), "not_watched": columns}

    @property
    def left_out(self) -> str:
        """The rows that were left out, as text; empty if there is none."""
        counts = ((self.late, "late"), (self.duplicate, "repeated"), (self.invalid, "invalid"))
        return ", ".join(f"{count:,} {what}" for count, what in counts if count)

    @property
    def too_little(self) -> str | None:
        """Why the judged rows say nothing about the file; None if they do."""
        if 2 * self.judged >= self.rows and self.judged:
            return None
        if self.duplicate >= max(self.late, self.invalid):
            return f"{self.duplicate:,} of {self.rows:,} events repeat an id: ids name the event, not the customer"
        if self.late >= self.invalid:
            return f"{self.late:,} of {self.rows:,} events are late: sort them by time"
        return f"{self.invalid:,} of {self.rows:,} rows cannot be read"


class Replayed(msgspec.Struct, frozen=True):
    """Everything that a replay found. ``detail`` is the model's detail as the HTTP API returns it."""

    model: str
    version: str
    events: int
    rate: float
    reference_rows: int
    reference_digest: str | None
    incidents: list[dict[str, Any]]
    signals: list[dict[str, Any]]
    state: str
    detail: dict[str, Any]
    read: ReadRows
    points: list[Point]
    threshold_log10: float | None
    calibration: Calibrated | None = None

    def as_json(self) -> dict[str, Any]:
        """The one object of ``replay --json``."""
        reference = None
        if self.reference_digest is not None:
            reference = {"rows": self.reference_rows, "digest": self.reference_digest}
        return {
            "model": self.model,
            "version": self.version,
            "events": self.events,
            "rate": self.rate,
            "reference": reference,
            "read": self.read.as_json(),
            "incidents": self.incidents,
            "signals": self.signals,
            "state": self.state,
            "season": self.detail.get("season"),
            "features": self.detail.get("features", []),
            **({"performance": self.performance} if self.performance else {}),
            **({} if self.calibration is None else {"calibration": self.calibration.as_json()}),
        }

    @property
    def performance(self) -> dict[str, Any] | None:
        """The performance that the labels show; None if no prediction was labelled."""
        performance = self.detail.get("performance")
        return performance if isinstance(performance, dict) and performance.get("labelled") else None

    @property
    def rhythm(self) -> list[str]:
        """What is known of the season and of the dependence at the end, and what that costs, as lines of text."""
        season, features = self.detail.get("season"), self.detail.get("features", [])
        if not isinstance(season, dict):
            return []
        lines = [f"season: {season['text']}"]
        taus = [(float(row["tau"]), str(row["feature"])) for row in features if row.get("tau") is not None]
        if taus and max(taus)[0] >= DEPENDENT:
            tau, name = max(taus)
            lines.append(
                f"dependence: events of {name} repeat each other; a change of it needs about {tau:.2g} times as many "
                "events as one of independent events"
            )
        shifts = [(float(row["smallest_shift"]), str(row["feature"])) for row in features
                  if row.get("smallest_shift") is not None]  # fmt: skip
        if shifts:
            shift, name = max(shifts)
            sudden = "sudden " if season["source"] == "stream" else ""
            lines.append(f"smallest {sudden}shift that is found: {shift:.2g} standard deviations ({name})")
        return lines

    @property
    def status(self) -> int:
        """The exit status: 1 if an incident opened, whether or not it is resolved; 2 if too little was judged."""
        if self.incidents:
            return ExitStatus.DRIFT
        return ExitStatus.ERROR if self.reference_digest is None or self.read.too_little else ExitStatus.OK


def show(console: Console, found: Replayed) -> None:
    """Prints a headline, the incidents, and the ten features with the most evidence."""
    name = escape(f"{found.model}/{found.version}")
    if found.reference_digest is None:
        reference = "no reference yet (see --reference-rows)"
    else:
        reference = f"compared with a reference of {found.reference_rows:,} rows"
    left_out = f", {found.read.left_out}" if found.read.left_out else ""
    console.print(f"[bold]{name}[/]  {found.events:,} events{left_out}, {reference}: {_headline(found)}")
    for column, reason in list(found.read.not_watched.items())[:SHOWN_COLUMNS]:
        console.print(f"not watched: {escape(column)}: {escape(reason)}")
    if len(found.read.not_watched) > SHOWN_COLUMNS:
        console.print(f"not watched: {len(found.read.not_watched) - SHOWN_COLUMNS:,} more columns (see --json)")
    for note in found.read.notes[:SHOWN_COLUMNS]:
        console.print(f"note: {escape(note)}")
    for line in found.rhythm:
        console.print(escape(line))
    if found.incidents:
        console.print()
        console.print(incident_tables.table(found.incidents))
    features = [feature for feature in found.detail.get("features", []) if feature.get("evidence_log10") is not None]
    features.sort(key=lambda feature: (-float(feature["evidence_log10"]), str(feature["feature"])))
    if features:
        console.print()
        console.print("[bold]features at the end[/], strongest evidence first")
        console.print(incident_tables.feature_table(features[:10]))
    if found.performance is not None:
        measures = ", ".join(f"{name} {value:.4g}" for name, value in found.performance["measures"].items())
        console.print(f"\n[bold]labels[/]: {found.performance['labelled']:,} predictions labelled, {measures}")
    if found.signals:
        count = f"{len(found.signals):,} signal{'s' if len(found.signals) > 1 else ''}"
        console.print(f"\n{count} from single detectors (ADWIN, Page-Hinkley, plug-ins); signals open no incident")
    if found.calibration is not None:
        console.print()
        calibration_report.show(console, found.calibration)


def _headline(found: Replayed) -> str:
    count = len(found.incidents)
    if not count and found.read.too_little:
        return f"[red]not judged[/]: {found.read.too_little}"
    if not count:
        style = {"stable": "green", "warning": "yellow"}.get(found.state, "cyan")
        return f"[{style}]{found.state}[/], no incident"
    still = sum(incident_tables.is_open(incident) for incident in found.incidents)
    return f"[red]{count} incident{'s' if count > 1 else ''}[/], {still} still open at the end; state {found.state}"
