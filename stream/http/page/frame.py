"""The frame around every page, and the elements that several pages share."""

from collections.abc import Iterable, Sequence
from urllib.parse import urlencode

from stream.http.page import words
from stream.http.page.markup import Child, Markup, element
from stream.http.page.words import State


def document(title: str, body: Child, generation: int, section: str) -> str:
    """A whole page. The script waits for the change after ``generation``; ``section`` is the current menu entry."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{title} · driftline"),
        element("link", rel="icon", href="/static/icon.svg", type="image/svg+xml"),
        element("link", rel="stylesheet", href="/static/page.css"),
        element("script", src="/static/page.js", type="module"),
        element("noscript", element("meta", http_equiv="refresh", content="10")),
    )
    frame = element(
        "body",
        element("a", "Skip to content", class_="skip", href="#content"),
        _header(section),
        element("p", class_="notice", id="notice", role="status", hidden=True, data_keep=True),
        element("main", body, id="content", tabindex="-1"),
        element("p", class_="unseen", id="announcer", aria_live="polite", data_keep=True),
        data_generation=generation,
    )
    return "<!doctype html>" + element("html", head, frame, lang="en")


def _header(section: str) -> Markup:
    def entry(name: str, path: str) -> Markup:
        return element("a", name, href=path, aria_current="page" if name == section else None)

    return element(
        "header",
        element("a", "driftline", href="/", class_="brand"),
        element("nav", entry("Fleet", "/"), entry("Incidents", "/incidents"), aria_label="Main"),
        element(
            "p",
            element("span", class_="dot"),
            element("span", "connecting", id="link-text"),
            class_="link",
            id="link",
            data_keep=True,
        ),
    )


def badge(state: State) -> Markup:
    glyph = element("span", state.glyph, aria_hidden="true", class_="glyph")
    return element("span", glyph, state.label, class_=f"badge is-{state.name}", title=state.meaning)


def ago(timestamp_ms: float | None, now_ms: int, *, suffix: bool = False) -> Markup:
    """The time since ``timestamp_ms``, which the script keeps up to date."""
    if timestamp_ms is None:
        return element("span", "never", class_="quiet")
    passed = words.age(now_ms - timestamp_ms)
    tail = " ago" if suffix else None
    return element(
        "time",
        passed + (tail if tail and passed != "now" else ""),
        datetime=words.iso(timestamp_ms),
        title=words.moment(timestamp_ms),
        data_at=int(timestamp_ms),
        data_suffix=tail,
    )


def facts(pairs: Iterable[tuple[str, Child]]) -> Markup:
    """A list of pairs of names and values."""
    return element(
        "dl", (element("div", element("dt", name), element("dd", value)) for name, value in pairs), class_="facts"
    )


class Column:
    """A column of a table. ``sort`` is the order that its heading links to; ``css`` is the class of its cells."""

    __slots__ = ("css", "label", "sort")

    def __init__(self, label: str, sort: str | None = None, css: str = "") -> None:
        self.label, self.sort, self.css = label, sort, css


def table(
    caption: str,
    columns: Sequence[Column],
    rows: Iterable[tuple[str, Sequence[Child]]],
    query: dict[str, str] | None = None,
    descending: Sequence[str] = (),
) -> Markup:
    """A table. ``rows`` are (key, cells), and the first cell is the heading of its row. Column headings link to other
    orders of ``query``.
    """
    body = [
        element(
            "tr",
            (
                element(
                    "th" if index == 0 else "td", cell, class_=column.css or None, scope="row" if index == 0 else None
                )
                for index, (column, cell) in enumerate(zip(columns, cells, strict=True))
            ),
            id=f"row-{key}",
        )
        for key, cells in rows
    ]
    head = element("tr", (_heading(column, query, descending) for column in columns))
    return element(
        "table",
        element("caption", caption, class_="unseen"),
        element("thead", head),
        element("tbody", body),
        class_="data",
    )


def _heading(column: Column, query: dict[str, str] | None, descending: Sequence[str]) -> Markup:
    if column.sort is None or query is None:
        return element("th", column.label, scope="col", class_=column.css or None)
    present = query.get("sort", "")
    falls = column.sort in descending
    is_present = present.lstrip("-") == column.sort
    target = f"-{column.sort}" if is_present and not present.startswith("-") else column.sort
    order = None
    if is_present:
        order = "descending" if falls != present.startswith("-") else "ascending"
    link = element("a", column.label, href=link_to({**query, "sort": target, "page": ""}), data_live_link=True)
    return element("th", link, scope="col", class_=column.css or None, aria_sort=order)


def section(title: str, name: str, *children: Child) -> Markup:
    return element(
        "section", element("h2", title, id=f"{name}-title"), *children, class_=name, aria_labelledby=f"{name}-title"
    )


def link_to(query: dict[str, str]) -> str:
    return "?" + urlencode({name: value for name, value in query.items() if value})


def filter_form(query: dict[str, str], label: str, hint: str, selects: Child = None) -> Markup:
    """A search form. With the script the page follows while one types; without it there is a button."""
    hidden = [
        element("input", type="hidden", name=name, value=value)
        for name, value in query.items()
        if value and name not in ("q", "state", "page")
    ]
    return element(
        "form",
        element(
            "label",
            element("span", label, class_="unseen"),
            element(
                "input", type="search", name="q", id="q", value=query.get("q", ""), placeholder=hint, autocomplete="off"
            ),
        ),
        selects,
        hidden,
        element("button", "Apply", class_="no-script"),
        method="get",
        role="search",
        class_="filter",
        data_live_form=True,
    )


def pager(query: dict[str, str], page: int, pages: int, total: int, noun: str) -> Markup | None:
    if pages <= 1:
        return None

    def step(to: int, label: str) -> Markup:
        if not 1 <= to <= pages:
            return element("span", label, class_="quiet", aria_hidden="true")
        return element("a", label, href=link_to({**query, "page": str(to) if to > 1 else ""}), data_live_link=True)

    return element(
        "nav",
        step(page - 1, "← Previous"),
        element("span", f"Page {page} of {pages}, {total:,} {noun}"),
        step(page + 1, "Next →"),
        class_="pager",
        aria_label="Pages",
    )


def page_of(query: dict[str, str], total: int, per_page: int) -> tuple[int, int, slice]:
    """The number of the requested page (or the nearest one), the number of pages, and the slice of its rows."""
    pages = max(1, -(-total // per_page))
    wanted = query.get("page", "")
    page = min(pages, max(1, int(wanted))) if wanted.isascii() and wanted.isdigit() and len(wanted) < 10 else 1
    return page, pages, slice((page - 1) * per_page, page * per_page)
