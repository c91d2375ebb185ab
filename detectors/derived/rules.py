"""The table of derived features: which numeric features are derived from a feature of each kind.

Decoder, bank and builder of references read it here, so that they agree on names and values. A derived feature is
numeric and is watched like any other. Features are derived from texts, truth values or lists. None is derived from
numbers, because the decoder reads many numeric features at a time. A new rule needs nothing for old references and
checkpoints: its features are new ones there, and are learned. A change of the names of an existing rule must also
define how a bank continues from a checkpoint with the old names.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from detectors.columns import Bytes8, Floats
from detectors.derived import vectors
from detectors.features import Kind


class Rule(NamedTuple):
    """The rule by which D features are derived from one value.

    ``suffixes``: D endings of names. ``derive``: from n values, None where missing, to numbers of shape (n, D), 0.0
    where absent, and one status a value, shape (n,).
    """

    suffixes: tuple[str, ...]
    derive: Callable[[Sequence[Any] | np.ndarray], tuple[Floats, Bytes8]]


RULES: dict[Kind, tuple[Rule, ...]] = {
    Kind.VECTOR: (Rule(vectors.SUFFIXES, vectors.derive),),
}
"""All rules, by the kind of the feature from which others are derived."""


class Derived(NamedTuple):
    """The D features of n values: ``numbers`` and ``status`` have shape (n, D)."""

    names: tuple[str, ...]
    numbers: Floats
    status: Bytes8


def derived_names(feature: str, kind: Kind = Kind.VECTOR) -> list[str]:
    """The names of the features that are derived from a feature of a kind, in the order of ``derived``'s columns.

    >>> names = derived_names("embedding")
    >>> names[0], names[1]
    ('embedding.norm', 'embedding.direction_1')
    """
    return [feature + suffix for rule in RULES.get(kind, ()) for suffix in rule.suffixes]


def known_names(feature: str, known: Callable[[str], bool], kind: Kind = Kind.VECTOR) -> list[str]:
    """The derived names for which ``known`` holds, if it holds for every name of at least one rule; else none.

    So a feature whose reference or checkpoint is older than one of the rules is still recognised by the others.

    >>> names = derived_names("embedding")
    >>> known_names("embedding", names.__contains__) == names
    True
    >>> known_names("price", ["price.norm"].__contains__)
    []
    """
    found = [[feature + suffix for suffix in rule.suffixes] for rule in RULES.get(kind, ())]
    if not any(all(map(known, names)) for names in found):
        return []
    return [name for names in found for name in names if known(name)]


def derived(feature: str, values: Sequence[Any] | np.ndarray, kind: Kind = Kind.VECTOR) -> Derived:
    """The names and values of what is derived from n values of a feature. The cost is that of the rules.

    >>> found = derived("embedding", [[3.0, 4.0], None, ["a"]])
    >>> found.names[0], found.numbers[0, 0].item(), found.status[:, 0].tolist()
    ('embedding.norm', 5.0, [0, 1, 2])
    """
    made = [(rule, *rule.derive(values)) for rule in RULES.get(kind, ())]
    return Derived(
        tuple(derived_names(feature, kind)),
        np.concatenate([numbers for _, numbers, _ in made], axis=1),
        np.concatenate([np.repeat(status[:, None], len(rule.suffixes), axis=1) for rule, _, status in made], axis=1),
    )
