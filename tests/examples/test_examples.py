"""Every example runs. Where the other system is not installed, a substitute records the calls."""

import asyncio
import json
import runpy
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from check_jsonschema.cli import main as check_jsonschema
from click.testing import CliRunner

from examples import drift_events, publish_fastapi, retrain_requests
from tests.http.local import Handler, LocalServer

EXAMPLES = Path(__file__).parents[2] / "examples"

REQUEST: dict[str, Any] = {
    "request_id": "7f1b6a52-5f0c-5c63-9f1e-2f6b6a0f7f11",
    "model": "fraud",
    "model_version": "3",
    "reason": "world-changed",
    "severity": "critical",
    "requested_at": "2025-11-21T04:40:00.123Z",
    "window": {"start": "2025-11-20T04:40:00Z", "end": "2025-11-21T04:40:00Z", "events": 9000, "offsets": {}},
    "features": [{"feature": "amount", "statistic": "evidence_log10", "score": 9.1, "threshold": 4.2}],
    "reference": {"uri": "driftline-references/fraud/3", "digest": "sha256:00", "data_revision": None},
    "evidence": {"event_id": "1", "url": "http://127.0.0.1:9108/incidents/1"},
}
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "a",
    "type": "io.driftline.retrain.requested.v1",
    "time": "2025-11-21T04:40:00.123Z",
    "data": REQUEST,
}


