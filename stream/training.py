"""Builds a reference in a training script with one call::

    from stream.training import build_reference, publish_reference, save_reference

    reference = build_reference("fraud", "3", X_train, names=columns, preprocessing=clean, data_files=["train.parquet"])
    save_reference(reference, "reference.json")
    publish_reference(reference, "kafka:9092")

The reference records the libraries and the preprocessing that made the data, and the revisions of code and data.
"""

import asyncio
import hashlib
import inspect
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from detectors import plain_values
from detectors import values as value_rules
from detectors.errors import ReferenceError
from detectors.features import PREDICTION, SCORE_PREFIX, Kind
from detectors.reference import builder
from detectors.reference import reference as references
from detectors.reference.reference import Reference
from stream import fingerprint
from stream.backends.kafka.sink import KafkaSink
from stream.settings import settings as config
from stream.settings.settings import Settings
from stream.topics import keys
from stream.topics.record import OutRecord

Preprocessing = str | bytes | Path | Callable[..., Any]
GIT_SECONDS = 5.0
_READ_BYTES = 1_048_576


def build_reference(
    model: str,
    version: str,
    data: Any,
    *,
    names: Sequence[str] | None = None,
    predictions: Any = None,
    scores: Mapping[str, Any] | None = None,
    timestamps_ms: Sequence[int] | np.ndarray | None = None,
    kinds: Mapping[str, Kind | str] | None = None,
    segment: str | None = None,
    preprocessing: Preprocessing | None = None,
    data_files: Iterable[str | Path] = (),
    environment: Mapping[str, str] | None = None,
) -> Reference:
    """The reference of training rows (better: held-out rows), in the order in which they happened if there is one.

    ``data``: a two-dimensional array with ``names`` for its columns, a dict of columns, a pandas or a polars frame.
    ``predictions`` and ``scores`` are the model's output on the same rows. ``preprocessing`` is the function, file,
    source text or bytes that made the features; its hash is added to the environment. ``data_files`` are recorded by
    the hash in their ``.dvc`` file, or else by their own hash. A column of lists (an embedding; in a dict also an
    array of shape (rows, dimension)) is monitored through its norm, length and projections. A column that cannot be
    watched is left out and named in ``source["not_watched"]``. Raises ReferenceError naming the column.
    """
    given = columns_of(data, names)
    reserved = {name: reason for name in given if (reason := value_rules.refused_name(name)) is not None}
    columns = {name: values for name, values in given.items() if name not in reserved}
    if predictions is not None:
        columns[PREDICTION] = _column(predictions)
    for name, values in (scores or {}).items():
        columns[SCORE_PREFIX + name] = _column(values)
    source: dict[str, Any] = {"kind": "training", **code_revision()}
    if reserved:
        source["not_watched"] = reserved
    files = [data_revision(file) for file in data_files]
    if files:
        source["data"] = files
    found = {**fingerprint.fingerprint(), **(environment or {})}
    if preprocessing is not None:
        found["preprocessing"] = preprocessing_hash(preprocessing)
    return builder.build_reference(
        model,
        version,
        columns,
        timestamps_ms=None if timestamps_ms is None else np.asarray(timestamps_ms, np.int64),
        kinds={name: Kind(kind) for name, kind in (kinds or {}).items()},
        environment=found,
        source=source,
        segment=segment,
    )


def columns_of(data: Any, names: Sequence[str] | None = None) -> dict[str, Sequence[Any] | np.ndarray]:
    """Columns by name. Frames are recognised by their methods, so that neither pandas nor polars has to be installed.

    Raises ReferenceError for data without columns, wrong ``names`` or an unknown column.
    """
    if isinstance(data, Mapping):
        given = {str(name): values for name, values in data.items()}
        if len(given) != len(data):
            raise ReferenceError("the data has two columns with the same name")
    elif hasattr(data, "columns") and hasattr(data, "__getitem__"):  # pandas or polars
        given = {str(name): data[name] for name in data.columns}
        if len(given) != len(data.columns):
            raise ReferenceError("the frame has two columns with the same name")
    else:
        array = np.asarray(data)
        if array.ndim != 2:
            raise ReferenceError(f"the array has the shape {array.shape}; it must have rows and columns")
        if names is None or len(names) != array.shape[1]:
            got = "none" if names is None else len(names)
            raise ReferenceError(f"an array with {array.shape[1]} columns needs as many names, not {got}")
        if len(set(names)) != len(names):
            raise ReferenceError("two of the names are the same")
        return {name: array[:, place] for place, name in enumerate(names)}
    chosen = given if names is None else names
    absent = [name for name in chosen if name not in given]
    if absent:
        raise ReferenceError(f"no column {absent[0]!r}; the columns are {', '.join(given)}")
    return {name: _column(given[name]) for name in chosen}


