"""Rules for the dashboards. test_queries.py runs their queries on a real Prometheus."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric

from deploy.grafana import build, layout
from detectors.features import UnitKey
from stream.metrics.models import ModelFamilies
from stream.metrics.outcomes import OutcomeFamilies
from stream.metrics.registry import Metrics
from stream.metrics.worker import ServiceFamilies
from stream.topics.record import Partition
from stream.topics.views import Views
from tests.deploy import paths
from tests.http.page import sample_views

Json = dict[str, Any]

every_dashboard = pytest.mark.parametrize("path", paths.DASHBOARDS, ids=lambda path: path.stem)


def panels(board: Json) -> list[Json]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def expressions(board: Json) -> Iterator[str]:
    for panel in panels(board):
        for target in panel["targets"]:
            yield target["expr"]
    for annotation in board["annotations"]["list"]:
        yield annotation["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


def test_the_dashboards_are_those_that_their_source_makes() -> None:
    made = {f"{board['uid']}.json": json.loads(json.dumps(board)) for board in build.every()}
    assert made == {path.name: paths.dashboard(path) for path in paths.DASHBOARDS}, "python -m deploy.grafana.build"


@every_dashboard
def test_a_dashboard_is_identified_provisionable_and_tagged(path: Path) -> None:
    board = paths.dashboard(path)
    assert board["uid"] == path.stem
    assert board["schemaVersion"] == layout.SCHEMA_VERSION
    assert "id" not in board
    assert board["tags"] == ["driftline"]
    assert board["description"]
    assert board["annotations"]["list"]
    assert board["links"]


@every_dashboard
def test_every_panel_has_title_description_unit_and_the_chosen_data_source(path: Path) -> None:
    for panel in panels(paths.dashboard(path)):
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["noValue"] == "no data", "an empty panel must not look healthy"
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@every_dashboard
def test_every_line_has_a_name_also_where_nothing_is_segmented(path: Path) -> None:
    for panel in panels(paths.dashboard(path)):
        if panel["type"] in ("timeseries", "state-timeline"):
            for target in panel["targets"]:
                assert target["legendFormat"].replace("{{segment}}", "").strip() not in ("", "__auto"), panel["title"]


@every_dashboard
def test_panels_have_ids_of_their_own_and_do_not_overlap(path: Path) -> None:
    taken: set[tuple[int, int]] = set()
    found = panels(paths.dashboard(path))
    assert len({panel["id"] for panel in found}) == len(found)
    for panel in found:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


@every_dashboard
def test_every_variable_that_is_used_is_declared(path: Path) -> None:
    board = paths.dashboard(path)
    declared = {variable["name"] for variable in board["templating"]["list"]}
    used = {name for text in expressions(board) for name in re.findall(r"\$\{?([a-z_]+)", text)} - {"__rate_interval"}
    assert used <= declared
    assert "datasource" in declared


@every_dashboard
def test_no_expression_counts_a_model_twice_or_shows_zero_for_unknown(path: Path) -> None:
    for text in expressions(paths.dashboard(path)):
        assert "or vector(0)" not in text
        for name in re.findall(r"driftline_(?:model|feature)_[a-z_]+\{", text):
            assert "label_values(" in text or re.search(r"(max|count)( by \([a-z_, ]+\))? ?\(", text), (name, text)


@every_dashboard
def test_the_ten_worst_are_the_same_at_every_point_so_that_their_lines_are_whole(path: Path) -> None:
    for text in expressions(paths.dashboard(path)):
        assert "topk(" not in text or re.search(r" and topk\(10, .*@ end\(\)", text), text


@every_dashboard
def test_no_tile_is_painted_in_the_colour_of_the_text_on_it(path: Path) -> None:
    for panel in panels(paths.dashboard(path)):
        if panel["type"] == "stat":
            colours = [step["color"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
            assert "text" not in colours, panel["title"]


@every_dashboard
def test_links_lead_to_dashboards_and_variables_that_exist(path: Path) -> None:
    boards_by_uid = {board["uid"]: board for board in map(paths.dashboard, paths.DASHBOARDS)}
    links = re.findall(r'"(/d/[^"]+)"', path.read_text(encoding="utf-8"))
    if path.stem in ("driftline-fleet", "driftline-model"):
        assert links
    for link in links:
        uid = link.removeprefix("/d/").split("?")[0]
        names = {variable["name"] for variable in boards_by_uid[uid]["templating"]["list"]}
        assert set(re.findall(r"var-([a-z_]+)=", link)) <= names


class Loops:
    """Stand-ins for the loops of both stages, with the members that gauges read."""

    checkpoint_at_ms = sample_views.NOW_MS
    checkpoint_bytes = 10
    units = 1
    topic = "driftline-profiles"
    row_bytes = 5

    def __init__(self) -> None:
        self.lags = {Partition("inference-events", 0): 3}
        self.partitions = {0}


def exported() -> set[str]:
    """All names that a worker exports, including the parts and the native form of histograms."""
    views, metrics = Views(), Metrics()
    sample_views.put(views, sample_views.fraud())
    owned = [UnitKey("fraud", "3", None)]
    families = ModelFamilies(views, lambda: owned, lambda model: 1.0, metrics.suppressed, 100, lambda: 0)
    service = ServiceFamilies("0", "r", "3", Loops(), Loops())
    metrics.live, metrics.of_models = [service], [families, OutcomeFamilies(views, lambda: owned)]
    found: list[Metric] = list(metrics.collect())
    names = set()
    for metric in found:
        suffixes = {"counter": ["_total"], "histogram": ["", "_bucket", "_sum", "_count"]}.get(metric.type, [""])
        names |= {metric.name + suffix for suffix in suffixes}
    return names


@every_dashboard
def test_every_metric_that_is_drawn_is_one_that_a_worker_exports(path: Path) -> None:
    drawn = {name for text in expressions(paths.dashboard(path)) for name in re.findall(r"\bdriftline_[a-z_]+", text)}
    assert drawn <= exported()


ON_THE_PAGE = {"incident_actions_total"}
"""Metrics that no panel draws: requests of people."""


def test_every_metric_is_drawn_somewhere_or_is_what_draws_the_others() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in paths.DASHBOARDS)
    rules = (paths.DEPLOY / "prometheus" / "rules.yml").read_text(encoding="utf-8")
    names = {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in exported()}
    missing = {name for name in names if name not in text and name not in rules}
    assert missing <= {f"driftline_{name}" for name in ON_THE_PAGE}
