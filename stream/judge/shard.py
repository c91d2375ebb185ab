"""What the judge keeps of a shard: its newest profile, and how much of that is in the evidence."""

from detectors.evidence.counts import Counts
from detectors.merging import Place, Step, place, step
from detectors.profiles import Epoch, Profile

PASSED_EPOCHS = 8


class Shard:
    """What is known of one shard. ``counts`` None: nothing of its epoch is judged yet, the reference is not here.
    ``reached``: the furthest place that was merged, in whichever epoch."""

    __slots__ = ("base", "counts", "passed", "profile", "reached")

    def __init__(
        self,
        profile: Profile,
        passed: list[Epoch],
        counts: Counts | None = None,
        base: bool = False,
        reached: Place | None = None,
    ) -> None:
        self.profile = profile
        self.passed = passed
        self.counts = counts
        self.base = base
        self.reached = reached or place(profile)

    def step(self, profile: Profile, wanted: str | None = None) -> Step:
        """How ``profile`` follows what is held; ``wanted``: digest of the model's newest reference."""
        return step(self.profile, profile, self.passed, self.reached, wanted)

    def hold(self, profile: Profile) -> None:
        """It is the newest from now on."""
        if profile.epoch != self.profile.epoch:
            self.passed = [*self.passed[-PASSED_EPOCHS:], self.profile.epoch]
        self.profile, self.reached = profile, max(self.reached, place(profile))

    def take(self, profile: Profile, how: Step, counts: Counts | None, bound: bool) -> Counts | None:
        """Holds it with its ``counts``; what of them is new. ``bound``: its epoch is the one that is judged."""
        if how is not Step.NEXT:
            self.base = how is Step.BASE and not bound
        new = counts
        if counts is not None and how is Step.NEXT and self.counts is not None:
            new = counts.minus(self.counts)
        self.hold(profile)
        self.counts = counts
        return None if how is Step.BASE else new


def add_environments(into: dict[str, int], before: Profile | None, profile: Profile) -> None:
    """Adds the events of each environment that came after ``before``."""
    for text, count in profile.environments.items():
        new = count - (before.environments.get(text, 0) if before is not None else 0)
        if new > 0:
            into[text] = into.get(text, 0) + new
