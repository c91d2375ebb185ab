"""Reads Parquet as columns of plain values, with and without pandas beside pyarrow."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

from detectors.errors import FormatError

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def batches(
    file: str, raw: BinaryIO, rows: int, ignored: frozenset[str]
) -> Iterator[tuple[list[str], list[Sequence[Any]], int]]:
    """Names, columns and number of rows of each batch; an ignored column is not converted and has no value.

    Raises FormatError naming the file and the row behind which it cannot be read.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise FormatError(f"{file}: reading Parquet needs pyarrow: pip install 'driftline[parquet]'") from None
    read = 0
    try:
        for batch in pyarrow.parquet.ParquetFile(raw).iter_batches(batch_size=rows):
            names = list(batch.schema.names)
            if batch.num_rows:
                columns = [
                    [None] * batch.num_rows if name in ignored else _plain(column)
                    for name, column in zip(names, batch.columns, strict=True)
                ]
                yield names, columns, batch.num_rows
                read += batch.num_rows
    except (pyarrow.ArrowException, ValueError, OverflowError, EOFError) as error:
        at = f" after row {read:,}" if read else ""
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise FormatError(f"{file}: not readable as Parquet{at}: {reason[:300]}") from None


def _plain(column: Any) -> Sequence[Any]:
    """An array for a numeric column without nulls, else a list of Python values.

    A column of a type that cannot be watched gets values that show which kind of type it is.
    """
    import pyarrow.types as types

    kind = column.type
    if hasattr(column, "storage"):  # an extension type
        return _plain(column.storage)
    if types.is_dictionary(kind):
        return _plain(column.dictionary_decode())
    if (types.is_floating(kind) or types.is_integer(kind)) and not column.null_count:
        numbers: Sequence[Any] = column.to_numpy(zero_copy_only=False)
        return numbers
    if types.is_timestamp(kind):
        return _moments(column)
    if types.is_duration(kind):
        scale = _PER_SECOND[kind.unit]
        return [None if count is None else count / scale for count in column.cast("int64").to_pylist()]
    if types.is_time64(kind) and kind.unit == "ns":
        return list(column.cast("time64[us]", safe=False).to_pylist())
    shown = _shown(kind)
    if shown is not None:
        return [shown if valid else None for valid in column.is_valid().to_pylist()]
    values: Sequence[Any] = column.to_pylist()
    if types.is_decimal(kind):
        return [None if value is None else float(value) for value in values]
    return values


def _shown(kind: Any) -> Any:
    """A value of a nested or binary type, which is not converted; None for another type."""
    import pyarrow.types as types

    if types.is_struct(kind) or types.is_map(kind) or types.is_union(kind):
        return {}
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return b""
    if getattr(types, "is_binary_view", lambda _: False)(kind):
        return b""
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner = kind.value_type
        return None if types.is_floating(inner) or types.is_integer(inner) or types.is_null(inner) else [""]
    return None


def _moments(column: Any) -> list[datetime | None]:
    """Times to the microsecond; UTC where the column has a zone."""
    unit, zone = column.type.unit, column.type.tz
    start = datetime(1970, 1, 1, tzinfo=UTC if zone else None)
    scale = _PER_SECOND[unit]
    found: list[datetime | None] = []
    for count in column.cast("int64").to_pylist():
        try:
            microseconds = None if count is None else count * 1_000_000 // scale
            found.append(None if microseconds is None else start + timedelta(microseconds=microseconds))
        except OverflowError:
            found.append(None)
    return found
