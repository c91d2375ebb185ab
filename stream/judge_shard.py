"""What the judge keeps of a shard: its newest profile, and how much of that is in the evidence."""

from detectors.merging import Counts
from detectors.profiles import Epoch, Profile


class Shard:
    """What is known of one shard. ``counts`` None: nothing of its epoch is judged yet, the reference is not here."""

    __slots__ = ("base", "counts", "passed", "profile")

    def __init__(self, profile: Profile, passed: list[Epoch], counts: Counts | None = None, base: bool = False) -> None:
        self.profile = profile
        self.passed = passed
        self.counts = counts
        self.base = base
