"""LICENSE, NOTICE, SECURITY.md and the CI workflow exist and are correct."""

import hashlib
import re
from importlib import metadata

import pytest
import yaml
from check_jsonschema.cli import main as check_jsonschema
from click.testing import CliRunner
from packaging.requirements import Requirement

from tests.docs.blocks import ROOT

WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"


def test_the_licence_is_the_text_of_apache_2() -> None:
    text = (ROOT / "LICENSE").read_bytes()
    assert hashlib.sha256(text).hexdigest() == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
    assert metadata.metadata("driftline")["License-Expression"] == "Apache-2.0"


def installed_with_driftline() -> set[str]:
    """Every package that driftline with the extra of the image requires, directly or through others."""
    found: set[str] = set()
    waiting = ["driftline"]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name not in found:
            found.add(name)
            extra = {"extra": "parquet" if name == "driftline" else ""}
            needs = [Requirement(text) for text in metadata.requires(name) or []]
            waiting += [need.name for need in needs if need.marker is None or need.marker.evaluate(extra)]
    return found - {"driftline"}


def test_the_notice_names_every_package_that_is_installed_with_driftline() -> None:
    named = set(re.findall(r"[a-z0-9-]+", (ROOT / "NOTICE").read_text(encoding="utf-8")))
    assert len(installed_with_driftline()) > 20
    assert not installed_with_driftline() - named


@pytest.mark.filterwarnings("ignore:The metaschema specified by")  # the draft of the schema that comes with the checker
def test_the_ci_workflow_is_valid_and_runs_what_ci_runs_on_every_supported_python() -> None:
    answer = CliRunner().invoke(check_jsonschema, ["--builtin-schema", "vendor.github-workflows", str(WORKFLOW)])
    assert answer.exit_code == 0, answer.output
    (job,) = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"].values()
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
    supported = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert job["strategy"]["matrix"]["python"] == supported


def test_the_workflow_names_no_host_of_a_package_index() -> None:
    assert not re.search(r"https?://|pypi|maven", WORKFLOW.read_text(encoding="utf-8"))


def test_the_security_policy_names_settings_and_files_that_exist() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    known = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert not [name for name in re.findall(r"`((?:http|kafka|limits)\.[a-z_]+)`", text) if f"`{name}`" not in known]
    assert not [link for link in re.findall(r"\]\(([^):#]+)", text) if not (ROOT / link).exists()]
