"""The page of a model version, or of a segment of it: its state, its evidence, its incidents and its features."""

from collections.abc import Sequence

import orjson

from stream.http.page import buttons, feature_table, frame, outcomes, units, words
from stream.http.page import charts as svg
from stream.http.page import incident as incident_page
from stream.http.page.fleet import evidence_cell
from stream.http.page.frame import Column
from stream.http.page.history import History
from stream.http.page.markup import Child, Markup, element
from stream.http.page.units import Feature, Unit
from stream.http.page.words import Json, finite
from stream.topics.views import Views

SMALLEST = (
    "A smaller shift of this feature is never found, however long it lasts. The reference is too small, or its rows "
    "depend on each other too much."
)
MOVED = "These features did not stay at one level while the reference was learned. Small changes of them are not found."
SKEWED = (
    "Whole weeks of these features differ from the reference, without a sudden change: training and serving may differ."
)
SEASON = (
    "The reference spans less than 14 days. Changes with the time of day or the day of the week can look like drift."
)


def render(
    detail: Json, views: Views, history: History, query: dict[str, str], now_ms: int, *, writable: bool
) -> tuple[str, Markup]:
    """The title and the body of the page. ``writable``: this worker accepts changes with a token."""
    u = units.unit(detail, history, now_ms)
    features = units.features(detail)
    incidents = views.incidents(u.model, u.version, u.segment)
    segments = views.segments(u.model, u.version)
    body = [
        _heading(u, detail, incidents),
        unseeing(u, now_ms),
        _facts(u, detail, features, now_ms),
        _segments(u, segments),
        _evidence(u, detail, history, incidents),
        _incidents(incidents, now_ms),
        outcomes.render(detail),
        feature_table.cards(u.model, u.version, u.segment, features),
        feature_table.render(u, features, query),
        incident_page.environment(detail),
        _retraining(detail),
        _signals(detail, now_ms),
        buttons.of_model(u, segments) if writable else None,
    ]
    return f"{u.state.glyph} {u.model} {u.version}", element("article", body, class_=f"model state-{u.state.name}")


def crumbs(*parts: Child) -> Markup:
    items = [element("li", part) for part in (element("a", "Fleet", href="/"), *parts)]
    return element("nav", element("ol", items), class_="crumbs", aria_label="Where you are")


def _heading(u: Unit, detail: Json, incidents: Sequence[Json]) -> Markup:
    segment = element("span", f" · {u.segment}", class_="version") if u.segment is not None else None
    return element(
        "div",
        crumbs(u.model),
        element("h1", u.model, element("span", f" {u.version}", class_="version"), segment),
        element(
            "p",
            frame.badge(u.state),
            " ",
            element("span", _sentence(u, detail), _verdict(u, incidents), id="headline"),
            class_="lead",
        ),
        class_="heading",
    )


def unseeing(u: Unit, now_ms: int) -> Markup | None:
    """A warning that the page shows an old state, which may look healthy; None for a unit that is judged now."""
    if u.state.name not in ("blind", "silent", "unknown"):
        return None
    when = frame.ago(u.last_event_ms, now_ms, suffix=True)
    return element(
        "p", "Not being judged now. Everything below is the state at the last event, ", when, ".", class_="unseeing"
    )


def _sentence(u: Unit, detail: Json) -> str:
    """Why the unit is in its state, as a sentence."""
    reason = detail.get("reason")
    if u.state.name == "drift" and u.drifted:
        return f"{listed(u.drifted)} {'has' if len(u.drifted) == 1 else 'have'} changed compared with the reference."
    if u.state.name == "learning" and (wanted := finite(detail.get("learning_events_wanted"))):
        return f"Learning its reference: {words.count(detail.get('epoch_events'))} of {words.count(wanted)} events."
    if isinstance(reason, str) and reason and u.state is not words.SILENT:
        text = words.BLIND_REASONS.get(reason) or words.reason(reason)
        text = (
            text[:1].upper() + text[1:] if u.state.name in ("blind", "quiet") else text
        )  # others may begin with a feature's name
        return text + ("" if text.endswith(".") else ".")
    return u.state.meaning


