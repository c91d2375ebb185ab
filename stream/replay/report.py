"""The result of a replay, as the JSON object of ``replay --json`` and as text for a terminal."""

from typing import Any

import msgspec
from rich.console import Console

from stream.replay import calibration_report
from stream.replay.calibration_report import Calibrated
from stream.terminal import incidents as incident_tables
from stream.terminal.console import escape
from stream.terminal.exit_status import ExitStatus


class Point(msgspec.Struct, frozen=True):
    """The evidence (log10) at one event."""

    event: int
    at_ms: int
    evidence_log10: float


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
        """The performance that the labels show; None if no prediction was labelled."""
        performance = self.detail.get("performance")
        return performance if isinstance(performance, dict) and performance.get("labelled") else None

    @property
    def status(self) -> int:
        """The exit status: 1 if an incident opened, whether or not it is resolved."""
        return ExitStatus.DRIFT if self.incidents else ExitStatus.OK


def show(console: Console, found: Replayed) -> None:
    """Prints a headline, the incidents, and the ten features with the most evidence."""
    name = escape(f"{found.model}/{found.version}")
    if found.reference_digest is None:
        reference = "no reference yet (see --reference-rows)"
    else:
        reference = f"compared with a reference of {found.reference_rows:,} rows"
    console.print(f"[bold]{name}[/]  {found.events:,} events, {reference}: {_headline(found)}")
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
    if not count:
        style = {"stable": "green", "warning": "yellow"}.get(found.state, "cyan")
        return f"[{style}]{found.state}[/], no incident"
    still = sum(incident_tables.is_open(incident) for incident in found.incidents)
    return f"[red]{count} incident{'s' if count > 1 else ''}[/], {still} still open at the end; state {found.state}"
