"""Writes the PrometheusRule from the rules of Prometheus: ``python -m deploy.kubernetes.build``."""

from pathlib import Path

import yaml

RULES = Path(__file__).parents[1] / "prometheus" / "rules.yml"
TARGET = Path(__file__).parent / "base" / "prometheus_rule.yaml"
HEAD = "# Made from deploy/prometheus/rules.yml by python -m deploy.kubernetes.build; edit that file.\n"


def text() -> str:
    record = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "driftline"},
        "spec": yaml.safe_load(RULES.read_text(encoding="utf-8")),
    }
    return HEAD + yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=110)


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
