"""Reads and merges settings from file, environment and flags, and remembers where each value came from.

Works on the fields of any frozen Struct; the fields themselves are in ``settings``.
"""

import difflib
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
import yaml

from detectors.errors import SettingsError

T = TypeVar("T", bound=msgspec.Struct)
Path_ = tuple[str, ...]

MAX_FILE_BYTES = 4_194_304
"""A settings file of 1,000 models with 20 features each is about 1 MB."""


class Secret:
    """A text that is shown in no repr, log line, dump or error."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself, for the call that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "****"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


def show(value: object) -> object:
    """``enc_hook`` for msgspec that masks secrets."""
    if isinstance(value, Secret):
        return repr(value)
    raise NotImplementedError(type(value).__name__)


def _decode(wanted: type, value: object) -> object:
    if wanted is Secret and isinstance(value, str):
        return Secret(value)
    raise ValueError(f"expected a text, got {type(value).__name__}")


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice. YAML forbids it; PyYAML would use the last value."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


class Layers(Generic[T]):
    """Values by path, each with the place that it came from. A later layer overrides an earlier one."""

    __slots__ = ("_kind", "_places", "_values")

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._values: dict[str, Any] = {}
        self._places: dict[Path_, str] = {}

    def add_file(self, path: Path) -> None:
        """Merges a YAML file, which holds a mapping or nothing. Raises SettingsError."""
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise SettingsError(f"{path}: larger than {MAX_FILE_BYTES:,} bytes; this is not a settings file")
            content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
        except OSError as error:
            raise SettingsError(f"{path}: cannot be read: {error.strerror or error}") from None
        except UnicodeDecodeError:
            raise SettingsError(f"{path}: is not UTF-8 text") from None
        except yaml.YAMLError as error:
            raise SettingsError(f"{path}: is not valid YAML: {_one_line(error)}") from None
        if content is None:
            return
        if not isinstance(content, dict):
            raise SettingsError(f"{path}: must hold keys and values, not a {type(content).__name__}")
        self._merge(content, (), str(path))

    def add_environment(self, variables: Mapping[str, str]) -> None:
        """Merges variables: ``DRIFTLINE_A__B=value`` sets ``a.b``. The case of a model's name does not matter."""
        for name in sorted(variables):
            parts = name.split("_", 1)[1].split("__")
            self._put(self._match(tuple(parts)), variables[name], f"environment variable {name}")

    def add_flags(self, flags: Mapping[str, Any]) -> None:
        """Merges values by dotted key."""
        for key, value in flags.items():
            self._put(tuple(key.split(".")), value, f"--{key.rsplit('.', 1)[-1].replace('_', '-')}")

    def convert(self) -> T:
        """The merged settings. Raises SettingsError with the place, the key and what is wrong."""
        try:
            return msgspec.convert(self._values, self._kind, strict=False, dec_hook=_decode)
        except msgspec.ValidationError as error:
            raise SettingsError(self._explain(str(error))) from None

    def _match(self, parts: Path_) -> Path_:
        """The upper-case parts of a variable's name as keys: existing ones if they match, otherwise in lower case."""
        found: list[str] = []
        values: Any = self._values
        for part in parts:
            known = list(values) if isinstance(values, dict) else []
            key = next((k for k in known if k.lower() == part.lower()), part.lower())
            found.append(key)
            values = values.get(key) if isinstance(values, dict) else None
        return tuple(found)

    def _merge(self, content: Mapping[Any, Any], path: Path_, place: str) -> None:
        for key, value in content.items():
            if not isinstance(key, str):
                where = ".".join((*path, str(key)))
                raise SettingsError(f"{place}: {where}: a key must be text; write it in quotes")
            here = (*path, key)
            if isinstance(value, dict) or (value is None and _is_table(self._check(here, place))):
                self._check(here, place)
                self._open(here, place)
                self._merge(value or {}, here, place)
            else:
                self._put(here, value, place)

    def _open(self, path: Path_, place: str) -> dict[str, Any]:
        values = self._values
        for part in path:
            below = values.setdefault(part, {})
            if not isinstance(below, dict):
                raise SettingsError(
                    f"{place}: {'.'.join(path)}: is a single value in {self._places.get(path, 'there')}"
                )
            values = below
        return values

    def _put(self, path: Path_, value: Any, place: str) -> None:
        wanted = self._check(path, place)
        if isinstance(value, str) and wanted is not None and _is_list(wanted):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if (
            value is not None
            and path[-1].endswith("_file")
            and _is_secret(self._field((*path[:-1], path[-1].removesuffix("_file"))))
        ):
            self._secret_file(path, value, place)
            if wanted is None:
                return
        self._open(path[:-1], place)[path[-1]] = value
        self._places[path] = place

    def _secret_file(self, path: Path_, value: Any, place: str) -> None:
        try:
            secret = Path(str(value)).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not text"
            raise SettingsError(f"{place}: {'.'.join(path)}: {value!r} cannot be read: {reason}") from None
        target = (*path[:-1], path[-1].removesuffix("_file"))
        self._open(target[:-1], place)[target[-1]] = secret
        self._places[target] = place

    def _field(self, path: Path_) -> Any:
        """The declared type at ``path``; None if there is no such key."""
        kind: Any = self._kind
        for part in path:
            kind = _below(kind, part)
            if kind is None:
                return None
        return kind

    def _check(self, path: Path_, place: str) -> Any:
        """The declared type of a key; None for the ``_file`` form of a secret. Raises SettingsError otherwise."""
        for depth in range(1, len(path) + 1):
            if self._field(path[:depth]) is not None:
                continue
            name, above = path[depth - 1], path[: depth - 1]
            if name.endswith("_file") and _is_secret(self._field((*above, name.removesuffix("_file")))):
                continue
            raise SettingsError(f"{place}: {'.'.join(path[:depth])}: no such key{self._nearest(name, above)}")
        return self._field(path)

    def _nearest(self, name: str, above: Path_) -> str:
        known = _keys(self._field(above))
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        if near:
            return f"; did you mean {'.'.join((*above, near[0]))}?"
        everywhere = {path[-1]: path for path in _all_paths(self._kind)}
        near = difflib.get_close_matches(name, list(everywhere), n=1, cutoff=0.7)
        if near:
            return f"; did you mean {'.'.join(everywhere[near[0]])}?"
        return f"; known here: {', '.join(sorted(known))}" if known else ""

    def _explain(self, text: str) -> str:
        message, _, where = text.partition(" - at `")
        path = self._resolve(re.findall(r"\.[^.\[`]+|\[\.\.\.\]", where))
        value: Any = self._values
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        key, place = ".".join(path) or "settings", self._place(path)
        shown = "" if isinstance(value, dict) or value is None or _is_secret(self._field(path)) else f" {value!r}"
        if message.startswith(("Expected", "Invalid")):
            message = message[0].lower() + message[1:]
        return f"{place}: {key}{shown}: {message}"

    def _resolve(self, steps: list[str]) -> Path_:
        """The path in a message of msgspec. It writes ``[...]`` for a key of a dict: the key that does not convert."""
        path: Path_ = ()
        values: Any = self._values
        for step in steps:
            name = step[1:]
            if step == "[...]":
                name = next((n for n in values if self._fails((*path, n), values[n])), "")
            path = (*path, name)
            values = values.get(name, {}) if isinstance(values, dict) else {}
        return path

    def _fails(self, path: Path_, value: Any) -> bool:
        for part in reversed(path):
            value = {part: value}
        try:
            msgspec.convert(value, self._kind, strict=False, dec_hook=_decode)
        except msgspec.ValidationError:
            return True
        return False

    def _place(self, parts: Path_) -> str:
        for path, place in reversed(self._places.items()):
            if path[: len(parts)] == parts:
                return place
        return next(
            (self._places[parts[:n]] for n in range(len(parts), 0, -1) if parts[:n] in self._places), "settings"
        )


