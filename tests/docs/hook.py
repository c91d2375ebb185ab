"""What MkDocs does beside its own: the module map goes into its page, so that it is never older than the code."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.docs import pages

MARK = "<!-- the module map -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    return markdown.replace(MARK, pages.module_map()) if MARK in markdown else markdown
