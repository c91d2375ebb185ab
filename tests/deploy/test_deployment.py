"""Compose, image, Kubernetes and systemd: valid by schema where there is one, and consistent with each other."""

import asyncio
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import kubernetes_validate
import numpy as np
import pytest
import yaml
from check_jsonschema.cli import main as check_jsonschema
from click.testing import CliRunner
from packaging.requirements import Requirement

from deploy.image import build as image
from deploy.kubernetes import build
from stream.settings import settings as config
from tests.architecture.sources import sources
from tests.deploy import paths, sandbox
from tests.kafka.server import Cluster
from tests.service.processes import Deployment, WorkerProcess, population

KUBERNETES = "1.31"
BASE = paths.DEPLOY / "kubernetes" / "base"
OVERLAY = paths.DEPLOY / "kubernetes" / "overlays" / "production"
COMPOSE = paths.ROOT / "docker-compose.yml"
Json = dict[str, Any]


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"no {program} on this machine")


def compose() -> Json:
    return paths.documents(COMPOSE)[0]


def services() -> dict[str, Json]:
    return compose()["services"]


@pytest.mark.filterwarnings("ignore:The metaschema specified by")  # the draft of the schema that comes with the checker
def test_compose_is_valid_by_its_schema() -> None:
    answer = CliRunner().invoke(check_jsonschema, ["--builtin-schema", "vendor.compose-spec", str(COMPOSE)])
    assert answer.exit_code == 0, answer.output


