"""Compose, image, Kubernetes and systemd: valid by schema where there is one, and consistent with each other."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from check_jsonschema.cli import main as check_jsonschema
from click.testing import CliRunner

from deploy.kubernetes import build
from stream.settings import settings as config
from tests.deploy import paths

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
    assert trigger["topic"] in settings.topics.events
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
