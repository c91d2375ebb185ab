"""Charts as SVG text: evidence over time, two histograms in one chart, a meter. Numbers in, Markup out.

Colours come from classes of the style sheet, which decides about light, dark and print. All bins of a histogram are
drawn equally wide: they follow the quantiles of the reference, and a long tail must not squeeze the other bins.
"""

from collections.abc import Callable, Sequence

from stream.http.page.markup import Markup, element
from stream.http.page.words import clock, number

Scale = Callable[[float], float]
"""Maps a value to its coordinate in the chart."""

HOUR_MS = 3_600_000

METER_WIDTH = 96
METER_THRESHOLD = 72
"""Place of the threshold's tick. The bar is full when evidence is a third above the threshold."""


def meter(evidence: float | None, threshold: float | None, state: str) -> Markup:
    """Evidence as a bar that reaches a tick at the threshold. The numbers are shown next to it as text."""
    ratio = 0.0 if evidence is None or not threshold or threshold <= 0 else max(0.0, evidence / threshold)
    width = round(min(METER_WIDTH, METER_THRESHOLD * ratio), 1)
    return element(
        "svg",
        element("rect", class_="meter-track", x=0, y=3, width=METER_WIDTH, height=6),
        element("rect", class_=f"meter-bar of-{state}", x=0, y=3, width=width, height=6),
        element("line", class_="meter-tick", x1=METER_THRESHOLD, x2=METER_THRESHOLD, y1=0, y2=12),
        class_="meter",
        viewBox=f"0 0 {METER_WIDTH} 12",
        width=METER_WIDTH,
        height=12,
        aria_hidden="true",
    )


