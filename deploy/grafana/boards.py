"""What is on the three dashboards: fleet, model, feature."""

from deploy.grafana.build import (
    ONE,
    STATES,
    TO_FEATURE,
    TO_MODEL,
    UNIT,
    Json,
    dashboard,
    lines,
    override,
    panel,
    quantile,
    query_variable,
    stat,
    state_code,
    state_mappings,
    steps,
    table,
    target,
    targets,
    timeline,
    variables,
)

EVIDENCE = 'statistic="evidence_log10"'
NEUTRAL = steps((None, "text"))
LABEL = "{{model}} {{model_version}} {{segment}}"

MODEL = query_variable("model", "Model", "label_values(driftline_model_info, model)", every=False)
VERSION = query_variable(
    "version", "Version", 'label_values(driftline_model_info{model="$model"}, model_version)', every=False
)
SEGMENT = query_variable(
    "segment",
    "Segment",
    'label_values(driftline_model_info{model="$model", model_version="$version"}, segment)',
    every=True,
)
FEATURE = query_variable(
    "feature",
    "Feature",
    'label_values(driftline_feature_drifted{model="$model", model_version="$version"}, feature)',
    every=False,
)


def every() -> list[Json]:
    return [fleet(), model(), feature()]


def fleet() -> Json:
    rows = [
        [*_counts(), _workers()],
        [_models()],
        [_nearest(), timeline("States", "Which models were in which state, and when.", state_code(), LABEL, 12)],
        [_events(), _age()],
        [_lag(), _processing()],
        [_incidents(), _records()],
        [_checkpoints(), _errors()],
    ]
    return dashboard(
        "driftline-fleet",
        "driftline / fleet",
        "Which models are well, which are not, and whether driftline itself sees them.",
        rows,
        'model=~".*"',
        variables(),
    )


def _counts() -> list[Json]:
    meanings = {
        "drift": "Models whose data has changed from their reference.",
        "blind": "Models that cannot be judged now. Whatever happens to them, nobody is told.",
        "warning": "Models whose evidence is gathering and has not reached the threshold.",
        "learning": "Models without a reference yet; they say nothing.",
        "stable": "Models that agree with their reference.",
    }
    made = []
    for _, name, colour in reversed(STATES):
        expression = f'sum(max by ({UNIT}) (driftline_model_state{{state="{name}"}}))'
        alarming = steps((None, "text"), (1, colour))
        made.append(stat(f"Models: {name}", meanings[name], expression, 4, alarming))
    return made


def _workers() -> Json:
    return stat(
        "Workers",
        "Workers that answer the scrape.",
        "count(driftline_build_info)",
        4,
        steps((None, "red"), (1, "text")),
    )


def _models() -> Json:
    queries = targets(
        (state_code(), ""),
        (f"max by ({UNIT}) (driftline_model_score{{{EVIDENCE}}})", ""),
        (f"max by ({UNIT}) (driftline_model_threshold{{{EVIDENCE}}})", ""),
        (f"max by ({UNIT}) (driftline_drifted_features)", ""),
        (f"time() - max by ({UNIT}) (driftline_last_event_timestamp_seconds)", ""),
        instant=True,
    )
    names = {
        "Value #A": "State",
        "Value #B": "Evidence",
        "Value #C": "Threshold",
        "Value #D": "Features drifted",
        "Value #E": "Since last event",
        "model_version": "version",
    }
    overrides = [
        override("State", mappings=state_mappings(), **{"custom.cellOptions": {"type": "color-background"}}),
        override("Since last event", unit="s", decimals=0),
        override("Evidence", decimals=1),
        override("Threshold", decimals=1),
        override(
            "model", links=[{**TO_MODEL, "url": TO_MODEL["url"].replace("fields.model_version", "fields.version")}]
        ),
    ]
    description = "Every model, the strongest evidence first. Evidence is the log10 of how unlikely the present is."
    return table("Models", description, queries, names, overrides, 24)


def _nearest() -> Json:
    score = f"max by ({UNIT}) (driftline_model_score{{{EVIDENCE}}})"
    threshold = f"max by ({UNIT}) (driftline_model_threshold{{{EVIDENCE}}})"
    return lines(
        "Evidence against threshold",
        "The ten models nearest to an alarm: evidence as a share of the threshold; at 100 % an incident opens.",
        "percentunit",
        [target(f"topk(10, {score} / {threshold})", LABEL)],
        defaults={
            "custom": {"lineWidth": 1, "fillOpacity": 0, "thresholdsStyle": {"mode": "dashed"}},
            "thresholds": {
                "mode": "absolute",
                "steps": [{"value": None, "color": "text"}, {"value": 1, "color": "red"}],
            },
        },
    )


