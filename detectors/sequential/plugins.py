"""Detectors by the names of the settings: built in, river's, or a user's own; and the protocol of a user's own."""

import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from detectors.errors import CheckpointError, SettingsError


@runtime_checkable
class FeatureDetector(Protocol):
    """The protocol of a detector of a user's own: one object per feature, named in the settings as
    ``package.module:Class``.

    It is made without arguments. It must be a pure function of its values: no clock, no randomness, no dependence on
    the cuts between calls. ``channel`` (class attribute, optional) is its input: ``u`` (default; the rank under the
    reference, in (0, 1)), ``spread`` (|u - 1/2|) or ``z`` (the normal score).
    """

    def update_many(self, values: list[float]) -> Sequence[int]:
        """Adds ``values``; returns the rows at which the detector fired."""
        ...

    def snapshot(self) -> bytes:
        """The whole state."""
        ...

    def restore(self, data: bytes) -> None:
        """Restores a snapshot. Any exception makes the detector start cold, which is counted."""
        ...


class RiverDetector:
    """Any drift detector of river by name, such as ``river.drift.KSWIN``, with a fixed seed where it is random.

    river's only state format are pickles, which never enter a checkpoint: the detector starts cold after a restore.
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
    """The factory of the detector that a settings name means. Raises SettingsError for an unknown one.

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
    if module_name.split(".")[0] == "river":
        return lambda: RiverDetector(made)
    if not issubclass(made, FeatureDetector):
        raise SettingsError(f"detector {name!r} lacks update_many, snapshot or restore")
    return made  # type: ignore[no-any-return]
