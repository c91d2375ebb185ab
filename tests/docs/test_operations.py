"""docs/operations.md is true: its metrics, components, limits and log lines are those of the program."""

import re

import pytest
import yaml

from tests.docs.blocks import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "stream").rglob("*.py")))
METRICS = set(re.findall(r"driftline_[a-z_]+", (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")))
"""Metrics on the page that is generated from the code."""
FAILURES = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.split("## What goes wrong, in metrics and in the log")[1].split("\n## ")[0].splitlines()
    if line.startswith("| ") and "what happened" not in line
]
HOLE = re.compile(r"%[sdr]|%\.\d[f]|\{[^{}]*\}")
"""The placeholders of a log line."""


def test_metrics_on_the_page_are_there() -> None:
    named = set(re.findall(r"driftline_[a-z_]+", PAGE))
    assert len(named) >= 5
    assert named <= METRICS


@pytest.mark.parametrize("label", ["component", "limit"])
def test_values_of_labels_on_the_page_are_in_the_program(label: str) -> None:
    values = re.findall(label + r'="([^"]+)"', PAGE)
    assert values
    for value in values:
        assert f'"{value}"' in SOURCES, value


@pytest.mark.parametrize("row", FAILURES, ids=lambda row: row[0])
def test_log_lines_on_the_page_are_logged_by_the_program(row: list[str]) -> None:
    """On the page ``N`` and ``...`` stand for the values of placeholders."""
    logged = HOLE.sub("\0", re.sub(r'"\s*\n\s*f?"', "", SOURCES))
    for text in re.findall(r"`([^`]+)`", row[2]):
        for part in re.split(r"\bN\b|\.\.\.", text):
            assert part.strip() in logged, f"nothing logs {part.strip()!r}"


def test_every_error_that_is_counted_is_on_the_page() -> None:
    counted = set(re.findall(r'\.error\("([a-z.]+)"\)', SOURCES))
    assert len(counted) > 5
    assert not {name for name in counted if f'component="{name}"' not in PAGE}


def test_every_alert_is_on_the_page_and_no_other() -> None:
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yml").read_text(encoding="utf-8"))
    shipped = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    assert set(re.findall(r"`(Driftline[A-Za-z]+)`", PAGE)) == shipped
