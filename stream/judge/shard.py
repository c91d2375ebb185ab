"""One shard as the judge keeps it: its newest profile, and how much of that is in the evidence."""

import msgspec

from detectors import merging
from detectors.evidence.counts import Counts, counts_of
from detectors.evidence.sheets import Layout
from detectors.merging import Place, Step
from detectors.profiles import Epoch, Profile

PASSED_EPOCHS = 8


class ShardState(msgspec.Struct, frozen=True):
    """A ``Shard`` in a snapshot. ``judged``: the counts of ``profile`` are in the evidence. ``reached`` is None in rows
    that were written before it was kept; the place of ``profile`` then stands for it."""

    profile: Profile
    passed: list[Epoch]
    judged: bool
    base: bool
    reached: Place | None


class Shard:
    """The newest profile of one shard. ``passed``: epochs that the shard has left, the newest PASSED_EPOCHS + 1.
    ``counts``: the profile's counts in the layout of the reference that is judged; None until that reference is here.
    ``base``: counting starts at this profile, its counts are not evidence. ``reached``: the furthest place that was
    merged, in whichever epoch."""

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
        self.reached = reached or merging.place(profile)

    def step(self, profile: Profile, wanted: str | None = None) -> Step:
        """How ``profile`` follows the one held. ``wanted``: digest of the model's newest reference."""
        return merging.step(self.profile, profile, self.passed, self.reached, wanted)

    def hold(self, profile: Profile) -> None:
        """Makes ``profile`` the newest one."""
        if profile.epoch != self.profile.epoch:
            self.passed = [*self.passed[-PASSED_EPOCHS:], self.profile.epoch]
        self.profile, self.reached = profile, max(self.reached, merging.place(profile))

    def fold_in(self, profile: Profile, how: Step, counts: Counts | None, judged: bool) -> Counts | None:
        """Holds ``profile`` with its ``counts`` and returns the new ones among them; None for a base. ``judged``: the
        profile is under the reference that is judged."""
        if how is not Step.NEXT:
            self.base = how is Step.BASE and not judged
        new = counts
        if counts is not None and how is Step.NEXT and self.counts is not None:
            new = counts.minus(self.counts)
        self.hold(profile)
        self.counts = counts
        return None if how is Step.BASE else new

    def count_again(self, layout: Layout) -> Counts | None:
        """Counts the profile in the layout of a reference that was read only now. None where the shard is a base."""
        counted = counts_of(self.profile, layout)
        new = None if self.base else counted
        self.counts, self.base = counted, False
        return new

    def snapshot(self, judged: bool) -> ShardState:
        """The shard's state. ``judged``: the counts of its profile are in the evidence."""
        return ShardState(self.profile, self.passed, judged, self.base, self.reached)


def count_new_environments(into: dict[str, int], before: Profile | None, profile: Profile) -> None:
    """Adds to ``into`` the events of each environment that came after the profile ``before``."""
    for text, count in profile.environments.items():
        new = count - (before.environments.get(text, 0) if before is not None else 0)
        if new > 0:
            into[text] = into.get(text, 0) + new
