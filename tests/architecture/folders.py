"""The map of folders: what lives in each, and which other folders it may import.

A folder that is not on the map fails the test. The page of the architecture is written from this map.
"""

from fnmatch import fnmatchcase
from typing import NamedTuple


class Folder(NamedTuple):
    """One row of the map. Inside a folder every import is allowed that makes no cycle."""

    holds: str
    """What lives in the folder."""
    imports: tuple[str, ...]
    """Folders that it may import; ``a/*`` stands for every folder below ``a``."""
    pure: bool = False
    """Whether asyncio, logging, clocks, files and the environment are banned."""


_ANY_DETECTORS = ("detectors", "detectors/*")
_ANY = (*_ANY_DETECTORS, "stream", "stream/*")
_TOPICS = (*_ANY_DETECTORS, "stream/settings", "stream/topics")

FOLDERS: dict[str, Folder] = {
    "detectors": Folder("The vocabulary: records and arrays that all detectors share.", (), pure=True),
    "detectors/sketches": Folder("Moments, quantiles, categories.", ("detectors",), pure=True),
    "detectors/sequential": Folder("ADWIN, Page-Hinkley, plug-ins and their checks.", ("detectors",), pure=True),
    "detectors/derived": Folder("Features that are derived from a value.", ("detectors",), pure=True),
    "detectors/reference": Folder(
        "The reference: built, learned, accepted; transform, seasons, dependence.",
        ("detectors", "detectors/sketches", "detectors/derived"),
        pure=True,
    ),
    "detectors/bank": Folder(
        "All that one shard keeps: numbers, categories, learning, the prepared reference.",
        ("detectors", "detectors/reference", "detectors/sequential", "detectors/sketches", "detectors/derived"),
        pure=True,
    ),
    "detectors/incidents": Folder(
        "Lifecycle, verdict, diagnosis, retrain guard, blindness, environment.",
        ("detectors", "detectors/reference"),
        pure=True,
    ),
    "detectors/evidence": Folder(
        "Bets, sheets, the e-detector, window, watch, change point, sizes, distances.",
        ("detectors", "detectors/incidents", "detectors/reference", "detectors/sketches"),
        pure=True,
    ),
    "detectors/performance": Folder(
        "Outcomes watched like a feature; whether labels arrive.",
        ("detectors", "detectors/evidence", "detectors/incidents", "detectors/reference", "detectors/sketches"),
        pure=True,
    ),
    "detectors/calibration": Folder(
        "Rehearsal, injected changes, bootstrap: what the detection would do on a stretch of data.",
        (
            "detectors",
            "detectors/bank",
            "detectors/evidence",
            "detectors/incidents",
            "detectors/reference",
            "detectors/sketches",
        ),
        pure=True,
    ),
    "stream": Folder(
        "What runs in a model's own process: publisher, training, fingerprint. These are public imports.",
        (*_TOPICS, "stream/backends", "stream/backends/kafka"),
    ),
    "stream/settings": Folder(
        "The records of the settings file; how file, environment and flags are layered.", _ANY_DETECTORS
    ),
    "stream/topics": Folder(
        "The contents of driftline's topics: records, keys, checkpoints, drift events, requests, dead letters, views.",
        (*_ANY_DETECTORS, "stream/settings"),
        pure=True,
    ),
    "stream/backends": Folder(
        "The ports; bounded attempts to send; files; the clock; the client of the schema registry.",
        (*_TOPICS, "stream/formats"),
    ),
    "stream/backends/kafka": Folder("Kafka through aiokafka and confluent-kafka.", (*_TOPICS, "stream/backends")),
    "stream/backends/memory": Folder("A broker in memory.", (*_TOPICS, "stream/backends")),
    "stream/formats": Folder(
        "Bytes to rows to columns: the registry, one file a format, what all formats share.",
        (*_ANY_DETECTORS, "stream/topics"),
        pure=True,
    ),
    "stream/labels": Folder(
        "A label record, the predictions that wait for one, the join.",
        (*_ANY_DETECTORS, "stream/formats", "stream/topics"),
        pure=True,
    ),
    "stream/observe": Folder(
        "Stage 1, pure: observer, partition, unit and its parts, waiting rows, recent ids, settings.",
        (*_ANY_DETECTORS, "stream/labels", "stream/formats", "stream/topics"),
        pure=True,
    ),
    "stream/observe/shell": Folder(
        "The loop of stage 1: runner, polling, progress, restore, references, saver, outbox, label reader, telemetry.",
        (*_TOPICS, "stream/observe", "stream/labels", "stream/formats", "stream/backends"),
    ),
    "stream/judge": Folder(
        "Stage 2, pure: judge, unit and its parts, snapshot, view, settings, effects.", _TOPICS, pure=True
    ),
    "stream/judge/shell": Folder(
        "The Faust application of stage 2: table rows and commits, reading order, relocation of rows, desk.",
        (*_TOPICS, "stream/judge", "stream/metrics", "stream/backends"),
    ),
    "stream/metrics": Folder(
        "Counters and histograms, gauges by what they are of, the exposition.", (*_ANY_DETECTORS, "stream/topics")
    ),
    "stream/http": Folder(
        "The HTTP server: limits, token, health; the JSON of the API.", (*_ANY_DETECTORS, "stream/topics")
    ),
    "stream/http/page": Folder("The web page and its routes.", (*_ANY_DETECTORS, "stream/topics", "stream/http")),
    "stream/files": Folder(
        "Tables and files of events: layout of columns, tables, cells, dataset, event rows.",
        (*_ANY_DETECTORS, "stream/formats", "stream/topics"),
    ),
    "stream/references": Folder("Building, publishing and showing references.", _ANY),
    "stream/replay": Folder("Replay of a file through both stages, its reports and pictures.", _ANY),
    "stream/survey": Folder("A look at what a topic or file holds.", _ANY),
    "stream/demo": Folder("The demonstration with three models and three injected changes.", _ANY),
    "stream/charts": Folder("SVG, and the style of HTML reports.", ()),
    "stream/terminal": Folder("Tables, the live view and progress of the terminal.", ()),
    "stream/service": Folder("The worker, assembled from all parts, as a process.", _ANY),
    "stream/commands": Folder("The command line: definitions, and commands without a folder of their own.", _ANY),
}
"""Every folder with modules. The order is that of the page."""

