"""Text of other people as it may be shown: what a terminal would obey or hide is escaped."""

import re
import unicodedata

_ESCAPED = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
"""Unicode's categories that are escaped: control and format characters, halves of characters, line and paragraph ends.
A terminal carries out the first, writing direction among the second changes the order of what is read."""

_JOINERS = "\u200c\u200d"
"""Format characters that Persian, Indian scripts and emoji need. They only join or separate their neighbours."""

_NEW_LINE = re.compile(r"\n(?!  )")


def printable(text: str) -> str:
    r"""``text`` on one line, with every character that cannot be printed escaped as Python escapes it.

    >>> print(printable("a\x1b[2Jb\n\u202ec"))
    a\x1b[2Jb\n\u202ec
    """
    if text.isprintable():
        return text
    return "".join(_escaped(one) for one in text)


def message(text: str) -> str:
    r"""A message of driftline, which may have lines of two leading spaces below the first; all else is escaped.

    So a name inside a message cannot begin a line that looks like another message.

    >>> print(message("topics are wrong:\n  a: is \x07missing\nERROR b"))
    topics are wrong:
      a: is \x07missing\nERROR b
    """
    lines = _NEW_LINE.sub(r"\\n", text).split("\n")
    return "\n".join(map(printable, lines))


def _escaped(one: str) -> str:
    if unicodedata.category(one) not in _ESCAPED or one in _JOINERS:
        return one
    return one.encode("unicode_escape", "surrogatepass").decode("ascii")
