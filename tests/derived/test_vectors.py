"""Lists of numbers (embeddings) from every source of a reference, through replay: norm, length, fixed projections."""

import json
from pathlib import Path

import numpy as np
import pytest

from detectors.derived.rules import derived_names
from detectors.features import Kind
from detectors.reference import reference as references
from stream import training
from stream.commands import cli
from stream.replay import command
from stream.replay.options import ReplayOptions
from stream.settings.settings import FeatureSettings, ModelSettings, Settings
from tests.judge.streams import events, opened, reference_of, replayed

DIMENSION = 24


def vectors(rng: np.random.Generator, rows: int, shift: float = 0.0) -> np.ndarray:
    made: np.ndarray = rng.normal(size=(rows, DIMENSION))
    made[:, : DIMENSION // 2] += shift
    return made


def stream(rng: np.random.Generator) -> list[list[float]]:
    return [*vectors(rng, 1_000).tolist(), *vectors(rng, 800, 1.0).tolist()]


def test_an_embedding_that_moves_is_one_incident_of_its_derived_features_and_one_that_stays_is_none() -> None:
    rng = np.random.default_rng(1)
    reference = reference_of({"embedding": vectors(rng, 5_000), "x": rng.normal(size=5_000)})
    names = set(derived_names("embedding"))
    assert {f.feature for f in reference.features} == names | {"x"}
    report = replayed(reference, {"embedding": stream(rng), "x": rng.normal(size=1_800)}, partitions=4)
    ((kind, features, reason),) = opened(report)
    assert (kind, reason) == ("feature", "distribution-change")
    assert set(features) <= names
    assert len(features) >= 2
    assert 1_000 < report["incidents"][0]["opened_at_event"] < 1_200


@pytest.mark.parametrize("other", ["text", [1.0] * (DIMENSION + 1)], ids=["wrong type", "other length"])
def test_what_comes_in_place_of_an_embedding_is_found(other: object) -> None:
    rng = np.random.default_rng(2)
    reference = reference_of({"embedding": vectors(rng, 5_000), "x": rng.normal(size=5_000)})
    mixed = [other if k > 500 and rng.random() < 0.4 else v for k, v in enumerate(vectors(rng, 1_500).tolist())]
    report = replayed(reference, {"embedding": mixed, "x": rng.normal(size=1_500)})
    ((_, features, reason),) = opened(report)
    assert "embedding.length" in features
    assert reason == ("wrong-type" if other == "text" else "distribution-change")


def test_missing_lists_are_missing_values() -> None:
    rng = np.random.default_rng(3)
    reference = reference_of({"embedding": vectors(rng, 5_000)})
    some = [None if k > 500 and rng.random() < 0.3 else v for k, v in enumerate(vectors(rng, 1_500).tolist())]
    ((_, _, reason),) = opened(replayed(reference, {"embedding": some}))
    assert reason == "missing-values"


def test_lists_are_learned_from_the_stream_and_may_be_named_in_the_settings() -> None:
    rng = np.random.default_rng(4)
    named = ModelSettings(features={"embedding": FeatureSettings(Kind.VECTOR)})
    for models in ({}, {"m": named}):
        first = 5.0 if models else None  # no list: known to be wrong where the settings say so
        late = [first, *vectors(rng, 999).tolist(), *stream(rng)]
        settings = Settings(learning_events=1_000, models=models)
        report = replayed(None, {"embedding": late, "x": rng.normal(size=len(late))}, settings=settings)
        ((_, features, _),) = opened(report)
        assert all(name.startswith("embedding.") for name in features)
        assert {f["feature"] for f in report["features"]} == {*derived_names("embedding"), "x"}


def test_every_way_to_a_reference_gives_the_same_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    table = vectors(rng, 400)
    lines = tmp_path / "train.jsonl"
    rows = events({"embedding": table.tolist(), "x": np.arange(400.0)}, 1_000)
    lines.write_bytes(b"\n".join(line for _, _, line in rows))
    parquet = tmp_path / "train.parquet"
    pyarrow = pytest.importorskip("pyarrow")
    columns = {"embedding": table.tolist(), "x": np.arange(400.0)}
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(columns), parquet)
    made = [training.build_reference("m", "1", {"embedding": table, "x": np.arange(400.0)}).features]
    for source in (lines, parquet):
        target = tmp_path / f"{source.name}.json"
        assert cli.run(["reference", "build", str(source), "-o", str(target), "--model", "m"]) == 0
        made.append(references.decode(target.read_bytes()).features)
    by_name = [{f.feature: f for f in features} for features in made]
    assert by_name[0] == by_name[1] == by_name[2]


def test_a_table_of_nothing_but_lists_is_replayed(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    pyarrow = pytest.importorskip("pyarrow")
    parquet = tmp_path / "events.parquet"
    table = pyarrow.table({"embedding": [*vectors(rng, 2_000).tolist(), *stream(rng)]})
    pytest.importorskip("pyarrow.parquet").write_table(table, parquet)
    report = command.run(ReplayOptions(file=str(parquet), reference_rows=2_000)).as_json()
    assert report["events"] == 1_800
    assert len(report["incidents"]) == 1
    assert json.dumps(report)
