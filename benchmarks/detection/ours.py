"""driftline as a contender: the evidence of one feature, or of the features of a model, look by look."""

from benchmarks.detection.looks import Desk
from detectors.columns import Floats
from detectors.evidence.sheets import MONTH_SECONDS
from detectors.reference.builder import build_reference

TITLE = "driftline"
DEFAULT_GUARANTEE = MONTH_SECONDS
"""Feature-events per false alarm with the default budget, one alarm a month, at one event a second."""


class Ours:
    """driftline. Its parameter is the guarantee: feature-events per false alarm."""

    one_by_one = False

    def alarms(self, parameter: float | None, reference: Floats, streams: Floats) -> list[list[int]]:
        """Events at which the detector alarms in each of ``streams``, shape (runs, events)."""
        desk = Desk(build_reference("bench", "1", {"x": reference}), parameter or DEFAULT_GUARANTEE)
        return [[seen for seen, _ in desk.alarms(desk.watch(), run[:, None], 0)] for run in streams]

    def named(self, parameter: float | None, reference: Floats, streams: Floats, after: int) -> list[int]:
        """Features that are blamed after event ``after``. ``streams``: features of one model, shape (F, events)."""
        columns = {f"x{i}": reference for i in range(len(streams))}
        guarantee = parameter or DEFAULT_GUARANTEE * len(streams)
        desk = Desk(build_reference("bench", "1", columns), guarantee)
        found = desk.alarms(desk.watch(), streams.T, 0)
        return [feature for seen, fired in found if seen > after for feature in fired]
