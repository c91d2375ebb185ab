"""The fenced blocks of the documentation, and the commands in them."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "deploy/README.md",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")),
)

_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.M | re.S)


class Block(NamedTuple):
    """A fenced block with its page and line."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """The commands after ``$``, without comments."""
        return [re.sub(r"\s+# .*$", "", line[2:]).strip() for line in self.text.splitlines() if line.startswith("$ ")]


def blocks(*languages: str) -> list[Block]:
    """The blocks of all pages in the given languages; without a language all blocks."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for match in _BLOCK.finditer(text):
            line = text[: match.start()].count("\n") + 1
            if not languages or match[2] in languages:
                found.append(Block(page, line, match[2], match[3]))
    return found