def _events() -> Json:
    return lines(
        "Events read",
        "Records read per second, by what became of them. Every record is in exactly one outcome.",
        "cps",
        [target("sum by (outcome) (rate(driftline_events_total[$__rate_interval]))", "{{outcome}}")],
    )


def _age() -> Json:
    return lines(
        "Age of events when read",
        "How long after an event happened driftline reads it.",
        "s",
        targets((quantile(0.5, "event_age_seconds"), "median"), (quantile(0.99, "event_age_seconds"), "99 %")),
    )


def _lag() -> Json:
    return lines(
        "Consumer lag",
        "Records that wait in Kafka, by topic.",
        "short",
        [target("sum by (topic) (max by (topic, partition) (driftline_consumer_lag))", "{{topic}}")],
    )


def _processing() -> Json:
    return lines(
        "Time per batch",
        "99 % of batches are processed within this time, by stage.",
        "s",
        [target(quantile(0.99, "event_processing_seconds", "stage"), "{{stage}}")],
    )


def _incidents() -> Json:
    return lines(
        "Incidents opened",
        "Incidents opened since the workers started, by kind and severity.",
        "short",
        [target("sum by (kind, severity) (driftline_detections_total)", "{{kind}}, {{severity}}")],
        defaults={"custom": {"lineInterpolation": "stepAfter", "lineWidth": 1, "fillOpacity": 10}},
    )


def _records() -> Json:
    return lines(
        "Records written",
        "Records that driftline writes per second, by topic. Dead letters are records that could not be read.",
        "cps",
        [target("sum by (topic) (rate(driftline_published_total[$__rate_interval]))", "{{topic}}")],
    )


def _checkpoints() -> Json:
    return lines(
        "Age of the last checkpoint",
        "How much a worker would have to read again if it died now.",
        "s",
        [target("time() - max by (instance) (driftline_checkpoint_timestamp_seconds)", "{{instance}}")],
    )


def _errors() -> Json:
    return lines(
        "State held",
        "Bytes of state as last written, by stage.",
        "bytes",
        [target("sum by (stage) (driftline_state_bytes)", "{{stage}}")],
    )


def model() -> Json:
    rows = [
        _model_stats(),
        [_evidence(), timeline("State", "The state of the model over time.", state_code(ONE), "{{segment}}", 8)],
        [_features()],
        [_feature_evidence(), _feature_sizes()],
        [
            _worst_ratio("Missing", "missing", "Share of events in which a feature is absent: the ten worst."),
            _worst_ratio(
                "Unexpected",
                "unexpected",
                "Share of events with a value of the wrong type or never seen before: the ten worst.",
            ),
        ],
        [_model_events(), _model_age()],
    ]
    return dashboard(
        "driftline-model",
        "driftline / model",
        "One model version: how it is, since when, and which of its features say so.",
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
            "log10 of how unlikely the present is under the reference.",
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
            "Features that have left their reference.",
            f"max(driftline_drifted_features{{{ONE}}})",
            4,
            steps((None, "text"), (1, "red")),
        ),
        stat(
            "Since the last event",
            "Time since the newest event; a model long silent is blind.",
            f"time() - max(driftline_last_event_timestamp_seconds{{{ONE}}})",
            4,
            steps((None, "text"), (60, "orange"), (900, "purple")),
            "s",
        ),
        stat(
            "Events under this reference",
            "Events that the present judgement rests on.",
            f"sum(max by ({UNIT}) (driftline_window_events{{{ONE}}}))",
            4,
            NEUTRAL,
        ),
    ]


def _evidence() -> Json:
    return lines(
        "Evidence and threshold",
        "Evidence (log10) by segment. An incident opens when it reaches the threshold.",
        "short",
        targets(
            (f"max by ({UNIT}) (driftline_model_score{{{EVIDENCE}, {ONE}}})", "evidence {{segment}}"),
            (f"max(driftline_model_threshold{{{EVIDENCE}, {ONE}}})", "threshold"),
        ),
        16,
    )


def _features() -> Json:
    def of(statistic: str) -> tuple[str, str]:
        return (f'max by (feature) (driftline_feature_score{{statistic="{statistic}", {ONE}}})', "")

    queries = targets(
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
        "Value #A": "Evidence",
        "Value #B": "PSI",
        "Value #C": "Wasserstein",
        "Value #D": "Kolmogorov-Smirnov",
        "Value #E": "Jensen-Shannon",
        "Value #F": "Missing",
        "Value #G": "Unexpected",
    }
    overrides = [
        override("feature", links=[TO_FEATURE]),
        override("Missing", unit="percentunit", decimals=2),
        override("Unexpected", unit="percentunit", decimals=2),
    ]
    description = "The features with series, the worst by evidence first, with the size of their change."
    return table("Features", description, queries, names, overrides, 24)


