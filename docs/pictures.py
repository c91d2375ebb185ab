"""Draws the pictures and computes the figures of docs/detection.md: ``python docs/pictures.py`` (two minutes).

Every run replays generated events through the detection of the service. Seeds are fixed, so the same code gives the
same pictures.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot

mpl.use("Agg")
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from detectors.calibration import synthetic  # noqa: E402
from detectors.reference.builder import build_reference  # noqa: E402
from detectors.reference.reference import Reference  # noqa: E402
from stream.replay.options import ReplayOptions  # noqa: E402
from stream.replay.replay import LOOK_EVENTS, Replay  # noqa: E402
from stream.replay.report import Replayed  # noqa: E402
from stream.settings.settings import Settings  # noqa: E402

IMAGES = ROOT / "docs" / "images"
BLUE, RED, GREEN, GREY = "#2563eb", "#dc2626", "#16a34a", "#6b7280"
STABLE_EVENTS, HORIZON = 1_000, 6_000
RUNS = 21
BUDGETS = (0.01, 0.1, 1.0, 10.0)
SHIFTS = (0.25, 0.5, 1.0)
TOLERANCES = (0.01, 0.02, 0.05)
ROWS = (500, 2_000, 10_000, 100_000)


def reference(rows: int = 20_000, seed: int = 1) -> Reference:
    """A reference of one feature, N(0, 1)."""
    return build_reference("example", "1", {"x": np.random.default_rng(seed).normal(size=rows)})


def references_of(rows: int) -> list[Reference]:
    """RUNS references: the deviation of a small one is random."""
    return [reference(rows, seed) for seed in range(RUNS)]


def replayed(values: np.ndarray, known: Reference, settings: Settings, *, stop: bool = True) -> Replayed:
    """A replay of ``values``, one a second, judged every LOOK_EVENTS; with ``stop`` only until the first incident."""
    replay = Replay(ReplayOptions(file="example"), settings, known)
    for look in _looks(values):
        replay.feed(look)
        if stop and (found := replay.report()).incidents:
            return found
    return replay.report()


def _looks(values: np.ndarray) -> Iterator[list[tuple[int, int, bytes]]]:
    for start in range(0, len(values), LOOK_EVENTS):
        yield [
            (row + 1, row * 1000, b'{"model":"example","version":"1","features":{"x":%a}}' % float(values[row]))
            for row in range(start, min(start + LOOK_EVENTS, len(values)))
        ]


def changed(shift: float, seed: int, stable: int = STABLE_EVENTS, then: int = HORIZON) -> np.ndarray:
    """A stream of ``stable`` events of N(0, 1), then ``then`` events of N(shift, 1)."""
    values = np.random.default_rng(seed).normal(size=stable + then)
    values[stable:] += shift
    return values


def delay(shift: float, references: Sequence[Reference], settings: Settings) -> dict[str, float | None]:
    """Median delay from the change to the incident, one run per reference, and the share not found within HORIZON."""
    found = []
    for seed, known in enumerate(references):
        incidents = replayed(changed(shift, 100 + seed), known, settings).incidents
        found.append(incidents[0]["opened_at_event"] - STABLE_EVENTS if incidents else None)
    known_delays = sorted(d for d in found if d is not None)
    whole = [d if d is not None else np.inf for d in found]
    median = float(np.median(whole)) if known_delays else np.inf
    return {"median": None if np.isinf(median) else median, "missed": found.count(None) / len(found)}


def evidence_picture() -> dict[str, object]:
    """Draws evidence over events: no change, a change that is too small to matter, half a sigma."""
    known, figure = reference(), pyplot.figure(figsize=(9, 4.2))
    axes = figure.add_subplot()
    told: dict[str, object] = {}
    for shift, colour, style, text in (
        (0.5, RED, "-", "mean moves by .5 standard deviations"),
        (0.0, GREEN, "-", "no change"),
        (0.05, "black", ":", "mean moves by .05 standard deviations: inside the tolerance"),
    ):
        found = replayed(changed(shift, 7, 2_000, 1_500), known, Settings(), stop=False)
        assert found.threshold_log10 is not None
        events, evidence = [p.event for p in found.points], [p.evidence_log10 for p in found.points]
        axes.plot(events, evidence, style, color=colour, label=text, linewidth=2)
        told[str(shift)] = [incident["opened_at_event"] for incident in found.incidents]
        axes.axhline(found.threshold_log10, color=GREY, linestyle="--", linewidth=1)
    axes.axvline(2_000, color=GREY, linewidth=0.8)
    axes.annotate("the change", (2_000, 0.3), xytext=(-70, 0), textcoords="offset points", color=GREY)
    axes.annotate("an incident opens here: 1 false alarm per month", (60, found.threshold_log10 + 0.2), color=GREY)
    axes.set(xlabel="events", ylabel="evidence (log10)", ylim=(0, 12))
    axes.legend(loc="upper left", bbox_to_anchor=(0, 0.88), frameon=False)
    _save(figure, "detection-evidence.png")
    return told


def curves(name: str, label: str, table: dict[str, dict[str, dict[str, float | None]]]) -> None:
    """Draws the median delay over a setting, one line for each shift."""
    figure = pyplot.figure(figsize=(9, 4))
    axes = figure.add_subplot()
    for shift, colour in zip(SHIFTS, (GREY, BLUE, RED), strict=True):
        points = [(float(value), row[str(shift)]["median"]) for value, row in table.items()]
        shown = [(x, y) for x, y in points if y is not None]
        label_of = f"{shift:g} standard deviation{'s' if shift < 1 else ''}"
        axes.plot([x for x, _ in shown], [y for _, y in shown], "o-", color=colour, label=label_of)
    axes.set(xscale="log", yscale="log", xlabel=label, ylabel="median delay in events")
    axes.legend(frameon=False, title="the mean moves by", loc="upper left", bbox_to_anchor=(1, 1))
    axes.grid(visible=True, which="major", alpha=0.3)
    _save(figure, name)


def quiet() -> dict[str, dict[str, float]]:
    """Number of incidents on streams in which nothing changes."""
    told = {}
    for name in ("normal", "student-t3", "lognormal"):
        draw, rng = synthetic.NULLS[name], np.random.default_rng(5)
        known = build_reference("example", "1", {"x": draw(rng, 20_000, 0)})
        found = replayed(draw(rng, 100_000, 0), known, Settings(), stop=False)
        told[name] = {"events": found.events, "incidents": len(found.incidents)}
    return told


def _save(figure: pyplot.Figure, name: str) -> None:
    figure.tight_layout()
    figure.savefig(IMAGES / name, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def main() -> None:
    """Writes the pictures and ``docs/images/detection.json``."""
    known = references_of(20_000)
    told: dict[str, object] = {"evidence": evidence_picture(), "quiet": quiet()}
    budgets = {
        str(b): {str(s): delay(s, known, Settings(false_alarms_per_model_per_month=b)) for s in SHIFTS} for b in BUDGETS
    }
    curves("detection-budget.png", "false alarms per model and month", budgets)
    base = Settings()
    rows = {str(n): {str(s): delay(s, references_of(n), base) for s in SHIFTS} for n in ROWS}
    curves("detection-reference.png", "rows of the reference", rows)
    told |= {"budget": budgets, "reference": rows, "tolerance": tolerances(known)}
    (IMAGES / "detection.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def tolerances(known: Sequence[Reference]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Delay by ``detection.tolerance``."""
    table = {}
    for value in TOLERANCES:
        base = Settings()
        detection = type(base.detection)(tolerance=value)
        table[str(value)] = {str(s): delay(s, known, Settings(detection=detection)) for s in SHIFTS}
    return table


if __name__ == "__main__":
    main()
