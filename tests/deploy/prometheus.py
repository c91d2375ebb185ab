"""A Prometheus that scrapes one port, and the queries that Grafana would run for every panel and variable."""

import http
import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy import paths
from tests.kafka.server import free_ports

DEADLINE_SECONDS = 60.0


def program() -> str:
    found = shutil.which("prometheus")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("prometheus is required where CI is set")
        pytest.skip("prometheus is not installed")
    return found


class Prometheus:
    """A client of Prometheus' HTTP interface."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, path: str, **query: str) -> Any:
        """The data of the response. Raises AssertionError with Prometheus' message for a wrong query, OSError while it
        is not reachable."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.loads(answer.read())["data"]
        except urllib.error.HTTPError as error:
            with error:
                if error.code == http.HTTPStatus.SERVICE_UNAVAILABLE:
                    raise ConnectionError("Prometheus listens but is not ready yet") from None
                raise AssertionError(f"{query}: {error.read().decode()}") from None

    def values(self, expression: str) -> list[float]:
        """The finite values of an instant query."""
        found = self.ask("query", query=expression)
        numbers = [float(series["value"][1]) for series in found["result"]]
        return [number for number in numbers if number == number]

    def label_values(self, query: str) -> list[str]:
        """The values that Grafana's ``label_values(selector, label)`` gives."""
        selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", query).groups()  # type: ignore[union-attr]
        return list(self.ask(f"label/{label}/values", **{"match[]": selector}))

    def until(self, expression: str) -> None:
        """Waits until the expression has a value, up to a deadline."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            try:
                if self.values(expression):
                    return
            except OSError:
                pass
            time.sleep(0.2)
        raise AssertionError(f"no value within {DEADLINE_SECONDS} s: {expression}")


@contextmanager
def scraping(folder: Path, port: int) -> Iterator[Prometheus]:
    """Scrapes 127.0.0.1:``port`` every second, with the rules that are shipped."""
    own_port = free_ports(1)[0]
    settings = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(paths.DEPLOY / "prometheus" / "rules.yml")],
        "scrape_configs": [{"job_name": "driftline", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    command = [
        program(),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{own_port}",
    ]
    log = folder / "prometheus.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        yield Prometheus(own_port)
        assert process.poll() is None, log.read_text()[-2000:]
    finally:
        process.terminate()
        process.wait(20)


def replaced(expression: str, variables: Mapping[str, str]) -> str:
    """The expression with the values of variables filled in, as Grafana does."""
    for name, value in {**variables, "__rate_interval": "5s"}.items():
        expression = re.sub(rf"\$(\{{{name}\}}|{name}\b)", value, expression)
    return expression


def without_data(prometheus: Prometheus, variables: Mapping[str, str]) -> list[str]:
    """The queries of panels and variables that have no finite value, each with its place."""
    empty: list[str] = []
    for path in paths.DASHBOARDS:
        board = paths.dashboard(path)
        asked = [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel["targets"]]
        empty += [
            f"{path.stem}: {title}: {expression}"
            for title, expression in asked
            if not prometheus.values(replaced(expression, variables))
        ]
        chosen = [variable for variable in board["templating"]["list"] if variable["type"] == "query"]
        empty += [
            f"{path.stem}: variable {variable['name']}"
            for variable in chosen
            if not prometheus.label_values(replaced(variable["query"]["query"], variables))
        ]
        for annotation in board["annotations"]["list"]:
            prometheus.values(replaced(annotation["expr"], variables))
    return empty
