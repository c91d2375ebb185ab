"""Homes of libraries: each third-party library is imported in one place."""

HOMES: dict[str, tuple[str, ...]] = {
    "aiokafka": ("stream.backends.", "stream.judge.shell.faust"),
    "confluent_kafka": ("stream.backends.", "stream.publisher", "benchmarks"),
    "faust": ("stream.judge.shell.faust",),
    "mode": ("stream.judge.shell.faust",),
    "prometheus_client": (
        "stream.metrics.registry",
        "stream.metrics.gauges",
        "stream.metrics.models",
        "stream.metrics.outcomes",
        "stream.metrics.worker",
        "stream.http.server",
    ),
    "numba": ("detectors.compiled",),
    "xxhash": ("stream.formats.ids",),
    "river": ("detectors.sequential.page_hinkley", "stream.demo.models"),
    "datasketches": ("detectors.sketches.",),
    "yaml": ("stream.settings.layers", "stream.commands.check", "stream.survey.command", "stream.training"),
    "matplotlib": ("stream.replay.png",),
    "pyarrow": ("stream.files.tables",),
    "click": ("stream.commands.cli", "stream.commands."),
}
"""Each library has one home; a trailing dot means everything in that folder."""
