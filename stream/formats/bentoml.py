"""Records of BentoML's OTLP monitor as flat JSON: each has the model and the roles of its columns. No I/O.

Source: BentoML's documentation of model monitoring. Lines of its file monitor have their roles in another record, so
they are read as flat rows by the settings of their topic.
"""

from collections.abc import Callable, Mapping
from typing import Any

from detectors.errors import FormatError
from stream.formats import tables
from stream.formats.message import Message
from stream.formats.row import Limits
from stream.formats.topic_rules import milliseconds

_BESIDE = frozenset({"timestamp", "request_id", "trace_id", "bento_meta"})


def events(message: Message, limits: Limits, inner: Callable[[Message], list[Any]]) -> list[Any] | None:
    """The event of a record with ``bento_meta``; None for any other message. Raises FormatError.

    The first column with the role prediction is the prediction, every other one a score. A column with the role target
    is no feature.
    """
    body = message.body
    if not isinstance(body, dict):
        return None
    about = body.get("bento_meta")
    if not isinstance(about, dict):
        if body.keys() == {"meta_data", "columns"}:
            raise FormatError(
                f"BentoML: a schema line, which is not read: name the model of topic {message.topic} in the settings"
            )
        return None
    rules = message.rules
    model = rules.model or about.get("bento_name")
    if not isinstance(model, str) or not model:
        raise FormatError("BentoML: bento_meta has no text as bento_name")
    roles = about.get("schema")
    roles = roles if isinstance(roles, Mapping) else {}
    stamp = body.get("timestamp")
    event: dict[str, Any] = {
        "model": model,
        "version": rules.version or about.get("bento_version"),
        "ts": milliseconds(stamp, "s") if isinstance(stamp, float) else stamp,
        "features": {},
    }
    identity = tables.identity_of(body.get("request_id"))
    if identity is not None:
        event["id"] = identity
    for name, value in body.items():
        if name in _BESIDE:
            continue
        column = roles.get(name)
        role = column.get("role") if isinstance(column, Mapping) else "feature"
        if role == "prediction":
            if "prediction" in event:
                event.setdefault("scores", {})[name] = value
            else:
                event["prediction"] = value
        elif role != "target":
            event["features"][name] = value
    return [event]
