"""What every answer of the server has in common: the shape of JSON and of errors, and the security headers."""

from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'none'; connect-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
}
"""The page loads nothing from other hosts, runs no inline script and cannot be framed."""


async def add_security_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Adds the security headers that the response does not set itself; a signal handler for every response."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)


def json_answer(body: Any, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """``body`` as JSON that no cache keeps."""
    return web.Response(
        body=orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS),
        status=status.value,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def error_answer(status: HTTPStatus, text: str) -> web.Response:
    """The JSON object ``{"error": text}``, the shape of every error of the API."""
    return json_answer({"error": text}, status)
