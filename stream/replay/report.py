"""What a replay found: the JSON object of the contract, and the same for a terminal."""

from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape

from stream.replay import calibration_report
from stream.replay.calibration_report import Calibrated
from stream.terminal import incidents as incident_tables
from stream.terminal.exit_status import ExitStatus


class Point(msgspec.Struct, frozen=True):
    """The evidence as of one event."""

    event: int
    at_ms: int
    evidence_log10: float


class Replayed(msgspec.Struct, frozen=True):
    """Everything a replay leaves. ``detail`` is the model's detail as the HTTP interface shows it."""

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
            "incidents": self.incidents,
            "signals": self.signals,
            "state": self.state,
            "features": self.detail.get("features", []),
            **({"performance": self.performance} if self.performance else {}),
            **({} if self.calibration is None else {"calibration": self.calibration.as_json()}),
        }

    @property
    def performance(self) -> dict[str, Any] | None:
        """What labels said, None where there were none."""
        performance = self.detail.get("performance")
        return performance if isinstance(performance, dict) and performance.get("labelled") else None

    @property
    def status(self) -> int:
        """1 where an incident opened, whether or not it is over."""
        return ExitStatus.DRIFT if self.incidents else ExitStatus.OK


def show(console: Console, found: Replayed) -> None:
    """For people: a headline, the incidents, and the features that moved most."""
    name = escape(f"{found.model}/{found.version}")
    rows = f"a reference of {found.reference_rows:,} rows" if found.reference_digest else "no reference yet"
    console.print(f"[bold]{name}[/]  {found.events:,} events against {rows}: {_headline(found)}")
    if found.incidents:
        console.print()
        console.print(incident_tables.table(found.incidents))
    features = [feature for feature in found.detail.get("features", []) if feature.get("evidence_log10") is not None]
    features.sort(key=lambda feature: (-float(feature["evidence_log10"]), str(feature["feature"])))
    if features:
        console.print()
        console.print("[bold]at the end[/], strongest first")
        console.print(incident_tables.feature_table(features[:10]))
    if found.performance is not None:
        told = ", ".join(f"{name} {value:.4g}" for name, value in found.performance["measures"].items())
        console.print(f"\n[bold]labels[/]: {found.performance['labelled']:,} predictions labelled, {told}")
    if found.signals:
        console.print(f"\nriver's detectors signalled {len(found.signals):,} times; they inform and do not page")
    if found.calibration is not None:
        console.print()
        calibration_report.show(console, found.calibration)


def _headline(found: Replayed) -> str:
    count = len(found.incidents)
    if not count:
        style = {"stable": "green", "warning": "yellow"}.get(found.state, "cyan")
        return f"[{style}]{found.state}[/], no incident"
    still = sum(incident_tables.is_open(incident) for incident in found.incidents)
    return f"[red]{count} incident{'s' if count > 1 else ''}[/], {still} still open; state {found.state}"
