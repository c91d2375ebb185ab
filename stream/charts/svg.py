"""Charts of HTML reports as SVG text: evidence by event, and two histograms in one chart. No files, no scripts."""

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 960, 260, 56, 32, 12, 12
CEILING = 4.0
"""Height of the chart in thresholds. What happens at the alarm matters; how high evidence rises later does not."""
LINE_POINTS = 2_000
"""Most points of a line. More than one a pixel cannot be seen; the largest of each is kept, so that no peak is lost."""

Scale = Callable[[float], float]
"""Maps a value to its coordinate in the chart."""


def evidence(
    points: Sequence[tuple[float, float]],
    threshold: float | None,
    incidents: Sequence[tuple[float, float | None, str]],
    label: str,
    clean: tuple[float, float] | None = None,
) -> str:
    """Evidence (log10) by event number with its threshold; ``incidents`` are (opened, resolved or None, text).

    ``clean``: the first and the last of the clean events, if they are known.
    """
    shown = thinned([(x, y) for x, y in points if math.isfinite(y)], LINE_POINTS)
    last = max([x for x, _ in points] + [1.0])
    top = max([y for _, y in shown] + [1.0])
    high = top * 1.08 if threshold is None else min(max(top, threshold) * 1.08, max(threshold, 1.0) * CEILING)
    low = min([y for _, y in shown] + [0.0])

    def across(x: float) -> float:
        return LEFT + x / last * (WIDTH - LEFT - RIGHT)

    def up(y: float) -> float:
        return TOP + (high - min(y, high)) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [_frame(label)]
    if clean is not None:
        parts.append(_span("clean", across(clean[0]), across(clean[1]), "clean events"))
    for opened, resolved, text in incidents:
        parts.append(_span("incident", across(opened), across(last if resolved is None else resolved), text))
    for tick in ticks(low, high, 5):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(tick):.1f}" y2="{up(tick):.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{up(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    parts.extend(
        f'<text x="{across(tick):.1f}" y="{HEIGHT - 10}" text-anchor="middle">{tick:,.0f}</text>'
        for tick in ticks(0, last, 8)
    )
    if threshold is not None:
        y = up(threshold)
        parts.append(f'<line class="threshold" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="threshold" x="{WIDTH - RIGHT - 4}" y="{y - 5:.1f}" text-anchor="end">alarm</text>')
    if shown:
        line = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in shown)
        parts.append(f'<polyline class="evidence" points="{line}"/>')
    return _svg(parts, WIDTH, HEIGHT, label)


def histograms(reference: Sequence[float], present: Sequence[float], names: Sequence[str], label: str) -> str:
    """Shares by bin: wide bars for the reference, narrow bars for the present. All bins are drawn equally wide."""
    width, height, bottom = 300, 120, 18
    count = max(len(reference), len(present), 1)
    shares = [_shares(reference, count), _shares(present, count)]
    high = max([*shares[0], *shares[1], 1e-9])
    step = (width - 8) / count
    parts = [_frame(label)]
    for index in range(count):
        before, now = (share[index] / high * (height - bottom - 8) for share in shares)
        x = 4 + index * step
        name = escape(names[index]) if index < len(names) else str(index)
        title = f"<title>{name}: reference {shares[0][index]:.2%}, present {shares[1][index]:.2%}</title>"
        parts.append(_bar("reference", x, height - bottom, step * 0.96, before, title))
        parts.append(_bar("present", x + step * 0.24, height - bottom, step * 0.48, now, title))
    if names:
        parts.append(f'<text x="4" y="{height - 4}">{escape(names[0][:18])}</text>')
        parts.append(f'<text x="{width - 4}" y="{height - 4}" text-anchor="end">{escape(names[-1][:18])}</text>')
    return _svg(parts, width, height, label)


def ticks(low: float, high: float, wanted: int) -> list[float]:
    """Round numbers between ``low`` and ``high``, about ``wanted`` of them."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low]
    raw = span / wanted
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= raw)
    first = math.ceil(low / step)
    return [number * step for number in range(first, math.floor(high / step) + 1)]


def thinned(points: Sequence[tuple[float, float]], limit: int) -> list[tuple[float, float]]:
    """At most about ``limit`` points: the highest of every run of neighbours."""
    if len(points) <= limit:
        return list(points)
    run = math.ceil(len(points) / limit)
    return [max(points[start : start + run], key=lambda point: point[1]) for start in range(0, len(points), run)]


def _shares(counts: Sequence[float], length: int) -> list[float]:
    total = sum(counts) or 1.0
    return [float(count) / total for count in counts] + [0.0] * (length - len(counts))


def _bar(kind: str, x: float, base: float, width: float, height: float, inner: str) -> str:
    top = base - height
    return f'<rect class="{kind}" x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}">{inner}</rect>'


def _span(kind: str, left: float, right: float, text: str) -> str:
    """A marked range of events, over the whole height of the chart."""
    width, height = max(right - left, 1.5), HEIGHT - TOP - BOTTOM
    return (
        f'<rect class="{kind}" x="{left:.1f}" y="{TOP}" width="{width:.1f}" height="{height}">'
        f"<title>{escape(text)}</title></rect>"
    )


def _frame(label: str) -> str:
    return f"<title>{escape(label)}</title>"


def _svg(parts: Sequence[Any], width: int, height: int, label: str) -> str:
    head = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
    return head + "".join(parts) + "</svg>"
