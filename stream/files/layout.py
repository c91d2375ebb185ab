"""Which file to read and what its columns mean. No file is read here."""

import re
from pathlib import Path

import msgspec

STDIN = "-"
JSON_SUFFIXES = (".jsonl", ".ndjson")


class FileLayout(msgspec.Struct, frozen=True):
    """Files and the roles of their columns; the options that ``replay`` and ``reference build`` share.

    ``file`` and ``more`` are names of files, folders or patterns; together they are one table or one log. ``rate`` is
    the clock of rows without a time, in events per second.
    """

    file: str
    model: str | None = None
    version: str | None = None
    columns: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    prediction: str | None = None
    label: str | None = None
    timestamp: str | None = None
    rate: float = 1.0
    more: tuple[str, ...] = ()

    def model_name(self) -> str:
        """The given model, or the file's name without its ending, or the folder's where the name is a pattern."""
        if self.model is not None:
            return self.model
        if self.file == STDIN:
            return "stdin"
        path = Path(self.file)
        name = path.name if not re.search(r"[*?[]", path.name) else path.parent.name
        return name.split(".")[0] or "model"
