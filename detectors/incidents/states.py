"""The states of a watched model version or segment, in one list."""

from enum import StrEnum


class State(StrEnum):
    """What is known of a unit now, the worst state first. ``quiet``: no event, as usual at this hour. A forgotten unit
    is not watched."""

    DRIFT = "drift"
    BLIND = "blind"
    WARNING = "warning"
    LEARNING = "learning"
    QUIET = "quiet"
    STABLE = "stable"
    FORGOTTEN = "forgotten"


SHOWN = tuple(state for state in State if state is not State.FORGOTTEN)
"""The states of units that are shown, worst first. A forgotten unit has no view and no metrics."""