def _column(values: Any) -> Sequence[Any] | np.ndarray:
    """An array of numbers or booleans, or a list of Python values with None for missing ones."""
    array = values if isinstance(values, np.ndarray) else _as_array(values)
    if array is not None and array.ndim in (1, 2) and array.dtype.kind in "fiub":
        return array
    plain = values.tolist() if hasattr(values, "tolist") else values.to_list() if hasattr(values, "to_list") else values
    return [plain_values.plain(value) for value in plain]


def _as_array(values: Any) -> np.ndarray | None:
    """The array inside a frame's column; None if there is no plain array."""
    if not hasattr(values, "to_numpy"):
        return None
    array = values.to_numpy()
    return array if isinstance(array, np.ndarray) else None


def preprocessing_hash(preprocessing: Preprocessing) -> str:
    """SHA-256 (shortened) of the bytes of a file or text, or of the source of a function or class. Raises
    ReferenceError.

    >>> preprocessing_hash("x / 2")
    'sha256:42483466cc8d18c0'
    """
    if isinstance(preprocessing, Path):
        try:
            content = preprocessing.read_bytes()
        except OSError as error:
            raise ReferenceError(f"preprocessing {preprocessing}: cannot be read: {error.strerror or error}") from None
    elif isinstance(preprocessing, bytes):
        content = preprocessing
    elif isinstance(preprocessing, str):
        content = preprocessing.encode()
    else:
        try:
            content = inspect.getsource(preprocessing).encode()
        except (OSError, TypeError):
            raise ReferenceError(f"preprocessing {preprocessing!r} has no readable source; give its file") from None
    return "sha256:" + hashlib.sha256(content).hexdigest()[:16]


def code_revision(folder: str | Path = ".") -> dict[str, Any]:
    """The Git commit of ``folder``, and whether tracked files differ from it; empty outside a repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"git_commit": commit, "git_changed": bool(changed)}


def _git(folder: str | Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=GIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def data_revision(file: str | Path) -> dict[str, str]:
    """Name and hash of a data file: the hash in ``file.dvc`` if that exists (the data itself need not), else SHA-256.

    Raises ReferenceError when neither can be read.
    """
    path = Path(file)
    tracked = path if path.suffix == ".dvc" else path.with_name(path.name + ".dvc")
    try:
        if tracked.is_file():
            return _dvc_revision(tracked)
        digest = hashlib.sha256()
        with open(path, "rb") as source:
            while part := source.read(_READ_BYTES):
                digest.update(part)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ReferenceError(f"data file {file}: cannot be read: {reason}") from None
    return {"file": path.name, "sha256": digest.hexdigest()}


def _dvc_revision(tracked: Path) -> dict[str, str]:
    try:
        content = yaml.safe_load(tracked.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ReferenceError(f"{tracked}: not YAML: {error}") from None
    outs = content.get("outs") if isinstance(content, dict) else None
    out = outs[0] if isinstance(outs, list) and outs else None
    if not isinstance(out, dict) or not any(isinstance(out.get(key), str) for key in ("md5", "etag", "checksum")):
        raise ReferenceError(f"{tracked}: has no output with a hash, so it is not a DVC file for data")
    key = next(key for key in ("md5", "etag", "checksum") if isinstance(out.get(key), str))
    return {"file": str(out.get("path", tracked.stem)), f"dvc_{key}": out[key]}


def save_reference(reference: Reference, file: str | Path) -> None:
    """Writes the reference to ``file``, to be sent later with ``driftline reference publish FILE``. Raises
    ReferenceError."""
    try:
        Path(file).write_bytes(references.encode(reference))
    except OSError as error:
        raise ReferenceError(f"{file}: cannot be written: {error.strerror or error}") from None


def publish_reference(reference: Reference, bootstrap_servers: str, *, settings: Settings | None = None) -> None:
    """Sends the reference to the references topic; returns when the broker has acknowledged it. Raises BrokerError.

    It also works in a notebook, whose thread already runs an event loop. With ``settings``, all connection settings
    come from there and ``bootstrap_servers`` is not used.
    """
    chosen = config.load(None, {}, {"kafka.bootstrap_servers": bootstrap_servers}) if settings is None else settings
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, _send(chosen, reference)).result()


async def _send(settings: Settings, reference: Reference) -> None:
    sink = KafkaSink(settings.kafka)
    await sink.start()
    try:
        key = keys.reference_key(reference.model_key)
        await sink.send([OutRecord(settings.topics.references, key, references.encode(reference))])
    finally:
        await sink.stop()
