"""A small registry with Confluent's interface, for tests."""

import json
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class SchemaRegistry:
    """Serves schemas by number or GUID. ``asked``: paths of the requests. ``failing``: so many requests get status 503.
    ``login``: the header Authorization that is needed."""

    def __init__(self, schemas: Mapping[str, str]) -> None:
        self.asked: list[str] = []
        self.failing = 0
        self.login: str | None = None
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.asked.append(self.path)
                text = schemas.get(self.path.rpartition("/")[2])
                status = 200 if text is not None else 404
                if registry.login is not None and self.headers.get("Authorization") != registry.login:
                    status = 401
                if registry.failing:
                    registry.failing -= 1
                    status = 503
                body = json.dumps({"schema": text} if status == 200 else {"error_code": 40403}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "SchemaRegistry":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
