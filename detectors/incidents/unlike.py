"""What a reported feature was unlike, in words. The kinds are those of ``detectors.evidence.explanations``."""

from collections.abc import Sequence

COMPARED_DAYS = 14


def in_words(kinds: Sequence[str], days: int) -> str:
    """The kinds as text, the strongest evidence first; ``days``: earlier days that were known.

    >>> in_words(["recent", "same-hours", "reference"], 11)
    'unlike the recent past, unlike this hour on 11 earlier days, unlike any hour of the reference'
    """
    texts = {
        "recent": "unlike the recent past",
        "reference": "unlike any hour of the reference",
        "same-hours": f"unlike this hour on {min(days, COMPARED_DAYS)} earlier days",
    }
    return ", ".join(texts.get(kind, f"unlike {kind}") for kind in kinds)
