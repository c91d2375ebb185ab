"""``driftline replay`` on random and broken files: status 0, 1 or 2, one clear line, no traceback."""

from pathlib import Path

import pytest

from stream.commands import cli
from tests.files import broken

pytest.importorskip("pyarrow")


@pytest.mark.parametrize("first", range(0, 200, 25))
def test_a_broken_file_ends_with_a_status_and_one_clear_line(
    first: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(first, first + 25):
        file, options = broken.write(tmp_path, seed)
        status = cli.run(["replay", str(file), "--quiet", *options])
        shown = capsys.readouterr()
        assert status in (0, 1, 2), (seed, options)
        assert "Traceback" not in shown.err, (seed, options, shown.err)
        assert "bug in driftline" not in shown.err, (seed, options)
        if status == 2 and not shown.out:
            assert shown.err.startswith("driftline: "), (seed, options, shown.err)
            assert shown.err.count("\n") == 1, (seed, options, shown.err)
            assert file.name in shown.err or "file" in shown.err, (seed, options, shown.err)
