"""The model dashboard: state, evidence and features of one model version."""

from deploy.grafana.layout import MODEL, SEGMENT, TO_FEATURE, VERSION, dashboard, variables
from deploy.grafana.panels import (
    DRIFTED,
    EVIDENCE,
    NEUTRAL,
    ONE,
    OUTLINED,
    PAINTED,
    STATES,
    UNIT,
    Json,
    against,
    highest,
    latency,
    limits,
    lines,
    or_none,
    override,
    quantile,
    stat,
    state_code,
    state_mappings,
    steps,
    table,
    target,
    targets,
    timeline,
)


def board() -> Json:
    rows = [
        _model_stats(),
        [
            _evidence(),
            timeline("State", "The state of the model over time.", state_code(ONE), "{{model_version}} {{segment}}", 8),
        ],
        _season_stats(),
        [_features()],
        [_feature_evidence(), _feature_sizes()],
        [
            _worst_ratio("Missing", "missing", "Share of events in which a feature is absent: the ten worst."),
            _worst_ratio(
                "Unexpected",
                "unexpected",
                "Share of events with a value of the wrong type or not in the reference: the ten worst.",
            ),
        ],
        [_incidents(), _retrains()],
        [_watched(), _latency()],
        [_model_events(), _model_age()],
    ]
    return dashboard(
        "driftline-model",
        "driftline / model",
        "State, evidence and features of one model version.",
        rows,
        ONE,
        variables(MODEL, VERSION, SEGMENT),
    )


def _model_stats() -> list[Json]:
    colours = steps(*((None if code == 1 else code, colour) for code, _, colour in STATES))
    return [
        stat(
            "State",
            "The worst state of the chosen segments.",
            f"max({state_code(ONE)})",
            4,
            {**colours, "mappings": state_mappings()},
        ),
        stat(
            "Evidence",
            "How unlikely the present is under the reference, as a power of ten.",
            f"max(driftline_model_score{{{EVIDENCE}, {ONE}}})",
            4,
            {**NEUTRAL, "decimals": 1},
        ),
        stat(
            "Threshold",
            "Evidence at which an incident opens; it follows from the budget of false alarms.",
            f"max(driftline_model_threshold{{{EVIDENCE}, {ONE}}})",
            4,
            {**NEUTRAL, "decimals": 1},
        ),
        stat(
            "Features drifted",
            "Features that differ from their reference.",
            f"max(driftline_drifted_features{{{ONE}}})",
            4,
            steps((None, "transparent"), (1, "red")),
        ),
        stat(
            "Since the last event",
            "Time since the newest event. Without events for long, a model becomes blind.",
            f"time() - max(driftline_last_event_timestamp_seconds{{{ONE}}})",
            4,
            {**steps((None, "transparent"), (60, "orange"), (900, "purple")), "decimals": 0},
            "s",
        ),
        stat(
            "Events judged",
            "Events counted under this reference.",
            f"sum(max by ({UNIT}) (driftline_window_events{{{ONE}}}))",
            4,
            NEUTRAL,
            "locale",
        ),
    ]


def _season_stats() -> list[Json]:
    return [
        stat(
            "Days of the season",
            "Days from which the season is known. From eight on, hours are compared with the same hours.",
            f"min(max by ({UNIT}) (driftline_model_season_days{{{ONE}}}))",
            8,
            {**NEUTRAL, "decimals": 0},
        ),
        stat(
            "Hours are compared",
            "1 if hours are compared with the same hours of the day.",
            f"min(max by ({UNIT}) (driftline_model_season_covered{{{ONE}}}))",
            8,
            {**NEUTRAL, "decimals": 0},
        ),
        stat(
            "Features unlike training",
            "Features of which whole weeks differ from the reference, without a sudden change.",
            f"max(driftline_skewed_features{{{ONE}}})",
            8,
            steps((None, "transparent"), (1, "orange")),
        ),
    ]


def _evidence() -> Json:
    made = lines(
        "Evidence and threshold",
        "Evidence (log10) by segment. An incident opens when it reaches the threshold.",
        "short",
        targets(
            (f"max by ({UNIT}) (driftline_model_score{{{EVIDENCE}, {ONE}}})", "evidence {{segment}}"),
            (f"max(driftline_model_threshold{{{EVIDENCE}, {ONE}}})", "threshold"),
        ),
        16,
    )
    return against("threshold", made)


