"""The list of planted bugs fits the code, and a bug that is planted is found. ``make mutants`` plants all of them."""

import re
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.mutants import __main__ as program
from tests.mutants.mutant import Mutant
from tests.mutants.planted import MUTANTS
from tests.mutants.run import ROOT, Copy, Found

NAMES = [one.name for one in MUTANTS]

ONCE_UNCAUGHT = (
    "restored-without-a-shard",
    "row-without-other-epochs",
    "durable-before-manifest",
    "commit-before-row",
    "revoked-state-kept",
)
"""Bugs that no test caught when they were planted for the first time."""

AREAS = (
    "detectors/evidence/explanations.py",
    "detectors/incidents/activity.py",
    "detectors/merging.py",
    "stream/formats/row.py",
    "stream/http/page/words.py",
    "stream/judge/frontier.py",
    "stream/judge/guard.py",
    "stream/judge/judge.py",
    "stream/judge/shell/app.py",
    "stream/judge/shell/rows.py",
    "stream/judge/sight.py",
    "stream/judge/view.py",
    "stream/labels/predictions.py",
    "stream/observe/observer.py",
    "stream/observe/shell/outbox.py",
    "stream/observe/shell/runner.py",
    "stream/observe/shell/saver.py",
    "stream/observe/slots.py",
    "stream/observe/unit_work.py",
    "stream/topics/checkpoints.py",
)
"""Files in which bugs are planted, whatever else changes."""


def test_bugs_are_planted_in_every_area_and_each_has_a_name_of_its_own() -> None:
    assert len(MUTANTS) >= 100
    assert [name for name, times in Counter(NAMES).items() if times > 1] == []
    assert {one.file for one in MUTANTS} >= set(AREAS)
    assert set(NAMES) >= set(ONCE_UNCAUGHT)


@pytest.mark.parametrize("mutant", MUTANTS, ids=NAMES)
def test_a_planted_bug_fits_the_code_and_names_tests_that_exist(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text()
    assert text.count(mutant.old) == 1, f"{mutant.file} has changed there: plant the bug anew"
    changed = text.replace(mutant.old, mutant.new)
    assert changed != text
    compile(changed, mutant.file, "exec")
    assert mutant.fault.endswith(".")
    assert mutant.tests
    for test in mutant.tests:
        path, _, name = test.partition("::")
        assert (ROOT / path).exists(), test
        if name:
            assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), test


BUG = Mutant(
    "a bug",
    "stream/judge/shell/pending.py",
    "self._committable[partition] = first + 1",
    "self._committable[partition] = first + 2",
    "The commit is one too far.",
    ("tests/judge/shell/test_pending.py",),
)
NO_BUG = Mutant(
    "no bug",
    "detectors/derived/rules.py",
    '"""',
    '"""',
    "Nothing is wrong.",
    ("tests/derived/test_vectors.py",),
)


@pytest.mark.timeout(180)
def test_a_bug_is_caught_by_the_test_that_it_names_and_what_is_none_lives(tmp_path: Path) -> None:
    copy = Copy(tmp_path / "copy")
    assert copy.check(BUG.tests) is None
    found = copy.find(BUG)
    assert found.named
    assert found.test is not None
    assert found.test.startswith("tests/judge/shell/test_pending.py::test_")
    assert (copy.folder / BUG.file).read_text() == (ROOT / BUG.file).read_text()
    assert copy.find(NO_BUG).test is None


class Fake:
    """A copy in which every bug is caught, but not those in ``lives``, nor by a named test those in ``elsewhere``."""

    def __init__(self, lives: tuple[str, ...] = (), elsewhere: tuple[str, ...] = ()) -> None:
        self.lives, self.elsewhere = lives, elsewhere

    def __call__(self, folder: Path) -> "Fake":
        return self

    def check(self, tests: object) -> str | None:
        return None

    def find(self, mutant: Mutant, *, named_only: bool) -> Found:
        test = None if mutant.name in self.lives else "tests/x.py::test_y"
        return Found(test, 1.0, named=mutant.name not in (*self.lives, *self.elsewhere))


@pytest.mark.parametrize(
    ("fake", "status", "says"),
    [
        (Fake(), 0, f"{len(MUTANTS)} of {len(MUTANTS)} caught"),
        (Fake(lives=(NAMES[0],)), 1, "LIVES"),
        (Fake(elsewhere=(NAMES[1],)), 1, f"not caught so: {NAMES[1]}"),
    ],
)
def test_the_status_is_1_unless_every_bug_is_caught_by_a_test_that_it_names(
    fake: Fake, status: int, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "Copy", fake)
    monkeypatch.setattr(sys, "argv", ["mutants"])
    assert program.main() == status
    assert says in capsys.readouterr().out
