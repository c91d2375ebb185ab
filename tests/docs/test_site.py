"""The documentation as a site: no warnings, generated pages up to date, nothing loaded from other hosts."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import msgspec
import pytest
import yaml

from detectors.errors import FormatError
from stream.labels.record import read_labels
from stream.settings.settings import Settings
from stream.topics.drift_events import EventType
from stream.topics.record import Partition, Record
from tests.docs import pages
from tests.docs.blocks import PAGES, ROOT


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="left out for want of MkDocs: pip install 'driftline[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return folder


def test_the_site_builds_without_a_warning_and_has_the_module_map(site: Path) -> None:
    assert "detectors/evidence/e_detector.py" in (site / "architecture.html").read_text()
    assert (site / "schemas" / "incident.opened.v1.json").exists()


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    loaded = re.compile(r"""(?:src|<link[^>]*href)=["'](https?:)?//""")
    assert not [path.name for path in site.rglob("*.html") if loaded.search(path.read_text())]


@pytest.mark.parametrize("path", list(pages.files()), ids=lambda path: path.name)
def test_a_generated_page_is_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == pages.files()[path], "run: python -m tests.docs.pages"


def test_every_page_is_in_the_navigation() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    named = set(re.findall(r"[\w-]+\.md", json.dumps(settings["nav"])))
    assert named == {Path(page).name for page in PAGES if page.startswith("docs/")}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_and_picture_between_files_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    folder = (ROOT / page).parent
    links = [link for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text) if not link.startswith("http")]
    assert not [link for link in links if not (folder / link).exists()]


@pytest.mark.parametrize("page", PAGES)
def test_files_and_settings_named_in_the_text_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    files = re.findall(r"`((?:examples|deploy|tests|detectors|stream|docs)/[\w./-]+)`", text)
    assert not [file for file in files if not (ROOT / file).exists()]
    known = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    sections = "|".join(f.name for f in msgspec.structs.fields(Settings) if isinstance(f.default, msgspec.Struct))
    settings = re.findall(rf"`((?:{sections})\.[a-z_]+)`", text)
    assert not [name for name in settings if f"`{name}`" not in known]
    metrics = set(re.findall(r"`(driftline_[a-z_]+)[`{]", text))
    assert not [name for name in metrics if f"`{name}`" not in (ROOT / "docs" / "metrics.md").read_text()]


def test_every_svg_is_well_formed() -> None:
    found = sorted((ROOT / "docs").rglob("*.svg"))
    assert found
    for path in found:
        ElementTree.parse(path)


def test_every_alert_is_explained_to_the_person_on_call() -> None:
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    text = (ROOT / "docs" / "operations.md").read_text()
    assert not [alert for alert in sorted(alerts) if f"`{alert}`" not in text]


@pytest.mark.parametrize("kind", list(EventType), ids=lambda kind: kind.value)
def test_every_event_has_a_schema_that_is_one_and_a_place_in_asyncapi(kind: EventType) -> None:
    schema: dict[str, Any] = json.loads((ROOT / "docs" / "schemas" / pages.schema_file(kind.value)).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    described = json.loads((ROOT / "docs" / "asyncapi.json").read_text())
    placed = [message["$ref"] for channel in described["channels"].values() for message in channel["messages"].values()]
    assert placed.count(f"#/components/messages/{kind.value}") == 1
    assert described["components"]["messages"][kind.value]["payload"]["schema"]["$ref"].startswith("schemas/")


LABELS: list[tuple[Any, bool]] = [
    ({"id": "a", "model": "m", "label": 1}, True),
    ({"id": 7, "model": "m", "label": "spam", "ts": "2026-01-01T00:00:00Z"}, True),
    (
        [{"id": "a", "model": "m", "label": True}, {"id": "b", "model": "m", "label": 0.5, "ts": 1_763_700_360_000}],
        True,
    ),
    ({"id": "a", "model": "m"}, False),
    ({"id": "a", "model": "m", "label": None}, False),
    ({"id": "a", "model": "m", "label": ""}, False),
    ({"id": "", "model": "m", "label": 1}, False),
    ({"model": "m", "label": 1}, False),
    ({"id": "a", "label": 1}, False),
    ([], False),
    ("label", False),
]


@pytest.mark.parametrize(("label", "good"), LABELS, ids=str)
def test_the_schema_of_labels_accepts_exactly_what_is_read(label: Any, good: bool) -> None:
    schema = json.loads((ROOT / "docs" / "schemas" / "label.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    assert jsonschema.Draft202012Validator(schema).is_valid(label) == good
    record = Record(0, 1_763_700_000_000, None, json.dumps(label).encode())
    try:
        read = bool(read_labels(Partition("inference-labels", 0), record, 10_000))
    except FormatError:
        read = False
    assert read == good


@pytest.mark.parametrize("setting", ["budget", "reference", "tolerance"])
def test_the_delays_on_the_page_are_those_that_were_measured(setting: str) -> None:
    text = (ROOT / "docs" / "detection.md").read_text()
    for value, delays in json.loads((ROOT / "docs" / "images" / "detection.json").read_text())[setting].items():
        cells = [_cell(delays[shift]) for shift in ("0.25", "0.5", "1.0")]
        assert f"| {value} | {' | '.join(cells)} |" in text


def _cell(delay: dict[str, float | None]) -> str:
    missed = f"missed {100 * (delay['missed'] or 0):.0f} %"
    if delay["median"] is None:
        return f"not found ({missed})"
    return f"{delay['median']:.0f}" + (f" ({missed})" if delay["missed"] else "")
