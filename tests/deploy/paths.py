"""Paths of the files in deploy/."""

import json
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))


def documents(path: Path) -> list[Any]:
    """All YAML documents of a file."""
    return [item for item in yaml.safe_load_all(path.read_text(encoding="utf-8")) if item is not None]


def dashboard(path: Path) -> dict[str, Any]:
    loaded = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded
