"""Writes the packages of the image with their hashes: ``python -m deploy.image.build``.

pip resolves them for both architectures of the image from the versions in constraints.txt, and reports the hash of each
file that it would install. A package without a wheel for an architecture gets the hash of its source.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "constraints-image.txt"
HEAD = """\
# The packages of the image, for Python 3.11 on Linux (x86_64 and aarch64), each with the hashes of its files.
# Made from pyproject.toml and constraints.txt by python -m deploy.image.build; edit these files.
"""
EXTRAS = ("avro", "parquet")
ARCHITECTURES = ("x86_64", "aarch64")
GLIBC = ("2014", "_2_17", "_2_27", "_2_28", "_2_34", "_2_36")  # up to Debian 12
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
NO_HASH = "0" * 64


def requirements() -> list[str]:
    """What the image installs: driftline's dependencies, those of EXTRAS, and what its own build needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    return wanted + [requirement for extra in EXTRAS for requirement in extras[extra]]


def text(pins: Mapping[str, str], hashes: Mapping[str, Iterable[str]]) -> str:
    """The file: ``pins`` are the versions, ``hashes`` the SHA-256 of the files, both by package."""
    lines = []
    for name in sorted(pins):
        files = " \\\n".join(f"    --hash=sha256:{one}" for one in sorted(set(hashes[name])))
        lines.append(f"{name}=={pins[name]} \\\n{files}\n")
    return HEAD + "".join(lines)


def main() -> None:
    pins: dict[str, str] = {}
    hashes: dict[str, list[str]] = {}
    for architecture in ARCHITECTURES:
        if not pins:
            report = _report(architecture, ["-c", str(ROOT / "constraints.txt"), *requirements()])
            pins = {name: version for name, version, _ in _files(report)}
        else:
            wheels = [f"{name}=={version}" for name, version in pins.items()]
            without = [name for name in wheels if not _has_wheel(architecture, name)]
            report = _report(architecture, ["--no-deps", *(name for name in wheels if name not in without)])
            for requirement in without:
                hashes[requirement.partition("==")[0]].append(_source_hash(requirement))
        for name, _, digest in _files(report):
            hashes.setdefault(name, []).append(digest)
    TARGET.write_text(text(pins, hashes), encoding="utf-8")


def _report(architecture: str, arguments: list[str]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.json"
        done = _resolve(architecture, ["--report", str(file), "--target", folder, *arguments])
        if done.returncode != 0:
            sys.exit(done.stderr)
        return json.loads(file.read_text(encoding="utf-8"))


def _resolve(architecture: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    platforms = [part for one in GLIBC for part in ("--platform", f"manylinux{one}_{architecture}")]
    command = [*PIP, "install", "--quiet", "--dry-run", "--ignore-installed", "--only-binary", ":all:"]
    command += ["--python-version", "3.11", "--implementation", "cp", *platforms, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _has_wheel(architecture: str, requirement: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        return _resolve(architecture, ["--no-deps", "--target", folder, requirement]).returncode == 0


def _source_hash(requirement: str) -> str:
    """The hash of a package's source, as pip reports it when it refuses a wrong one before it builds anything."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "wrong.txt"
        file.write_text(f"{requirement} --hash=sha256:{NO_HASH}\n", encoding="utf-8")
        command = [*PIP, "download", "--no-deps", "--no-binary", ":all:", "--require-hashes"]
        done = subprocess.run([*command, "-d", folder, "-r", str(file)], capture_output=True, text=True, check=False)
    found = re.search(r"Got\s+([0-9a-f]{64})", done.stderr)
    return found[1] if found else sys.exit(f"{requirement}: no hash of its source:\n{done.stderr}")


def _files(report: Any) -> list[tuple[str, str, str]]:
    return [
        (
            re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower(),
            item["metadata"]["version"],
            item["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for item in report["install"]
    ]


if __name__ == "__main__":
    main()
