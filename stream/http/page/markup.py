"""HTML and SVG as text that is escaped unless it was made here. Nothing of driftline's vocabulary."""

from collections.abc import Iterable
from html import escape

VOID = frozenset(("br", "hr", "img", "input", "link", "meta"))
"""Elements that have no end tag. SVG's empty ones get one, which HTML's parser accepts."""


class Markup(str):
    """Text that is already HTML. Made by ``element`` and ``join``; anything else is escaped where it is used."""

    __slots__ = ()


Child = str | int | float | Markup | None | Iterable["Child"]
Attribute = str | int | float | bool | None


def text(child: Child) -> Markup:
    """Escapes what is not Markup; None is nothing; an iterable is its parts one after the other."""
    if isinstance(child, Markup):
        return child
    if child is None:
        return Markup("")
    if isinstance(child, (str, int, float)):
        return Markup(escape(str(child)))
    return Markup("".join(text(part) for part in child))


def element(tag: str, *children: Child, **attributes: Attribute) -> Markup:
    """One element. ``class_`` is ``class``, ``data_at`` is ``data-at``; None and False leave an attribute out.

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