def histogram(reference: Sequence[float], present: Sequence[float], width: int = 280, height: int = 84) -> Markup:
    """Shares of the reference as filled columns and shares of the present as a line; without an axis."""
    top = max([*reference, *present, 1e-12]) * 1.06
    return element(
        "svg",
        element("path", class_="reference-area", d=_steps(reference, top, width, height, closed=True)),
        element("path", class_="present-area", d=_steps(present, top, width, height, closed=True)) if present else None,
        element("path", class_="present-line", d=_steps(present, top, width, height, closed=False))
        if present
        else None,
        element("line", class_="axis", x1=0, x2=width, y1=height - 0.5, y2=height - 0.5),
        class_="histogram",
        viewBox=f"0 0 {width} {height}",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def _steps(shares: Sequence[float], top: float, width: int, height: int, *, closed: bool) -> str:
    if not shares:
        return ""
    step = width / len(shares)
    parts = [f"M0 {height}"] if closed else []
    for index, value in enumerate(shares):
        y = round(height * (1 - value / top), 1)
        parts.append(f"{'M' if not parts else 'L'}{round(index * step, 1)} {y}H{round((index + 1) * step, 1)}")
    if closed:
        parts.append(f"V{height}Z")
    return "".join(parts)


def bars(reference: float, present: float, top: float) -> Markup:
    """Two bars for one category: the share in the reference above, the present share below."""
    scale = 100 / max(top, 1e-12)
    return element(
        "svg",
        element("rect", class_="reference-bar", x=0, y=0, width=round(reference * scale, 2), height=5),
        element("rect", class_="present-bar", x=0, y=6, width=round(present * scale, 2), height=5),
        class_="bars",
        viewBox="0 0 100 11",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


class Mark:
    """A time that is marked on the evidence chart."""

    __slots__ = ("at_ms", "css", "label")

    def __init__(self, at_ms: float, label: str, css: str) -> None:
        self.at_ms, self.label, self.css = at_ms, label, css


def evidence_chart(
    points: Sequence[tuple[float, float]],
    threshold: float | None,
    marks: Sequence[Mark],
    width: int,
    height: int,
    css: str,
) -> Markup:
    """Evidence (log10) by event time with the threshold as a line, and incidents as marks. Two or more points."""
    left, right, top_margin, bottom = 40, 10, 14, 24
    first, last = points[0][0], max(points[-1][0], points[0][0] + 1)
    low = min(0.0, *(value for _, value in points))
    high = max([value for _, value in points] + [(threshold or 1.0) * 1.25]) * 1.04
    plot_width, plot_height = width - left - right, height - top_margin - bottom

    def x(when: float) -> float:
        return round(left + plot_width * (when - first) / (last - first), 1)

    def y(value: float) -> float:
        return round(top_margin + plot_height * (high - value) / (high - low), 1)

    line = "L".join(f"{x(when)} {y(value)}" for when, value in points)
    floor = top_margin + plot_height
    shown = [mark for mark in marks if first <= mark.at_ms <= last]
    return element(
        "svg",
        _horizontal_ticks(low, high, threshold, left, width - right, y),
        element("path", class_="evidence-area", d=f"M{x(first)} {floor}L{line}L{x(points[-1][0])} {floor}Z"),
        _threshold(threshold, left, width - right, top_margin, y) if threshold is not None else None,
        element("path", class_="evidence-line", d=f"M{line}"),
        [_mark(mark, x(mark.at_ms), top_margin, floor) for mark in shown],
        _time_ticks(first, last, x, height, 5 if width > 600 else 3),
        element("line", class_="axis", x1=left, x2=width - right, y1=floor, y2=floor),
        element("line", class_="crosshair", x1=left, x2=left, y1=top_margin, y2=floor, data_keep=True),
        class_=f"evidence {css}",
        viewBox=f"0 0 {width} {height}",
        data_left=left,
        data_right=width - right,
        data_first=int(first),
        data_last=int(last),
        aria_hidden="true",
    )


def day_band(
    end_ms: float,
    present: Sequence[float | None],
    low: Sequence[float | None],
    high: Sequence[float | None],
    width: int,
    height: int,
    css: str,
) -> Markup:
    """Medians by hour as a line, and the smallest and largest of earlier days as a band. Numbers of ``present`` and of
    the band are None where an hour had too few values; at least one is not."""
    left, right, top, bottom = 64, 10, 12, 24
    values = [value for series in (present, low, high) for value in series if value is not None]
    least, most = min(values), max(values)
    room = (most - least or abs(most) or 1.0) * 0.08
    least, most = least - room, most + room
    first = end_ms - HOUR_MS * len(present)

    def x(when: float) -> float:
        return round(left + (width - left - right) * (when - first) / (end_ms - first), 1)

    def y(value: float) -> float:
        return round(top + (height - top - bottom) * (most - value) / (most - least), 1)

    def place(hour: int) -> float:
        return x(first + HOUR_MS * (hour + 0.5))

    parts = _band(present, low, high, place, y)
    ticks = [
        element("text", number(value, 3), x=left - 8, y=y(value) + 4, class_="tick end")
        for value in (least + room, most - room)
    ]
    floor = height - bottom
    return element(
        "svg",
        parts,
        ticks,
        _time_ticks(first, end_ms, x, height, 5 if width > 600 else 3),
        element("line", class_="axis", x1=left, x2=width - right, y1=floor, y2=floor),
        class_=f"days {css}",
        viewBox=f"0 0 {width} {height}",
        aria_hidden="true",
    )


def _band(
    present: Sequence[float | None],
    low: Sequence[float | None],
    high: Sequence[float | None],
    place: Callable[[int], float],
    y: Scale,
) -> list[Markup]:
    """The band and the line of ``day_band``, without a gap's hours."""
    parts: list[Markup] = []
    for run in _runs(low):
        there = "L".join(f"{place(hour)} {y(high[hour] or 0.0)}" for hour in run)
        back = "L".join(f"{place(hour)} {y(low[hour] or 0.0)}" for hour in reversed(run))
        parts.append(element("path", class_="reference-area", d=f"M{there}L{back}Z"))
    for run in _runs(present):
        line = "L".join(f"{place(hour)} {y(present[hour] or 0.0)}" for hour in run)
        parts.append(element("path", class_="present-line", d=f"M{line}"))
        parts += [
            element("circle", class_="present-dot", cx=place(hour), cy=y(present[hour] or 0.0), r=2) for hour in run
        ]
    return parts


def _runs(values: Sequence[float | None]) -> list[list[int]]:
    """The places of values that are there, in runs without a gap."""
    found: list[list[int]] = []
    for place, value in enumerate(values):
        if value is None:
            continue
        if found and found[-1][-1] == place - 1:
            found[-1].append(place)
        else:
            found.append([place])
    return found


def _horizontal_ticks(
    low: float, high: float, threshold: float | None, left: int, right: int, y: Scale
) -> list[Markup]:
    step = next(
        size for size in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 1e4, 1e6, 1e300) if (high - low) / size <= 5
    )
    ticks: list[Markup] = []
    value = 0.0
    while value <= high and len(ticks) < 20:
        ticks.append(element("line", class_="grid", x1=left, x2=right, y1=y(value), y2=y(value)))
        if threshold is None or abs(y(value) - y(threshold)) > 10:
            ticks.append(element("text", number(value), x=left - 6, y=y(value) + 4, class_="tick end"))
        value += step
    return ticks


def _threshold(threshold: float, left: int, right: int, top: int, y: Scale) -> Markup:
    return element(
        "g",
        element(
            "rect", class_="alarm-zone", x=left, width=right - left, y=top, height=max(0, round(y(threshold) - top, 1))
        ),
        element("line", class_="threshold", x1=left, x2=right, y1=y(threshold), y2=y(threshold)),
        element("text", number(threshold), class_="tick end threshold-label", x=left - 6, y=y(threshold) + 4),
        element("text", "alarm", class_="tick threshold-label end", x=right - 4, y=y(threshold) - 5),
    )


def _mark(mark: Mark, at: float, top: float, floor: float) -> Markup:
    return element(
        "g",
        element("title", mark.label),
        element("line", x1=at, x2=at, y1=top - 4, y2=floor),
        element("path", d=f"M{at - 4} {top - 10}h8l-4 7z"),
        class_=f"mark {mark.css}",
    )


def _time_ticks(first: float, last: float, x: Scale, height: int, ticks: int) -> list[Markup]:
    drawn = []
    for index in range(ticks):
        when = first + (last - first) * index / (ticks - 1)
        anchor = "start" if index == 0 else "end" if index == ticks - 1 else "middle"
        drawn.append(element("text", clock(when, last - first), x=x(when), y=height - 6, class_=f"tick {anchor}"))
    return drawn
