"""The HTML report of a replay: one file without scripts, fonts, pictures or links to other files."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

from stream.charts import style, svg
from stream.replay import calibration_html
from stream.replay.report import Replayed
from stream.terminal.output import number

SHOWN_FEATURES = 60
"""The features with the most evidence; a page of 500 histograms would be of no use."""

SIZES = (("PSI", "psi"), ("Wasserstein", "wasserstein"), ("KS", "kolmogorov_smirnov"), ("JS", "jensen_shannon"))


def page(found: Replayed) -> str:
    """The whole document as text."""
    title = f"{found.model}/{found.version}: {found.state}"
    calibration = found.calibration
    rules = style.STYLE if calibration is None else style.STYLE + calibration_html.STYLE
    reference = f"a reference of {found.reference_rows:,} rows" if found.reference_digest else "no reference"
    return "\n".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{rules}</style></head><body>",
            f"<h1>{escape(title)}</h1>",
            f'<p class="soft">driftline replay: {found.events:,} events compared with {reference}',
            f"{_left_out(found)}</p>",
            "<h2>Evidence by event</h2>",
            svg.evidence(
                [(point.event, point.evidence_log10) for point in found.points],
                found.threshold_log10,
                [_span(incident) for incident in found.incidents],
                "Evidence of a change (log10), by event number",
                None if calibration is None else (calibration.first_event, calibration.last_event),
            ),
            _incidents(found.incidents),
            "" if calibration is None else calibration_html.section(calibration),
            _features(found.detail.get("features", [])),
            "</body></html>\n",
        )
    )


def _left_out(found: Replayed) -> str:
    """What was left out, behind the headline."""
    parts = [f"; {escape(found.read.left_out)}"] if found.read.left_out else []
    if found.read.too_little:
        parts.append(f"; not judged: {escape(found.read.too_little)}")
    parts += [f"<br>not watched: {escape(name)}: {escape(why)}" for name, why in found.read.not_watched.items()]
    parts += [f"<br>note: {escape(note)}" for note in found.read.notes]
    parts += [f"<br>{escape(line)}" for line in found.rhythm]
    return "".join(parts)


def bins(histogram: object) -> tuple[list[float], list[str]]:
    """Counts and names of a histogram in the form that the model's detail has; empty if there is none."""
    if isinstance(histogram, Mapping):
        counts = [float(count) for count in histogram.get("counts") or ()]
        if histogram.get("labels"):
            return counts, [str(label) for label in histogram["labels"]]
        edges = list(histogram.get("edges") or ())
        return counts, [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges)]
    if isinstance(histogram, Sequence) and not isinstance(histogram, str | bytes):
        return [float(count) for count in histogram], []
    return [], []


def _span(incident: Mapping[str, Any]) -> tuple[float, float | None, str]:
    names = ", ".join(str(feature.get("feature")) for feature in incident.get("features") or ())
    text = f"{incident.get('severity')}, {incident.get('verdict')}: {names}"
    return float(incident["opened_at_event"]), incident.get("resolved_at_event"), text


def _incidents(incidents: Sequence[Mapping[str, Any]]) -> str:
    if not incidents:
        return "<h2>Incidents</h2><p>No incidents.</p>"
    rows = [
        "<tr>"
        f'<td class="n">{incident["opened_at_event"]:,}</td><td>{_text(incident.get("resolved_at_event"))}</td>'
        f"<td>{_text(incident.get('severity'))}</td><td>{_text(incident.get('verdict'))}</td>"
        f"<td>{escape(', '.join(str(f.get('feature')) for f in incident.get('features') or ()))}</td></tr>"
        for incident in incidents
    ]
    head = (
        '<tr><th class="n">opened at event</th><th>resolved</th><th>severity</th><th>verdict</th><th>features</th></tr>'
    )
    return f'<h2>Incidents</h2><div class="scroll"><table>{head}{"".join(rows)}</table></div>'


def _features(features: Sequence[Mapping[str, Any]]) -> str:
    ranked = sorted(features, key=lambda f: (-(f.get("evidence_log10") or 0.0), str(f.get("feature"))))
    shown = [_feature(feature) for feature in ranked[:SHOWN_FEATURES]]
    more = len(ranked) - len(shown)
    rest = f'<p class="soft">and {more} more features with less evidence</p>' if more > 0 else ""
    legend = '<p class="soft">Wide bars: the reference. Narrow bars: all events of this replay.</p>'
    return f'<h2>Features, strongest evidence first</h2>{legend}<div class="features">{"".join(shown)}</div>{rest}'


def _feature(feature: Mapping[str, Any]) -> str:
    name = str(feature.get("feature"))
    reference, names = bins(feature.get("reference_histogram"))
    present, other = bins(feature.get("histogram"))
    sizes = " · ".join(f"{label} {number(feature.get(key))}" for label, key in SIZES)
    picture = svg.histograms(reference, present, names or other, f"{name}: reference and replay")
    missing = f" · missing {feature['missing']:,}" if feature.get("missing") else ""
    evidence = number(feature.get("evidence_log10"))
    return (
        f'<div class="feature"><b>{escape(name)}</b><span class="soft">evidence {evidence}{missing}</span>'
        f'{picture}<span class="soft">{sizes}</span></div>'
    )


def _text(value: object) -> str:
    return "-" if value is None else escape(f"{value:,}" if isinstance(value, int) else str(value))
