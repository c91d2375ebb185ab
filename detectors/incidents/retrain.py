"""The decision whether to request a retraining, with the reason where none is requested."""

from enum import StrEnum

import msgspec

from detectors.incidents.verdict import Verdict

WEEK_MS = 7 * 86_400_000


class Outcome(StrEnum):
    """The decision. Only REQUESTED is sent; DRY_RUN would be."""

    REQUESTED = "requested"
    DRY_RUN = "dry-run"
    DISABLED = "withheld-disabled"
    BROKEN_DATA = "withheld-broken-data"
    COOLDOWN = "withheld-cooldown"
    WEEKLY_CAP = "withheld-weekly-cap"


class RetrainGuard(msgspec.Struct, frozen=True):
    """Limits on requests: ``cooldown_ms`` between two of a model version, at most ``weekly_cap`` in seven days."""

    enabled: bool
    dry_run: bool
    cooldown_ms: int
    weekly_cap: int

    def decide(self, verdict: Verdict, requested_ms: list[int], now_ms: int) -> Outcome:
        """The decision at ``now_ms``. ``requested_ms``: times of earlier requests. All times are event time.

        >>> RetrainGuard(True, False, cooldown_ms=86_400_000, weekly_cap=3).decide(Verdict.WORLD_CHANGED, [0], 1000)
        <Outcome.COOLDOWN: 'withheld-cooldown'>
        """
        if not self.enabled:
            return Outcome.DISABLED
        if verdict is Verdict.BROKEN_DATA:
            return Outcome.BROKEN_DATA
        if any(now_ms - at < self.cooldown_ms for at in requested_ms):
            return Outcome.COOLDOWN
        if sum(now_ms - at < WEEK_MS for at in requested_ms) >= self.weekly_cap:
            return Outcome.WEEKLY_CAP
        return Outcome.DRY_RUN if self.dry_run else Outcome.REQUESTED
