"""A small registry with Confluent's interface, for tests."""

from collections.abc import Mapping

from tests.http.local import Handler, LocalServer


class SchemaRegistry(LocalServer):
    """Serves schemas by number or GUID. ``asked``: paths of the requests. ``failing``: so many requests get status 503.
    ``login``: the header Authorization that is needed."""

    def __init__(self, schemas: Mapping[str, str]) -> None:
        self.asked: list[str] = []
        self.failing = 0
        self.login: str | None = None
        registry = self

        class Registry(Handler):
            def get(self) -> None:
                registry.asked.append(self.path)
                text = schemas.get(self.path.rpartition("/")[2])
                status = 200 if text is not None else 404
                if registry.login is not None and self.headers.get("Authorization") != registry.login:
                    status = 401
                if registry.failing:
                    registry.failing -= 1
                    status = 503
                self.answer(status, {"schema": text} if status == 200 else {"error_code": 40403})

        super().__init__(Registry)
