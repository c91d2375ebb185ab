"""The list of incidents, and the page of one incident with its facts, its features and its form."""

from collections.abc import Sequence
from typing import Any

from detectors.incidents import unlike
from stream.http.page import buttons, feature_table, frame, terms, units, words
from stream.http.page.frame import Column
from stream.http.page.markup import Child, Markup, element
from stream.http.page.units import SIZE_LABELS
from stream.http.page.words import Json, finite
from stream.topics.views import Views

LIST_LIMIT = 500


def render_list(views: Views, query: dict[str, str], now_ms: int) -> tuple[str, Markup]:
    """The title and the body of the list."""
    state = query.get("state") if query.get("state") in ("open", "resolved") else "all"
    found = views.incidents(state=str(state), limit=LIST_LIMIT)
    opened = sum(finite(item.get("resolved_at_ms")) is None for item in views.incidents(state="open", limit=LIST_LIMIT))
    heading = f"{opened:,} open {'incident' if opened == 1 else 'incidents'}" if opened else "No open incidents"
    choices = [
        element(
            "a",
            label,
            href=frame.link_to({"state": value}) if value else "/incidents",
            aria_current="true" if (value or "all") == state else None,
        )
        for value, label in (("", "all"), ("open", "open"), ("resolved", "resolved"))
    ]
    body = [
        element("h1", heading, id="headline"),
        element("nav", choices, class_="segments", aria_label="Which incidents"),
        table(found, now_ms) if found else element("p", "No incidents.", class_="empty"),
        element("p", f"Only the newest {LIST_LIMIT:,} incidents are shown.", class_="quiet")
        if len(found) == LIST_LIMIT
        else None,
    ]
    return heading, element("section", body, class_="incident-list")


def table(incidents: Sequence[Json], now_ms: int, *, with_model: bool = True) -> Markup:
    columns = [
        Column("Incident"),
        Column("Status"),
        Column("Verdict", css="wide"),
        Column("Found", css="number"),
        Column("Duration", css="number wide"),
    ]
    if with_model:
        columns.insert(1, Column("Model"))
    rows = []
    for item in incidents:
        opened, resolved = finite(item.get("opened_at_ms")), finite(item.get("resolved_at_ms"))
        lasted = words.age((resolved if resolved is not None else now_ms) - opened) if opened is not None else "–"
        verdict = words.brief_verdict(item)
        cells: list[Child] = [
            [
                element("a", _title(item), href=words.incident_path(str(item["id"]))),
                element("div", verdict, class_="on-phone quiet"),
            ],
            _status(item),
            verdict,
            frame.ago(opened, now_ms, suffix=True),
            lasted,
        ]
        if with_model:
            cells.insert(
                1,
                f"{item.get('model')} {item.get('version')}" + (f" · {item['segment']}" if item.get("segment") else ""),
            )
        rows.append((str(item["id"]), cells))
    return frame.table("Incidents, newest first", columns, rows)


def _title(item: Json) -> str:
    names = [str(row.get("feature")) for row in words.rows(item.get("features"))]
    names = names or [str(row.get("name")) for row in words.rows(item.get("environment_differences"))]
    kind = words.plain(item.get("kind", "incident"))
    return f"{kind}: {', '.join(names[:2])}{f' +{len(names) - 2}' if len(names) > 2 else ''}" if names else kind


def _status(item: Json) -> Markup:
    if finite(item.get("resolved_at_ms")) is not None:
        return element("span", "Resolved", class_="status resolved")
    severity = str(item.get("severity", ""))
    if item.get("acknowledged_by") or finite(item.get("acknowledged_at_ms")) is not None:
        return element("span", "Acknowledged", class_="status acknowledged")
    return element("span", "Open", f", {severity}" if severity else None, class_="status open")


def render(item: Json, detail: Json | None, now_ms: int, *, writable: bool) -> tuple[str, Markup]:
    """The title and the body of an incident's page.

    ``detail`` is the view of its model; ``writable``: this worker accepts changes with a token.
    """
    model, version, segment = str(item.get("model")), str(item.get("version")), item.get("segment")
    model_link = element(
        "a", f"{model} {version}" + (f" · {segment}" if segment else ""), href=words.model_path(model, version, segment)
    )
    summary = item.get("summary") or item.get("detail")
    body = [
        _crumbs(model_link),
        element("h1", _title(item)),
        element(
            "p",
            _status(item),
            " ",
            element("span", words.verdict(item.get("verdict"), item.get("reason")), id="headline"),
            class_="lead",
        ),
        element("p", _sentence(str(summary), item)) if summary else None,
        frame.facts(_facts(item, model_link, now_ms)),
        _features(item, model, version, segment),
        _pictures(item, detail),
        environment(item),
        _notes(item),
        terms.explained(terms.SIZES) if item.get("features") else None,
        buttons.of_incident(item) if writable else None,
    ]
    return f"{_title(item)} · {model}", element("article", body, class_="incident-page")


def _sentence(summary: str, item: Json) -> str:
    """The summary with a capital letter, unless it begins with the name of a feature."""
    names = [str(row.get("feature")) for row in words.rows(item.get("features"))]
    begins_with_name = any(name and summary.startswith(name) for name in names)
    return summary if begins_with_name else summary[:1].upper() + summary[1:]


def _crumbs(model_link: Markup) -> Markup:
    parts = (element("a", "Fleet", href="/"), model_link, "Incident")
    return element(
        "nav", element("ol", (element("li", part) for part in parts)), class_="crumbs", aria_label="Where you are"
    )


