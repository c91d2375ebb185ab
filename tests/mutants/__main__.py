"""``make mutants``: plants each bug in a copy of the tree, and prints the test that catches it and how fast.

The status is 1 if a bug lives or no test that it names catches it within a minute.
"""

import argparse
import sys
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path

from tests.mutants.planted import MUTANTS
from tests.mutants.run import LIMIT_SECONDS, Copy, Found


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants ARGS=...", description=__doc__)
    parser.add_argument("names", nargs="*", default=["*"], help="names of bugs, or patterns such as 'season-*'")
    parser.add_argument("--unchecked", action="store_true", help="do not run the named tests without a bug first")
    parser.add_argument("--named-only", action="store_true", help="do not try the tests of the folders")
    given = parser.parse_args()
    chosen = [one for one in MUTANTS if any(fnmatchcase(one.name, name) for name in given.names)]
    if not chosen:
        parser.error(f"no planted bug is named {' or '.join(given.names)}")
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Copy(Path(folder))
        failing = None if given.unchecked else copy.check(test for one in chosen for test in one.tests)
        if failing is not None:
            sys.exit(f"{failing} fails without a planted bug")
        print(f"{len(chosen)} planted bugs", flush=True)  # noqa: T201 - the table is the program's output
        results = []
        for one in chosen:
            results.append(copy.find(one, named_only=given.named_only))
            print(row(one.name, results[-1]), flush=True)  # noqa: T201
    missed = [one.name for one, found in zip(chosen, results, strict=True) if found.test is None or not found.named]
    caught = [found.seconds for found in results if found.test is not None and found.named]
    print(f"{len(caught)} of {len(chosen)} caught by a test that they name, the slowest in "  # noqa: T201
          f"{max(caught, default=0.0):.0f} s; the limit is {LIMIT_SECONDS} s")  # fmt: skip
    if missed:
        print("not caught so: " + ", ".join(missed))  # noqa: T201
    return int(bool(missed))


def row(name: str, found: Found) -> str:
    """A line of the table: the bug, the seconds, the test."""
    test = "LIVES" if found.test is None else found.test + ("" if found.named else "   (not named)")
    return f"{name:34} {found.seconds:6.1f} s  {test}"


if __name__ == "__main__":
    sys.exit(main())
