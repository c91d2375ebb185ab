"""Draws a dashboard: its panels at the places of their ``gridPos``, in points of a page of PAGE_WIDTH."""

import io
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from board_words import COLOURS, FRAME, INK, LINES, LINK, PANEL, PAPER, QUIET, Json, colour, properties, said
from matplotlib import dates, patches, pyplot, ticker
from matplotlib.axes import Axes
from PIL import Image

mpl.use("Agg")
PAGE_WIDTH, HEAD, MARGIN, GAP = 1200, 62, 12, 6
COLUMNS, ROW, TITLE, LEGEND_ROW, TABLE_ROW = 24, 34, 30, 17, 27
SCALE = 1.5


class Line(NamedTuple):
    """One series of a panel: seconds since the epoch, values."""

    name: str
    times: np.ndarray
    values: np.ndarray


class Table(NamedTuple):
    """A table: its titles, and its rows in order."""

    columns: list[str]
    rows: list[list[Any]]


class Region(NamedTuple):
    """An annotation with its begin and end."""

    colour: str
    start: float
    end: float


class Shown(NamedTuple):
    """A panel with what its queries returned: a number, lines or a table."""

    panel: Json
    data: float | list[Line] | Table


class Box(NamedTuple):
    """A rectangle on the page: left, top, width and height."""

    left: float
    top: float
    width: float
    height: float


class Sheet:
    """The page. Lengths are from its upper left corner, in 1/100 inch."""

    def __init__(self, height: float, span: tuple[float, float], regions: Sequence[Region]) -> None:
        self.height, self.span, self.regions = height, span, regions
        self.figure = pyplot.figure(figsize=(PAGE_WIDTH / 100, height / 100), facecolor=PAPER)
        self.page = self.figure.add_axes((0, 0, 1, 1))
        self.page.set(xlim=(0, PAGE_WIDTH), ylim=(height, 0))
        self.page.axis("off")

    def box(self, box: Box, fill: str, edge: str = "none", rounded: float = 3) -> None:
        style = f"round,pad=0,rounding_size={rounded}" if rounded else "square,pad=0"
        self.page.add_patch(
            patches.FancyBboxPatch(
                (box.left, box.top),
                box.width,
                box.height,
                boxstyle=style,
                facecolor=fill,
                edgecolor=edge,
                linewidth=0.8,
            )
        )

    def text(self, left: float, top: float, words: str, size: float = 12, ink: str = INK, **more: Any) -> float:
        """Writes text around the height ``top``; returns where it ends."""
        written = self.page.text(left, top, words, fontsize=size * 0.72, color=ink, va="center_baseline", **more)
        extent = written.get_window_extent(self.figure.canvas.get_renderer())
        return left + float(extent.width * 100 / self.figure.dpi)

    def axes(self, box: Box) -> Axes:
        made: Axes = self.figure.add_axes(
            (
                box.left / PAGE_WIDTH,
                1 - (box.top + box.height) / self.height,
                box.width / PAGE_WIDTH,
                box.height / self.height,
            ),
            facecolor=PANEL,
        )
        made.tick_params(colors=QUIET, labelsize=7.6, length=0, pad=4)
        for side in made.spines.values():
            side.set_visible(False)
        start, end = self.span
        every = 10 if box.width > 400 else 20
        whole = np.arange(np.ceil(start / every) * every, end, every)
        inner = [moment(at) for at in whole if 0.04 < (at - start) / (end - start) < 0.96]
        made.set_xlim(moment(start), moment(end))
        made.xaxis.set_major_locator(ticker.FixedLocator(inner))
        made.xaxis.set_major_formatter(dates.DateFormatter("%H:%M:%S"))
        return made

    def save(self, path: Path) -> None:
        """Saves the picture in 256 colours: a third of the bytes, without a visible difference."""
        drawn = io.BytesIO()
        self.figure.savefig(drawn, format="png", dpi=100 * SCALE)
        pyplot.close(self.figure)
        Image.open(drawn).convert("RGB").quantize(256, kmeans=4, dither=Image.Dither.NONE).save(path, optimize=True)


def moment(seconds: float) -> float:
    """A time in days, the unit of matplotlib."""
    return seconds / 86_400