class Recorded(LocalServer):
    """A server that records its requests."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any], str | None]] = []
        self.status = 200
        recorded = self

        class Recording(Handler):
            def post(self) -> None:
                recorded.requests.append((self.path, self.body(), self.headers.get("Authorization")))
                self.answer(recorded.status)

        super().__init__(Recording)


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    with Recorded() as server:
        yield server


class FakePublisher:
    """The methods of a publisher that the wrappers use, recording their calls."""

    def __init__(self, model: str = "", version: str = "", **_settings: object) -> None:
        self.logged: list[tuple[Any, Any, dict[str, Any]]] = []
        self.closed = False

    def log(self, features: Any, prediction: Any = None, **more: Any) -> str:
        self.logged.append((features, prediction, more))
        return "id"

    def close(self) -> None:
        self.closed = True


def test_github_gets_a_dispatch_within_its_limits(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    retrain_requests.dispatch_to_github("acme/models", recorded.url)(REQUEST)
    ((path, body, authorization),) = recorded.requests
    assert path == "/repos/acme/models/dispatches"
    assert body == {"event_type": "driftline-retrain", "client_payload": REQUEST}
    assert authorization == "Bearer secret"
    assert len(body["client_payload"]) <= 10
    workflow = yaml.safe_load((EXAMPLES / "github_workflow.yaml").read_text())
    assert workflow[True]["repository_dispatch"]["types"] == [body["event_type"]]  # YAML 1.1 reads "on" as true


@pytest.mark.filterwarnings("ignore:The metaschema specified by")  # the draft of the schema that comes with the checker
def test_the_github_workflow_is_valid_by_its_schema() -> None:
    answer = CliRunner().invoke(
        check_jsonschema, ["--builtin-schema", "vendor.github-workflows", str(EXAMPLES / "github_workflow.yaml")]
    )
    assert answer.exit_code == 0, answer.output


def test_airflow_gets_an_asset_event(recorded: Recorded) -> None:
    retrain_requests.create_airflow_event(recorded.url, 7)(REQUEST)
    assert recorded.requests == [("/api/v2/assets/events", {"asset_id": 7, "extra": REQUEST}, None)]


def test_kubeflow_gets_a_run_of_the_pipeline_version(recorded: Recorded) -> None:
    retrain_requests.run_kubeflow_pipeline(recorded.url, "p", "v")(REQUEST)
    ((path, body, _),) = recorded.requests
    assert path == "/apis/v2beta1/runs"
    assert body["pipeline_version_reference"] == {"pipeline_id": "p", "pipeline_version_id": "v"}
    assert body["runtime_config"]["parameters"]["model_version"] == "3"


def test_mlflow_gets_tags_on_the_model_version(recorded: Recorded) -> None:
    retrain_requests.tag_in_mlflow(recorded.url)(REQUEST)
    assert {path for path, _, _ in recorded.requests} == {"/api/2.0/mlflow/model-versions/set-tag"}
    tags = {body["key"]: body["value"] for _, body, _ in recorded.requests}
    assert tags["driftline.reason"] == "world-changed: amount"
    assert all(body["name"] == "fraud" and body["version"] == "3" for _, body, _ in recorded.requests)


def test_a_refused_request_raises_so_that_it_is_not_committed(recorded: Recorded) -> None:
    recorded.status = 422
    with pytest.raises(OSError, match="422"):
        retrain_requests.dispatch_to_github("acme/models", recorded.url)(REQUEST)


def test_a_command_gets_the_request_on_its_standard_input(tmp_path: Path) -> None:
    target = tmp_path / "request.json"
    code = f"import sys; open({str(target)!r}, 'w').write(sys.stdin.read())"
    retrain_requests.run_command([sys.executable, "-c", code])(REQUEST)
    assert json.loads(target.read_text()) == REQUEST


def test_every_target_of_the_command_line_has_its_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (
        ["run", "--", "true"],
        ["github", "--repository", "acme/models"],
        ["airflow", "--url", "http://a", "--asset", "7"],
        ["kubeflow", "--url", "http://k", "--pipeline", "p", "--pipeline-version", "v"],
        ["mlflow", "--url", "http://m"],
    ):
        monkeypatch.setattr(sys, "argv", ["retrain_requests", *words])
        assert callable(retrain_requests.handler_of(retrain_requests.parse()))


def test_a_person_reads_incidents_and_nothing_else() -> None:
    data = {
        "model": "fraud",
        "version": "3",
        "segment": None,
        "verdict": "world-changed",
        "features": [{"feature": "amount"}],
    }
    opened = {**EVENT, "type": "io.driftline.incident.opened.v1", "data": data}
    assert drift_events.line(opened) == "2025-11-21T04:40:00.123Z fraud/3: opened world-changed (amount)"
    assert drift_events.line({**EVENT, "type": "io.driftline.signal.v1", "data": {}}) is None


def test_a_fastapi_handler_answers_as_before_and_is_published() -> None:
    publisher = FakePublisher()
    handler = publish_fastapi.published(lambda: publisher)(publish_fastapi.predict)  # type: ignore[arg-type,return-value]
    answer = asyncio.run(handler({"amount": 900}))
    assert answer == {"prediction": 1, "scores": {"fraud": 0.9}}
    ((features, prediction, more),) = publisher.logged
    assert (features, prediction, more["scores"], more["error"]) == ({"amount": 900}, 1, {"fraud": 0.9}, False)
    assert more["latency_ms"] >= 0


def test_a_failing_fastapi_handler_fails_as_before_and_is_published_as_an_error() -> None:
    publisher = FakePublisher()
    handler = publish_fastapi.published(lambda: publisher)(publish_fastapi.predict)  # type: ignore[arg-type,return-value]
    with pytest.raises(KeyError):
        asyncio.run(handler({}))
    ((_, prediction, more),) = publisher.logged
    assert (prediction, more["error"]) == (None, True)


def fake_module(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    """Puts substitutes for a package that is not installed, and for its parents, into sys.modules."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        path = ".".join(parts[:end])
        if path not in sys.modules or end == len(parts):
            monkeypatch.setitem(sys.modules, path, types.ModuleType(path))
        if end > 1:
            monkeypatch.setattr(
                sys.modules[".".join(parts[: end - 1])], parts[end - 1], sys.modules[path], raising=False
            )
    for member, value in members.items():
        setattr(sys.modules[name], member, value)


def decorator(*arguments: Any, **_settings: Any) -> Any:
    """A decorator that changes nothing, with or without settings."""
    return arguments[0] if arguments and callable(arguments[0]) else lambda thing: thing


