"""Reference artefacts in files: reading one and writing one."""

from pathlib import Path

from detectors import errors
from detectors.errors import DriftlineError
from detectors.reference import reference as references
from detectors.reference.reference import Reference


def read(file: str) -> Reference:
    """The reference in ``file``. Raises ReferenceError naming the file if it cannot be read or is not a reference."""
    try:
        return references.decode(Path(file).read_bytes(), file)
    except OSError as error:
        raise errors.ReferenceError(f"{file}: cannot be read: {error.strerror or error}") from None


def read_reference(path: str | Path) -> Reference:
    """The reference in the file at ``path``. Raises ReferenceError naming a file that cannot be read or is not one."""
    return read(str(path))


def write(reference: Reference, file: str) -> None:
    """Writes the reference to ``file``. Raises DriftlineError naming a file that cannot be written."""
    try:
        Path(file).write_bytes(references.encode(reference))
    except OSError as error:
        raise DriftlineError(f"{file}: cannot be written: {error.strerror or error}") from None