JUDGED_BY = {"feature": "events", "performance": "labels"}
"""What the verdict on an incident of each kind is based on."""


def _facts(item: Json, model_link: Markup, now_ms: int) -> list[tuple[str, Child]]:
    pairs: list[tuple[str, Child]] = [("Model", model_link)]
    for label, name in (
        ("Began (estimate)", "began_at_ms"),
        ("Found", "opened_at_ms"),
        ("Acknowledged", "acknowledged_at_ms"),
        ("Resolved", "resolved_at_ms"),
        ("Silenced until", "silenced_until_ms"),
    ):
        when = finite(item.get(name))
        if when is not None:
            pairs.append(
                (
                    label,
                    element(
                        "span",
                        words.moment(when),
                        " ",
                        element("small", frame.ago(when, now_ms, suffix=True)) if when <= now_ms else None,
                    ),
                )
            )
    if finite(item.get("began_at_event")) is not None:
        pairs.append(("Began at event (estimate)", words.count(item["began_at_event"])))
    if (reopened_ms := finite(item.get("reopened_at_ms"))) is not None:
        pairs.append(("Reopened", f"{words.moment(reopened_ms)}, {words.count(item.get('reopened'))} times so far"))
    if finite(item.get("opened_at_event")) is not None:
        pairs.append(("Found at event", words.count(item["opened_at_event"])))
    by = item.get("acknowledged_by")
    if by:
        pairs.append(("Acknowledged by", str(by)))
    if item.get("resolution"):
        by = f", by {item['resolved_by']}" if item.get("resolved_by") else ""
        pairs.append(("Resolved because", words.plain(item["resolution"]) + by))
    if item.get("reason"):
        pairs.append(("Reason", words.reason(item["reason"])))
    if (compared := _unlike(item)) is not None:
        pairs.append(("Evidence that it is", compared))
    if item.get("kind") in JUDGED_BY:
        seen, what = finite(item.get("verdict_events")), JUDGED_BY[item["kind"]]
        pairs.append(
            (
                "Verdict based on",
                f"{words.count(seen)} {what} since it was found" if seen else f"the {what} of the alarm",
            )
        )
    pairs += [("Kind", words.plain(item.get("kind", "–"))), ("Severity", words.plain(item.get("severity", "–")))]
    pairs.append(("Id", element("code", str(item["id"]))))
    return pairs


def _unlike(item: Json) -> str | None:
    """What the leading feature was unlike; None where it was compared with the reference alone."""
    rows = words.rows(item.get("features"))
    leading = max(rows, key=lambda row: finite(row.get("evidence_log10")) or 0.0, default={})
    kinds = [str(kind) for kind in leading.get("unlike") or ()]
    return unlike.in_words(kinds, int(finite(leading.get("unlike_days")) or 0)) if kinds else None


def _features(item: Json, model: str, version: str, segment: Any) -> Markup | None:
    rows = words.rows(item.get("features"))
    if not rows:
        return None
    columns = [
        Column("Feature"),
        Column("Evidence", css="number"),
        *(Column(label, css="number") for label in SIZE_LABELS.values()),
    ]
    body = []
    for row in sorted(rows, key=lambda row: -(finite(row.get("evidence_log10")) or 0)):
        name = str(row.get("feature"))
        link = element("a", name, href=words.model_path(model, version, segment, name))
        body.append((name, [link, *(words.number(row.get(size)) for size in ("evidence_log10", *SIZE_LABELS))]))
    return element(
        "section",
        element("h2", "Affected features"),
        element(
            "div",
            frame.table("Features, the worst first", columns, body),
            class_="scroll",
            tabindex="0",
            role="region",
            aria_label="Affected features",
        ),
    )


def _pictures(item: Json, detail: Json | None) -> Markup | None:
    """Charts of the affected features as they are now."""
    if detail is None:
        return None
    blamed = {str(row.get("feature")) for row in words.rows(item.get("features"))}
    shown = [f for f in units.features(detail) if f.name in blamed]
    return feature_table.cards(
        str(item["model"]), str(item["version"]), item.get("segment"), shown, "Affected features now"
    )


def environment(detail: Json) -> Markup | None:
    """A table of what differs between training and serving, from a model's view or an incident; None if nothing
    does."""
    rows = words.rows(detail.get("environment_differences"))
    if not rows:
        return None
    columns = (Column("Name"), Column("Training"), Column("Serving"), Column("Events", css="number"))
    body = [
        (
            str(row.get("name")),
            (
                element("code", str(row.get("name"))),
                str(row.get("reference") or "–"),
                str(row.get("present") or "–"),
                words.count(row.get("events")),
            ),
        )
        for row in rows[:200]
    ]
    return frame.section(
        "Environment differences", "environment", frame.table("Differences between training and serving", columns, body)
    )


def _notes(item: Json) -> Markup | None:
    rows = words.rows(item.get("notes"))
    if not rows:
        return None
    entries = [
        element(
            "li",
            element("p", str(row["text"])) if row.get("text") else None,
            element("small", f"{_done(row)}{row.get('by', 'somebody')}, {words.moment(row.get('at_ms'))}"),
        )
        for row in rows[-200:]
    ]
    return element("section", element("h2", "Notes"), element("ul", entries, class_="notes"))


def _done(row: Json) -> str:
    """The action of the person who wrote the note, as text."""
    labels = {action.name: action.label for action in buttons.OF_INCIDENTS if action.name != "note"}
    return f"{labels[row['action']]}: " if row.get("action") in labels else ""
