"""Detectors by their names in the settings: built in, from river, or custom; and the protocol of a custom detector."""

import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from detectors.errors import CheckpointError, SettingsError

CHANNELS = ("u", "spread", "z")
"""The inputs that a detector can choose from; the first is the default."""


@runtime_checkable
class FeatureDetector(Protocol):
    """The protocol of a custom detector: one object per feature, named in the settings as ``package.module:Class``.

    It is made without arguments. It must be a pure function of its values: no clock, no randomness, no dependence on
    how values are split over calls. ``channel`` (class attribute, optional) is its input: ``u`` (default; the rank
    under the reference, in (0, 1)), ``spread`` (|u - 1/2|) or ``z`` (the normal score).
    """

    def update_many(self, values: list[float]) -> Sequence[int]:
        """Adds ``values``; returns the rows at which the detector fired."""
        ...

    def snapshot(self) -> bytes:
        """The detector's whole state, for a checkpoint."""
        ...

    def restore(self, data: bytes) -> None:
        """Restores a snapshot. Any exception makes the detector start cold, which is counted."""
        ...


class RiverDetector:
    """Any drift detector of river by name, such as ``river.drift.KSWIN``, with a fixed seed where it is random.

    river saves state only as pickles, which no checkpoint may contain: the detector starts cold after a restore.
    """

    channel = "u"
    __slots__ = ("_detector",)

    def __init__(self, make: Callable[..., Any]) -> None:
        seeded = "seed" in inspect.signature(make).parameters
        self._detector = make(seed=0) if seeded else make()

    def update_many(self, values: list[float]) -> list[int]:
        """Adds ``values``; returns the rows at which the detector fired."""
        detector, fired = self._detector, []
        for row, value in enumerate(values):
            detector.update(value)
            if detector.drift_detected:
                fired.append(row)
        return fired

    def snapshot(self) -> bytes:
        """Empty: river has no state that is safe to load."""
        return b""

    def restore(self, data: bytes) -> None:
        """Raises CheckpointError, so that the detector starts cold."""
        raise CheckpointError("river's detectors other than ADWIN and Page-Hinkley start cold after a restore")


BUILT_IN: dict[str, str | None] = {
    "adwin": None,
    "page_hinkley": None,
}
"""The short names of the settings, each with its class as ``package.module:Class``.

None: a compiled loop over all features at once, which the bank runs itself.
"""


def is_compiled(name: str) -> bool:
    """Whether a settings name means a detector that the bank runs itself, without ``detector_factory``."""
    return name in BUILT_IN and BUILT_IN[name] is None


def detector_factory(name: str) -> Callable[[], FeatureDetector]:
    """The factory of the detector that a settings name means.

    Raises SettingsError for a name that cannot be imported, and for a class that breaks the protocol where that shows
    without running it: a missing method, a constructor that needs arguments, an unknown ``channel``.

    >>> isinstance(detector_factory("river.drift.KSWIN")(), FeatureDetector)
    True
    """
    path = BUILT_IN.get(name) or name
    module_name, colon, class_name = path.partition(":")
    if not colon:
        module_name, _, class_name = path.rpartition(".")
    try:
        made = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(
            f"detector {name!r}: {error}; it is one of {', '.join(BUILT_IN)}, a river detector such as "
            "river.drift.KSWIN, or your own as package.module:Class"
        ) from error
    if not inspect.isclass(made):
        raise SettingsError(f"detector {name!r} is no class")
    if module_name.split(".")[0] == "river":
        return lambda: RiverDetector(made)
    if not issubclass(made, FeatureDetector):
        raise SettingsError(f"detector {name!r} lacks update_many, snapshot or restore")
    if _needs_arguments(made):
        raise SettingsError(f"detector {name!r} must be made without arguments")
    channel = getattr(made, "channel", CHANNELS[0])
    if channel not in CHANNELS:
        raise SettingsError(f"detector {name!r}: channel {channel!r} is none of {', '.join(CHANNELS)}")
    return made


def _needs_arguments(made: type) -> bool:
    try:
        inspect.signature(made).bind()
    except TypeError:
        return True
    except ValueError:  # a class in another language, without a signature
        return False
    return False
