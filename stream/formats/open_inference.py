"""Bodies of the Open Inference Protocol V2 (Triton, KServe): JSON, and JSON with a binary tail. No I/O.

Source: the protocol's REST specification and its extension for binary tensors. The length of the JSON is in an HTTP
header that logs leave out, so one JSON value is read and the tensors' bytes follow it.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from detectors.errors import FormatError
from stream.formats import tables
from stream.formats.message import IgnoredRecord, Message, decode_json
from stream.formats.row import Limits
from stream.formats.tables import Features

WIDEST = 256
"""A tensor with more columns is one feature that is a list, and so is one of rank over 2."""

HIGHEST_RANK = 16
"""Most dimensions of a tensor."""

UNWATCHED = "tensors"
"""The limit's name for tensors that are not watched: content types base64 and datetime, and texts not in UTF-8."""

REPLY = "a reply: it is not joined with its request yet"
"""Why a reply is ignored."""

_TYPES = {
    "BOOL": "?", "INT8": "i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "UINT8": "u1", "UINT16": "<u2",
    "UINT32": "<u4", "UINT64": "<u8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
_decoder = json.JSONDecoder()


def events(message: Message, limits: Limits, inner: Callable[[Message], list[Any]]) -> list[Any] | None:
    """The events of a request, without predictions, where the settings of the topic name the model; None for others.

    Raises IgnoredRecord for a reply, and FormatError for a body whose tensors cannot be read.
    """
    rules = message.rules
    if not rules.reads_rows:
        return None
    body, tail = body_of(message)
    rows = rows_of(message, body, tail, limits)
    if rows is None:
        return None
    identity = tables.identity_of(body.get("id"))
    return tables.events(message, rows, None, {"model": rules.model, "version": rules.version, "id": identity})


def body_of(message: Message) -> tuple[Any, bytes]:
    """The JSON of a message, and the bytes behind it; (None, b"") where there is no JSON object."""
    if message.body is not None or not message.record.value:
        return message.body, b""
    try:
        data = message.data()
        if data[:1] != b"{":
            return None, b""
        _, end = _decoder.raw_decode(data.decode("latin-1"))  # one character a byte, so that end counts bytes
        return decode_json(data[:end]), data[end:]
    except (ValueError, RecursionError, FormatError):
        return None, b""


def rows_of(message: Message, body: Any, tail: bytes, limits: Limits) -> list[Features] | None:
    """The rows of a request; None for a body in another format.

    Raises IgnoredRecord for a reply and FormatError for broken tensors. A request is what has inputs: it may also have
    outputs, which are those that it asks for.
    """
    if not isinstance(body, dict):
        return None
    if _are_tensors(body.get("inputs")):
        return _rows(message, "inputs", body["inputs"], tail, limits)
    if _are_tensors(body.get("outputs")):
        _rows(message, "outputs", body["outputs"], tail, limits)
        raise IgnoredRecord(REPLY)
    return None


def _are_tensors(found: Any) -> bool:
    return isinstance(found, list) and any(isinstance(one, dict) and "datatype" in one for one in found)


def _rows(message: Message, member: str, tensors: Sequence[Any], tail: bytes, limits: Limits) -> list[Features]:
    names, height = message.rules.columns if len(tensors) == 1 else (), None
    columns: dict[str, Sequence[Any]] = {}
    left = memoryview(tail)
    for tensor in tensors:
        name, shape, kind, parameters = _header(member, tensor)
        where = f"Open Inference: tensor {name}"
        values, left = _values(where, tensor, kind, parameters.get("binary_data_size"), left)
        if len(values) != math.prod(shape):
            raise FormatError(f"{where}: {len(values)} values do not fill its shape {shape[:8]}")
        if height is None:
            height = shape[0]
            if height > limits.rows_per_message:
                raise FormatError(f"{where}: {height} rows; at most {limits.rows_per_message} are read")
        elif height != shape[0]:
            raise FormatError(f"{where}: {shape[0]} rows, where the tensor before it has {height}")
        if parameters.get("content_type") in ("base64", "datetime"):
            message.count(UNWATCHED)
        else:
            columns.update(_columns(name, shape, values, names))
    if bytes(left).strip():
        raise FormatError(f"Open Inference: {len(left)} bytes behind the {member}, which no tensor's size names")
    return [{name: column[row] for name, column in columns.items()} for row in range(height or 0)]


def _header(member: str, tensor: Any) -> tuple[str, list[int], str, Mapping[str, Any]]:
    """Name, shape, data type and parameters."""
    name = tensor.get("name") if isinstance(tensor, dict) else None
    if not isinstance(name, str):
        raise FormatError(f"Open Inference: one of the {member} has no text as name")
    shape, kind, parameters = tensor.get("shape"), tensor.get("datatype"), tensor.get("parameters")
    if (
        not isinstance(shape, list)
        or not 0 < len(shape) <= HIGHEST_RANK
        or any(type(size) is not int or size < 0 for size in shape)
    ):
        raise FormatError(f"Open Inference: tensor {name[:100]}: shape is no list of 1 to {HIGHEST_RANK} whole numbers")
    if kind != "BYTES" and kind not in _TYPES:
        raise FormatError(f"Open Inference: tensor {name[:100]}: datatype {str(kind)[:40]} is not read")
    return name[:200], shape, kind, parameters if isinstance(parameters, dict) else {}


def _values(
    where: str, tensor: Mapping[str, Any], kind: str, size: Any, tail: memoryview
) -> tuple[list[Any], memoryview]:
    """The values of a tensor, row-major, and what is left of the tail."""
    if size is None:
        if not isinstance(tensor.get("data"), list):
            raise FormatError(f"{where}: neither data nor binary_data_size")
        values = _flat(where, tensor["data"])
        return [bool(v) if type(v) is int else v for v in values] if kind == "BOOL" else values, tail
    if type(size) is not int or not 0 <= size <= len(tail):
        raise FormatError(f"{where}: binary_data_size is {str(size)[:40]}, and {len(tail)} bytes are left")
    own, rest = tail[:size], tail[size:]
    if kind == "BYTES":
        return _texts(where, bytes(own)), rest
    dtype = np.dtype(_TYPES[kind])
    if size % dtype.itemsize:
        raise FormatError(f"{where}: {size} bytes are no whole number of {kind}")
    return np.frombuffer(own, dtype).tolist() if size else [], rest


def _texts(where: str, data: bytes) -> list[Any]:
    """Texts, each behind its length in four bytes; None for one that is not UTF-8."""
    found: list[Any] = []
    at = 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "little")
        if at + 4 > len(data) or end > len(data):
            raise FormatError(f"{where}: a text is longer than what is left of its bytes")
        try:
            found.append(data[at + 4 : end].decode())
        except UnicodeDecodeError:
            found.append(None)
        at = end
    return found


def _flat(where: str, values: list[Any]) -> list[Any]:
    """Nested lists as one, row-major. Raises FormatError for lists nested deeper than any rank."""
    for _ in range(HIGHEST_RANK):
        if not any(type(one) is list for one in values):
            return values
        values = [one for each in values for one in (each if type(each) is list else (each,))]
    raise FormatError(f"{where}: data is nested more than {HIGHEST_RANK} deep")


def _columns(name: str, shape: Sequence[int], values: list[Any], names: Sequence[str]) -> dict[str, Sequence[Any]]:
    rows, width = shape[0], math.prod(shape[1:])
    if len(shape) > 2 or width > WIDEST:
        return {name: [values[row * width : (row + 1) * width] for row in range(rows)]}
    if width == 1:
        return {names[0] if names else name: values}
    return {names[at] if at < len(names) else f"{name}.{at}": values[at::width] for at in range(width)}
