"""The part of a model's page with its performance by labels, and with its objectives."""

from detectors.performance.label_arrival import Labels
from stream.http.page import frame, words
from stream.http.page.frame import Column
from stream.http.page.markup import Child, Markup, element
from stream.http.page.words import Json, finite

TITLES = {
    "accuracy": "Accuracy",
    "brier": "Brier score",
    "log_loss": "Log loss",
    "mean_absolute_error": "Mean absolute error",
    "bias": "Bias",
    "root_mean_squared_error": "Root mean squared error",
}

LABELS = {
    Labels.WAITING.value: "No label has matched one of its predictions yet.",
    Labels.UNMATCHED.value: "Labels arrive but match none of its predictions, so its accuracy is unknown.",
    Labels.MISSING.value: "Labels no longer arrive, so its accuracy is unknown.",
}


def render(detail: Json) -> Markup | None:
    """The section; None for a model without labels and objectives."""
    performance = detail.get("performance")
    performance = performance if isinstance(performance, dict) else {}
    objectives = words.rows(detail.get("objectives"))
    state_of_labels = LABELS.get(str(performance.get("labels")))
    if not performance.get("labelled") and not objectives and state_of_labels is None:
        return None
    parts = [
        element("p", state_of_labels, class_="lead") if state_of_labels else None,
        _facts(performance) if performance.get("labelled") else None,
        _objectives(objectives),
    ]
    return frame.section("Performance and objectives", "performance", *parts)


def _facts(performance: Json) -> Markup:
    recent = performance.get("recent") or {}
    pairs: list[tuple[str, Child]] = []
    for name, value in (recent.get("measures") or {}).items():
        ever = finite((performance.get("measures") or {}).get(name))
        text = words.number(value) + ("" if ever is None else f" ({words.number(ever)} since the first event)")
        pairs.append((TITLES.get(name, name), text))
    labelled, predicted = finite(recent.get("labelled")), finite(recent.get("predicted"))
    if labelled is not None and predicted:
        hours = words.count(recent.get("hours"))
        pairs.append(("Labelled", f"{words.share(labelled / predicted)} of the predictions of the last {hours} hours"))
    if (delay := finite(performance.get("mean_delay_seconds"))) is not None:
        pairs.append(("Mean delay of labels", words.age(1000 * delay) if delay >= 2 else "less than 2 s"))
    if incomparable := finite(performance.get("incomparable")):
        pairs.append(("Not comparable", f"{words.count(incomparable)} labels with another type than the prediction"))
    return frame.facts(pairs)


def _objectives(objectives: list[Json]) -> Markup | None:
    if not objectives:
        return None
    columns = (Column("Objective"), Column("At least", css="number"), Column("Last day", css="number"), Column("Met"))
    body = [(f"objective-{row.get('objective')}", _objective(row)) for row in objectives]
    return element("div", frame.table("Objectives", columns, body))


def _objective(row: Json) -> tuple[Child, ...]:
    below, ratio, target = finite(row.get("below_ms")), finite(row.get("recent_ratio")), finite(row.get("at_least"))
    name = str(row.get("objective")) + ("" if below is None else f" within {words.number(below)} ms")
    met = "no events yet" if ratio is None or target is None else "yes" if ratio >= target else "no"
    return (name, words.share(target), words.share(ratio), met)
