"""Draws terminal output as an SVG; lines of progress are left out.

(echo '$ driftline demo --headless --seconds 70'; driftline demo --headless --seconds 70) | python docs/text_picture.py > docs/demo.svg
"""

# ruff: noqa: E501 - a command in one line

import re
import sys
from html import escape

SIZE, LINE, WIDTH, MARGIN = 13, 18, 7.83, 16
PROGRESS = re.compile(r"^(training|page|driftline demo|no models)|, worst ")
NBSP = "\u00a0"  # SVG text folds ordinary spaces
COLOURS = (
    (r"INCIDENT.*", "#ff8787"),
    (r"injected into.*", "#ffd43b"),
    (r"\d of \d injected changes found.*", "#8ce99a"),
)


def picture(text: str) -> str:
    """The lines of ``text`` in a dark box."""
    lines = [line.rstrip() for line in text.splitlines() if not PROGRESS.search(line)]
    width = max(len(line) for line in lines) * WIDTH + 2 * MARGIN
    height = len(lines) * LINE + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}">',
        '<rect width="100%" height="100%" rx="8" fill="#14171d"/>',
        f'<g font-family="ui-monospace, Menlo, Consolas, monospace" font-size="{SIZE}">',
    ]
    for number, line in enumerate(lines):
        colour = next((colour for pattern, colour in COLOURS if re.search(pattern, line)), "#e6e9ef")
        y = MARGIN + number * LINE + SIZE
        parts.append(f'<text x="{MARGIN}" y="{y}" fill="{colour}">{escape(line).replace(" ", NBSP)}</text>')
    return "\n".join([*parts, "</g></svg>\n"])


if __name__ == "__main__":
    sys.stdout.write(picture(sys.stdin.read()))
