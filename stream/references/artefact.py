"""Reference artefacts in files: reading one and writing one."""

from pathlib import Path

from detectors import errors
from detectors.errors import DriftlineError
from detectors.reference import reference as references
from detectors.reference.reference import Reference


def read(file: str) -> Reference:
    """The reference in ``file``. Raises ReferenceError naming the file where it cannot be read or is no reference."""
    try:
        return references.decode(Path(file).read_bytes(), file)
    except OSError as error:
        raise errors.ReferenceError(f"{file}: cannot be read: {error.strerror or error}") from None


def write(reference: Reference, file: str) -> None:
    """Writes the reference to ``file``. Raises DriftlineError naming a file that cannot be written."""
    try:
        Path(file).write_bytes(references.encode(reference))
    except OSError as error:
        raise DriftlineError(f"{file}: cannot be written: {error.strerror or error}") from None
