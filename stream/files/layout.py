"""Which file to read and what its columns mean. No file is read here."""

from pathlib import Path

import msgspec

STDIN = "-"


class FileLayout(msgspec.Struct, frozen=True):
    """A file and the roles of its columns; the options that ``replay`` and ``reference build`` share.

    ``rate`` is the clock of rows without a time, in events per second.
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

    @property
    def is_events(self) -> bool:
        """Whether the file is JSON Lines of native events, which name their model and features themselves."""
        return self.file == STDIN or Path(self.file).suffix.lower() in (".jsonl", ".ndjson")

    def model_name(self) -> str:
        """The given model, or the file's name without its ending."""
        if self.model is not None:
            return self.model
        return "stdin" if self.file == STDIN else Path(self.file).name.split(".")[0] or "model"
