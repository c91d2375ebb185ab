"""A replay as one HTML file that needs nothing from elsewhere: no script, no font, no picture, no link."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

from stream.charts import svg
from stream.replay import calibration_html
from stream.replay.report import Replayed
from stream.terminal import incidents as incident_tables

SHOWN_FEATURES = 60
"""The worst; a page of 500 histograms helps nobody."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #667085; --paper: #fff; --line: #e4e7ec; --now: #d9480f;
  --then: #9db4d3; --bad: #e0313133; --good: #2b8a3e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #98a2b3; --paper: #14171d; --line: #2b313c;
  --now: #ff922b; --then: #47648c; --bad: #e0313155;
  --good: #69db7c; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1000px;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; } .soft { color: var(--soft); }
svg { width: 100%; height: auto; } svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
.grid { stroke: var(--line); } .threshold { stroke: var(--now); stroke-dasharray: 6 4; }
text.threshold { stroke: none; fill: var(--now); } .evidence { fill: none; stroke: var(--ink); stroke-width: 1.5; }
.incident { fill: var(--bad); } .reference { fill: var(--then); } .present { fill: var(--now); }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .3rem .6rem;
  border-bottom: 1px solid var(--line); } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
.features { display: grid; grid-template-columns: repeat(auto-fill, minmax(280px, 1fr)); gap: 1rem; }
.feature { border: 1px solid var(--line); border-radius: 6px; padding: .6rem; } .feature b { display: block; }
"""

SIZES = (("PSI", "psi"), ("Wasserstein", "wasserstein"), ("KS", "kolmogorov_smirnov"), ("JS", "jensen_shannon"))


def page(found: Replayed) -> str:
    """The whole document."""
    title = f"{found.model}/{found.version}: {found.state}"
    calibration = found.calibration
    style = STYLE if calibration is None else STYLE + calibration_html.STYLE
    reference = f"a reference of {found.reference_rows:,} rows" if found.reference_digest else "no reference"
    return "\n".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{style}</style></head><body>",
            f"<h1>{escape(title)}</h1>",
            f'<p class="soft">driftline replay: {found.events:,} events against {reference}</p>',
            "<h2>Evidence over events</h2>",
            svg.evidence(
                [(point.event, point.evidence_log10) for point in found.points],
                found.threshold_log10,
                [_span(incident) for incident in found.incidents],
                "log10 of the evidence against the reference, over events",
                None if calibration is None else (calibration.first_event, calibration.last_event),
            ),
            _incidents(found.incidents),
            "" if calibration is None else calibration_html.section(calibration),
            _features(found.detail.get("features", [])),
            "</body></html>\n",
        )
    )


def bins(histogram: object) -> tuple[list[float], list[str]]:
    """Counts and names of a histogram as the model's detail holds it; empty where it holds none."""
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
        return "<h2>Incidents</h2><p>None.</p>"
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
    rest = f'<p class="soft">and {more} more with less evidence</p>' if more > 0 else ""
    legend = '<p class="soft">wide bars: the reference; narrow bars: all events of this replay</p>'
    return f'<h2>Features, strongest evidence first</h2>{legend}<div class="features">{"".join(shown)}</div>{rest}'


def _feature(feature: Mapping[str, Any]) -> str:
    name = str(feature.get("feature"))
    reference, names = bins(feature.get("reference_histogram"))
    present, other = bins(feature.get("histogram"))
    sizes = " · ".join(f"{label} {incident_tables.number(feature.get(key))}" for label, key in SIZES)
    picture = svg.histograms(reference, present, names or other, f"{name}: reference and present")
    missing = f" · missing {feature['missing']:,}" if feature.get("missing") else ""
    evidence = incident_tables.number(feature.get("evidence_log10"))
    return (
        f'<div class="feature"><b>{escape(name)}</b><span class="soft">evidence {evidence}{missing}</span>'
        f'{picture}<span class="soft">{sizes}</span></div>'
    )


def _text(value: object) -> str:
    return "-" if value is None else escape(f"{value:,}" if isinstance(value, int) else str(value))
