"""What the numbers on the pages mean, for whoever meets them for the first time."""

from collections.abc import Sequence

from stream.http.page.markup import Markup, element

MEANINGS = {
    "Evidence": (
        "how strongly what is seen speaks against the reference, as a power of ten: one more is ten times as strong, "
        "below 0 it speaks for the reference. The second number, the mark on the bar, is where an alarm is raised: "
        "it follows from the false alarms a month that you accept."
    ),
    "Reference and present": "the shares of the values by bin in the reference, and in the recent past over them.",
    "PSI": "population stability index, how far the shares by bin moved: below 0.1 is little, above 0.25 is much.",
    "Wasserstein": "how far the values moved on average, in standard deviations of the reference. Numbers only.",
    "KS": "Kolmogorov-Smirnov distance, the largest gap of the two cumulative shares: 0 to 1. Numbers only.",
    "JS": "Jensen-Shannon distance of the two histograms: 0 to 0.83.",
    "Missing": "the share of the events in which the feature had no value.",
    "Unexpected": (
        "the share of the values that are of the wrong type, outside the reference's range, or in no category it lists."
    ),
    "Events/s": "over the last half minute.",
}

FLEET = ("Evidence", "Events/s")
SIZES = ("Evidence", "Reference and present", "PSI", "Wasserstein", "KS", "JS")
FEATURES = (*SIZES, "Missing", "Unexpected")


def explained(names: Sequence[str]) -> Markup:
    """To be opened by whoever asks."""
    pairs = [element("div", element("dt", name), element("dd", MEANINGS[name])) for name in names]
    return element(
        "details",
        element("summary", "What these numbers mean"),
        element("dl", pairs, class_="terms"),
        id="terms",
    )
