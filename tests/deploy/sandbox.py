"""Runs a command under what a systemd unit forbids: ``python -m tests.deploy.sandbox UNIT COMMAND ...``.

Where systemd does not run the machine, its switches are set here as systemd sets them: no new privileges, the kernel's
own switch against memory that is writable and executable (PR_SET_MDWE), and a filter of system calls that is compiled
from the unit's SystemCallFilter and the sets of ``systemd-analyze syscall-filter``.
"""

import ctypes
import errno
import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, PR_SET_MDWE = 38, 22, 65
MDWE_REFUSE_EXEC_GAIN, SECCOMP_MODE_FILTER = 1, 2
X86_64 = 0xC000003E
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, KILL, ERROR = 0x7FFF0000, 0x80000000, 0x00050000
NUMBERS = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")


def properties(unit: str) -> dict[str, list[str]]:
    """Every setting of the unit's text, with all its values in order."""
    found: dict[str, list[str]] = {}
    for line in unit.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name.strip(), []).append(value.strip())
    return found


def allowed_calls(filters: list[str]) -> set[str]:
    """The names of the calls that the unit's filters leave."""
    sets = _sets()
    allowed: set[str] = set()
    for value in filters:
        names = {call for name in value.removeprefix("~").split() for call in _expand(name, sets)}
        allowed = allowed - names if value.startswith("~") else allowed | names
    return allowed | set(_expand("@default", sets))


def _sets() -> dict[str, list[str]]:
    text = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True).stdout
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("@"):
            name = line.strip()
            found[name] = []
        elif name and line.startswith(" ") and not line.strip().startswith("#"):
            found[name].append(line.strip())
    return found


def _expand(name: str, sets: dict[str, list[str]]) -> Iterator[str]:
    if not name.startswith("@"):
        yield name
    for inner in sets.get(name, ()):
        yield from _expand(inner, sets)


def apply(unit: str) -> None:
    """Restricts this process, and every program that it starts, as the unit does."""
    found = properties(unit)
    libc = ctypes.CDLL(None, use_errno=True)

    def switch(option: int, *values: object) -> None:
        if libc.prctl(option, *values, *[0] * (4 - len(values))) != 0:
            raise OSError(ctypes.get_errno(), f"prctl {option}")

    if found.get("NoNewPrivileges") == ["yes"]:
        switch(PR_SET_NO_NEW_PRIVS, 1)
    if found.get("MemoryDenyWriteExecute") == ["yes"]:
        switch(PR_SET_MDWE, MDWE_REFUSE_EXEC_GAIN)
    if filters := found.get("SystemCallFilter"):
        error = found.get("SystemCallErrorNumber")
        otherwise = KILL if error is None else ERROR | getattr(errno, error[-1])
        program = _program(allowed_calls(filters), otherwise)
        code = ctypes.create_string_buffer(program, len(program))
        head = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code)))
        switch(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, head)


def _program(names: set[str], otherwise: int) -> bytes:
    numbers = dict(re.findall(r"#define __NR_(\w+) (\d+)", NUMBERS.read_text()))
    steps = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, X86_64), (RETURN, 0, 0, KILL), (LOAD, 0, 0, 0)]
    for name in sorted(names & set(numbers)):
        steps += [(EQUAL, 0, 1, int(numbers[name])), (RETURN, 0, 0, ALLOW)]
    steps.append((RETURN, 0, 0, otherwise))
    return b"".join(struct.pack("HBBI", *step) for step in steps)


if __name__ == "__main__":
    apply(Path(sys.argv[1]).read_text(encoding="utf-8"))
    os.execvp(sys.argv[2], sys.argv[2:])
