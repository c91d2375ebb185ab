"""The live view of models and incidents in the terminal, and ``driftline watch``.

It shows the data of ``/api/v1/models`` and ``/api/v1/incidents``, so that the demo and ``watch`` look the same.
"""

import json
import time
import urllib.error
import urllib.request
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from stream.terminal.console import console
from stream.terminal.exit_status import ExitStatus
from stream.terminal.printable import message, printable

Json = Mapping[str, Any]

STATE_STYLES = {
    "drift": "bold red",
    "blind": "bold magenta",
    "warning": "yellow",
    "learning": "cyan",
    "quiet": "dim",
    "stable": "green",
}
"""The style of each state; worst first."""

RANKS = {state: rank for rank, state in enumerate(STATE_STYLES)}

RATE_WINDOW_SECONDS = 5.0
INCIDENTS_SHOWN = 8
FEATURES_NAMED = 4
ROOMY = 100
"""Columns of a terminal from which on everything is shown in its full width."""

OTHER_LINES = 11
"""Lines of the live view besides its rows: title, headings, rules and the prompt."""

LEAST_MODELS = 5


class Screen(Protocol):
    """Where the demo and ``watch`` print: a live view or plain lines."""

    def report(self, text: str) -> None:
        """Prints a message that stays readable."""
        ...

    def show(self, models: Sequence[Json], incidents: Sequence[Json]) -> None:
        """Shows the present state of all models and incidents."""
        ...

    def close(self) -> None: ...


class Rates:
    """The events per second of each model, from its counts over the last ``RATE_WINDOW_SECONDS``."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, dict[tuple[Any, ...], int]]] = deque()

    def update(self, now: float, models: Sequence[Json]) -> dict[tuple[Any, ...], float]:
        counts = {_key(model): int(model.get("events", 0)) for model in models}
        self._seen.append((now, counts))
        while len(self._seen) > 2 and now - self._seen[1][0] >= RATE_WINDOW_SECONDS:
            self._seen.popleft()
        then, before = self._seen[0]
        span = now - then
        return {key: (count - before.get(key, 0)) / span if span > 0 else 0.0 for key, count in counts.items()}


def _key(model: Json) -> tuple[Any, ...]:
    return (model.get("model"), model.get("version"), model.get("segment"))


def name_of(record: Json) -> str:
    """The name of a model as ``model/version`` or ``model/version/segment``."""
    return "/".join(str(part) for part in _key(record) if part)


def features_of(incident: Json) -> list[str]:
    return [str(feature.get("feature")) for feature in incident.get("features") or []]


def brief(names: Sequence[str], most: int = FEATURES_NAMED) -> str:
    """The first names, and the number of further ones."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def models_table(
    models: Sequence[Json], rates: Mapping[tuple[Any, ...], float], width: int, rows: int
) -> RenderableType:
    """A table with one row for each model, the worst first. Models beyond ``rows`` are only counted."""
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False, show_edge=False)
    table.add_column("model", ratio=4, no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("evidence", no_wrap=True)
    table.add_column("why", ratio=5, no_wrap=True)
    table.add_column("events", justify="right", no_wrap=True)
    table.add_column("per s", justify="right", no_wrap=True)
    ordered = sorted(models, key=_badness)
    for model in ordered[:rows]:
        state = str(model.get("state", "?"))
        table.add_row(
            Text(printable(name_of(model))),
            Text(state, style=STATE_STYLES.get(state, "")),
            evidence_bar(model.get("evidence_log10"), model.get("threshold_log10"), 12 if width >= ROOMY else 4),
            Text(printable(_why(model, state))),
            f"{int(model.get('events', 0)):,}",
            f"{rates.get(_key(model), 0.0):,.0f}",
        )
    if len(ordered) <= rows:
        return table
    states = Counter(str(model.get("state", "?")) for model in ordered[rows:])
    rest = ", ".join(f"{count:,} {state}" for state, count in states.most_common())
    return Group(table, Text(f"and {len(ordered) - rows:,} more: {rest}", style="dim"))


def _badness(model: Json) -> tuple[int, float]:
    """The sort key of a model. An unknown state is sorted like ``blind``."""
    state = str(model.get("state"))
    return (RANKS.get(str(state), 1), -float(model.get("evidence_log10") or 0.0))


def _why(model: Json, state: str) -> str:
    drifted = list(model.get("drifted_features") or [])
    if drifted:
        return brief(drifted, 2)
    if state == "learning" and model.get("learning_events_wanted"):
        return f"{int(model.get('epoch_events') or 0):,} of {int(model['learning_events_wanted']):,}"
    if state == "quiet":
        return str(model.get("reason") or "").rpartition(", ")[2]  # by when events are expected, for a narrow column
    reason = model.get("reason") if state in ("blind", "drift") else None
    return str(reason or model.get("worst_feature") or "")


def evidence_bar(evidence: float | None, threshold: float | None, width: int = 12) -> Text:
    """The evidence (log10) as a bar that is full at the threshold of an alarm."""
    if evidence is None or not threshold:
        return Text("-", style="dim")
    filled = round(width * min(1.0, max(0.0, evidence / threshold)))
    style = "red" if evidence >= threshold else "yellow" if filled > width // 2 else "green"
    return Text.assemble(("━" * filled, style), ("─" * (width - filled), "dim"), f" {evidence:.1f}")


def incidents_table(incidents: Sequence[Json]) -> RenderableType:
    """A table of the newest incidents, open ones in colour."""
    if not incidents:
        return Text("no incidents", style="dim")
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False, show_edge=False)
    for column, ratio in (("opened", None), ("model", 3), ("severity", None), ("verdict", None), ("features", 5)):
        table.add_column(column, ratio=ratio, no_wrap=True)
    for incident in incidents[:INCIDENTS_SHOWN]:
        resolved = incident.get("resolved_at_ms") is not None
        table.add_row(
            clock(incident.get("opened_at_ms")),
            Text(printable(name_of(incident))),
            Text(
                "resolved" if resolved else str(incident.get("severity", "")), style="dim" if resolved else "bold red"
            ),
            str(incident.get("verdict") or ""),
            Text(printable(brief(features_of(incident)))),
        )
    return table


