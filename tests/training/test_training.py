"""The one call with which a training script builds a reference."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detectors.derived.rules import derived_names
from detectors.errors import ReferenceError as ReferenceProblem
from detectors.reference import reference as references
from stream import training

DATA: dict[str, list[Any]] = {"a": [1.0, 2.0, None, 4.0], "b": ["x", None, "y", "x"], "c": [True, False, True, True]}


def described(reference: references.Reference) -> list[tuple[str, str, int, int, int]]:
    return [(f.feature, f.kind.value, f.present, f.missing, f.invalid) for f in reference.features]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_give_the_reference_of_their_columns(library: str) -> None:
    frame = pytest.importorskip(library).DataFrame(DATA)
    plain = training.build_reference("m", "1", DATA, predictions=[1, 0, 1, 1])
    assert training.build_reference("m", "1", frame, predictions=[1, 0, 1, 1]).features == plain.features
    assert described(plain)[:2] == [("a", "numeric", 3, 1, 0), ("b", "categorical", 3, 1, 0)]


def test_an_array_needs_a_name_for_every_column() -> None:
    found = training.build_reference("m", "1", np.eye(3), names=["x", "y", "z"])
    assert [f.feature for f in found.features] == ["x", "y", "z"]
    with pytest.raises(ReferenceProblem, match="as many names"):
        training.build_reference("m", "1", np.eye(3), names=["x"])


def test_lists_and_an_array_of_them_are_monitored_through_what_is_derived() -> None:
    vectors = np.random.default_rng(1).normal(size=(300, 5))
    lists = training.build_reference("m", "1", {"x": np.arange(300.0), "v": vectors.tolist()})
    array = training.build_reference("m", "1", {"x": np.arange(300.0), "v": vectors})
    assert lists.features == array.features
    assert [f.feature for f in lists.features] == ["x", *derived_names("v")]
    softmax = training.build_reference("m", "1", {"x": np.arange(300.0)}, predictions=vectors)
    assert "@prediction.norm" in [f.feature for f in softmax.features]


def test_where_the_rows_came_from_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "train.csv.dvc").write_text("outs:\n- md5: abc123\n  size: 5\n  path: train.csv\n", encoding="utf-8")
    (tmp_path / "more.csv").write_text("x\n1\n", encoding="utf-8")
    files = [tmp_path / "train.csv", tmp_path / "more.csv"]
    found = training.build_reference("m", "1", {"x": [1.0]}, data_files=files, preprocessing="x / 2")
    assert found.source["data"][0] == {"file": "train.csv", "dvc_md5": "abc123"}
    assert found.source["data"][1]["file"] == "more.csv"
    assert found.environment["preprocessing"].startswith("sha256:")
    assert "python" in found.environment
    with pytest.raises(ReferenceProblem, match="cannot be read"):
        training.data_revision(tmp_path / "absent.csv")


def test_a_saved_reference_is_read_back(tmp_path: Path) -> None:
    made = training.build_reference("m", "1", {"x": [1.0, 2.0]})
    training.save_reference(made, tmp_path / "reference.json")
    assert references.decode((tmp_path / "reference.json").read_bytes()) == made
