"""Bodies of MLflow's scoring protocol: requests, alone or beside their reply, and CSV with a header. No I/O.

Source: MLflow's documentation of ``/invocations`` (dataframe_split, dataframe_records, instances, inputs, predictions).
"""

from collections.abc import Callable
from typing import Any

from detectors.errors import FormatError
from stream.formats import tables
from stream.formats.message import Message
from stream.formats.row import Limits
from stream.formats.tables import Features

ROWS = ("dataframe_split", "dataframe_records", "instances", "inputs")
"""Members that hold the rows of a request. A request has exactly one of them."""


def events(message: Message, limits: Limits, inner: Callable[[Message], list[Any]]) -> list[Any] | None:
    """The events of a request, alone or with its reply, in a topic whose settings name the model; None for others.

    Raises FormatError for a reply without its request, and for a request whose rows cannot be read.
    """
    if not message.rules.reads_rows:
        return None
    body, rules = message.body, message.rules
    shared = {"model": rules.model, "version": rules.version}
    if isinstance(body, dict):
        found = request_rows(body["request"], rules.columns) if isinstance(body.get("request"), dict) else None
        if found is not None:
            identity = next((body[name] for name in ("request_id", "id") if body.get(name)), None)
            return tables.events(message, found, tables.answers_of(body.get("response")), {**shared, "id": identity})
        found = request_rows(body, rules.columns)
        if found is not None:
            return tables.events(message, found, None, shared)
        if body.keys() == {"predictions"}:
            raise FormatError("predictions without inputs, and no id to join them by")
        return None
    text = _table(message) if body is None and message.record.value else None
    return None if text is None else tables.events(message, tables.csv_rows(text, (), header=True), None, shared)


def request_rows(body: dict[str, Any], names: tuple[str, ...]) -> list[Features] | None:
    """The rows of a request; None for any other object. Raises FormatError."""
    found = [name for name in ROWS if name in body]
    if len(found) != 1 or not body.keys() <= {found[0], "params", "signature_name", "client_request_id"}:
        return None
    if found[0] == "dataframe_split":
        return tables.split_rows(body["dataframe_split"])
    rows = body[found[0]]
    tensors = isinstance(rows, list) and any(isinstance(one, dict) and "datatype" in one for one in rows)
    if found[0] == "inputs" and tensors:
        return None  # Open Inference Protocol
    return tables.rows_of(rows, names)


def _table(message: Message) -> str | None:
    """A CSV text with names in its first line."""
    try:
        text = message.data().decode()
    except (FormatError, UnicodeDecodeError):
        return None
    first, _, rest = text.partition("\n")
    cells = first.strip().split(",")
    if not rest.strip() or len(cells) < 2 or "{" in first or any(not isinstance(tables.cell_of(c), str) for c in cells):
        return None
    return text if rest.partition("\n")[0].count(",") >= len(cells) - 1 else None