def _plain(kind: Any) -> Any:
    """The type without Annotated and without None."""
    if get_origin(kind) is Annotated:
        return _plain(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        inner = [part for part in get_args(kind) if part is not type(None)]
        return _plain(inner[0]) if len(inner) == 1 else kind
    return kind


def _below(kind: Any, name: str) -> Any:
    kind = _plain(kind)
    if get_origin(kind) is dict:
        return get_args(kind)[1]
    return get_type_hints(kind, include_extras=True).get(name) if _is_struct(kind) else None


def _keys(kind: Any) -> list[str]:
    kind = _plain(kind)
    return list(get_type_hints(kind)) if _is_struct(kind) else []


def _all_paths(kind: Any, above: Path_ = ()) -> list[Path_]:
    paths: list[Path_] = []
    for name in _keys(kind):
        paths.append((*above, name))
        paths.extend(_all_paths(_below(kind, name), (*above, name)))
    return paths


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _is_table(kind: Any) -> bool:
    return _is_struct(_plain(kind)) or get_origin(_plain(kind)) is dict


def _is_list(kind: Any) -> bool:
    return get_origin(_plain(kind)) in (tuple, list)


def _is_secret(kind: Any) -> bool:
    return _plain(kind) is Secret


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"line {mark.line + 1}: {problem}" if mark is not None else str(problem)
