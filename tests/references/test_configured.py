"""References that the settings name as files."""

from pathlib import Path

import pytest

from detectors.errors import ReferenceError, SettingsError
from detectors.reference import reference as references
from detectors.reference.builder import build_reference
from stream.references import configured
from stream.settings.settings import ModelSettings, Settings
from stream.topics import keys
from tests.kafka.server import Cluster
from tests.service.processes import Deployment, WorkerProcess


def _file(folder: Path, model: str = "fraud") -> Path:
    path = folder / "reference.json"
    path.write_bytes(references.encode(build_reference(model, "3", {"amount": [1.0, 2.0, 3.0] * 100})))
    return path


def _settings(reference: object) -> Settings:
    return Settings(models={"fraud": ModelSettings(reference=str(reference)), "other": ModelSettings()})


def test_a_named_file_becomes_a_record_of_the_references_topic(tmp_path: Path) -> None:
    path = _file(tmp_path)
    (record,) = configured.records(_settings(path))
    assert record.topic == "driftline-references"
    assert record.key == keys.reference_key(references.decode(path.read_bytes()).model_key)
    assert record.value == path.read_bytes()


def test_what_is_wrong_with_a_file_is_named_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"models\.fraud\.reference: .*none\.json: No such file"):
        configured.read(_settings(tmp_path / "none.json"))
    with pytest.raises(SettingsError, match="is the reference of model 'loans', not of 'fraud'"):
        configured.read(_settings(_file(tmp_path, "loans")))
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    with pytest.raises(ReferenceError, match=r"models\.fraud\.reference: .*broken\.json"):
        configured.read(_settings(broken))


@pytest.mark.kafka
async def test_a_worker_judges_by_the_file_its_settings_name(kafka: Cluster, tmp_path: Path) -> None:
    models = {"fraud": {"reference": str(_file(tmp_path))}}
    deployment = Deployment(kafka.bootstrap_servers, tmp_path, models=models)
    await deployment.prepare()
    with WorkerProcess(deployment) as worker:
        worker.until_ready()
        await deployment.publish_events("fraud", "3", {"amount": [1.0, 2.0, 3.0] * 20})
        detail = worker.until_events("fraud", "3", 60)
    assert detail["state"] in ("stable", "warning")
