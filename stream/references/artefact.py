"""Reference artefacts in files: reading one and writing one."""

from pathlib import Path

from detectors import errors
from detectors.errors import DriftlineError
from detectors.reference import reference as references
from detectors.reference.reference import Reference


def read_reference(path: str | Path) -> Reference:
    """The reference in the file at ``path``. Raises ReferenceError naming a file that cannot be read or is not one."""
    try:
        return references.decode(Path(path).read_bytes(), str(path))
    except OSError as error:
        raise errors.ReferenceError(f"{path}: cannot be read: {error.strerror or error}") from None


def write(reference: Reference, file: str) -> None:
    """Writes the reference to ``file``. Raises DriftlineError naming a file that cannot be written."""
    try:
        Path(file).write_bytes(references.encode(reference))
    except OSError as error:
        raise DriftlineError(f"{file}: cannot be written: {error.strerror or error}") from None