def _verdict(u: Unit, incidents: Sequence[Json]) -> str | None:
    """The verdict on the newest open incident of a drifting unit, with what to do."""
    found = next((item for item in incidents if finite(item.get("resolved_at_ms")) is None), None)
    if u.state.name != "drift" or found is None or not found.get("verdict"):
        return None
    return f" {words.verdict(found.get('verdict'), found.get('reason'))}"


def listed(names: Sequence[str], most: int = 3) -> str:
    """The names as ``a``, ``a and b`` or ``a, b, c and 4 more``."""
    if len(names) <= most:
        return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    return f"{', '.join(names[:most])} and {len(names) - most:,} more"


def _facts(u: Unit, detail: Json, features: Sequence[Feature], now_ms: int) -> Markup:
    reference = detail.get("reference")
    digest = reference.get("digest") if isinstance(reference, dict) else reference
    missing = [f for f in features if f.missing]
    waiting = [] if u.waiting is None else [("Held back", u.waiting)]
    pairs: list[tuple[str, Child]] = [
        *waiting,
        ("Evidence", element("span", *evidence_cell(u.evidence, u.threshold, u.state.name), class_="inline")),
        ("Last event", frame.ago(u.last_event_ms, now_ms, suffix=True)),
        ("Events/s", "–" if u.rate is None else words.number(u.rate, 2)),
        ("Events", words.count(u.events)),
        ("Since this reference", words.count(detail.get("epoch_events"))),
        ("Features", f"{len(features):,}" + (f", {len(u.drifted):,} drifted" if u.drifted else "")),
    ]
    pairs += [(words.plain(name), text) for name, text in words.interruptions(detail)]
    if missing:
        worst = max(missing, key=lambda f: f.missing or 0.0)
        pairs.append(("Most missing values", f"{worst.name}, {words.share(worst.missing)}"))
    hidden = [(value, f.name) for f in features if (value := finite(f.raw.get("smallest_shift"))) is not None]
    if hidden:
        value, name = max(hidden)
        text = f"{value:.2g} standard deviations ({name})"
        pairs.append(("Smallest detectable shift", element("span", text, title=SMALLEST)))
    if moved := detail.get("moved_while_learned"):
        pairs.append(("Unstable during learning", element("span", listed([str(name) for name in moved]), title=MOVED)))
    if skewed := [f.name for f in features if finite(f.raw.get("skew")) is not None]:
        pairs.append(("Unlike training", element("span", listed(skewed), title=SKEWED)))
    if isinstance(digest, str):
        pairs.append(("Season", _season(detail)))
        pairs.append(("Reference", element("code", digest.removeprefix("sha256:")[:12], title=digest)))
    return frame.facts(pairs)


def _season(detail: Json) -> Child:
    season = detail.get("season")
    if isinstance(season, dict) and season.get("source") == "stream":
        return str(season.get("text"))
    return "covered" if detail.get("season_covered") else element("span", "not covered", title=SEASON)


def _segments(u: Unit, segments: Sequence[str | None]) -> Markup | None:
    if len(segments) < 2:
        return None
    links = [
        element(
            "a",
            "whole population" if name is None else name,
            href=words.model_path(u.model, u.version, name),
            aria_current="page" if name == u.segment else None,
        )
        for name in segments[:200]
    ]
    return element("nav", element("span", "Segments", class_="quiet"), links, class_="segments", aria_label="Segments")


def _evidence(u: Unit, detail: Json, history: History, incidents: Sequence[Json]) -> Markup:
    points = _points(detail) or history.of(detail).points()
    if len(points) < 2 or u.threshold is None:
        text = (
            "Nothing is judged until there is a reference."
            if u.threshold is None
            else "No chart yet: evidence is recorded once a second while events arrive."
        )
        return frame.section("Evidence over time", "evidence", element("p", text, class_="empty"))
    marks = _marks(incidents)
    highest = max(points, key=lambda point: point[1])
    text = (
        f"Evidence (log₁₀) from {words.moment(points[0][0])} to {words.moment(points[-1][0])}: "
        f"now {words.number(points[-1][1])}, highest {words.number(highest[1])} at {words.moment(highest[0])}; "
        f"the alarm threshold is {words.number(u.threshold)}."
    )
    charts = [
        svg.evidence_chart(points, u.threshold, marks, width, height, css)
        for width, height, css in ((1080, 240, "broad"), (400, 220, "narrow"))
    ]
    readout = element("output", "", id="evidence-readout", data_keep=True)
    figure = element(
        "figure",
        element(
            "div", charts, class_="plot", tabindex="0", role="img", aria_label=text, aria_describedby="evidence-readout"
        ),
        element("figcaption", element("span", text, class_="in-words"), readout),
        data_points=orjson.dumps([[int(when), round(value, 3)] for when, value in points]).decode(),
        id="evidence-figure",
    )
    return frame.section("Evidence over time", "evidence", figure)


