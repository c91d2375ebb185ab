"""The demo as its user runs it: a process, its output, its address, its exit status."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from stream.demo.story import STORY

SECONDS = 20


class Demo:
    """A running demo whose lines are read as they come."""

    def __init__(self, *arguments: str) -> None:
        environment = {**os.environ, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
        command = [sys.executable, "-c", "import sys; from stream.commands.cli import main; sys.exit(main())", "demo"]
        self.process = subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        self.lines: list[str] = []

    def read_until(self, pattern: str) -> re.Match[str]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if found := re.search(pattern, line):
                return found
        assert self.process.stderr is not None
        raise AssertionError(f"{pattern!r} was not told:\n" + "\n".join(self.lines) + self.process.stderr.read())

    def end(self, seconds: float) -> tuple[int, str, str]:
        output, errors = self.process.communicate(timeout=seconds)
        return self.process.returncode, "\n".join(self.lines) + "\n" + output, errors

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@contextmanager
def demo(seconds: int) -> Iterator[Demo]:
    running = Demo("--seconds", str(seconds), "--port", "0", "--headless")
    try:
        yield running
    finally:
        running.close()


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        text = answer.read().decode()
    return json.loads(text) if "/api/" in url else text


def drifted_models(base: str) -> dict[str, dict[str, Any]]:
    """The models in the API once all have drifted: views are published shortly after the incident's event."""
    deadline = time.monotonic() + 30
    while True:
        models = {model["model"]: model for model in get(base + "/api/v1/models")["models"]}
        if all(model["state"] == "drift" for model in models.values()) or time.monotonic() > deadline:
            return models


@pytest.mark.timeout(150)
def test_the_demo_finds_what_it_injects_and_nothing_else() -> None:
    with demo(SECONDS) as running:
        base = running.read_until(r"page (http://127\.0\.0\.1:\d+)/").group(1)
        for injection in STORY:
            running.read_until(f"INCIDENT {injection.model}: .*({'|'.join(injection.expected)})")
        models = drifted_models(base)
        incidents = get(base + "/api/v1/incidents")["incidents"]
        metrics = get(base + "/metrics")
        status, output, errors = running.end(SECONDS + 40)
    assert status == 0, output + errors
    assert "Traceback" not in errors
    assert errors == ""
    assert f"{len(STORY)} of {len(STORY)} injected changes found, no false reports" in output
    assert set(models) == {injection.model for injection in STORY} == {incident["model"] for incident in incidents}
    assert all(model["state"] == "drift" for model in models.values())
    assert 'driftline_events_total{model="phishing",outcome="accepted"}' in metrics


@pytest.mark.timeout(150)
def test_an_interrupted_demo_ends_soon_with_what_it_saw_and_without_success() -> None:
    with demo(300) as running:
        running.read_until(r"page http://")
        running.read_until(r"\d+ events")
        running.process.send_signal(signal.SIGINT)
        status, output, errors = running.end(60)
    assert status == 1
    assert "not injected" in output
    assert "Traceback" not in errors
