"""HTML and SVG as text. Everything is escaped that was not made by these functions. Nothing here is about drift."""

from collections.abc import Iterable
from html import escape

VOID = frozenset(("br", "hr", "img", "input", "link", "meta"))
"""HTML elements without an end tag. Empty SVG elements get an end tag, which HTML parsers accept."""


class Markup(str):
    """Text that is already HTML, made by ``element`` and ``text``. Other text is escaped where it is used."""

    __slots__ = ()


Child = str | int | float | Markup | None | Iterable["Child"]
Attribute = str | int | float | bool | None


def text(child: Child) -> Markup:
    """Escapes everything that is not Markup. None becomes empty text; the parts of an iterable are joined."""
    if isinstance(child, Markup):
        return child
    if child is None:
        return Markup("")
    if isinstance(child, (str, int, float)):
        return Markup(escape(str(child)))
    return Markup("".join(text(part) for part in child))


def element(tag: str, *children: Child, **attributes: Attribute) -> Markup:
    """One element. The attribute ``class_`` becomes ``class``, ``data_at`` becomes ``data-at``; None and False omit
    one.

    >>> element("a", "x < y", href="/?a=1&b=2", class_="quiet", hidden=True)
    '<a href="/?a=1&amp;b=2" class="quiet" hidden>x &lt; y</a>'
    """
    parts = [f"<{tag}"]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        spelled = name.rstrip("_").replace("_", "-")
        parts.append(f" {spelled}" if value is True else f' {spelled}="{escape(str(value))}"')
    parts.append(">")
    if tag not in VOID:
        parts.extend(text(child) for child in children)
        parts.append(f"</{tag}>")
    return Markup("".join(parts))
