"""Capture records of Amazon SageMaker endpoints. No I/O.

Source: SageMaker's documentation of data capture: ``captureData`` with ``endpointInput`` and ``endpointOutput``, whose
encoding is CSV, JSON or BASE64.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

from detectors.errors import FormatError
from stream.formats import mlflow, tables
from stream.formats.message import Message
from stream.formats.row import Limits
from stream.formats.tables import Answer, Features


def events(message: Message, limits: Limits, inner: Callable[[Message], list[Any]]) -> list[Any] | None:
    """The events of one capture record, or of several lines; None for any other message. Raises FormatError."""
    body = message.body
    if isinstance(body, dict) and "groundTruthData" in body:
        raise FormatError("SageMaker ground truth: a label and no event; publish labels to a topic of topics.labels")
    lines = tables.lines_of(body, ("captureData",))
    return None if lines is None else [event for line in lines for event in _events(message, line)]


def _events(message: Message, line: Mapping[str, Any]) -> list[Any]:
    rules, capture = message.rules, line["captureData"]
    metadata = line.get("eventMetadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    if not isinstance(capture, Mapping):
        raise FormatError("SageMaker: captureData is no object")
    if rules.model is None:
        raise FormatError(f"SageMaker: {message.no_model()}")
    given, answered = capture.get("endpointInput"), capture.get("endpointOutput")
    if not isinstance(given, Mapping):
        raise FormatError("SageMaker: no endpointInput, so there are no features")
    shared = {
        "id": metadata.get("inferenceId") or metadata.get("eventId"),
        "model": rules.model,
        "version": rules.version,
        "ts": metadata.get("inferenceTime"),
    }
    answers = _answers(answered) if isinstance(answered, Mapping) else None
    return tables.events(message, _rows(given, rules.columns), answers, shared)


def _rows(side: Mapping[str, Any], names: tuple[str, ...]) -> list[Features]:
    kind, text = _content(side, "endpointInput")
    if kind == "CSV":
        return tables.csv_rows(text, names)
    body = tables.json_inside(text, "SageMaker: endpointInput")
    if isinstance(body, dict):
        rows = mlflow.request_rows(body, names)
        return [body] if rows is None else rows
    return tables.rows_of(body, names)


def _answers(side: Mapping[str, Any]) -> list[Answer] | None:
    kind, text = _content(side, "endpointOutput")
    if kind == "CSV":
        return [tables.answer_of(list(row.values())) for row in tables.csv_rows(text, ())]
    body = tables.json_inside(text, "SageMaker: endpointOutput")
    if isinstance(body, dict) and "predictions" not in body:
        return [tables.answer_of(body)]
    return tables.answers_of(body)


def _content(side: Mapping[str, Any], what: str) -> tuple[str, str]:
    """ "CSV" or "JSON", and the text."""
    data, encoding = side.get("data"), str(side.get("encoding", "")).upper()
    observed = str(side.get("observedContentType", "")).lower()
    if not isinstance(data, str):
        raise FormatError(f"SageMaker: {what} has no text as data")
    if encoding == "BASE64":
        try:
            data = base64.b64decode(data, validate=True).decode()
        except (ValueError, binascii.Error) as error:
            raise FormatError(f"SageMaker: {what} is not Base64 of a text of type {observed[:60]}") from error
        encoding = "JSON" if "json" in observed else "CSV" if "csv" in observed else ""
    if encoding not in ("CSV", "JSON"):
        raise FormatError(f"SageMaker: {what} is of type {observed[:60]!r}, which is not read: CSV and JSON are")
    return encoding, data
