"""A survey's counts are exact for its sample, and its settings file can be loaded."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from rich.console import Console

from detectors.columns import INVALID, MISSING, Columns
from detectors.features import FeatureSpec, Kind, UnitKey
from stream.settings import settings as config
from stream.survey import survey, views
from stream.topics.record import Record


def columns(segment: str | None = None, start: int = 0) -> Columns:
    """400 events: an amount with one missing and two invalid, a country, an id."""
    count = 400
    numbers = np.arange(count, dtype=np.float64).reshape(-1, 1)
    status = np.zeros((count, 1), dtype=np.uint8)
    status[0, 0] = MISSING
    status[1:3, 0] = INVALID
    return Columns(
        unit=UnitKey("fraud", "3", segment),
        next_offsets=np.arange(1, count + 1),
        timestamps_ms=np.arange(count) * 100 + start,
        numeric=("amount",),
        numbers=numbers,
        number_status=status,
        categorical=(FeatureSpec("country", Kind.CATEGORICAL), FeatureSpec("order", Kind.CATEGORICAL)),
        categories=[["DE"] * 300 + ["FR"] * 100, [f"order-{start + i}" for i in range(count)]],
        environments={'{"python": "3.12"}': count},
    )


def features(model: survey.ModelSurvey) -> dict[str, survey.FeatureSurvey]:
    return {feature.feature: feature for feature in model.features}


def test_every_event_of_a_feature_is_present_missing_or_invalid() -> None:
    (model,) = survey.models([columns()])
    for feature in model.features:
        assert feature.present + feature.missing + feature.invalid == model.events
    assert (features(model)["amount"].missing, features(model)["amount"].invalid) == (1, 2)


def test_segments_of_one_model_version_are_surveyed_together() -> None:
    (model,) = survey.models([columns("DE"), columns("FR", start=40_000)])
    assert model.events == 800
    assert model.segments == {"DE": 400, "FR": 400}
    assert model.events_per_second == pytest.approx(10)


def test_a_feature_that_comes_later_is_missing_before() -> None:
    later = columns(start=40_000)
    later.numeric = ("amount2",)
    (model,) = survey.models([columns(), later])
    assert features(model)["amount2"].missing == 400 + 1


def test_quantiles_are_those_of_the_present_values() -> None:
    amount = features(survey.models([columns()])[0])["amount"]
    assert (amount.minimum, amount.maximum, amount.quantiles["0.5"]) == (3, 399, 201)
    assert sum(amount.histogram) == amount.present


def test_a_name_for_each_event_is_an_identifier_and_left_out_of_the_settings(tmp_path: Path) -> None:
    found = survey.models([columns()])
    assert [f.feature for f in found[0].features if f.identifier] == ["order"]
    path = tmp_path / "driftline.yaml"
    path.write_text(yaml.safe_dump(survey.settings("events", "kafka:9092", found)), encoding="utf-8")
    settings = config.load(path, {})
    assert settings.topics.event_names == ("events",)
    assert settings.models["fraud"].ignore == ("order",)
    assert settings.models["fraud"].features["amount"].kind is Kind.NUMERIC


def test_of_a_feature_that_comes_as_two_kinds_the_settings_name_the_more_frequent() -> None:
    count = 10
    mixed = Columns(
        unit=UnitKey("fraud", "3", None),
        next_offsets=np.arange(count),
        timestamps_ms=np.arange(count),
        numeric=("x",),
        numbers=np.zeros((count, 1)),
        number_status=np.array([[MISSING]] * 3 + [[0]] * 7, dtype=np.uint8),
        categorical=(FeatureSpec("x", Kind.CATEGORICAL),),
        categories=[["a"] * 3 + [None] * 7],
        category_status=np.array([[0]] * 3 + [[MISSING]] * 7, dtype=np.uint8),
    )
    found = survey.models([mixed])
    assert [(f.kind, f.present) for f in found[0].features] == [(Kind.NUMERIC, 7), (Kind.CATEGORICAL, 3)]
    assert survey.settings("t", "k", found)["models"] == {
        "fraud": {"features": {"x": {"kind": "numeric"}}, "ignore": []}
    }


@pytest.mark.parametrize(
    ("value", "headers", "expected"),
    [
        (None, (), "empty"),
        (b'{"model": "a"}', (), "JSON object"),
        (b" [1]", (), "JSON array"),
        (b"\x1f\x8b", (), "gzip"),
        (b"{}", (("ce_type", b"x"),), "JSON object, CloudEvents headers"),
        (b"<xml/>", (), "other"),
    ],
)
def test_the_shape_of_a_record_is_told_from_outside(
    value: bytes | None, headers: tuple[tuple[str, bytes], ...], expected: str
) -> None:
    assert survey.shape(Record(0, 0, None, value, headers)) == expected


def test_the_page_and_the_table_name_every_feature_and_nothing_from_elsewhere() -> None:
    found = survey.TopicSurvey(
        "<events>", 1, 400, 400, 10, 3.0, {"JSON object": 400}, {"no model": 2}, survey.models([columns()])
    )
    page = views.page(found)
    console = Console(width=200, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115
    views.show(console, found)
    table = console.export_text()
    console.file.close()
    for name in ("amount", "country", "order", "no model"):
        assert name in page
        assert name in table
    assert "<events>" not in page
    assert "http" not in page
    assert "<script" not in page
