"""The page of one feature: the reference and recent events in one chart, and all its figures."""

from typing import Any

from stream.http.page import charts, feature_table, frame, model, terms, units, words
from stream.http.page.fleet import evidence_cell
from stream.http.page.frame import Column
from stream.http.page.history import History
from stream.http.page.markup import Markup, element
from stream.http.page.units import SIZE_LABELS, Feature
from stream.http.page.words import Json, finite

MAX_BINS_SHOWN = 600


def render(detail: Json, name: str, history: History, now_ms: int) -> tuple[str, Markup] | None:
    """The title and the body of the page; None when the unit has no such feature."""
    found = next((units.drawn(f) for f in units.features(detail) if f.name == name), None)
    if found is None:
        return None
    u = units.unit(detail, history, now_ms)
    threshold = finite(found.raw.get("threshold_log10")) or u.threshold
    state = "drift" if found.drifted else u.state.name if u.state.name in ("blind", "silent") else "stable"
    trail = element("a", f"{u.model} {u.version}" + (f" · {u.segment}" if u.segment else ""), href=u.path)
    sizes = [(label, words.number(found.sizes[size])) for size, label in SIZE_LABELS.items()]
    body = [
        model.crumbs(trail, found.name),
        element("h1", found.name, element("span", f" {found.described}", class_="version")),
        element(
            "p",
            frame.badge(words.STATES["drift"]),
            " This feature has changed compared with its reference.",
            class_="lead",
        )
        if found.drifted
        else None,
        model.unseeing(u, now_ms),
        frame.facts(
            [("Evidence", element("span", *evidence_cell(found.evidence, threshold, state), class_="inline")), *sizes]
        ),
        element(
            "section", element("h2", "Reference and present"), feature_table.legend(), _chart(found), class_="overlay"
        ),
        _days(found),
        frame.section("Statistics", "numbers", _numbers(found)),
        _bins(found),
        terms.explained(terms.FEATURES),
    ]
    return f"{found.name} · {u.model} {u.version}", element(
        "article", body, class_=f"feature-page state-{u.state.name}"
    )


def _days(f: Feature) -> Markup | None:
    """The last 24 hours beside the same hours of earlier days; None before two of them are known."""
    days = f.raw.get("days")
    if not isinstance(days, dict):
        return None
    present, low, high = ([finite(value) for value in days.get(name) or ()] for name in ("present", "low", "high"))
    end_ms, count = finite(days.get("end_ms")), int(finite(days.get("days")) or 0)
    if end_ms is None or not any(value is not None for value in (*present, *low)):
        return None
    outside = [
        hour
        for hour, value in enumerate(present)
        if value is not None and low[hour] is not None and not (low[hour] or 0.0) <= value <= (high[hour] or 0.0)
    ]
    text = (
        f"Medians by hour of the last {len(present)} hours (line), and the smallest and largest of the same hours on "
        f"{count} earlier days (area). {len(outside)} hours lie outside of it."
    )
    drawn = [
        charts.day_band(end_ms, present, low, high, width, height, css)
        for width, height, css in ((1080, 220, "broad"), (400, 200, "narrow"))
    ]
    figure = element(
        "figure",
        element("div", drawn, class_="plot", role="img", aria_label=text),
        element("figcaption", element("span", text, class_="in-words")),
    )
    return frame.section("Today and earlier days", "days", figure)


def _chart(f: Feature) -> Markup:
    if not f.reference and not f.present:
        return element("p", "No histogram yet.", class_="empty")
    return feature_table.chart(f, short=False)


def _numbers(f: Feature) -> Markup:
    raw = f.raw
    pairs: list[tuple[str, Any, Any]] = [
        (label, words.number(raw.get(f"reference_{name}")), words.number(raw.get(name)))
        for label, name in (
            ("Mean", "mean"),
            ("Standard deviation", "std"),
            ("Smallest", "minimum"),
            ("Largest", "maximum"),
        )
        if finite(raw.get(name)) is not None
    ]
    pairs += [
        ("Values", words.count(raw.get("reference_count")), words.count(f.values)),
        ("Missing", words.share(finite(raw.get("reference_missing"))), words.share(f.missing)),
        ("Wrong type", words.share(finite(raw.get("reference_invalid"))), words.share(f.invalid)),
    ]
    if f.unexpected is not None:
        pairs.append(("Unexpected", "–", words.share(f.unexpected)))
    columns = (Column("Statistic"), Column("Reference", css="number"), Column("Present", css="number"))
    return frame.table(
        "Statistics of the reference and the present",
        columns,
        [(f"number-{label}", (label, old, new)) for label, old, new in pairs],
    )


def _bins(f: Feature) -> Markup | None:
    """The chart as a table, for people who cannot see the chart."""
    size = max(len(f.reference), len(f.present))
    if not size:
        return None
    columns = (
        Column("Category" if f.categorical else "Bin"),
        Column("Reference", css="number"),
        Column("Present", css="number"),
    )
    rows = [
        (
            f"bin-{index}",
            (
                f.labels[index] if index < len(f.labels) else str(index + 1),
                words.share(f.reference[index]) if index < len(f.reference) else "–",
                words.share(f.present[index]) if index < len(f.present) else "–",
            ),
        )
        for index in range(min(size, MAX_BINS_SHOWN))
    ]
    return element(
        "details",
        element("summary", "The histogram as a table"),
        frame.table("Shares by bin", columns, rows),
        id="bins",
    )
