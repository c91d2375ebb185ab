"""The detectors of river that every program of the comparison updates."""

from collections.abc import Callable
from typing import Any


def river_detectors() -> Callable[[dict[str, float]], None]:
    """river's ADWIN and Page-Hinkley on every feature, as in its documentation."""
    from river.drift import ADWIN, PageHinkley

    pairs: dict[str, tuple[Any, Any]] = {}

    def update(features: dict[str, float]) -> None:
        for name, value in features.items():
            pair = pairs.get(name)
            if pair is None:
                pair = pairs[name] = (ADWIN(), PageHinkley())
            pair[0].update(value)
            pair[1].update(value)

    return update
