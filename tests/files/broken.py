"""Random and broken files: good files of every kind, then cut, spliced, overwritten, repeated or replaced by noise."""

import bz2
import gzip
import io
import json
import lzma
import random
from pathlib import Path
from typing import Any

COLUMNS = ("when", "amount", "shop", "flag", "who")
WORDS = ("red", "grün", "", "NA", "1,5", "1.234,5", "$3", "<NA>", "=1+1", "#x", '"', "\x1b[2J", "💥", "inf", "1e400")


def rows(rng: random.Random, count: int) -> list[list[Any]]:
    """Rows of a time, a number, a category, a truth value and an id; a few cells hold something else."""
    made: list[list[Any]] = []
    for number in range(count):
        row = [
            1_772_323_200 + 60 * number,
            round(rng.gauss(10, 3), 2),
            rng.choice("abc"),
            rng.random() < 0.5,
            f"u{number}",
        ]
        if rng.random() < 0.05:
            row[rng.randrange(len(row))] = rng.choice(WORDS)
        made.append(row)
    return made


def text(rng: random.Random, count: int) -> bytes:
    """A table as text, in one of several delimiters, encodings and styles."""
    delimiter = rng.choice(",;\t|")
    lines = [delimiter.join(map(str, row)) for row in rows(rng, count)]
    if rng.random() < 0.3:
        lines = [line.replace(".", ",") for line in lines] if delimiter != "," else lines
    head = [delimiter.join(COLUMNS)] if rng.random() < 0.9 else []
    before = rng.choice(([], [], ["# a comment"], [f"sep={delimiter}"], [""]))
    ends = rng.choice(("\n", "\r\n", "\r"))
    return ends.join([*before, *head, *lines]).encode(rng.choice(("utf-8", "utf-8-sig", "utf-16", "cp1252")), "replace")


def events(rng: random.Random, count: int) -> bytes:
    """Events as JSON: lines, an array on one line or on many, columns, or rows that are no events."""
    found = [dict(zip(COLUMNS, row, strict=True)) for row in rows(rng, count)]
    form = rng.choice(("lines", "array", "pretty", "columns", "rows", "nested"))
    if form == "rows":
        return "\n".join(map(json.dumps, found)).encode()
    if form == "columns":
        columns = {name: [row[name] for row in found] for name in ("amount", "shop")}
        return json.dumps({"model": "m", "features": columns}).encode()
    made = [{"id": str(k), "model": "m", "ts": row.pop("when"), "features": row} for k, row in enumerate(found)]
    if form == "nested":
        made = [{**event, "features": {"deep": {"er": [event["features"]]}, "x": float("nan")}} for event in made]
    if form in ("array", "pretty"):
        return json.dumps(made, indent=1 if form == "pretty" else None).encode()
    return "\n".join(map(json.dumps, made)).encode()


def parquet(rng: random.Random, count: int) -> bytes:
    """A Parquet file with columns of ordinary and of odd types."""
    import pyarrow
    from pyarrow import parquet as writer

    columns = {
        "when": pyarrow.array([1_772_323_200_000_000_001 + 60_000_000_000 * k for k in range(count)], "timestamp[ns]"),
        "amount": pyarrow.array([None if rng.random() < 0.1 else rng.gauss(0, 1) for _ in range(count)]),
        "shop": pyarrow.array([rng.choice("abc") for _ in range(count)]).dictionary_encode(),
        "addr": pyarrow.array([{"zip": k} for k in range(count)]),
        "raw": pyarrow.array([b"\x00"] * count),
        "none": pyarrow.nulls(count),
        "tags": pyarrow.array([["a"]] * count),
        "vector": pyarrow.array([[1.0, float(k)] for k in range(count)]),
        "day": pyarrow.array([20_000 + k for k in range(count)], "int32").cast("date32"),
    }
    kept = rng.sample(sorted(columns), rng.randint(1, len(columns)))
    into = io.BytesIO()
    writer.write_table(pyarrow.table({name: columns[name] for name in kept}), into)
    return into.getvalue()


def broken(rng: random.Random, data: bytes) -> bytes:
    """The data with a fault, or as it is."""
    fault = rng.choice(("none", "cut", "bytes", "splice", "twice", "noise", "zeros", "empty", "line", "quote"))
    at = rng.randrange(len(data) + 1)
    if fault == "cut":
        return data[:at]
    if fault == "bytes":
        changed = bytearray(data)
        for _ in range(rng.randint(1, 20)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        return bytes(changed)
    if fault == "splice":
        return data[:at] + rng.randbytes(rng.randint(1, 200)) + data[at:]
    if fault == "twice":
        return data + data
    if fault == "noise":
        return rng.randbytes(rng.randint(1, 4_000))
    if fault == "zeros":
        return data[:at] + bytes(rng.randint(1, 5_000)) + data[at:]
    if fault == "empty":
        return rng.choice(
            (b"", b"\n\n", b"\xef\xbb\xbf", b"[]", b"{}", b"null", b"[" * 5_000, b'{"a":' * 5_000, b"1e999")
        )
    inserted = {"line": b'\n{"model": 1}\n,,,,,,\n', "quote": b'"'}.get(fault, b"")
    return data[:at] + inserted + data[at:]


KINDS = ((text, ".csv"), (text, ".dat"), (events, ".jsonl"), (events, ".json"), (parquet, ".parquet"))
PACKS = ((bytes, ""),) * 6 + ((gzip.compress, ".gz"), (bz2.compress, ".bz2"), (lzma.compress, ".xz"))
OPTIONS = (("--timestamp", "when"), ("--prediction", "amount"), ("--label", "flag"), ("--json",))


def write(folder: Path, seed: int) -> tuple[Path, list[str]]:
    """The broken file of a seed, and options for ``driftline replay``."""
    rng = random.Random(seed)
    make, ending = rng.choice(
        ((text, ".csv"), (text, ".dat"), (events, ".jsonl"), (events, ".json"), (parquet, ".parquet"))
    )
    data = broken(rng, make(rng, rng.choice((3, 60, 300))))
    pack, suffix = rng.choice(
        ((bytes, ""),) * 6 + ((gzip.compress, ".gz"), (bz2.compress, ".bz2"), (lzma.compress, ".xz"))
    )
    data = broken(rng, pack(data)) if suffix else data
    file = folder / f"file{seed}{ending}{suffix}"
    file.write_bytes(data)
    options = rng.sample(
        (("--timestamp", "when"), ("--prediction", "amount"), ("--label", "flag"), ("--json",)), rng.randint(0, 2)
    )
    options += rng.choice(([("--reference-rows", "40")], [("--reference-rows", "40")], []))
    return file, [word for option in options for word in option]
