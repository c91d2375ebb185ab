"""The three models of the demo, trained with river on real data, and the changes that are injected into them.

Two models use ImageSegments (regions of outdoor photographs, 2,310 rows) and one uses Phishing (web pages, 1,250
rows). Both data sets are part of river. Half of the rows, with the same share of every class, train the model and
are its reference. Production events are drawn from the other half, independently and with replacement. No Kafka and
no clock here.
"""

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from detectors.features import PREDICTION, SCORE_PREFIX

Row = Mapping[str, float]
Features = dict[str, float | int | None]

Label = str | bool
COLOURS = ("red", "green", "blue")


Labelled = tuple[Row, Label]


class Classifier(Protocol):
    """The methods of a river classifier that are used here."""

    def learn_one(self, x: Mapping[str, Any], y: Any) -> Any: ...

    def predict_proba_one(self, x: Mapping[str, Any]) -> dict[Any, float]: ...


class Inference(NamedTuple):
    """The input and the output of one call of a model."""

    features: Features
    prediction: Label
    scores: dict[str, float]


class DeployedModel:
    """A trained model with the code that prepares its input. An injected change replaces that code, or its
    environment."""

    def __init__(
        self,
        model: str,
        version: str,
        classifier: Classifier,
        labelled: Sequence[Labelled],
        prepare: Callable[[Row], Features],
        environment: Mapping[str, str],
        seed: int,
    ) -> None:
        self.model, self.version = model, version
        self._prepare = prepare
        self.environment = dict(environment)
        self._classifier = classifier
        train, held_out = halves_of(labelled, seed)
        self._held_out = [row for row, _ in held_out]
        self._train = [row for row, _ in train]
        self._random = random.Random(seed)
        for row, label in train:
            classifier.learn_one(_known(prepare(row)), label)

    def deploy(self, prepare: Callable[[Row], Features], environment: Mapping[str, str] | None = None) -> None:
        """Replaces the code in front of the model and, if given, the environment that it runs in."""
        self._prepare = prepare
        if environment is not None:
            self.environment = dict(environment)

    def infer(self, row: Row) -> Inference:
        """Prepares a raw row as a service would, and calls the model."""
        features = self._prepare(row)
        shares = self._classifier.predict_proba_one(_known(features))
        label, share = max(shares.items(), key=lambda item: (item[1], str(item[0])))
        return Inference(features, label, {"confidence": round(float(share), 6)})

    def serve(self) -> Inference:
        """The next production request: a random row of those that the model was not trained on."""
        return self.infer(self._random.choice(self._held_out))

    def reference_columns(self) -> dict[str, list[Any]]:
        """The prepared training rows with the model's output, as the columns of a reference."""
        columns: dict[str, list[Any]] = {}
        for inference in map(self.infer, self._train):
            answers: dict[str, Any] = {PREDICTION: inference.prediction}
            scores = {SCORE_PREFIX + name: score for name, score in inference.scores.items()}
            for name, value in {**inference.features, **answers, **scores}.items():
                columns.setdefault(name, []).append(value)
        return columns


def halves_of(labelled: Iterable[Labelled], seed: int) -> tuple[list[Labelled], list[Labelled]]:
    """Two halves with the same share of every class, each in random order."""
    generator = random.Random(seed)
    rows = list(labelled)
    generator.shuffle(rows)
    rows.sort(key=lambda row: row[1])
    halves = rows[0::2], rows[1::2]
    for half in halves:
        generator.shuffle(half)
    return halves


def _known(features: Features) -> dict[str, float | int]:
    """The input of the model itself: a missing value becomes 0, as in many services."""
    return {name: 0 if value is None else value for name, value in features.items()}


# -- the image model: a camera is replaced -----------------------------------------------------------------------