def draw(
    title: str,
    chosen: Mapping[str, str],
    when: str,
    shown: Sequence[Shown],
    span: tuple[float, float],
    regions: Sequence[Region],
) -> Sheet:
    """The picture of the whole dashboard."""
    rows = max(item.panel["gridPos"]["y"] + item.panel["gridPos"]["h"] for item in shown)
    sheet = Sheet(HEAD + rows * ROW + MARGIN - GAP, span, regions)
    end = sheet.text(MARGIN + 2, HEAD / 2, title, 17, weight="bold")
    for name, value in chosen.items():
        start = sheet.text(end + 28, HEAD / 2 + 1, name, 12.5, QUIET) + 10
        end = sheet.text(start + 10, HEAD / 2 + 1, value, 12.5)
        sheet.box(Box(start, HEAD / 2 - 13, end + 10 - start, 26), PANEL, FRAME)
    sheet.text(PAGE_WIDTH - MARGIN - 2, HEAD / 2 + 1, when, 12.5, QUIET, ha="right")
    kinds: dict[str, Callable[..., None]] = {
        "stat": _stat,
        "timeseries": _lines,
        "state-timeline": _states,
        "table": _table,
    }
    column = (PAGE_WIDTH - 2 * MARGIN + GAP) / COLUMNS
    for panel, data in shown:
        place = panel["gridPos"]
        box = Box(
            MARGIN + place["x"] * column, HEAD + place["y"] * ROW, place["w"] * column - GAP, place["h"] * ROW - GAP
        )
        kinds[panel["type"]](sheet, box, panel, data)
    return sheet


def _frame(sheet: Sheet, box: Box, panel: Json, fill: str = PANEL) -> None:
    sheet.box(box, fill, FRAME)
    sheet.text(box.left + 10, box.top + 16, panel["title"], 12.5, INK if fill == PANEL else PANEL, weight="bold")


def _stat(sheet: Sheet, box: Box, panel: Json, value: float) -> None:
    settings = properties(panel, panel["title"])
    fill = colour(value, settings)
    _frame(sheet, box, panel, fill)
    ink = INK if fill == PANEL else PANEL
    middle = box.top + TITLE + (box.height - TITLE - 8) / 2
    sheet.text(box.left + box.width / 2, middle, said(value, settings), 36, ink, ha="center", weight="bold")


def _lines(sheet: Sheet, box: Box, panel: Json, lines: list[Line]) -> None:
    _frame(sheet, box, panel)
    inks = [_ink(panel, line.name, index) for index, line in enumerate(lines)]
    height = _legend(sheet, box, [line.name for line in lines], inks)
    axes = sheet.axes(Box(box.left + 58, box.top + TITLE + 6, box.width - 74, box.height - TITLE - 32 - height))
    axes.grid(visible=True, color="#ebedf0", linewidth=0.8)
    axes.set_axisbelow(True)
    for line, ink in zip(lines, inks, strict=True):
        style = properties(panel, line.name)
        custom = {**style.get("custom", {}), **{k.removeprefix("custom."): v for k, v in style.items()}}
        steps = "steps-post" if custom.get("lineInterpolation") == "stepAfter" else "default"
        dashed = "--" if custom.get("lineStyle") else "-"
        times = [moment(at) for at in line.times]
        axes.plot(times, line.values, dashed, color=ink, linewidth=1.3, drawstyle=steps)
        if custom["fillOpacity"]:
            axes.fill_between(times, 0, line.values, color=ink, alpha=custom["fillOpacity"] / 100, linewidth=0)
    _scale(axes, panel, lines)
    _annotate(sheet, axes)


def _ink(panel: Json, name: str, index: int) -> str:
    fixed = properties(panel, name).get("color", {}).get("fixedColor")
    return COLOURS[fixed] if fixed else LINES[index % len(LINES)]


