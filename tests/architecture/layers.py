"""The map of modules: lowest first. A module imports only from layers above its own line, within its own column.

A new module belongs on this map; the test names the ones that are not.
"""

DETECTORS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("features",),
    ("outcomes",),
    ("columns",),
    ("column_batches", "compiled"),
    ("adwin",),
    ("sketches", "column_batches"),
    ("references", "profiles", "distances", "dependence", "bets", "projections", "unlisted", "verdict", "bootstrap"),
    ("transform", "seasons"),
    ("sheets",),
    (
        "merging",
        "window",
        "evidence",
        "quality",
        "labelling",
        "reference_builder",
        "sequential",
        "retrain",
        "stretch",
        "injection",
    ),
    ("acceptance", "learned_reference", "diagnosis"),
    ("prepared",),
    ("bank_learning",),
    ("bank_numbers", "bank_labels"),
    ("bank", "incidents", "sizes", "changepoint", "checks"),
    ("watch", "rehearsal"),
    ("outcome_watch",),
    ("synthetic", "evaluation", "calibration"),
)
"""The pure half. A name stands for a module or a folder of modules."""

PURE_STREAM = (
    "topics", "ports", "codec", "shapes", "events", "columnar", "waiting", "units", "checkpoints", "assigned",
    "observer", "identities", "labels", "label_book", "predictions", "judge_outcomes",
    "judge", "actions", "judge_actions", "admin", "replay_options",
)  # fmt: skip
"""Modules of stream/ without asyncio, clock, files, environment, logging (``admin.ensure`` awaits its port)."""

ROOTS = (
    "cli",
    "commands",
    "worker",
    "demo",
    "replay_command",
    "check_command",
    "survey_command",
    "checkpoints_command",
)
"""Where everything is put together: nothing but tests, commands and each other imports these."""

HOMES: dict[str, tuple[str, ...]] = {
    "aiokafka": ("stream.backends.", "stream.judge_faust"),
    "confluent_kafka": ("stream.backends.", "stream.publisher", "benchmarks"),
    "faust": ("stream.judge_faust",),
    "mode": ("stream.judge_faust",),
    "prometheus_client": (
        "stream.metrics",
        "stream.gauges",
        "stream.metric_families",
        "stream.metric_outcomes",
        "stream.metric_service",
        "stream.server",
    ),
    "numba": ("detectors.compiled",),
    "xxhash": ("stream.identities",),
    "river": ("detectors.sequential", "stream.demo_models"),
    "datasketches": ("detectors.sketches.",),
    "yaml": ("stream.config_layers", "stream.check_command", "stream.survey_command", "stream.training"),
    "matplotlib": ("stream.replay_png",),
    "pyarrow": ("stream.tables",),
    "click": ("stream.cli", "stream.commands."),
}
"""Each library has one home; a trailing dot means everything in that folder."""
