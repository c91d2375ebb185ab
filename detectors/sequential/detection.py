"""What a detector returns when it fires."""

import msgspec


class Detection(msgspec.Struct, frozen=True):
    """A detector fired on ``row`` of ``column``; ``channel`` is what it was looking at."""

    row: int
    column: int
    channel: str