@pytest.mark.parametrize("name", sorted(services()))
def test_every_container_is_pinned_restricted_and_reached_from_this_machine_only(name: str) -> None:
    service = services()[name]
    assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not str(service["user"]).startswith(("0", "root"))
    assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_compose_waits_for_kafka_then_topics_then_the_worker() -> None:
    found = services()
    assert found["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    assert found["driftline"]["depends_on"] == {"topics": {"condition": "service_completed_successfully"}}
    assert found["models"]["profiles"] == ["demo"]
    assert "healthcheck" in found["kafka"]
    declared = set(compose()["volumes"])
    for name, service in found.items():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in declared or (paths.ROOT / source).exists(), name


def test_compose_settings_are_settings_and_the_kafka_listeners_agree() -> None:
    environment = services()["driftline"]["environment"]
    settings = config.load(None, environment, {})
    assert settings.http.host == "0.0.0.0"
    kafka = services()["kafka"]["environment"]
    assert settings.kafka.bootstrap_servers in kafka["KAFKA_ADVERTISED_LISTENERS"].replace("INSIDE://", "")
    names = {listener.split(":")[0] for listener in kafka["KAFKA_LISTENERS"].split(",")}
    assert names == {pair.split(":")[0] for pair in kafka["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")}
    single = [value for key, value in kafka.items() if key.endswith(("_FACTOR", "_MIN_ISR", "_REPLICAS"))]
    assert single
    assert set(single) == {"1"}


def test_provisioning_and_compose_agree_on_where_the_dashboards_are() -> None:
    (provider,) = paths.documents(paths.DEPLOY / "grafana/provisioning/dashboards/driftline.yaml")[0]["providers"]
    mounts = services()["grafana"]["volumes"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in mounts
    source = paths.documents(paths.DEPLOY / "grafana/provisioning/datasources/prometheus.yaml")[0]["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    home = services()["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (paths.DEPLOY / "grafana/dashboards" / Path(home).name).exists()


def test_the_image_runs_without_root_and_leaves_the_rest_of_the_checkout_out() -> None:
    text = (paths.ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    assert "-c constraints.txt" in text
    assert re.search(r"^ARG PYTHON=3\.\d+\.\d+$", text, re.MULTILINE)
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE)
    allowed = set((paths.ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines())
    for source in " ".join(copied).split():
        assert (paths.ROOT / source).exists()
        assert f"!{source}" in allowed


def rendered(folder: Path) -> list[Json]:
    answer = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return [item for item in yaml.safe_load_all(answer.stdout) if item]


@needs("kubectl")
@pytest.mark.parametrize("folder", [BASE, OVERLAY], ids=["base", "production"])
def test_kubernetes_renders_and_is_valid_by_schema(folder: Path) -> None:
    custom = {"PodMonitor", "PrometheusRule", "ScaledObject"}
    found = rendered(folder)
    for record in found:
        if record["kind"] not in custom:
            kubernetes_validate.validate(record, KUBERNETES, strict=True)
    assert custom | {"StatefulSet", "PodDisruptionBudget", "Service"} <= {record["kind"] for record in found}


@needs("kubectl")
@pytest.mark.parametrize("folder", [BASE, OVERLAY], ids=["base", "production"])
def test_kubernetes_parts_name_each_other_rightly(folder: Path) -> None:
    by_kind = {record["kind"]: record for record in rendered(folder)}
    workload = by_kind["StatefulSet"]
    pod = workload["spec"]["template"]
    (worker,) = pod["spec"]["containers"]
    labels = pod["metadata"]["labels"].items()
    for kind, selector in (("PodDisruptionBudget", "matchLabels"), ("PodMonitor", "matchLabels"), ("Service", None)):
        chosen = by_kind[kind]["spec"]["selector"]
        assert (chosen[selector] if selector else chosen).items() <= labels
    assert by_kind["ScaledObject"]["spec"]["scaleTargetRef"]["name"] == workload["metadata"]["name"]
    assert "replicas" not in workload["spec"], "KEDA sets them"
    ports = {port["name"] for port in worker["ports"]}
    endpoint = by_kind["PodMonitor"]["spec"]["podMetricsEndpoints"][0]
    assert endpoint["port"] in ports
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert worker[probe]["httpGet"] == {"path": path, "port": "http"}
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert {mount["name"] for mount in worker["volumeMounts"]} == set(volumes)
    assert volumes["settings"]["configMap"]["name"] == by_kind["ConfigMap"]["metadata"]["name"]


@needs("kubectl")
@pytest.mark.parametrize("folder", [BASE, OVERLAY], ids=["base", "production"])
def test_keda_never_scales_to_nothing_nor_beyond_the_partitions_and_reads_the_same_kafka(
    folder: Path, tmp_path: Path
) -> None:
    by_kind = {record["kind"]: record for record in rendered(folder)}
    text = by_kind["ConfigMap"]["data"]["driftline.yaml"]
    for name in re.findall(r"/etc/driftline-secrets/([a-z-]+)", text):
        (tmp_path / name).write_text("secret", encoding="utf-8")
    file = tmp_path / "driftline.yaml"
    file.write_text(text.replace("/etc/driftline-secrets", str(tmp_path)), encoding="utf-8")
    settings = config.load(file, {}, {})
    spec = by_kind["ScaledObject"]["spec"]
    assert spec["minReplicaCount"] >= 1
    assert spec["maxReplicaCount"] <= settings.kafka.partitions
    assert spec["cooldownPeriod"] >= 600
    trigger = spec["triggers"][0]["metadata"]
    assert trigger["bootstrapServers"] == settings.kafka.bootstrap_servers
    assert trigger["consumerGroup"] == settings.kafka.group_id
    assert trigger["topic"] in settings.topics.event_names
    assert settings.http.host == "0.0.0.0"


def test_the_kubernetes_rules_are_those_of_prometheus() -> None:
    assert build.TARGET.read_text(encoding="utf-8") == build.text(), "python -m deploy.kubernetes.build"


def test_the_pod_has_longer_to_leave_than_the_worker_takes() -> None:
    (record,) = paths.documents(BASE / "stateful_set.yaml")
    assert record["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > config.Settings().shutdown_seconds + 2


UNIT = paths.DEPLOY / "systemd" / "driftline.service"


@needs("systemd-analyze")
def test_the_systemd_unit_is_valid_and_hardly_exposed(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8")
    copy.write_text(text.replace("/opt/driftline/bin/driftline", "/bin/true"), encoding="utf-8")
    verified = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False)
    own = [line for line in verified.stderr.splitlines() if UNIT.name in line]
    assert verified.returncode == 0, own
    assert not own
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(copy)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_PAGER": "cat"},
    )
    assert rated.returncode == 0, rated.stdout[-300:]


def test_the_systemd_unit_starts_a_command_that_exists_and_waits_for_the_last_checkpoint() -> None:
    text = UNIT.read_text(encoding="utf-8")
    assert "driftline worker --config" in text
    seconds = re.search(r"^TimeoutStopSec=(\d+)s$", text, re.MULTILINE)
    assert seconds is not None
    assert int(seconds[1]) > config.Settings().shutdown_seconds + 2


@needs("bash")
def test_the_smoke_script_parses() -> None:
    subprocess.run(["bash", "-n", str(paths.DEPLOY / "compose" / "smoke.sh")], check=True)


def sandboxed(unit: Path, *command: str) -> list[str]:
    return [sys.executable, str(sandbox.__file__), str(unit), *command]


needs_sandbox = pytest.mark.skipif(
    not sandbox.NUMBERS.exists() or shutil.which("systemd-analyze") is None or platform.machine() != "x86_64",
    reason="needs systemd-analyze and the kernel's headers for x86_64",
)

COMPILE = """
import numpy as np
from detectors.bank import bank
from detectors.evidence import e_detector, sizes
from stream.observe import recent_ids
from stream.service import process, worker
for part in (bank, recent_ids, e_detector, sizes):
    part.compile_loops()
process.raise_file_limit()
print("compiled")
"""


@needs_sandbox
def test_numba_compiles_under_what_the_systemd_unit_forbids(tmp_path: Path) -> None:
    """The kernel's own switches are set as systemd sets them. With MemoryDenyWriteExecute the same program fails."""
    forbidding = tmp_path / "forbidding.service"
    forbidding.write_text(UNIT.read_text(encoding="utf-8") + "\nMemoryDenyWriteExecute=yes\n", encoding="utf-8")
    answers = {}
    for name, unit in (("shipped", UNIT), ("forbidding", forbidding)):
        answers[name] = subprocess.run(
            sandboxed(unit, sys.executable, "-c", COMPILE),
            capture_output=True,
            text=True,
            check=False,
            cwd=paths.ROOT,
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / name)},
        )
    assert answers["shipped"].stdout == "compiled\n", answers["shipped"].stderr[-2000:]
    assert answers["shipped"].returncode == 0
    assert answers["forbidding"].returncode != 0


@needs_sandbox
def test_the_sandbox_of_the_tests_forbids_what_the_unit_forbids() -> None:
    program = "import os; os.nice(1)"
    answer = subprocess.run(sandboxed(UNIT, sys.executable, "-c", program), capture_output=True, text=True, check=False)
    assert "PermissionError" in answer.stderr


def test_the_systemd_unit_keeps_compiled_loops_in_a_folder_that_it_may_write() -> None:
    found = sandbox.properties(UNIT.read_text(encoding="utf-8"))
    assert found["CacheDirectory"] == ["driftline"]
    assert found["Environment"] == ["NUMBA_CACHE_DIR=%C/driftline"]
    assert "MemoryDenyWriteExecute" not in found
    assert found["SystemCallErrorNumber"] == ["EPERM"]


@pytest.mark.kafka
@needs_sandbox
async def test_a_whole_worker_runs_under_what_the_systemd_unit_forbids(kafka: Cluster, tmp_path: Path) -> None:
    deployment = Deployment(kafka.bootstrap_servers, tmp_path)
    with WorkerProcess(deployment, before=sandboxed(UNIT)) as worker:
        await asyncio.to_thread(worker.until_ready)
        count = await deployment.publish_events("m", "1", population(np.random.default_rng(1), 500))
        await asyncio.to_thread(worker.until_events, "m", "1", count)
        status, _ = await asyncio.to_thread(worker.terminate)
        assert status == 0, worker.text()


@needs("kubectl")
@pytest.mark.parametrize("folder", [BASE, OVERLAY], ids=["base", "production"])
def test_the_network_policy_lets_through_what_a_worker_needs_and_nothing_else(folder: Path) -> None:
    by_kind = {record["kind"]: record for record in rendered(folder)}
    policy, pod = by_kind["NetworkPolicy"]["spec"], by_kind["StatefulSet"]["spec"]["template"]
    assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    (ingress,) = policy["ingress"]
    ports = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
    assert {port["port"] for port in ingress["ports"]} == ports
    assert ingress["from"]
    assert all(rule["to"] and rule["ports"] for rule in policy["egress"]), "an empty list allows everything"
    servers = yaml.safe_load(by_kind["ConfigMap"]["data"]["driftline.yaml"])["kafka"]["bootstrap_servers"]
    allowed = {(port["protocol"], port["port"]) for rule in policy["egress"] for port in rule["ports"]}
    assert allowed == {("UDP", 53), ("TCP", 53), *(("TCP", int(one.rpartition(":")[2])) for one in servers.split(","))}
    namespaces = {
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for rule in policy["egress"]
        for peer in rule["to"]
    }
    assert namespaces == {"kube-system", *(one.split(":")[0].split(".")[1] for one in servers.split(","))}


IMAGE = re.compile(r"^(\S+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n", re.MULTILINE)


def test_every_package_of_the_image_has_its_hashes_and_the_version_of_the_constraints() -> None:
    text = image.TARGET.read_text(encoding="utf-8")
    found = {name: (version, hashes.count("sha256")) for name, version, hashes in IMAGE.findall(text)}
    left = IMAGE.sub("", text.removeprefix(image.HEAD))
    assert left == "", "python -m deploy.image.build"
    pinned = dict(line.split("==") for line in (paths.ROOT / "constraints.txt").read_text("utf-8").split())
    versions = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pinned.items()}
    assert {name: version for name, (version, _) in found.items() if name != "setuptools"}.items() <= versions.items()
    assert {count for _, count in found.values()} <= {1, 2}
    missing = sorted(closure(image.requirements()) - set(found))
    assert not missing, "python -m deploy.image.build"


def closure(requirements: list[str]) -> set[str]:
    """The packages that these requirements bring here, without those that were installed for other reasons."""
    names: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        wanted = waiting.pop()
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        extras = wanted.extras or {""}
        if name in names or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        names.add(name)
        for text in metadata.requires(name) or () if name != "setuptools" else ():
            inner = Requirement(text)
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(Requirement(text.partition(";")[0]))
    return names


def test_the_image_installs_nothing_without_its_hash() -> None:
    text = (paths.ROOT / "Dockerfile").read_text(encoding="utf-8")
    installs = re.findall(r"pip install (.*)", text)
    assert len(installs) == 2
    assert "--require-hashes -r constraints-image.txt" in installs[0]
    assert "--no-deps --no-build-isolation" in installs[1]


def test_the_file_of_the_image_names_no_host() -> None:
    text = image.TARGET.read_text(encoding="utf-8")
    assert not re.search(r"https?:|index|\.org|\.com", text)


def test_every_library_that_is_imported_is_declared() -> None:
    project = tomllib.loads((paths.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    declared = {re.sub(r"[-_.]+", "-", Requirement(text).name).lower() for text in texts}
    owners = metadata.packages_distributions()
    undeclared = set()
    for source in [*sources("detectors"), *sources("stream"), *sources("driftline")]:
        for name in source.imports():
            root = name.split(".")[0]
            if root not in sys.stdlib_module_names and root not in ("detectors", "stream", "driftline"):
                found = {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners.get(root, [root])}
                if not found & declared:
                    undeclared.add((source.name, root))
    assert not undeclared