def _scale(axes: Axes, panel: Json, lines: list[Line]) -> None:
    """Sets the value axis: from the panel's minimum, in the panel's unit, with its thresholds."""
    settings = panel["fieldConfig"]["defaults"]
    finite = [value for line in lines for value in line.values if np.isfinite(value)]
    top = max([*finite, 0]) * 1.06
    axes.set_ylim(settings.get("min", min([*finite, 0])), top or 1)
    whole = settings.get("decimals") == 0
    axes.yaxis.set_major_locator(ticker.MaxNLocator(4, integer=whole, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(lambda value, _: said(round(value, 9), {**settings, "mappings": []}))
    if settings.get("custom", {}).get("thresholdsStyle", {}).get("mode") == "dashed":
        for step in settings["thresholds"]["steps"]:
            if step["value"] is not None:
                axes.axhline(step["value"], color=COLOURS[step["color"]], linestyle="--", linewidth=1.1)


def _annotate(sheet: Sheet, axes: Axes) -> None:
    for region in sheet.regions:
        start, end = moment(region.start), moment(region.end)
        axes.axvspan(start, end, color=COLOURS[region.colour], alpha=0.035, linewidth=0)
        for at in (start, end) if region.end < sheet.span[1] else (start,):
            axes.axvline(at, color=COLOURS[region.colour], linestyle=(0, (3, 2)), linewidth=1, zorder=4)
        axes.plot(
            start,
            0,
            "^",
            color=COLOURS[region.colour],
            markersize=5,
            clip_on=False,
            transform=axes.get_xaxis_transform(),
        )


def _legend(sheet: Sheet, box: Box, names: Sequence[str], inks: Sequence[str]) -> float:
    """Draws the legend in rows at the bottom; returns its height."""
    rows: list[list[tuple[float, str, str]]] = [[]]
    left = box.left + 12
    for name, ink in zip(names, inks, strict=True):
        width = 18 + 6.9 * len(name) + 14
        if rows[-1] and left + width > box.left + box.width:
            rows.append([])
            left = box.left + 12
        rows[-1].append((left, name, ink))
        left += width
    top = box.top + box.height - len(rows) * LEGEND_ROW - 2
    for number, row in enumerate(rows):
        middle = top + number * LEGEND_ROW + 5
        for at, name, ink in row:
            sheet.box(Box(at, middle - 2, 12, 3.5), ink, rounded=1)
            sheet.text(at + 17, middle, name, 11.5, QUIET)
    return len(rows) * LEGEND_ROW


def _states(sheet: Sheet, box: Box, panel: Json, lines: list[Line]) -> None:
    """Draws a bar for each line, in the colours of its states."""
    _frame(sheet, box, panel)
    settings = panel["fieldConfig"]["defaults"]
    words = [option for mapping in settings["mappings"] for option in mapping["options"].values()]
    height = _legend(sheet, box, [word["text"] for word in words], [COLOURS[word["color"]] for word in words])
    margin = 22 + 7 * max(len(line.name) for line in lines)
    axes = sheet.axes(
        Box(box.left + margin, box.top + TITLE + 6, box.width - margin - 16, box.height - TITLE - 32 - height)
    )
    for row, line in enumerate(lines):
        changes = [0, *(np.flatnonzero(np.diff(line.values)) + 1), len(line.values)]
        ends = [*line.times, sheet.span[1]]
        for start, end in pairwise(changes):
            first, last = moment(ends[start]), moment(ends[end])
            axes.barh(row, last - first, 0.72, first, color=colour(line.values[start], settings), zorder=3)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_yticks(range(len(lines)), [line.name for line in lines])
    _annotate(sheet, axes)


class Column(NamedTuple):
    """A column of a table: its place, and the settings for its values."""

    title: str
    settings: Json
    left: float
    right: float
    numbers: bool

    @property
    def painted(self) -> bool:
        return bool(self.settings.get("custom.cellOptions", {}).get("type") == "color-background")

    def text(self, value: Any) -> str:
        return said(value, self.settings) if isinstance(value, float) else str(value or "")


def _columns(box: Box, panel: Json, table: Table) -> list[Column]:
    """The columns, with widths in proportion to their longest texts."""
    made = []
    for at, title in enumerate(table.columns):
        numbers = any(isinstance(row[at], float) for row in table.rows)
        made.append(Column(title, properties(panel, title), 0, 0, numbers))
    widths = [
        5 + max(len(column.title), *(len(column.text(row[at])) for row in table.rows)) for at, column in enumerate(made)
    ]
    edges = box.left + 8 + np.cumsum([0, *widths]) / sum(widths) * (box.width - 26)
    return [
        column._replace(left=float(left), right=float(right))
        for column, (left, right) in zip(made, pairwise(edges), strict=True)
    ]


def _table(sheet: Sheet, box: Box, panel: Json, table: Table) -> None:
    """Draws as many rows as fit, and a scroll bar for the rest."""
    _frame(sheet, box, panel)
    columns = _columns(box, panel, table)
    room = int((box.height - TITLE - TABLE_ROW - 6) // TABLE_ROW)
    middle = box.top + TITLE + TABLE_ROW / 2
    for column in columns:
        _word(sheet, column, middle, column.title, LINK, weight="bold")
    for row in table.rows[:room]:
        middle += TABLE_ROW
        sheet.box(Box(box.left + 8, middle - TABLE_ROW / 2, box.width - 26, 0.6), FRAME, rounded=0)
        for column, value in zip(columns, row, strict=True):
            _value(sheet, column, middle, value)
    if room < len(table.rows):
        track = Box(box.left + box.width - 12, box.top + TITLE + TABLE_ROW, 5, room * TABLE_ROW)
        sheet.box(track, "#eceef0", rounded=2)
        sheet.box(track._replace(height=track.height * room / len(table.rows)), "#b8bdc4", rounded=2)


def _value(sheet: Sheet, column: Column, middle: float, value: Any) -> None:
    fill = colour(value, column.settings) if column.painted else PANEL
    if fill != PANEL:
        width = column.right - column.left - 8
        sheet.box(Box(column.left + 4, middle - TABLE_ROW / 2 + 2, width, TABLE_ROW - 4), fill)
    ink = LINK if column.settings.get("links") else INK if fill == PANEL else PANEL
    _word(sheet, column, middle, column.text(value), ink)


def _word(sheet: Sheet, column: Column, middle: float, words: str, ink: str, **more: Any) -> None:
    """Writes a cell; numbers are aligned to the right."""
    if column.numbers and not column.painted:
        sheet.text(column.right - 12, middle, words, 12, ink, ha="right", **more)
    else:
        sheet.text(column.left + 12, middle, words, 12, ink, **more)
