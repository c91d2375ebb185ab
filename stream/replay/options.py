"""The options of ``driftline replay``. No file is read here."""

from typing import Literal

from stream.files.layout import FileLayout


class ReplayOptions(FileLayout, frozen=True):
    """A file with its layout, and how it is replayed; the defaults are those of the command.

    ``season``: see DetectionSettings; it matters only where the rows have times of their own.

    ``progress``: seed of how unevenly the partitions are read; None: all of them together."""

    reference_file: str | None = None
    reference_rows: int | None = None
    partitions: int = 1
    partition_by: str | None = None
    progress: int | None = None
    false_alarms_per_month: float = 1.0
    season: Literal["auto", "none"] = "auto"
