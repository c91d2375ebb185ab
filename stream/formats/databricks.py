"""Rows of Databricks' inference tables, legacy and of the AI Gateway. No I/O.

A row holds request and reply as JSON texts in the form of MLflow's scoring protocol.
"""

from collections.abc import Callable, Mapping
from typing import Any

from detectors.errors import FormatError
from stream.formats import mlflow, tables
from stream.formats.message import Message
from stream.formats.row import Limits


def events(message: Message, limits: Limits, inner: Callable[[Message], list[Any]]) -> list[Any] | None:
    """The events of the table's rows; None for any other message. Raises FormatError.

    A row whose status is not 200 has an error and no prediction. Its model is that of ``request_metadata``; in a
    gateway's table the settings of the topic name it, and ``served_entity_id`` is the version.
    """
    lines = tables.lines_of(message.body, ("databricks_request_id", "request"))
    return None if lines is None else [event for line in lines for event in _events(message, line)]


def _events(message: Message, line: Mapping[str, Any]) -> list[Any]:
    rules, metadata = message.rules, line.get("request_metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    model = rules.model or metadata.get("model_name")
    if not isinstance(model, str) or not model:
        raise FormatError(f"Databricks: {message.no_model()}")
    request = _json(line["request"], "request")
    rows = mlflow.request_rows(request, rules.columns) if isinstance(request, dict) else None
    if rows is None:
        raise FormatError("Databricks: request holds none of " + ", ".join(mlflow.ROWS))
    own = request.get("client_request_id")
    failed = str(line.get("status_code", 200)) != "200"
    stamp = line.get("timestamp_ms") if line.get("timestamp_ms") is not None else line.get("request_time")
    latency = line.get("execution_time_ms")
    shared = {
        "id": line.get("client_request_id") or own or line.get("databricks_request_id"),
        "model": model,
        "version": rules.version or metadata.get("model_version") or line.get("served_entity_id"),
        "ts": stamp,
        "latency_ms": latency if latency is not None else line.get("execution_duration_ms"),
        "error": True if failed else None,
    }
    answers = None if failed or line.get("response") is None else tables.answers_of(_json(line["response"], "response"))
    return tables.events(message, rows, answers, shared)


def _json(value: Any, name: str) -> Any:
    return tables.json_inside(value, f"Databricks: {name}") if isinstance(value, str) else value