EDGES_IN_PURE_FOLDERS: dict[str, set[str]] = {
    "stream.topics.views": {"asyncio"},  # long polls wait for the next change of a view
}
"""What a module of a pure folder uses all the same, with the reason."""

PUBLIC_NAMES: dict[str, tuple[str, ...]] = {
    "detectors.checks": ("detectors.sequential.checks",),
    "detectors.sequential": ("detectors.sequential.plugins",),
}
"""Modules that only re-export what people import who write a detector of their own, with where it comes from."""

ROOTS: dict[str, tuple[str, ...]] = {
    "stream/commands": ("stream/commands",),
    "stream/demo": ("stream/commands", "stream/demo"),
    "stream/service": ("stream/commands", "stream/demo", "stream/service"),
    "stream/replay": ("stream/commands", "stream/replay"),
    "stream/survey": ("stream/commands", "stream/survey"),
    "stream/references": ("driftline", "stream/commands", "stream/references", "stream/replay", "stream/service"),
}
"""Folders that assemble the program, each with the only folders that may import it."""

HOMES: dict[str, tuple[str, ...]] = {
    "aiokafka": ("stream.backends.kafka.", "stream.judge.shell.faust"),
    "confluent_kafka": ("stream.backends.kafka.", "stream.publisher", "benchmarks"),
    "faust": ("stream.judge.shell.faust",),
    "mode": ("stream.judge.shell.faust",),
    "prometheus_client": ("stream.metrics.",),
    "numba": ("detectors.compiled",),
    "xxhash": ("stream.formats.ids",),
    "river": ("detectors.sequential.", "stream.demo.models"),
    "datasketches": ("detectors.sketches.",),
    "yaml": ("stream.settings.layers", "stream.commands.check", "stream.survey.command", "stream.training"),
    "matplotlib": ("stream.replay.png",),
    "pyarrow": ("stream.files.",),
    "click": ("stream.commands.",),
}
"""Each library has one home; a trailing dot means everything in that folder."""

CLOCK_HOMES = (
    "stream.backends.",  # the system clock is a backend
    "stream.publisher",  # stamps the event
    "stream.demo.",  # a person watches it
    "stream.terminal.live",
)
"""Modules that may read the wall clock. All others get ``now_ms`` as an argument."""

TEST_SUITES: dict[str, str] = {
    "tests/alerts": "From a shift in the data to a notification: worker, Prometheus, Alertmanager.",
    "tests/architecture": "The rules on folders.",
    "tests/benchmarks": "The benchmarks' own machinery.",
    "tests/chaos": "Workers and a real broker killed, frozen and restarted.",
    "tests/deploy": "Compose, Kubernetes, systemd, rules, dashboards.",
    "tests/docs": "Pages, snippets and the wheel.",
    "tests/driftline": "The public imports.",
    "tests/doctests": "Every example in a docstring.",
    "tests/examples": "Every example, as far as a machine without the other system allows.",
    "tests/fuzz": "Broken inputs.",
    "tests/kafka": "A real Apache Kafka for tests.",
    "tests/mutants": "Planted bugs, and the tests that catch them.",
    "tests/publisher": "stream/publisher.py.",
    "tests/simulation": "Both stages under seeded failures.",
    "tests/simulation/event_time": "Judging by event time, in miniature and by both cores.",
    "tests/soak": "A worker under a steady load.",
    "tests/training": "stream/training.py.",
    "tests/upgrade": "What earlier versions wrote is read and continued.",
}
"""Folders of tests that stand for no folder of the product."""


def may_import(folder: str, target: str) -> bool:
    """Whether a module in ``folder`` may import one in ``target``."""
    if folder == target:
        return True
    if target in ROOTS and folder not in ROOTS[target]:
        return False
    return any(fnmatchcase(target, allowed) for allowed in FOLDERS[folder].imports)
