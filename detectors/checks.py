"""The public import of the test kit for custom detectors: ``from detectors import checks``.

The checks themselves are in ``detectors.sequential.checks``.
"""

from detectors.sequential.checks import (
    CHANNELS,
    CHECKS,
    FALSE_SIGNALS,
    SNAPSHOT_BYTES,
    Check,
    Factory,
    check_cuts_do_not_matter,
    check_detector,
    check_extremes,
    check_foreign_snapshots_are_refused,
    check_hears,
    check_nothing,
    check_protocol,
    check_quiet,
    check_rows,
    check_runs_are_equal,
    check_snapshots_are_small_bytes,
    check_snapshots_continue,
    check_values_are_left_alone,
    name_of,
)

__all__ = [
    "CHANNELS",
    "CHECKS",
    "FALSE_SIGNALS",
    "SNAPSHOT_BYTES",
    "Check",
    "Factory",
    "check_cuts_do_not_matter",
    "check_detector",
    "check_extremes",
    "check_foreign_snapshots_are_refused",
    "check_hears",
    "check_nothing",
    "check_protocol",
    "check_quiet",
    "check_rows",
    "check_runs_are_equal",
    "check_snapshots_are_small_bytes",
    "check_snapshots_continue",
    "check_values_are_left_alone",
    "name_of",
]
