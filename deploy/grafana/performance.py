"""The performance dashboard: measures, objectives and labels of one model version."""

from deploy.grafana.layout import MODEL, SEGMENT, VERSION, dashboard, variables
from deploy.grafana.panels import NEUTRAL, ONE, UNIT, Json, lines, quantile, stat, steps, target, targets

OBJECTIVE = f"{UNIT}, objective"
KNOWN = {"type": "value", "options": {"0": {"text": "missing"}, "1": {"text": "arriving"}}}


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
        "Accuracy or errors of one model version, its objectives, and its labels.",
        rows,
        ONE,
        variables(MODEL, VERSION, SEGMENT),
    )


def _stats() -> list[Json]:
    return [
        stat(
            "Objectives missed",
            "Objectives that the last day's events missed.",
            f"sum(max by ({OBJECTIVE}) (driftline_slo_ratio{{{ONE}}})"
            f" < bool max by ({OBJECTIVE}) (driftline_slo_target{{{ONE}}}))",
            6,
            steps((None, "transparent"), (1, "red")),
        ),
        stat(
            "Nearest to its target",
            "The smallest distance of the last day from the target of an objective. Below zero it is missed.",
            f"min(max by ({OBJECTIVE}) (driftline_slo_ratio{{{ONE}}})"
            f" - max by ({OBJECTIVE}) (driftline_slo_target{{{ONE}}}))",
            6,
            steps((None, "red"), (0, "transparent")),
            "percentunit",
        ),
        stat(
            "Predictions labelled",
            "Share of all predictions that have a label. Recent predictions have fewer.",
            f"sum(max by ({UNIT}) (driftline_labelled_predictions_total{{{ONE}}}))"
            f" / sum(max by ({UNIT}) (driftline_predictions_total{{{ONE}}}))",
            6,
            NEUTRAL,
            "percentunit",
        ),
        stat(
            "Labels",
            "Whether labels arrive and match predictions. Otherwise the accuracy of the model is unknown.",
            f"min(driftline_performance_known{{{ONE}}})",
            6,
            {**steps((None, "purple"), (1, "transparent")), "mappings": [KNOWN]},
        ),
    ]


def _measures() -> Json:
    return lines(
        "Measures",
        "Accuracy or errors of the last day's labelled predictions. Errors are in the label's unit.",
        "short",
        [target(f"max by (measure) (driftline_performance{{{ONE}}})", "{{measure}}")],
    )


def _objectives() -> Json:
    return lines(
        "Objectives",
        "Share of the last day's events that met each objective, and its target.",
        "percentunit",
        targets(
            (f"min by (objective) (driftline_slo_ratio{{{ONE}}})", "{{objective}}"),
            (f"max by (objective) (driftline_slo_target{{{ONE}}})", "{{objective}}, target"),
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
        "Bad events relative to the allowed rate. Above 1, a month's allowance does not last the month.",
        "short",
        targets((rate("5m"), "{{objective}}, 5 min"), (rate("1h"), "{{objective}}, 1 h")),
    )


def _labelled() -> Json:
    return lines(
        "Predictions and labels",
        "Predictions that a label can match, and predictions that got a label, per second.",
        "cps",
        targets(
            (f"sum(rate(driftline_predictions_total{{{ONE}}}[$__rate_interval]))", "predicted"),
            (f"sum(rate(driftline_labelled_predictions_total{{{ONE}}}[$__rate_interval]))", "labelled"),
        ),
    )


def _labels() -> Json:
    return lines(
        "Labels read",
        "Labels of the model per second, all versions, by outcome. The remaining labels of those read matched nothing.",
        "cps",
        [target('sum by (outcome) (rate(driftline_labels_total{model=~"$model"}[$__rate_interval]))', "{{outcome}}")],
    )


def _delay() -> Json:
    chosen = 'model=~"$model"'
    return lines(
        "Delay of labels",
        "Time from a prediction to its label.",
        "s",
        targets(
            (quantile(0.5, "label_delay_seconds", selector=chosen), "median"),
            (quantile(0.99, "label_delay_seconds", selector=chosen), "99 %"),
        ),
    )