def clock(at_ms: int | None) -> str:
    return "" if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%H:%M:%S")


class LiveScreen:
    """A view that is redrawn in place, for terminals."""

    def __init__(self, console: Console, title: str) -> None:
        self._title = title
        self._rates = Rates()
        self._messages: deque[str] = deque(maxlen=INCIDENTS_SHOWN)
        self._live = Live(Text("starting ..."), console=console, refresh_per_second=4, transient=True)
        self._console = console
        self._live.start()

    def report(self, text: str) -> None:
        self._messages.append(text)

    def show(self, models: Sequence[Json], incidents: Sequence[Json]) -> None:
        rates = self._rates.update(time.monotonic(), models)
        taken = OTHER_LINES + min(len(incidents), INCIDENTS_SHOWN) + len(self._messages)
        rows = max(LEAST_MODELS, self._console.height - taken)
        table = models_table(models, rates, self._console.width, rows)
        parts: list[RenderableType] = [Text(self._title, style="bold"), table]
        parts.append(incidents_table(incidents))
        parts.extend(Text(printable(line), style="dim", no_wrap=True, overflow="ellipsis") for line in self._messages)
        self._live.update(Group(*parts))

    def close(self) -> None:
        self._live.stop()
        for line in self._messages:
            self._console.print(printable(line), highlight=False, markup=False)


class PlainScreen:
    """Lines, for pipes and logs: every message at once, and the state of all models every few seconds."""

    def __init__(self, console: Console, title: str, interval_seconds: float = 5.0) -> None:
        self._console = console
        self._interval_seconds = interval_seconds
        self._rates = Rates()
        self._next = 0.0
        self._states: dict[tuple[Any, ...], str] = {}
        self._print(title)

    def report(self, text: str) -> None:
        self._print(text)

    def show(self, models: Sequence[Json], incidents: Sequence[Json]) -> None:
        del incidents  # each was reported when it opened
        now = time.monotonic()
        rates = self._rates.update(now, models)
        states = {_key(model): str(model.get("state")) for model in models}
        if now < self._next and states == self._states:
            return
        self._next, self._states = now + self._interval_seconds, states
        self._print(" | ".join(_plain(model, rates) for model in models) or "no models yet")

    def close(self) -> None:
        pass

    def _print(self, text: str) -> None:
        self._console.print(printable(text), highlight=False, markup=False, soft_wrap=True)


def _plain(model: Json, rates: Mapping[tuple[Any, ...], float]) -> str:
    worst = f", worst {model['worst_feature']}" if model.get("worst_feature") else ""
    rate = rates.get(_key(model), 0.0)
    return f"{name_of(model)} {model.get('state')} ({int(model.get('events', 0)):,} events, {rate:,.0f}/s{worst})"


def open_screen(console: Console, title: str, plain: bool) -> Screen:
    """A live view on a terminal; lines elsewhere, and where ``plain`` asks for them."""
    if plain or not console.is_terminal:
        return PlainScreen(console, title)
    return LiveScreen(console, title)


def watch(url: str, interval_seconds: float) -> int:
    """Shows the models and incidents of the worker at ``url`` until Ctrl-C. Exit status 0; 2 if it never answered."""
    screen: Screen | None = None
    shown: set[tuple[str, bool]] = set()
    try:
        while True:
            try:
                models, incidents = _get(url, "models"), _get(url, "incidents")
            except (OSError, ValueError) as error:
                if screen is None:
                    reason = getattr(error, "reason", error)
                    text = (
                        f"no worker answers at {url}: {reason}. Is a worker running there? Set its address with --url"
                    )
                    console(stderr=True).print(message(text), markup=False, highlight=False, soft_wrap=True)
                    return ExitStatus.ERROR
                screen.report(f"{datetime.now(UTC):%H:%M:%S} no answer from {url}: {error}")
            else:
                screen = screen or open_screen(console(), f"driftline at {url}", plain=False)
                _report_changes(screen, incidents, shown)
                screen.show(models, incidents)
            time.sleep(interval_seconds)
    except KeyboardInterrupt:
        return ExitStatus.OK
    finally:
        if screen is not None:
            screen.close()


def _report_changes(screen: Screen, incidents: Sequence[Json], shown: set[tuple[str, bool]]) -> None:
    """Prints each incident once when it opens and once when it is resolved; ``shown`` holds those printed before."""
    for incident in reversed(incidents):
        resolved = incident.get("resolved_at_ms") is not None
        state = (str(incident.get("id")), resolved)
        if state not in shown:
            shown.add(state)
            at, verb = ("resolved_at_ms", "resolved") if resolved else ("opened_at_ms", "opened")
            names = brief(features_of(incident))
            screen.report(f"{clock(incident.get(at))} incident {verb}: {name_of(incident)} {names}")


def _get(url: str, what: str) -> list[Json]:
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"not an http address: {url}")
    with urllib.request.urlopen(f"{url.rstrip('/')}/api/v1/{what}", timeout=10) as answer:
        found = json.load(answer)[what]
    return list(found)
