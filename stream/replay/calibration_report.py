"""The result of a calibration, as the member ``calibration`` of ``replay --json`` and as text for a terminal."""

from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from detectors.calibration.calibration import AlarmRate, Calibration, FeatureDelay
from detectors.calibration.evaluation import MedianDelay
from detectors.calibration.injection import Injected
from stream.terminal.output import escape

LONG_MONTHS = 24.0

WIDE, PIPED_WIDTH = 116, 160
"""Columns that medians with intervals need; and the width if the output is not a terminal."""

MUCH = 0.05
"""Share of the time with an open incident above which a remark is printed."""

VERDICTS = {
    True: "the budget of {} is kept (95 % confidence, as far as these events can show)",
    False: "the budget of {} is not kept",
    None: "too little data to decide whether the budget of {} is kept",
}
"""The text for each result of ``held``."""


class Calibrated(msgspec.Struct, frozen=True):
    """The figures, with the numbers of the first and the last clean event in the history."""

    figures: Calibration
    first_event: int
    last_event: int
    seed: int

    def as_json(self) -> dict[str, Any]:
        """The key ``calibration`` of ``replay --json``."""
        figures = self.figures
        return {
            "clean": {"first_event": self.first_event, "last_event": self.last_event, "events": figures.rows},
            "seed": self.seed,
            "false_alarms": {
                "budget_per_month": figures.budget,
                "held": held(figures),
                "as_it_was": msgspec.to_builtins(figures.as_it_was),
                "resampled": {
                    **msgspec.to_builtins(figures.resampled),
                    "copies": figures.copies,
                    "block_events": figures.block.rows,
                    "block_long_enough": figures.block.enough,
                    "at_their_time_of_day": figures.at_their_time,
                },
            },
            "delays": {
                "starts": [self.first_event + start for start in figures.starts],
                "horizon_events": figures.horizon,
                "features": [
                    {"feature": d.feature, "change": d.change, **msgspec.to_builtins(d.delay)}
                    for d in figures.delays
                    if d.delay is not None
                ],
            },
        }


def held(figures: Calibration) -> bool | None:
    """Whether the budget was kept on the resampled events; None if the figures do not decide it."""
    if figures.resampled.months_between_at_least * figures.budget >= 1.0 - 1e-9:
        return True
    return False if figures.resampled.low > figures.budget else None


def show(console: Console, found: Calibrated) -> None:
    """Prints the rate of false alarms with remarks, then a table of delays, the slowest feature first."""
    figures = found.figures
    budget = VERDICTS[held(figures)].format(f"{figures.budget:g} a month")
    style = {True: "green", False: "red", None: "yellow"}[held(figures)]
    lines = [
        f"[bold]calibration[/] on the clean events {found.first_event:,} to {found.last_event:,}, seed {found.seed}: "
        f"[{style}]{budget}[/]",
        f"  as recorded  {rate_words(figures.as_it_was)}",
        f"  resampled    {rate_words(figures.resampled)}",
        *(f"               {escape(remark)}" for remark in remarks(figures)),
        "",
    ]
    for line in lines:
        console.print(line, soft_wrap=True)
    if not console.is_terminal:
        console = Console(file=console.file, width=PIPED_WIDTH, highlight=False)
    wide = console.width >= WIDE
    console.print(f"[bold]events until a change is found[/], {delay_words(figures, wide=wide)}", soft_wrap=True)
    console.print(_delays(figures, wide))


def rate_words(rate: AlarmRate) -> str:
    """The number of alarms, the time that was judged, and the rate a month with its interval."""
    alarms = "no false alarm" if not rate.alarms else f"{rate.alarms:,} false alarm{'s' if rate.alarms > 1 else ''}"
    limit = f"{_figure(rate.per_month)} a month ({_figure(rate.low)} to {_figure(rate.high)})"
    return (
        f"{alarms} in {_months(rate.months)}: {limit}, at least {_months(rate.months_between_at_least)} between alarms"
    )


def remarks(figures: Calibration) -> list[str]:
    """How the events were resampled, and what limits the figures."""
    how = "moved by whole days or weeks" if figures.at_their_time else "starting anywhere"
    found = [f"the events were resampled {figures.copies:,} times, in blocks of {figures.block.rows:,} rows {how}"]
    if not figures.block.enough:
        found.append(
            "rows depend on each other over more than one block, so the true rate may be higher; "
            "more clean events allow longer blocks"
        )
    if figures.resampled.open_share >= MUCH:
        found.append(
            f"an incident was open for {figures.resampled.open_share:.0%} of the time: the events are not clean, or "
            "they vary in a way that the reference does not contain"
        )
    if not figures.resampled.alarms:
        more = "" if held(figures) else f"; --bootstrap {figures.copies_wanted} would be enough if it brings no alarm"
        found.append(f"without an alarm in a time T, the time between alarms is known to be at least T / 3{more}")
    return [*found, "the figures do not cover anything that did not happen in these events"]


def delay_words(figures: Calibration, *, wide: bool = True) -> str:
    """What the cells of the table show."""
    interval = " (95 % interval)" if wide else ""
    return (
        f"each feature changed alone, at {len(figures.starts)} random places: median{interval}, "
        f"and the share missed within {figures.horizon:,} events"
    )


def rows(figures: Calibration) -> list[tuple[str, dict[Injected, FeatureDelay]]]:
    """Features with their delays by change, the slowest to find first."""
    by_feature: dict[str, dict[Injected, FeatureDelay]] = {}
    for delay in figures.delays:
        by_feature.setdefault(delay.feature, {})[delay.change] = delay
    return sorted(by_feature.items(), key=lambda item: (-_slowness(figures, item[1]), item[0]))


def _slowness(figures: Calibration, delays: dict[Injected, FeatureDelay]) -> float:
    known = [d.delay for d in delays.values() if d.delay is not None and d.delay.runs]
    return max((figures.horizon * (1 + d.missed) if d.median is None else d.median for d in known), default=0.0)


def cell(found: FeatureDelay, horizon: int, *, wide: bool = True) -> str:
    """The text of one cell: ``median (low-high)`` and the share missed, if any."""
    delay = found.delay
    if delay is None:
        return "-"
    low, high = ("" if v is None else f"{v:,.0f}" for v in (delay.low, delay.high))
    interval = f" ({low}-{high})" if wide and low else ""
    share = f" {delay.missed:.0%}" if 0 < delay.missed < 1 else ""
    return median(delay, horizon) + interval + share


def median(delay: MedianDelay, horizon: int) -> str:
    """The median in events, or a word for why there is none."""
    if not delay.runs:
        return "reported"
    if delay.missed == 1:
        return "missed"
    return f">{horizon:,}" if delay.median is None else f"{delay.median:,.0f}"


def _delays(figures: Calibration, wide: bool) -> Table:
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("feature", overflow="fold")
    found = rows(figures)
    for change in changes(figures):
        shown.add_column(change.value, justify="right")
    for feature, delays in found:
        shown.add_row(
            escape(feature), *(cell(delays[change], figures.horizon, wide=wide) for change in changes(figures))
        )
    return shown


def changes(figures: Calibration) -> list[Injected]:
    """The changes that were injected into at least one feature."""
    return [change for change in Injected if any(d.change is change and d.delay for d in figures.delays)]


def _months(months: float) -> str:
    if months >= LONG_MONTHS:
        return f"{_figure(months / 12)} years"
    if months >= 1.0:
        return "1 month" if _figure(months) == "1" else f"{_figure(months)} months"
    days = months * 365.2425 / 12
    return f"{_figure(days)} days" if days >= 1.0 else f"{_figure(days * 24)} hours"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
