"""The page of the fleet: every model in one table, the worst first."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from stream.http.page import charts, frame, terms, words
from stream.http.page.frame import Column
from stream.http.page.history import History
from stream.http.page.markup import Markup, element
from stream.http.page.units import Unit, unit
from stream.topics.views import Views

PER_PAGE = 100
MAX_INCIDENTS = 1_000

COLUMNS = (
    Column("Model", "model"),
    Column("State", "state"),
    Column("Evidence", "evidence", "wide-number"),
    Column("Worst feature or reason", "feature", "wide"),
    Column("Events/s", "rate", "number wide"),
    Column("Last event", "age", "number"),
    Column("Events", "events", "number wide"),
)

CALM = ("warning", "stable", "quiet", "learning")
"""States that need nobody, in the order in which the headline counts them."""

DESCENDING = ("state", "evidence", "rate", "events")
"""Columns that a first click sorts with the largest value first."""

ORDERS: dict[str, Callable[[Unit], Any]] = {
    "state": lambda u: (words.ORDER[u.state.name], -u.ratio, u.model, u.version),
    "model": lambda u: (u.model, u.version, u.segment or ""),
    "evidence": lambda u: (-u.ratio, u.model),
    "feature": lambda u: (u.worst_feature or "\U0010ffff", u.model),
    "rate": lambda u: (-(u.rate if u.rate is not None else -1), u.model),
    "age": lambda u: (-(u.last_event_ms or 0), u.model),
    "events": lambda u: (-(words.finite(u.events) or 0), u.model),
}


def render(views: Views, history: History, query: dict[str, str], now_ms: int) -> tuple[str, Markup]:
    """The title and the body of the page."""
    units = [unit(summary, history, now_ms) for summary in views.models()]
    counts = Counter(u.state.name for u in units)
    if not units:
        return "No events yet", _nothing()
    shown = _chosen(units, query)
    order = query.get("sort") or "state"
    shown.sort(key=ORDERS.get(order.lstrip("-"), ORDERS["state"]), reverse=order.startswith("-"))
    page, pages, part = frame.page_of(query, len(shown), PER_PAGE)
    verdicts = _verdicts(views)
    rows = [
        (f"{u.model}/{u.version}/{u.segment or ''}", _cells(u, verdicts.get((u.model, u.version, u.segment)), now_ms))
        for u in shown[part]
    ]
    heading = headline(counts)
    body = [
        element("h1", heading, id="headline"),
        _tally(counts, query),
        frame.filter_form(query, "Find models", "model, version, segment or feature", _state_select(query, counts)),
        frame.table("Models, the worst first", COLUMNS, rows, {**query, "sort": order}, DESCENDING)
        if rows
        else element("p", f"None of the {len(units):,} models matches the filter.", class_="empty"),
        frame.pager(query, page, pages, len(shown), "models"),
        terms.explained(terms.FLEET),
    ]
    return heading, element("section", body, class_="fleet")


def headline(counts: Counter[str]) -> str:
    """The state of the fleet in one line. It reports all models as stable only if every model is stable.

    >>> headline(Counter(drift=2, blind=1, stable=9))
    '2 drifting, 1 blind'
    >>> headline(Counter(stable=2, learning=1))
    '2 stable, 1 learning'
    """
    total = sum(counts.values())
    alarming = [words.ALL_STATES[name] for name in words.ORDER if counts[name] and name not in CALM]
    if alarming:
        return ", ".join(f"{counts[state.name]:,} {state.plural}" for state in alarming)
    if counts["stable"] == total:
        return "The model is stable" if total == 1 else f"All {total:,} models are stable"
    present = [words.ALL_STATES[name] for name in CALM if counts[name]]
    return ", ".join(f"{counts[state.name]:,} {state.plural}" for state in present)


def _nothing() -> Markup:
    return element(
        "section",
        element("h1", "No events yet", id="headline"),
        element(
            "p",
            "No model is being monitored. A model appears on this page as soon as its first inference event arrives.",
            class_="lead",
        ),
        class_="fleet",
    )


def _tally(counts: Counter[str], query: dict[str, str]) -> Markup:
    """The number of models in each state; each is a link to a list of only those models."""
    total = sum(counts.values())
    items = [
        element(
            "li",
            element(
                "a",
                frame.badge(words.ALL_STATES[name]),
                " ",
                element("b", f"{counts[name]:,}"),
                href=frame.link_to({**query, "state": "" if query.get("state") == name else name, "page": ""}),
                data_live_link=True,
                aria_current="true" if query.get("state") == name else None,
            ),
        )
        for name in words.ORDER
        if counts[name]
    ]
    return element(
        "ul",
        items,
        element("li", f"of {total:,} {'model' if total == 1 else 'models'}", class_="quiet"),
        class_="tally",
    )


def _state_select(query: dict[str, str], counts: Counter[str]) -> Markup:
    present = query.get("state", "")
    names = [name for name in words.ORDER if counts[name] or name == present]
    options = [element("option", "all states", value="")] + [
        element("option", words.ALL_STATES[name].label.lower(), value=name, selected=name == present) for name in names
    ]
    return element(
        "label", element("span", "State", class_="unseen"), element("select", options, name="state", id="state")
    )


def _chosen(units: list[Unit], query: dict[str, str]) -> list[Unit]:
    wanted, state = query.get("q", "").casefold().split(), query.get("state", "")
    return [
        u
        for u in units
        if (not state or u.state.name == state)
        and all(
            word in f"{u.model} {u.version} {u.segment or ''} {u.worst_feature or ''}".casefold() for word in wanted
        )
    ]


def _verdicts(views: Views) -> dict[tuple[object, ...], str]:
    """The verdict on the newest open incident of each unit, in a few words."""
    found: dict[tuple[object, ...], str] = {}
    for item in reversed(views.incidents(state="open", limit=MAX_INCIDENTS)):
        brief = words.brief_verdict(item)
        found[item.get("model"), item.get("version"), item.get("segment")] = brief[:1].lower() + brief[1:]
    return found


def _cells(u: Unit, verdict: str | None, now_ms: int) -> list[Any]:
    name = element("a", u.model, href=u.path)
    version = element("span", f" {u.version}", f" · {u.segment}" if u.segment is not None else None, class_="version")
    stale = u.last_event_ms is None or now_ms - u.last_event_ms > words.SILENT_AFTER_MS
    return [
        [name, version, _why_on_a_phone(u, verdict)],
        frame.badge(u.state),
        evidence_cell(u.evidence, u.threshold, u.state.name),
        _worst(u, verdict),
        "–" if u.rate is None else words.number(u.rate, 2),
        element("span", frame.ago(u.last_event_ms, now_ms), class_="stale" if stale else None),
        words.count(u.events),
    ]


def evidence_cell(evidence: float | None, threshold: float | None, state: str) -> list[Any]:
    """A bar and its figures. There is no bar for a unit that is not judged now: a short one would look healthy."""
    if evidence is None or threshold is None:
        return [element("span", "not judged", class_="quiet")]
    seen = words.number(evidence, 2)
    needed = element("span", f" of {words.number(threshold, 2)}", class_="quiet")
    if state in ("blind", "silent", "unknown"):
        return [element("span", f"last {seen}", needed, class_="figures quiet")]
    return [charts.meter(evidence, threshold, state), element("span", element("b", seen), needed, class_="figures")]


def _worst(u: Unit, verdict: str | None) -> Any:
    if u.why is not None:
        return u.why
    if u.worst_feature is None:
        return element("span", "–", class_="quiet")
    others = len(set(u.drifted) - {u.worst_feature})
    path = words.model_path(u.model, u.version, u.segment, u.worst_feature)
    rest = f"{f' +{others}' if others else ''}{f', {verdict}' if verdict and u.state.name == 'drift' else ''}"
    return [element("a", u.worst_feature, href=path, class_="feature"), element("span", rest, class_="quiet")]


def _why_on_a_phone(u: Unit, verdict: str | None) -> Markup | None:
    """The reason below the name, for narrow screens, which do not show its column; None for a model without a
    problem."""
    if u.state.name in ("stable", "warning", "quiet"):
        return None
    return element("div", _worst(u, verdict), class_="on-phone quiet")
