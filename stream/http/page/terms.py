"""Explanations of the numbers on the pages."""

from collections.abc import Sequence

from stream.http.page.markup import Markup, element

MEANINGS = {
    "Evidence": (
        "how strong the evidence of a change is, as a power of ten: each step of 1 is ten times as strong. Below 0 the "
        "data agrees with the reference. The second number, the mark on the bar, is the alarm threshold. It "
        "follows from the number of false alarms a month that you accept."
    ),
    "Reference and present": "the share of the values in each bin: in the reference, and in recent events.",
    "PSI": "population stability index: how much the shares of the bins changed. Below 0.1: little; above 0.25: much.",
    "Wasserstein": "how far the values moved on average, in standard deviations of the reference. Numbers only.",
    "KS": "Kolmogorov–Smirnov distance: the largest gap between the cumulative shares, 0 to 1. Numbers only.",
    "JS": "Jensen–Shannon distance between the two histograms: 0 to 0.83.",
    "Missing": "the share of the events in which the feature has no value.",
    "Unexpected": (
        "the share of the values that have the wrong type, lie outside the range of the reference, or are in no "
        "category of the reference."
    ),
    "Events/s": "the mean of the last half minute.",
}

FLEET = ("Evidence", "Events/s")
SIZES = ("Evidence", "Reference and present", "PSI", "Wasserstein", "KS", "JS")
FEATURES = (*SIZES, "Missing", "Unexpected")


def explained(names: Sequence[str]) -> Markup:
    """The explanations of ``names``, in a part of the page that opens on a click."""
    pairs = [element("div", element("dt", name), element("dd", MEANINGS[name])) for name in names]
    return element(
        "details",
        element("summary", "What these numbers mean"),
        element("dl", pairs, class_="terms"),
        id="terms",
    )