def _features() -> Json:
    def of(statistic: str) -> tuple[str, str]:
        return (f'max by (feature) (driftline_feature_score{{statistic="{statistic}", {ONE}}})', "")

    queries = targets(
        (f"max by (feature) (driftline_feature_drifted{{{ONE}}})", ""),
        of("evidence_log10"),
        of("psi"),
        of("wasserstein"),
        of("kolmogorov_smirnov"),
        of("jensen_shannon"),
        (f"max by (feature) (driftline_feature_missing_ratio{{{ONE}}})", ""),
        (f"max by (feature) (driftline_feature_unexpected_ratio{{{ONE}}})", ""),
        instant=True,
    )
    names = {
        "Value #A": "State",
        "Value #B": "Evidence",
        "Value #C": "PSI",
        "Value #D": "Wasserstein",
        "Value #E": "Kolmogorov-Smirnov",
        "Value #F": "Jensen-Shannon",
        "Value #G": "Missing",
        "Value #H": "Unexpected",
    }
    overrides = [
        override("feature", links=[TO_FEATURE]),
        override(
            "State",
            mappings=DRIFTED,
            thresholds=NEUTRAL["thresholds"],
            **{"custom.cellOptions": PAINTED},
        ),
        override("Evidence", decimals=1),
        *(override(size, decimals=2) for size in ("PSI", "Wasserstein", "Kolmogorov-Smirnov", "Jensen-Shannon")),
        override("Missing", unit="percentunit", decimals=1),
        override("Unexpected", unit="percentunit", decimals=1),
    ]
    description = "The features with series, the worst by evidence first, with the size of their change."
    return table("Features", description, queries, names, overrides, 24)


def _feature_evidence() -> Json:
    return lines(
        "Evidence by feature",
        "The ten features with the most evidence (log10) at the end.",
        "short",
        [target(highest(f"max by (feature) (driftline_feature_score{{{EVIDENCE}, {ONE}}})"), "{{feature}}")],
        defaults={"custom": OUTLINED},
    )


def _feature_sizes() -> Json:
    return lines(
        "Size of the change (PSI)",
        "Population stability index: the ten features that have changed most at the end. Below 0.1 little, above 0.25 "
        "much.",
        "short",
        [target(highest(f'max by (feature) (driftline_feature_score{{statistic="psi", {ONE}}})'), "{{feature}}")],
        defaults=limits((0.1, "orange"), (0.25, "red")),
    )


def _worst_ratio(title: str, name: str, description: str) -> Json:
    expression = highest(f"max by (feature) (driftline_feature_{name}_ratio{{{ONE}}})")
    return lines(title, description, "percentunit", [target(expression, "{{feature}}")], defaults={"custom": OUTLINED})


def _incidents() -> Json:
    budget = 'max(driftline_false_alarm_budget_per_month{model=~"$model"})'
    opened = 'driftline_detections_total{model=~"$model"}'
    # A series begins with its first incident, which no increase has.
    first = f"sum(min_over_time({opened}[30d]) unless {opened} offset 30d)"
    made = lines(
        "Incidents and the budget",
        "Incidents of the last thirty days, all versions, and the budget of false alarms per month. Real changes count "
        "here, too. Far above the budget, either the data keeps changing, or the reference does not represent normal "
        "traffic.",
        "short",
        targets(
            (f"sum(increase({opened}[30d])) + ({first} or 0 * {budget}) or 0 * {budget}", "incidents"),
            (budget, "budget"),
            (f"sum(max by ({UNIT}, status) (driftline_open_incidents{{{ONE}}}))", "open now"),
        ),
        defaults={"decimals": 0},
    )
    return against("budget", made)


def _retrains() -> Json:
    made = 'sum by (outcome) (driftline_retrain_requests_total{model=~"$model"})'
    return lines(
        "Retrain requests",
        "Requests sent for the model since the workers started, and requests withheld, by reason.",
        "short",
        [target(or_none(made, "outcome", 'driftline_false_alarm_budget_per_month{model=~"$model"}'), "{{outcome}}")],
    )


def _watched() -> Json:
    return lines(
        "Features watched",
        "Features that are watched, features that have drifted, features that moved while the reference was learned, "
        "and features without series here.",
        "short",
        targets(
            (f"max(driftline_monitored_features{{{ONE}}})", "watched"),
            (f"max(driftline_drifted_features{{{ONE}}})", "drifted"),
            (f"max(driftline_model_moved_while_learned{{{ONE}}})", "moved while learned"),
            (
                'sum(driftline_series_suppressed_total{model=~"$model"})'
                f" or 0 * max(driftline_monitored_features{{{ONE}}})",
                "series suppressed",
            ),
        ),
    )


def _latency() -> Json:
    return lines(
        "Detection latency",
        "Time from the newest event of an incident of the model to the incident on its topic, since the workers "
        "started.",
        "s",
        latency('model=~"$model"'),
    )


def _model_events() -> Json:
    expression = 'sum by (outcome) (rate(driftline_events_total{model=~"$model"}[$__rate_interval]))'
    return lines(
        "Events read",
        "Records of the model per second, all versions, by outcome.",
        "cps",
        [target(expression, "{{outcome}}")],
    )


def _model_age() -> Json:
    chosen = 'model=~"$model"'
    return lines(
        "Age of events when read",
        "Time from an event of this model to its being read by driftline, and the age of what was judged last.",
        "s",
        targets(
            (quantile(0.5, "event_age_seconds", selector=chosen), "median"),
            (quantile(0.99, "event_age_seconds", selector=chosen), "99 %"),
            (f"max(driftline_judge_frontier_seconds{{{ONE}}})", "judged last"),
        ),
    )
