"""Consumers of ``retrain-requests`` that start something in another system, one command for each.

    python -m examples.retrain_requests run -- ./train.sh
    python -m examples.retrain_requests github --repository acme/models          (GITHUB_TOKEN)
    python -m examples.retrain_requests airflow --url http://airflow:8080 --asset 7   (AIRFLOW_TOKEN)
    python -m examples.retrain_requests kubeflow --url http://ml-pipeline:8888 --pipeline ID --pipeline-version ID
    python -m examples.retrain_requests mlflow --url http://mlflow:5000

driftline sends a request only if its guards allow it (cooldown, weekly cap, data that is not broken). A request is
handed over at least once. ``request_id`` never changes: pass it on if the other side can recognise repeats. A failed
request is not committed: the process ends, and the next start tries again.
"""

import argparse
import json
import os
import subprocess
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from examples.drift_events import follow

Request = Mapping[str, Any]
"""The ``data`` of a ``io.driftline.retrain.requested.v1`` event."""


def post(url: str, body: Mapping[str, Any], token: str | None, method: str = "POST") -> None:
    """Sends JSON; raises if the status is not 2xx."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()


def run_command(command: list[str]) -> Callable[[Request], None]:
    """Runs a command with the request as JSON on its standard input."""

    def handle(request: Request) -> None:
        subprocess.run(command, input=json.dumps(request).encode(), check=True)

    return handle


def dispatch_to_github(repository: str, api: str = "https://api.github.com") -> Callable[[Request], None]:
    """Sends a ``repository_dispatch`` event; github_workflow.yaml reads its ``client_payload``."""

    def handle(request: Request) -> None:
        body = {"event_type": "driftline-retrain", "client_payload": dict(request)}
        post(f"{api}/repos/{repository}/dispatches", body, os.environ.get("GITHUB_TOKEN"))

    return handle


def create_airflow_event(url: str, asset_id: int) -> Callable[[Request], None]:
    """Creates an asset event over Airflow 3's REST API. DAGs scheduled on the asset run; the request is ``extra``."""

    def handle(request: Request) -> None:
        body = {"asset_id": asset_id, "extra": dict(request)}
        post(f"{url}/api/v2/assets/events", body, os.environ.get("AIRFLOW_TOKEN"))

    return handle


def run_kubeflow_pipeline(url: str, pipeline: str, version: str) -> Callable[[Request], None]:
    """Starts a run of a pipeline version over the v2beta1 API, with model, version and window as parameters."""

    def handle(request: Request) -> None:
        body = {
            "display_name": f"retrain {request['model']} {request['request_id']}",
            "pipeline_version_reference": {"pipeline_id": pipeline, "pipeline_version_id": version},
            "runtime_config": {
                "parameters": {
                    "model": request["model"],
                    "model_version": request["model_version"],
                    "window_start": request["window"]["start"],
                    "window_end": request["window"]["end"],
                    "request_id": request["request_id"],
                }
            },
        }
        post(f"{url}/apis/v2beta1/runs", body, os.environ.get("KUBEFLOW_TOKEN"))

    return handle


def tag_in_mlflow(url: str) -> Callable[[Request], None]:
    """Tags the registered model version, so that its page shows why it will be replaced."""

    def handle(request: Request) -> None:
        features = ", ".join(feature["feature"] for feature in request["features"][:5])
        tags = {
            "driftline.status": "retrain requested",
            "driftline.reason": f"{request['reason']}: {features}",
            "driftline.request_id": request["request_id"],
            "driftline.requested_at": request["requested_at"],
        }
        for key, value in tags.items():
            body = {"name": request["model"], "version": request["model_version"], "key": key, "value": str(value)}
            post(f"{url}/api/2.0/mlflow/model-versions/set-tag", body, os.environ.get("MLFLOW_TRACKING_TOKEN"))

    return handle


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Hands retrain requests on to another system.")
    parser.add_argument("--bootstrap-servers", default="127.0.0.1:9092")
    parser.add_argument("--topic", default="retrain-requests")
    parser.add_argument("--idle-seconds", type=float, help="End after so long without a request.")
    targets = parser.add_subparsers(dest="target", required=True)
    targets.add_parser("run").add_argument("command", nargs="+")
    github = targets.add_parser("github")
    github.add_argument("--repository", required=True)
    github.add_argument("--api", default="https://api.github.com")
    airflow = targets.add_parser("airflow")
    airflow.add_argument("--url", required=True)
    airflow.add_argument("--asset", type=int, required=True)
    kubeflow = targets.add_parser("kubeflow")
    kubeflow.add_argument("--url", required=True)
    kubeflow.add_argument("--pipeline", required=True)
    kubeflow.add_argument("--pipeline-version", required=True)
    targets.add_parser("mlflow").add_argument("--url", required=True)
    return parser.parse_args()


def handler_of(arguments: argparse.Namespace) -> Callable[[Request], None]:
    match arguments.target:
        case "run":
            return run_command(arguments.command)
        case "github":
            return dispatch_to_github(arguments.repository, arguments.api)
        case "airflow":
            return create_airflow_event(arguments.url, arguments.asset)
        case "kubeflow":
            return run_kubeflow_pipeline(arguments.url, arguments.pipeline, arguments.pipeline_version)
        case _:
            return tag_in_mlflow(arguments.url)


def main() -> None:
    arguments = parse()
    handle = handler_of(arguments)
    group = f"retrain-{arguments.target}"
    with closing(follow(arguments.bootstrap_servers, arguments.topic, group, arguments.idle_seconds)) as events:
        for event in events:
            handle(event["data"])
            print(f"{event['time']} {event['data']['model']}: handed to {arguments.target}", flush=True)


if __name__ == "__main__":
    main()
