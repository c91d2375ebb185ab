"""Requests to the JSON API of a running worker, for the commands ``watch``, ``incidents`` and ``models``."""

import getpass
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from detectors.errors import DriftlineError
from stream.settings.settings import Settings

TIMEOUT_SECONDS = 10.0
MAX_ANSWER_BYTES = 67_108_864
"""1,000 models of 20 features are 30 MB in full detail."""


class WorkerError(DriftlineError):
    """A worker cannot be reached, or it refused the request."""


def address(settings: Settings) -> str:
    """The address of a worker as the settings have it."""
    host = settings.http.host
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"http://[{host}]:{settings.http.port}" if ":" in host else f"http://{host}:{settings.http.port}"


def get(url: str, path: str, **query: str | None) -> dict[str, Any]:
    """The JSON object at ``path``. Raises WorkerError with the address and the reason."""
    given = {key: value for key, value in query.items() if value is not None}
    return _call(urllib.request.Request(_join(url, path) + (f"?{urllib.parse.urlencode(given)}" if given else "")))


def post(url: str, path: str, body: Mapping[str, Any], token: str | None) -> dict[str, Any]:
    """Posts ``body`` with the token, which every request that changes something needs. Raises WorkerError."""
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return _call(urllib.request.Request(_join(url, path), json.dumps(body).encode(), headers, method="POST"))


def user() -> str:
    """The name of the user who runs this command."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def quoted(name: str) -> str:
    """A name, escaped as one part of a path."""
    return urllib.parse.quote(name, safe="")


def _join(url: str, path: str) -> str:
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise WorkerError(f"{url}: the address of a worker must begin with http:// or https://")
    return url.rstrip("/") + path


def _call(request: urllib.request.Request) -> dict[str, Any]:
    where = request.full_url
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            data = answer.read(MAX_ANSWER_BYTES + 1)
    except urllib.error.HTTPError as error:
        with error:
            raise WorkerError(f"{where}: {error.code}: {_reason(error.read(65_536)) or error.reason}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise WorkerError(
            f"{where}: no worker answers ({reason}). Is a worker running there? Set its address with --url"
        ) from None
    if len(data) > MAX_ANSWER_BYTES:
        raise WorkerError(f"{where}: the answer has more than {MAX_ANSWER_BYTES:,} bytes")
    try:
        content = json.loads(data)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise WorkerError(f"{where}: the answer is not that of a driftline worker")
    return content


def _reason(data: bytes) -> str | None:
    try:
        content = json.loads(data)
    except ValueError:
        return None
    return str(content["error"]) if isinstance(content, dict) and "error" in content else None
