"""All planted bugs."""

from tests.mutants import judging, observing, reading
from tests.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (*observing.MUTANTS, *judging.MUTANTS, *reading.MUTANTS)
