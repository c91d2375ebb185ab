"""The shipped rules and routes, checked with Prometheus' own tools."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from stream.metrics import models, outcomes, registry

DEPLOY = Path(__file__).parents[2] / "deploy"


def run(tool: str, *arguments: str) -> str:
    found = shutil.which(tool)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{tool} is required where CI is set")
        pytest.skip(f"{tool} is not installed")
    done = subprocess.run(
        [found, *arguments], cwd=DEPLOY / "prometheus", capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_the_rules() -> None:
    assert "SUCCESS" in run("promtool", "check", "rules", "rules.yml")


def test_the_rules_do_what_their_cases_say() -> None:
    assert "SUCCESS" in run("promtool", "test", "rules", "rules.test.yml")


def test_promtool_accepts_the_configuration() -> None:
    assert "SUCCESS" in run("promtool", "check", "config", "prometheus.yml")


def test_amtool_accepts_the_routes() -> None:
    assert "SUCCESS" in run("amtool", "check-config", str(DEPLOY / "alertmanager" / "alertmanager.yml"))


def test_every_alert_has_a_case() -> None:
    rules = (DEPLOY / "prometheus" / "rules.yml").read_text()
    cases = (DEPLOY / "prometheus" / "rules.test.yml").read_text()
    alerts = re.findall(r"alert: (\w+)", rules)
    assert len(alerts) >= 8
    assert [alert for alert in alerts if alert not in cases] == []


def test_rules_name_only_metrics_that_exist() -> None:
    rules = (DEPLOY / "prometheus" / "rules.yml").read_text()
    used = set(re.findall(r"\bdriftline_(\w+)", rules))
    code = "".join(Path(module.__file__).read_text() for module in (registry, models, outcomes))
    code += (Path(registry.__file__).parent / "worker.py").read_text()
    missing = {name for name in used if f'"{re.sub("_(total|bucket|count|sum)$", "", name)}"' not in code}
    assert missing == set()
