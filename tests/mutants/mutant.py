"""The record of a planted bug."""

from typing import NamedTuple


class Mutant(NamedTuple):
    """A bug that is planted in a copy of the tree. ``old`` occurs once in ``file`` and is replaced by ``new``.

    ``fault``: what is wrong then, in one sentence. ``tests``: what pytest runs first, files or ``file::test``.
    """

    name: str
    file: str
    old: str
    new: str
    fault: str
    tests: tuple[str, ...]
