"""The reference of the first rows of a file, from their columns."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detectors import errors
from detectors.errors import FormatError
from detectors.features import Kind
from detectors.reference import builder
from detectors.reference.reference import FeatureReference, Reference
from stream.files.cells import NUMERIC_SHARE, looks_like_number
from stream.files.layout import FileLayout
from stream.files.remarks import Remarks

Row = tuple[int, int, bytes]
"""A row's number, its time in milliseconds, and the row as a native event."""


def built(
    layout: FileLayout, columns: Mapping[str, Sequence[Any]], moments: Sequence[int] | None, rows: int, remarks: Remarks
) -> Reference:
    """The reference of the columns of a file; columns that are left out are added to the remarks."""
    try:
        reference = builder.build_reference(
            layout.model_name(),
            layout.version or "1",
            columns,
            timestamps_ms=None if moments is None else np.asarray(moments, dtype=np.int64),
            source={"file": Path(layout.file).name, "rows": rows},
        )
    except errors.ReferenceError as error:
        raise FormatError(f"{layout.file}: {error}") from None
    for name, reason in reference.source.get("not_watched", {}).items():
        remarks.leave_out(name, reason)
    return reference


def written_as_text(feature: FeatureReference) -> str | None:
    """An example, where an identifier's texts are numbers in a form that is not read, such as 103,25 or 40.1%."""
    if feature.kind is not Kind.CATEGORICAL or not feature.identifier:
        return None
    shown = [category for category in feature.categories[:100] if category]
    if not shown or sum(map(looks_like_number, shown)) < NUMERIC_SHARE * len(shown):
        return None
    return shown[0]


def check_enough(layout: FileLayout, read: int, rows: int | None) -> None:
    """Raises FormatError if a file has no row, or fewer than the reference needs."""
    if read == 0:
        raise FormatError(f"{layout.file}: has no rows")
    if rows is not None and read < rows:
        raise FormatError(f"{layout.file}: has {read:,} rows, the reference needs {rows:,}")
