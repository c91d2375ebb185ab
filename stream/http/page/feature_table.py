"""The features of a unit: the worst as cards with a chart, and all of them as a table."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from stream.http.page import charts, frame, terms, units, words
from stream.http.page.fleet import evidence_cell
from stream.http.page.frame import Column
from stream.http.page.markup import Child, Markup, element
from stream.http.page.units import SIZE_LABELS, Feature, Unit
from stream.http.page.words import finite

PER_PAGE = 50
CARDS = 6

COLUMNS = (
    Column("Feature", "feature"),
    Column("Evidence", "evidence", "wide-number"),
    Column("PSI", "psi", "number"),
    Column("Wasserstein", "wasserstein", "number wide"),
    Column("KS", "kolmogorov_smirnov", "number wide"),
    Column("JS", "jensen_shannon", "number wide"),
    Column("Missing", "missing", "number"),
    Column("Unexpected", "unexpected", "number wide"),
    Column("Reference and present", css="wide"),
)
DESCENDING = tuple(column.sort for column in COLUMNS if column.sort not in (None, "feature"))


def _falling(read: Callable[[Feature], float | None]) -> Callable[[Feature], Any]:
    return lambda f: (-(value if (value := read(f)) is not None else -math.inf), f.name)


ORDERS: dict[str, Callable[[Feature], Any]] = {
    "feature": lambda f: f.name,
    "evidence": _falling(lambda f: f.evidence),
    "missing": _falling(lambda f: f.missing),
    "unexpected": _falling(lambda f: _off(f)),
    **{name: _falling(lambda f, name=name: f.sizes[name]) for name in SIZE_LABELS},  # type: ignore[misc]
}


def _off(f: Feature) -> float | None:
    """The share of values that have the wrong type, or that the reference does not contain."""
    parts = [part for part in (f.invalid, f.unexpected) if part is not None]
    return min(1.0, sum(parts)) if parts else None


def cards(
    model: str, version: str, segment: str | None, features: Sequence[Feature], title: str = "Worst features"
) -> Markup | None:
    shown = [f for f in map(units.drawn, features[:CARDS]) if f.reference or f.present]
    if not shown:
        return None
    drawn = [_card(f, words.model_path(model, version, segment, f.name)) for f in shown]
    return frame.section(title, "worst", legend(), element("div", drawn, class_="cards"))


def legend() -> Markup:
    return element(
        "p",
        element("span", class_="swatch reference"),
        "reference ",
        element("span", class_="swatch present"),
        "present",
        class_="legend",
    )


def _card(f: Feature, path: str) -> Markup:
    second = "jensen_shannon" if f.sizes["wasserstein"] is None else "wasserstein"
    sizes = [(SIZE_LABELS[name], words.number(f.sizes[name], 2)) for name in ("psi", second)]
    sizes.append(("missing", words.share(f.missing)))
    return element(
        "section",
        element("h3", element("a", f.name, href=path), frame.badge(words.STATES["drift"]) if f.drifted else None),
        chart(f, short=True),
        element("p", (element("span", f"{name} ", element("b", value)) for name, value in sizes), class_="sizes"),
        class_="card",
        id=f"card-{f.name}",
    )


def chart(f: Feature, *, short: bool) -> Markup:
    """A chart of the reference and the present: pairs of bars for categories, two histograms for numbers."""
    if f.categorical and f.labels:
        return _category_bars(f, 5 if short else 40)
    ends = (f.labels[0].split(" … ")[-1], f.labels[-1].split(" … ")[0]) if len(f.labels) > 2 else ("", "")
    drawing = charts.histogram(f.reference, f.present) if short else charts.histogram(f.reference, f.present, 720, 240)
    return element(
        "div",
        drawing,
        element("p", element("span", ends[0]), element("span", ends[1]), class_="ends"),
        class_="drawing",
    )


def _category_bars(f: Feature, most: int) -> Markup:
    pairs = [
        (label, f.reference[i] if i < len(f.reference) else 0.0, f.present[i] if i < len(f.present) else 0.0)
        for i, label in enumerate(f.labels)
    ]
    pairs = [pair for pair in pairs if pair[1] or pair[2]]
    pairs.sort(key=lambda pair: -max(pair[1], pair[2]))
    top = max((max(pair[1], pair[2]) for pair in pairs), default=1.0)
    rows = [
        element(
            "li",
            element("span", label, class_="label"),
            charts.bars(old, new, top),
            element("span", words.share(new), class_="share"),
        )
        for label, old, new in pairs[:most]
    ]
    rest = (
        element("li", element("span", f"and {len(pairs) - most:,} more", class_="quiet")) if len(pairs) > most else None
    )
    return element("ul", rows, rest, class_="categories")


def render(u: Unit, features: Sequence[Feature], query: dict[str, str]) -> Markup:
    wanted = query.get("q", "").casefold().split()
    shown = [f for f in features if all(word in f.name.casefold() for word in wanted)]
    order = query.get("sort") or "evidence"
    shown.sort(key=ORDERS.get(order.lstrip("-"), ORDERS["evidence"]), reverse=order.startswith("-"))
    page, pages, part = frame.page_of(query, len(shown), PER_PAGE)
    rows = [(f.name, _row(u, units.drawn(f))) for f in shown[part]]
    return frame.section(
        f"All {len(features):,} features" if len(features) != 1 else "1 feature",
        "features",
        frame.filter_form({**query, "segment": u.segment or ""}, "Find features", "feature name")
        if len(features) > 10
        else None,
        frame.table("Features, the worst first", COLUMNS, rows, {**query, "sort": order}, DESCENDING)
        if rows
        else element("p", "No feature matches the filter." if features else "No features yet.", class_="empty"),
        frame.pager(query, page, pages, len(shown), "features"),
        terms.explained(terms.FEATURES) if features else None,
    )


def _not_judged(u: Unit, f: Feature) -> Markup | None:
    """Why this feature is not judged, in a model that is judged."""
    if f.evidence is not None or u.threshold is None:
        return None
    return element(
        "span",
        "not judged: " + ("id or counter" if f.raw.get("identifier") else "not in the reference"),
        class_="quiet why-not",
    )


def _row(u: Unit, f: Feature) -> list[Child]:
    threshold = finite(f.raw.get("threshold_log10")) or u.threshold
    state = "drift" if f.drifted else u.state.name if u.state.name in ("blind", "silent") else "stable"
    name = element("a", f.name, href=words.model_path(u.model, u.version, u.segment, f.name))
    mark = (
        element("span", " ▲", class_="drifted", title="Drifted", role="img", aria_label="drifted")
        if f.drifted
        else None
    )
    return [
        [name, mark],
        _not_judged(u, f) or evidence_cell(f.evidence, threshold, state),
        *(words.number(f.sizes[size], 2) for size in SIZE_LABELS),
        words.share(f.missing),
        words.share(_off(f)),
        charts.histogram(f.reference, f.present, 120, 24) if f.reference or f.present else None,
    ]