def test_the_bentoml_service_publishes_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_module(monkeypatch, "bentoml", service=decorator, api=decorator, on_shutdown=decorator)
    module = runpy.run_path(str(EXAMPLES / "publish_bentoml.py"))
    service_class = module["FraudService"]
    monkeypatch.setitem(service_class.__init__.__globals__, "InferencePublisher", FakePublisher)
    service = service_class()
    assert service.predict([{"amount": 100}, {"amount": 900}]) == [0, 1]
    assert [prediction for _, prediction, _ in service.publisher.logged] == [0, 1]
    service.close()
    assert service.publisher.closed


def test_the_mlflow_model_predicts_as_the_inner_one_and_publishes_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas

    class Inner:
        def predict(self, frame: Any, params: Any = None) -> list[int]:
            return [int(amount > 500) for amount in frame["amount"]]

    fake_module(monkeypatch, "mlflow.pyfunc", PythonModel=object, load_model=lambda _uri: Inner())
    module = runpy.run_path(str(EXAMPLES / "publish_mlflow.py"))
    published = module["Published"]
    monkeypatch.setitem(published.load_context.__globals__, "InferencePublisher", FakePublisher)
    model = published("fraud", "3")
    model.load_context(types.SimpleNamespace(artifacts={"model": "runs:/1/model"}))
    assert model.predict(None, pandas.DataFrame({"amount": [100, 900]})) == [0, 1]
    assert [(row["amount"], prediction) for row, prediction, _ in model.publisher.logged] == [(100, 0), (900, 1)]


def test_the_airflow_dag_passes_requests_and_trains_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Any] = {}

    def keep(name: str) -> Any:
        return lambda *arguments, **settings: made.setdefault(name, (arguments, settings))

    tasks: dict[str, Any] = {}

    def task(function: Any) -> Any:
        tasks[function.__name__] = function
        return lambda: None

    fake_module(monkeypatch, "airflow.sdk", Asset=keep("asset"), AssetWatcher=keep("watcher"), dag=decorator, task=task)
    trigger = "airflow.providers.common.messaging.triggers.msg_queue"
    fake_module(monkeypatch, trigger, MessageQueueTrigger=keep("trigger"))
    module = runpy.run_path(str(EXAMPLES / "airflow_dag.py"))
    assert made["trigger"][1]["topics"] == ["retrain-requests"]
    file, function = made["trigger"][1]["apply_function"].split(".")
    assert (EXAMPLES / f"{file}.py").exists()
    message = types.SimpleNamespace(value=lambda: json.dumps(EVENT).encode())
    assert module[function](message) == REQUEST
    other = types.SimpleNamespace(value=lambda: json.dumps({**EVENT, "type": "io.driftline.signal.v1"}).encode())
    assert module[function](other) is None
    event = types.SimpleNamespace(extra={"payload": REQUEST})
    assert tasks["train"]({"asset": [event, event]}) == [REQUEST["request_id"]]


def test_the_argo_sensor_reads_what_a_request_holds() -> None:
    source, sensor = yaml.safe_load_all((EXAMPLES / "argo_events.yaml").read_text())
    assert source["spec"]["kafka"]["retrain"]["topic"] == "retrain-requests"
    (dependency,) = sensor["spec"]["dependencies"]
    assert dependency["eventSourceName"] == source["metadata"]["name"]
    assert dependency["eventName"] in source["spec"]["kafka"]
    assert dependency["filters"]["data"][0]["value"] == [EVENT["type"]]
    workflow = sensor["spec"]["triggers"][0]["template"]["argoWorkflow"]
    for parameter in workflow["parameters"]:
        value: Any = {"body": EVENT}
        for word in parameter["src"]["dataKey"].split("."):
            value = value[word]
        assert isinstance(value, str)
        target: Any = workflow["source"]["resource"]
        for word in parameter["dest"].split("."):
            target = target[int(word)] if word.isdigit() else target[word]


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("[a-z]*.py")), ids=lambda file: file.stem)
def test_every_example_describes_how_to_run_it(file: Path) -> None:
    assert file.read_text().startswith('"""')
    assert file.name in (EXAMPLES / "README.md").read_text()
