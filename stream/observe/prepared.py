"""All references that a worker knows, prepared for its units. No I/O."""

from collections.abc import Iterable

from detectors.bank.prepared import PreparedReference
from detectors.features import ModelKey, UnitKey
from detectors.reference.reference import Reference


class PreparedReferences:
    """References by model version or segment. Each is prepared once, when the first unit needs it."""

    __slots__ = ("_prepared", "_references")

    def __init__(self, references: Iterable[Reference]) -> None:
        self._references: dict[UnitKey, Reference] = {_target(r): r for r in references}
        self._prepared: dict[UnitKey | None, PreparedReference] = {None: PreparedReference(None)}

    def of(self, unit: UnitKey) -> PreparedReference:
        """The reference of a unit: that of its segment, else that of its model version, else one that learns."""
        whole = UnitKey(unit.model, unit.version, None)
        target = unit if unit in self._references else whole if whole in self._references else None
        prepared = self._prepared.get(target)
        if prepared is None:
            assert target is not None
            prepared = self._prepared[target] = PreparedReference(self._references[target])
        return prepared

    def put(self, reference: Reference) -> None:
        """Adds a reference; it replaces the one of the same model version and segment."""
        self._references[_target(reference)] = reference
        self._prepared.pop(_target(reference), None)

    def remove(self, model: ModelKey) -> None:
        """Removes all references of a model version."""
        for target in [target for target in self._references if target.model_key == model]:
            del self._references[target]
            self._prepared.pop(target, None)


def _target(reference: Reference) -> UnitKey:
    return UnitKey(reference.model, reference.version, reference.segment)
