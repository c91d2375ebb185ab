"""Requests and replies that KServe's logger writes: as the data of CloudEvents, and as JSON of its LogRequest. No I/O.

Source: KServe's Go logger (``pkg/logger``): request and response are two records with one id. Transformer and predictor
of a service log under the same id.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

from detectors.errors import FormatError
from stream.formats import mlflow, open_inference, tables
from stream.formats.message import IgnoredRecord, Message
from stream.formats.row import Limits

TYPES = ("org.kubeflow.serving.inference.request", "org.kubeflow.serving.inference.response")
"""Types of the CloudEvents of a request and of a reply."""

_LOGGED = {"inferenceservicename": "inferenceService", "component": "component", "id": "id"}
"""Members of a LogRequest, by the attribute that holds the same in a CloudEvent."""


def events(message: Message, limits: Limits, inner: Callable[[Message], list[Any]]) -> list[Any] | None:
    """The events of a request to the predictor, without predictions; None for any other message.

    Raises IgnoredRecord for a reply and for another component, and FormatError for a body that cannot be read.
    """
    attributes: Mapping[str, Any] = message.attributes
    if attributes.get("type") not in TYPES:
        body = message.body
        if not isinstance(body, dict) or body.get("reqType") not in TYPES or "bytes" not in body:
            return None
        attributes = {"type": body["reqType"], **{name: body.get(own) for name, own in _LOGGED.items()}}
        message = message.inside(data=_unpacked(body["bytes"]))
    model, component = message.rules.model or attributes.get("inferenceservicename"), attributes.get("component")
    if not isinstance(model, str) or not model:
        raise FormatError("KServe: no inferenceservicename")
    if component not in (None, "", "predictor"):
        raise IgnoredRecord(f"KServe: component {str(component)[:60]}; requests to the predictor are read")
    rows = _rows(message, attributes["type"], limits)
    identity = tables.identity_of(attributes.get("id"))
    return tables.events(message, rows, None, {"model": model, "version": message.rules.version, "id": identity})


def _rows(message: Message, kind: str, limits: Limits) -> list[tables.Features]:
    body, tail = open_inference.body_of(message)
    if body is None:
        message.json()  # the reason where it is not JSON
    if not isinstance(body, dict):
        raise FormatError("KServe: the body is no JSON object")
    if kind == TYPES[1]:
        if open_inference.rows_of(message, {**body, "inputs": None}, tail, limits) is None and not _is_reply(body):
            raise FormatError("KServe: a response that holds neither predictions nor outputs")
        raise IgnoredRecord(open_inference.REPLY)
    rows = open_inference.rows_of(message, {**body, "outputs": None}, tail, limits)
    rows = mlflow.request_rows(body, message.rules.columns) if rows is None else rows
    if rows is None:
        raise FormatError("KServe: a request that holds neither instances nor inputs")
    return rows


def _is_reply(body: Mapping[str, Any]) -> bool:
    return isinstance(body.get("predictions"), list | dict) or isinstance(body.get("outputs"), list | dict)


def _unpacked(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise FormatError("KServe: bytes is not Base64") from error
