"""References that the settings name as files. A worker reads and publishes them at start, so that all have the same."""

from pathlib import Path

from detectors.errors import SettingsError
from detectors.reference import reference as references
from detectors.reference.reference import Reference
from stream.settings.settings import Settings
from stream.topics import keys
from stream.topics.record import OutRecord

NO_FILE = ("topic", "learn")


def read(settings: Settings) -> list[Reference]:
    """The references that ``models.NAME.reference`` names.

    Raises SettingsError or ReferenceError naming the setting and the file.
    """
    found = []
    for name, model in settings.models.items():
        if model.reference in NO_FILE:
            continue
        key = f"models.{name}.reference"
        try:
            data = Path(model.reference).read_bytes()
        except OSError as error:
            raise SettingsError(
                f"{key}: {model.reference}: {error.strerror}; give a reference file, 'topic' or 'learn'"
            ) from error
        reference = references.decode(data, f"{key}: {model.reference}")
        if reference.model != name:
            raise SettingsError(
                f"{key}: {model.reference} is the reference of model {reference.model!r}, not of {name!r}; "
                f"build it with 'driftline reference build --model {name}'"
            )
        found.append(reference)
    return found


def records(settings: Settings) -> list[OutRecord]:
    """The records for the references topic. Publishing the same reference again changes nothing."""
    return [
        OutRecord(settings.topics.references, keys.reference_key(reference.model_key), references.encode(reference))
        for reference in read(settings)
    ]
