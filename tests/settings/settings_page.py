"""Writes docs/settings.md from the settings' records: ``python -m tests.settings.settings_page``."""

import re
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec

from stream.settings import layers, settings

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "settings.md"
SOURCE = ROOT / "stream" / "settings" / "settings.py"

HEAD = """# Settings

Every setting has a default. The settings file is YAML. Environment variables override it, and flags override both:

```yaml
kafka: {bootstrap_servers: "kafka:9092"}
false_alarms_per_model_per_month: 1
models:
  fraud:
    reference: reference.json      # a file, "topic" (the default: the references topic), or "learn"
    segment_by: country
    features: {amount: {kind: numeric}, merchant: {kind: categorical}}
    ignore: [customer_id]
```

* In the environment `DRIFTLINE_HTTP__PORT=9200` sets `http.port`: two underscores separate levels, commas separate
  the items of a list, and `DRIFTLINE_CONFIG` names the file.
* A secret can be in a file of its own: `DRIFTLINE_KAFKA__SASL_PASSWORD_FILE=/run/secrets/kafka`,
  or `sasl_password_file:` in YAML.
* An unknown key is an error that names the file or variable, the key and the nearest known key.
* `driftline check --show` prints the settings in use, with secrets masked.

This page is written from the code by `python -m tests.settings.settings_page`.
"""


def comments() -> dict[tuple[str, str], str]:
    """The comment after each field, by record and field."""
    found: dict[tuple[str, str], str] = {}
    record = ""
    for line in SOURCE.read_text(encoding="utf-8").splitlines():
        if start := re.match(r"class (\w+)\(", line):
            record = start[1]
        elif field := re.match(r"    (\w+): .*?  # (.*)$", line):
            found[record, field[1]] = field[2]
    return found


def rows(kind: type, above: str = "") -> list[tuple[str, str, str, str]]:
    """Section, key, default and comment of every field below ``kind``."""
    said = comments()
    found = []
    for field in msgspec.structs.fields(kind):
        inner = layers._plain(field.type)
        name = above + field.name
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            found.extend(rows(inner, name + "."))
        elif get_origin(inner) is dict and issubclass(get_args(inner)[1], msgspec.Struct):
            found.extend(rows(get_args(inner)[1], f"{name}.NAME."))
        else:
            found.append((above, name, shown(field.default), said.get((kind.__name__, field.name), "")))
    return found


def shown(value: Any) -> str:
    """A default as it is written in YAML."""
    if value is None:
        return "not set"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def page() -> str:
    """docs/settings.md."""
    lines = [HEAD]
    sections: dict[str, list[str]] = {}
    for section, name, default, said in rows(settings.Settings):
        sections.setdefault(section, []).append(f"| `{name}` | {f'`{default}`' if default else ''} | {said} |")
    for section in sorted(
        sections, key=lambda name: (name != "", name.startswith("models"), list(sections).index(name))
    ):
        lines.append(f"\n## {section.rstrip('.') or 'Top level'}\n")
        lines.append("| key | default | meaning |\n|---|---|---|")
        lines.extend(sections[section])
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
