"""The record of a finding of a sequential detector."""

import msgspec


class Detection(msgspec.Struct, frozen=True):
    """A detector fired on ``row`` of ``column``; ``channel`` names its input."""

    row: int
    column: int
    channel: str
