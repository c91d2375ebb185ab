#!/usr/bin/env bash
# Starts the services, waits until a simulated model is visible everywhere, and stops them again.
# Needs a container engine; without one it prints a message and ends with status 77.
set -euo pipefail
cd "$(dirname "$0")/../.."
docker info >/dev/null 2>&1 || { echo "smoke: no container engine answers" >&2; exit 77; }
trap 'docker compose --profile demo down --volumes --timeout 20' EXIT
docker compose --profile demo up --build --detach --wait --wait-timeout 300 kafka topics driftline prometheus grafana || true
docker compose --profile demo up --detach models

until_true() { # what, seconds, command ...
  local what=$1 deadline=$((SECONDS + $2)); shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || { echo "smoke: timed out: $what" >&2; docker compose logs --tail 50; exit 1; }
    sleep 2
  done
  echo "smoke: $what"
}

until_true "the worker is ready" 120 curl -fsS http://127.0.0.1:9108/readyz
until_true "a model is visible" 180 sh -c 'curl -fsS http://127.0.0.1:9108/api/v1/models | grep -q "\"model\""'
until_true "Prometheus has it" 60 sh -c 'curl -fsS "http://127.0.0.1:9090/api/v1/query?query=driftline_model_state" | grep -q "\"model\""'
until_true "Grafana has its dashboards" 60 curl -fsS http://127.0.0.1:3000/api/dashboards/uid/driftline-fleet