MOMENTS = (
    ("began_at_ms", "began", "begin"),
    ("opened_at_ms", "found", "open"),
    ("resolved_at_ms", "resolved", "resolved"),
)
"""The times of an incident that are marked on the chart: member, word and style."""


def _marks(incidents: Sequence[Json]) -> list[svg.Mark]:
    marks = []
    for item in incidents:
        kind = words.plain(item.get("kind", "incident"))
        for name, label, css in MOMENTS:
            when = finite(item.get(name))
            if when is not None:
                marks.append(svg.Mark(when, f"{kind} incident {label} {words.moment(when)}", css))
    return marks


def _points(detail: Json) -> list[tuple[float, float]]:
    """The history of evidence in the view, if there is one: a list of [time, evidence] or of objects."""
    found: list[tuple[float, float]] = []
    for item in detail.get("evidence_history") or ():
        pair = (item.get("at_ms"), item.get("evidence_log10")) if isinstance(item, dict) else tuple(item)[:2]
        when, value = (finite(part) for part in pair)
        if when is not None and value is not None and (not found or when > found[-1][0]):
            found.append((when, value))
    return found


def _incidents(incidents: Sequence[Json], now_ms: int) -> Markup:
    if not incidents:
        return frame.section("Incidents", "incidents", element("p", "No incidents so far.", class_="empty"))
    return frame.section("Incidents", "incidents", incident_page.table(incidents[:20], now_ms, with_model=False))


def _retraining(detail: Json) -> Markup:
    rows = words.rows(detail.get("retrain_log"))
    if not rows:
        return frame.section(
            "Retrain requests",
            "retraining",
            element("p", "No retrain request has been sent or withheld so far.", class_="empty"),
        )
    columns = (Column("Time"), Column("Outcome"), Column("Reason"))
    body = [
        (
            f"retrain-{index}",
            (
                words.moment(row.get("at_ms")),
                words.outcome(row.get("outcome", "–")),
                _why(row),
            ),
        )
        for index, row in enumerate(rows[-50:][::-1])
    ]
    return frame.section("Retrain requests", "retraining", frame.table("Retrain requests, newest first", columns, body))


def _why(row: Json) -> Child:
    """The reason; a link to its incident where the row names one."""
    text = words.reason(row.get("reason", "–"))
    return element("a", text, href=words.incident_path(str(row["incident"]))) if row.get("incident") else text


CHANNELS = {"u": "level", "z.up": "level, upwards", "z.down": "level, downwards", "spread": "spread"}
"""What a detector observes: where the values lie in the reference, or how far they are from its middle."""


DETECTORS = {"adwin": "ADWIN", "page_hinkley": "Page-Hinkley"}


def _signal_ms(row: Json) -> float:
    return finite(row.get("timestamp_ms")) or 0.0


def _signals(detail: Json, now_ms: int) -> Markup | None:
    rows = words.rows(detail.get("signals"))
    if not rows:
        return None
    newest = {(row.get("feature"), row.get("detector"), row.get("channel")): row for row in rows}
    columns = (Column("Feature"), Column("Detector"), Column("What changed"), Column("Last signal", css="number"))
    body = [
        (
            f"signal-{index}",
            (
                str(row.get("feature")),
                DETECTORS.get(str(row.get("detector")), str(row.get("detector"))),
                CHANNELS.get(str(row.get("channel")), str(row.get("channel", "–"))),
                frame.ago(finite(row.get("timestamp_ms")), now_ms, suffix=True),
            ),
        )
        for index, row in enumerate(sorted(newest.values(), key=_signal_ms)[-8:][::-1])
    ]
    note = element(
        "p", "Signals of single detectors, for information. Only evidence opens an incident.", class_="quiet"
    )
    return frame.section("Second opinions", "signals", note, frame.table("Signals, newest first", columns, body))