class ColourResponse(NamedTuple):
    """How a camera responds to light, for each channel: ``gain * 255 * (value / 255) ** gamma``, clipped to 255."""

    red: float = 1.0
    green: float = 1.0
    blue: float = 1.0
    gamma: float = 1.0

    def apply(self, row: Row) -> dict[str, float]:
        """The row as this camera would have measured it: raw channels changed, derived columns computed again.

        Saturation and hue are means over the pixels of a region, so they differ from those of the mean colour. That
        difference is kept, so the response (1, 1, 1, 1) returns the row unchanged.
        """
        before = tuple(row[f"raw{colour}-mean"] for colour in COLOURS)
        gains = (self.red, self.green, self.blue)
        after = tuple(
            min(255.0, gain * 255.0 * (value / 255.0) ** self.gamma) for gain, value in zip(gains, before, strict=True)
        )
        changed = dict(row)
        for colour, value in zip(COLOURS, after, strict=True):
            changed[f"raw{colour}-mean"] = value
        old, new = derived_colours(*before), derived_colours(*after)
        for name, value in new.items():
            changed[name] = value + (row[name] - old[name])
        changed["saturation-mean"] = min(1.0, max(0.0, changed["saturation-mean"]))
        changed["hue-mean"] = math.remainder(changed["hue-mean"], 2 * math.pi)
        return changed


def derived_colours(red: float, green: float, blue: float) -> dict[str, float]:
    """The columns of ImageSegments that follow from the raw channels."""
    total, largest, smallest = red + green + blue, max(red, green, blue), min(red, green, blue)
    chroma = largest - smallest
    if chroma == 0:
        hue = 0.0
    elif largest == red:
        hue = (green - blue) / chroma
    elif largest == green:
        hue = 2 + (blue - red) / chroma
    else:
        hue = 4 + (red - green) / chroma
    return {
        "intensity-mean": total / 3,
        "exred-mean": 3 * red - total,
        "exgreen-mean": 3 * green - total,
        "exblue-mean": 3 * blue - total,
        "value-mean": largest,
        "saturation-mean": chroma / largest if largest else 0.0,
        "hue-mean": math.remainder(hue * math.pi / 3, 2 * math.pi),
    }


def with_camera(response: ColourResponse) -> Callable[[Row], Features]:
    """The image model's preparation with this camera."""

    def prepare(row: Row) -> Features:
        return dict(response.apply(row))

    return prepare


# -- the phishing model: the lookup of a feature fails ---------------------------------------------------------


def without(missing: frozenset[str]) -> Callable[[Row], Features]:
    """The phishing model's preparation when the lookup of some features returns nothing."""

    def prepare(row: Row) -> Features:
        return {name: None if name in missing else value for name, value in row.items()}

    return prepare


# -- the land-cover model: a library is bumped -------------------------------------------------------------------


def with_pixels_as(pixels: npt.DTypeLike) -> Callable[[Row], Features]:
    """The land-cover model's preparation: colour excess from 8-bit pixels.

    NumPy 1 converted ``np.uint8`` scalars mixed with Python integers to 64 bits. Since NumPy 2 (NEP 50) they stay 8
    bits wide and wrap around at 256. The same line of code gives another result, without an error.
    """

    def prepare(row: Row) -> Features:
        rgb = np.array([round(row[f"raw{colour}-mean"]) for colour in COLOURS]).astype(pixels)
        total = rgb.sum(dtype=rgb.dtype)
        excess = 3 * rgb - total
        features: Features = {colour: int(value) for colour, value in zip(COLOURS, rgb, strict=True)}
        features |= {f"excess_{colour}": int(value) for colour, value in zip(COLOURS, excess, strict=True)}
        features["brightness"] = int(total) // 3
        features["edge_vertical"] = row["vedge-mean"]
        features["edge_horizontal"] = row["hedge-mean"]
        return features

    return prepare


# -- training -----------------------------------------------------------------------------------------------------


def train_image_segments(environment: Mapping[str, str], seed: int) -> DeployedModel:
    from river import datasets, linear_model, preprocessing

    classifier = preprocessing.StandardScaler() | linear_model.SoftmaxRegression()
    rows = list(datasets.ImageSegments())
    return DeployedModel("image-segments", "4", classifier, rows, with_camera(ColourResponse()), environment, seed)


def train_phishing(environment: Mapping[str, str], seed: int) -> DeployedModel:
    from river import datasets, linear_model, preprocessing

    classifier = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    rows = list(datasets.Phishing())
    return DeployedModel("phishing", "2", classifier, rows, without(frozenset()), environment, seed)


def train_land_cover(environment: Mapping[str, str], seed: int) -> DeployedModel:
    from river import datasets, tree

    classifier = tree.HoeffdingTreeClassifier(grace_period=50)
    rows = list(datasets.ImageSegments())
    return DeployedModel("land-cover", "7", classifier, rows, with_pixels_as(np.int64), environment, seed)
