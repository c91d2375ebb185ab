"""What labels say of one model version: its measures, its objectives, and whether labels find their predictions."""

from deploy.grafana.layout import MODEL, SEGMENT, VERSION, dashboard, variables
from deploy.grafana.panels import NEUTRAL, ONE, UNIT, Json, lines, quantile, stat, steps, target, targets

OBJECTIVE = f"{UNIT}, objective"
KNOWN = {"type": "value", "options": {"0": {"text": "stay away"}, "1": {"text": "come"}}}


def board() -> Json:
    rows = [
        _stats(),
        [_measures(), _objectives()],
        [_burn(), _labelled()],
        [_labels(), _delay()],
    ]
    return dashboard(
        "driftline-performance",
        "driftline / performance",
        "How right one model version is by its labels, and how its objectives stand.",
        rows,
        ONE,
        variables(MODEL, VERSION, SEGMENT),
    )


def _stats() -> list[Json]:
    return [
        stat(
            "Objectives missed",
            "Objectives of which the last day's events fell short.",
            f"sum(max by ({OBJECTIVE}) (driftline_slo_ratio{{{ONE}}})"
            f" < bool max by ({OBJECTIVE}) (driftline_slo_target{{{ONE}}}))",
            6,
            steps((None, "transparent"), (1, "red")),
        ),
        stat(
            "Nearest to its target",
            "The smallest distance of an objective's last day from what was promised; below zero it is missed.",
            f"min(max by ({OBJECTIVE}) (driftline_slo_ratio{{{ONE}}})"
            f" - max by ({OBJECTIVE}) (driftline_slo_target{{{ONE}}}))",
            6,
            steps((None, "red"), (0, "transparent")),
            "percentunit",
        ),
        stat(
            "Predictions labelled",
            "Share of all predictions whose label came. The younger they are, the fewer have one.",
            f"sum(max by ({UNIT}) (driftline_labelled_predictions_total{{{ONE}}}))"
            f" / sum(max by ({UNIT}) (driftline_predictions_total{{{ONE}}}))",
            6,
            NEUTRAL,
            "percentunit",
        ),
        stat(
            "Labels",
            "Whether labels of its predictions come. Where they stay away or find none, nobody knows how right it is.",
            f"min(driftline_performance_known{{{ONE}}})",
            6,
            {**steps((None, "purple"), (1, "transparent")), "mappings": [KNOWN]},
        ),
    ]


def _measures() -> Json:
    return lines(
        "Measures",
        "What labels say of the last day's predictions. Errors are in the label's unit, shares from 0 to 1.",
        "short",
        [target(f"max by (measure) (driftline_performance{{{ONE}}})", "{{measure}}")],
    )


def _objectives() -> Json:
    return lines(
        "Objectives",
        "Share of the last day's events that met each objective, and what was promised.",
        "percentunit",
        targets(
            (f"min by (objective) (driftline_slo_ratio{{{ONE}}})", "{{objective}}"),
            (f"max by (objective) (driftline_slo_target{{{ONE}}})", "{{objective}}, promised"),
        ),
    )


def _burn() -> Json:
    def rate(window: str) -> str:
        return (
            f"max by (objective) (driftline:objective_bad:ratio_rate{window}{{{ONE}}}"
            f" / on ({OBJECTIVE}) driftline:objective_allowance{{{ONE}}})"
        )

    return lines(
        "Burn rate",
        "How many times faster than allowed bad events come: above 1 a month's allowance does not last the month.",
        "short",
        targets((rate("5m"), "{{objective}}, 5 min"), (rate("1h"), "{{objective}}, 1 h")),
    )


def _labelled() -> Json:
    return lines(
        "Predictions and labels",
        "Predictions that a label can find, and those whose label came, per second.",
        "cps",
        targets(
            (f"sum(rate(driftline_predictions_total{{{ONE}}}[$__rate_interval]))", "predicted"),
            (f"sum(rate(driftline_labelled_predictions_total{{{ONE}}}[$__rate_interval]))", "labelled"),
        ),
    )


def _labels() -> Json:
    return lines(
        "Labels read",
        "Labels of the model per second, all versions, by what became of them: of those read the rest found nothing.",
        "cps",
        [target('sum by (outcome) (rate(driftline_labels_total{model=~"$model"}[$__rate_interval]))', "{{outcome}}")],
    )


def _delay() -> Json:
    chosen = 'model=~"$model"'
    return lines(
        "Delay of labels",
        "How long after its prediction a label's own time is.",
        "s",
        targets(
            (quantile(0.5, "label_delay_seconds", selector=chosen), "median"),
            (quantile(0.99, "label_delay_seconds", selector=chosen), "99 %"),
        ),
    )
