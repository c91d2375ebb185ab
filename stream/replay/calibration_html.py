"""The calibration's part of the HTML report: the rate of false alarms against the budget, and the delays."""

import math
from html import escape

from detectors.calibration.calibration import AlarmRate, Calibration, FeatureDelay
from detectors.calibration.evaluation import MedianDelay
from stream.charts import svg
from stream.replay import calibration_report
from stream.replay.calibration_report import Calibrated

SHOWN_FEATURES = 100
AS_IT_WAS = "as recorded"
"""The clean events in their own order, not resampled."""
WIDTH, HEIGHT, LEFT, RIGHT, ROW = 440, 104, 76, 28, 30

STYLE = """
.kept { color: var(--good); } .broken { color: var(--now); }
.clean { fill: var(--good); opacity: .12; } .budget { stroke: var(--now); stroke-dasharray: 6 4; }
.whisker { stroke: var(--soft); stroke-width: 2; } .dot { fill: var(--ink); } .axis { stroke: var(--line); }
svg.rate { max-width: 560px; } svg.rate text { font-size: 12px; }
table.delays td { white-space: nowrap; vertical-align: top; min-width: 5.5rem; }
table.delays th:first-child, table.delays td:first-child { position: sticky; left: 0; background: var(--paper);
  max-width: 9rem; overflow: hidden; text-overflow: ellipsis; }
table.delays svg { display: block; width: 100%; min-width: 5rem; height: 10px; } .missed { color: var(--now); }
"""


def section(found: Calibrated) -> str:
    """The calibration as a part of the HTML report."""
    figures = found.figures
    held = calibration_report.held(figures)
    budget = calibration_report.VERDICTS[held].format(f"{figures.budget:g} a month")
    style = {True: "kept", False: "broken", None: "soft"}[held]
    rates = ((AS_IT_WAS, figures.as_it_was), ("resampled", figures.resampled))
    items = "".join(f"<li>{name}: {escape(calibration_report.rate_words(rate))}</li>" for name, rate in rates)
    remarks = "".join(f"<li>{escape(remark)}</li>" for remark in calibration_report.remarks(figures))
    return "\n".join(
        (
            f"<h2>False alarms on the clean events {found.first_event:,} to {found.last_event:,}</h2>",
            f'<p class="{style}"><b>{escape(budget[0].upper() + budget[1:])}</b></p>',
            _rates(figures),
            f'<ul>{items}</ul><ul class="soft">{remarks}</ul>',
            "<h2>Events until an injected change is found</h2>",
            f'<p class="soft">{escape(calibration_report.delay_words(figures))}. Dots and lines are on a logarithmic '
            f"scale from {_shortest(figures):,.0f} to {figures.horizon:,} events. Random seed {found.seed}.</p>",
            _delays(figures),
        )
    )


def _rates(figures: Calibration) -> str:
    """Draws the rates with their intervals on a logarithmic scale, and the budget as a line."""
    rates = [figures.as_it_was, figures.resampled]
    ends = [value for rate in rates for value in (rate.low, rate.per_month, rate.high) if value > 0]
    low = math.floor(math.log10(min([*ends, figures.budget]) / 3))
    high = math.ceil(math.log10(max([*ends, figures.budget]) * 1.5))

    def across(rate: float) -> float:
        place = (math.log10(rate) - low) / (high - low) if rate > 0 else 0.0
        return LEFT + max(place, 0.0) * (WIDTH - LEFT - RIGHT)

    parts = ["<title>Incidents a month with 95 % intervals, and the budget</title>"]
    for power in range(low, high + 1):
        x = across(10.0**power)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="18" y2="78"/>')
        parts.append(f'<text x="{x:.1f}" y="94" text-anchor="middle">{_power(power)}</text>')
    x = across(figures.budget)
    parts.append(f'<line class="budget" x1="{x:.1f}" x2="{x:.1f}" y1="16" y2="78"/>')
    parts.append(f'<text x="{x:.1f}" y="12" text-anchor="middle">budget</text>')
    for k, (name, rate) in enumerate(zip((AS_IT_WAS, "resampled"), rates, strict=True)):
        parts.append(_rate(name, rate, across, 18 + ROW * (k + 0.5)))
    label = "Incidents a month on the clean events, with 95 % intervals, and the budget"
    body = "".join(parts)
    return f'<svg class="rate" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{body}</svg>'


def _rate(name: str, rate: AlarmRate, across: "svg.Scale", y: float) -> str:
    line = f'<line class="whisker" x1="{across(rate.low):.1f}" x2="{across(rate.high):.1f}" y1="{y}" y2="{y}"/>'
    dot = f'<circle class="dot" cx="{across(rate.per_month):.1f}" cy="{y}" r="4"/>' if rate.alarms else ""
    words = escape(calibration_report.rate_words(rate))
    return f'<text x="0" y="{y + 4}">{name}</text><g><title>{words}</title>{line}{dot}</g>'


def _power(power: int) -> str:
    return f"{10.0**power:,.0f}" if 0 <= power <= 4 else f"{10.0**power:g}"


def _delays(figures: Calibration) -> str:
    changes = calibration_report.changes(figures)
    found = calibration_report.rows(figures)
    head = "".join(f'<th class="n">{escape(change)}</th>' for change in changes)
    body = "".join(
        f'<tr><td title="{escape(name)}">{escape(name)}</td>'
        + "".join(_cell(figures, delays[change]) for change in changes)
        + "</tr>"
        for name, delays in found[:SHOWN_FEATURES]
    )
    more = len(found) - SHOWN_FEATURES
    rest = f'<p class="soft">and {more} more features, found sooner</p>' if more > 0 else ""
    return f'<div class="scroll"><table class="delays"><tr><th>feature</th>{head}</tr>{body}</table></div>{rest}'


def _cell(figures: Calibration, found: FeatureDelay) -> str:
    known = found.delay
    if known is None:
        return '<td class="n soft">-</td>'
    words = f"{found.change}: {calibration_report.cell(found, figures.horizon)}"
    shown = escape(calibration_report.median(known, figures.horizon))
    if 0 < known.missed < 1:
        shown += f' <small class="missed">{known.missed:.0%} missed</small>'
    picture = _interval(figures, known) if known.runs else ""
    style = "n missed" if known.missed == 1 else "n"
    return f'<td class="{style}" title="{escape(words)}">{shown}{picture}</td>'


def _interval(figures: Calibration, delay: MedianDelay) -> str:
    """Draws the median and its interval. An interval that ends beyond the horizon reaches the right edge."""
    shortest = _shortest(figures)
    scale = math.log(max(figures.horizon / shortest, 2.0))

    def across(events: float | None) -> float:
        return 100.0 if events is None else 3 + 94 * min(max(math.log(max(events, 1.0) / shortest) / scale, 0.0), 1.0)

    axis = '<line class="axis" x1="0" x2="100" y1="5" y2="5"/>'
    line = f'<line class="whisker" x1="{across(delay.low):.1f}" x2="{across(delay.high):.1f}" y1="5" y2="5"/>'
    dot = "" if delay.median is None else f'<circle class="dot" cx="{across(delay.median):.1f}" cy="5" r="3"/>'
    return f'<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">{axis}{line}{dot}</svg>'


def _shortest(figures: Calibration) -> float:
    known = [d.delay.low for d in figures.delays if d.delay is not None and d.delay.low is not None]
    return max(min(known, default=1.0), 1.0)
