"""Writes the dashboards: ``python -m deploy.grafana.build``. Grafana reads the JSON; edit the modules."""

import json
from pathlib import Path

from deploy.grafana import feature, fleet, model, performance
from deploy.grafana.panels import Json

FOLDER = Path(__file__).parent / "dashboards"


def every() -> list[Json]:
    return [fleet.board(), model.board(), feature.board(), performance.board()]


def main() -> None:
    for made in every():
        text = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
        (FOLDER / f"{made['uid']}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
