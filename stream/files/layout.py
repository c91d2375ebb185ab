"""What a file's columns mean, and how a replay runs. Nothing is read here."""

from pathlib import Path

import msgspec

STDIN = "-"


class ReplayOptions(msgspec.Struct, frozen=True):
    """The options of ``replay`` and ``reference build``; contracts.md's defaults."""

    file: str
    reference_file: str | None = None
    reference_rows: int | None = None
    model: str | None = None
    version: str | None = None
    columns: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    prediction: str | None = None
    label: str | None = None
    timestamp: str | None = None
    rate: float = 1.0
    partitions: int = 1
    false_alarms_per_month: float = 1.0

    @property
    def is_events(self) -> bool:
        """JSON Lines hold native events, which say themselves what they are."""
        return self.file == STDIN or Path(self.file).suffix.lower() in (".jsonl", ".ndjson")

    def model_name(self) -> str:
        """The given model, or the file's name."""
        if self.model is not None:
            return self.model
        return "stdin" if self.file == STDIN else Path(self.file).name.split(".")[0] or "model"