def _feature_evidence() -> Json:
    return lines(
        "Evidence by feature",
        "The ten features with the most evidence (log10).",
        "short",
        [target(f"topk(10, max by (feature) (driftline_feature_score{{{EVIDENCE}, {ONE}}}))", "{{feature}}")],
    )


def _feature_sizes() -> Json:
    return lines(
        "Size of the change (PSI)",
        "Population stability index: the ten features that changed most. Below 0.1 little, above 0.25 much.",
        "short",
        [target(f'topk(10, max by (feature) (driftline_feature_score{{statistic="psi", {ONE}}}))', "{{feature}}")],
    )


def _worst_ratio(title: str, name: str, description: str) -> Json:
    expression = f"topk(10, max by (feature) (driftline_feature_{name}_ratio{{{ONE}}}))"
    return lines(title, description, "percentunit", [target(expression, "{{feature}}")])


def _model_events() -> Json:
    expression = 'sum by (outcome) (rate(driftline_events_total{model=~"$model"}[$__rate_interval]))'
    return lines(
        "Events read",
        "Records of the model per second, all versions, by what became of them.",
        "cps",
        [target(expression, "{{outcome}}")],
    )


def _model_age() -> Json:
    chosen = 'model=~"$model"'
    return lines(
        "Age of events when read",
        "How long after an event of this model happened driftline reads it.",
        "s",
        targets(
            (quantile(0.5, "event_age_seconds", selector=chosen), "median"),
            (quantile(0.99, "event_age_seconds", selector=chosen), "99 %"),
        ),
    )


def feature() -> Json:
    one = f'{ONE}, feature=~"$feature"'
    sizes = ("psi", "wasserstein", "kolmogorov_smirnov", "jensen_shannon")
    drifted = steps((None, "text"), (1, "red"))
    drifted["mappings"] = [{"type": "value", "options": {"0": {"text": "as ever"}, "1": {"text": "drifted"}}}]
    rows = [
        [
            stat(
                "Now",
                "Whether the feature has left its reference.",
                f"max(driftline_feature_drifted{{{one}}})",
                6,
                drifted,
            ),
            stat(
                "Evidence",
                "log10 of how unlikely the present is.",
                f"max(driftline_feature_score{{{EVIDENCE}, {one}}})",
                6,
                {**NEUTRAL, "decimals": 1},
            ),
            stat(
                "Missing",
                "Share of events in which it is absent.",
                f"max(driftline_feature_missing_ratio{{{one}}})",
                6,
                NEUTRAL,
                "percentunit",
            ),
            stat(
                "Unexpected",
                "Share of events with a value that the reference does not know.",
                f"max(driftline_feature_unexpected_ratio{{{one}}})",
                6,
                NEUTRAL,
                "percentunit",
            ),
        ],
        [
            lines(
                "Evidence",
                "Evidence (log10) that the feature has changed, by segment.",
                "short",
                [
                    target(
                        f"max by ({UNIT}) (driftline_feature_score{{{EVIDENCE}, {one}}})",
                        "{{segment}} {{model_version}}",
                    )
                ],
            ),
            lines(
                "Size of the change",
                "How far the present is from the reference, by four measures.",
                "short",
                targets(
                    *(
                        (f'max(driftline_feature_score{{statistic="{size}", {one}}})', size.replace("_", " "))
                        for size in sizes
                    )
                ),
            ),
        ],
        [
            lines(
                "Missing and unexpected",
                "Shares of events without a value, and with one that the reference does not know.",
                "percentunit",
                targets(
                    (f"max(driftline_feature_missing_ratio{{{one}}})", "missing"),
                    (f"max(driftline_feature_unexpected_ratio{{{one}}})", "unexpected"),
                ),
            ),
            panel(
                "state-timeline",
                "Drifted",
                "When the feature had left its reference.",
                "short",
                [target(f"max by (feature) (driftline_feature_drifted{{{one}}})", "{{feature}}")],
                12,
                8,
                {**drifted, "custom": {"fillOpacity": 80}},
                options={"showValue": "never", "mergeValues": True},
            ),
        ],
    ]
    return dashboard(
        "driftline-feature",
        "driftline / feature",
        "One feature of a model: evidence, size of its change, missing and unexpected values.",
        rows,
        ONE,
        variables(MODEL, VERSION, SEGMENT, FEATURE),
    )
