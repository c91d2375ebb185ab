"""The fleet dashboard: the state of every model, and of driftline itself."""

from deploy.grafana.layout import TO_MODEL, dashboard, variables
from deploy.grafana.panels import (
    EVIDENCE,
    LABEL,
    PAINTED,
    STATES,
    UNIT,
    Json,
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
        [*_counts(), _workers()],
        [_models(), timeline("States", "The state of each model over time.", state_code(), LABEL, 10, 10)],
        [_nearest()],
        [_events(), _age()],
        [_lag(), _processing()],
        [_incidents(), _open()],
        [_latency(), _retrains()],
        [_checkpoints(), _state()],
        [_records(), _errors()],
        [_partitions(), _limits()],
    ]
    return dashboard(
        "driftline-fleet",
        "driftline / fleet",
        "The state of every model, and of driftline itself.",
        rows,
        'model=~".*"',
        variables(),
    )


def _counts() -> list[Json]:
    meanings = {
        "drift": "Models whose data or accuracy has changed.",
        "blind": "Models that cannot be observed now. Changes in them raise no alarm.",
        "warning": "Models whose evidence is rising but below the threshold.",
        "quiet": "Models without events at an hour that is usually silent.",
        "learning": "Models without a reference yet; they are not judged.",
        "stable": "Models that match their reference.",
    }
    made = []
    for _, name, colour in reversed(STATES):
        expression = f'sum(max by ({UNIT}) (driftline_model_state{{state="{name}"}}))'
        alarming = steps((None, "transparent"), (1, colour))
        made.append(stat(f"Models: {name}", meanings[name], expression, 3, alarming))
    return made


def _workers() -> Json:
    return stat(
        "Workers",
        "Workers that Prometheus can scrape.",
        "count(driftline_build_info)",
        6,
        steps((None, "red"), (1, "transparent")),
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
        override("State", mappings=state_mappings(), **{"custom.cellOptions": PAINTED}),
        override("Since last event", unit="s", decimals=0),
        override("Evidence", decimals=1),
        override("Threshold", decimals=1),
        override(
            "model", links=[{**TO_MODEL, "url": TO_MODEL["url"].replace("fields.model_version", "fields.version")}]
        ),
    ]
    description = "Every model, the strongest evidence first. Evidence: how unlikely the present is (log10)."
    return table("Models", description, queries, names, overrides, 14)


def _nearest() -> Json:
    score = f"max by ({UNIT}) (driftline_model_score{{{EVIDENCE}}})"
    threshold = f"max by ({UNIT}) (driftline_model_threshold{{{EVIDENCE}}})"
    return lines(
        "Evidence against threshold",
        "The ten models nearest to an alarm at the end: evidence as a share of the threshold; at 100 % an incident "
        "opens.",
        "percentunit",
        [target(highest(f"{score} / {threshold}"), LABEL)],
        24,
        defaults=limits((1, "red")),
    )


def _events() -> Json:
    return lines(
        "Events read",
        "Records read per second, by outcome. Every record has exactly one outcome.",
        "cps",
        [target("sum by (outcome) (rate(driftline_events_total[$__rate_interval]))", "{{outcome}}")],
    )


def _age() -> Json:
    return lines(
        "Age of events when read",
        "Time from an event to its being read by driftline.",
        "s",
        targets((quantile(0.5, "event_age_seconds"), "median"), (quantile(0.99, "event_age_seconds"), "99 %")),
    )


def _lag() -> Json:
    return lines(
        "Consumer lag",
        "Records waiting in Kafka, by topic.",
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
        defaults={"custom": {"lineInterpolation": "stepAfter", "fillOpacity": 10}},
    )


def _open() -> Json:
    return lines(
        "Open incidents",
        "Incidents that are not resolved: open or acknowledged.",
        "short",
        [target(f"sum by (status) (max by ({UNIT}, status) (driftline_open_incidents))", "{{status}}")],
    )


def _latency() -> Json:
    return lines(
        "Detection latency",
        "Time from the newest event of an incident to the incident on its topic, since the workers started.",
        "s",
        latency(),
    )


def _retrains() -> Json:
    return lines(
        "Retrain requests",
        "Requests sent since the workers started, and requests withheld, by reason.",
        "short",
        [
            target(
                or_none("sum by (outcome) (driftline_retrain_requests_total)", "outcome", "driftline_build_info"),
                "{{outcome}}",
            )
        ],
    )


def _errors() -> Json:
    return lines(
        "Errors",
        "Errors since the workers started, by component, and requests that the web page refused, by reason. The log of "
        "the worker has each of them.",
        "short",
        [
            target(
                or_none("sum by (component) (driftline_errors_total)", "component", "driftline_build_info"),
                "{{component}}",
            ),
            target(
                or_none("sum by (reason) (driftline_http_refused_total)", "reason", "driftline_build_info"),
                "refused: {{reason}}",
                "B",
            ),
        ],
    )


def _partitions() -> Json:
    return lines(
        "Partitions and rebalances",
        "Partitions that are assigned to a worker, by topic; rebalances since the workers started; and the model "
        "versions and segments in these partitions.",
        "short",
        targets(
            ("sum by (topic) (driftline_consumer_assigned_partitions)", "{{topic}}"),
            ("sum(driftline_consumer_rebalances_total)", "rebalances"),
            ("sum(driftline_units)", "units"),
        ),
    )


def _limits() -> Json:
    return lines(
        "Limits reached and interruptions",
        "What was left out because of a configured limit since the workers started, features without series here, and "
        "partitions whose topic was made anew or whose checkpoint was gone.",
        "short",
        targets(
            (or_none("sum by (limit) (driftline_limit_reached_total)", "limit", "driftline_build_info"), "{{limit}}"),
            ("sum(driftline_series_suppressed_total) or 0 * count(driftline_build_info)", "series suppressed"),
            (or_none("sum by (kind) (driftline_interruptions_total)", "kind", "driftline_build_info"), "{{kind}}"),
        ),
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
        "Time of events that a worker would read again if it stopped now.",
        "s",
        [target("time() - max by (instance) (driftline_checkpoint_timestamp_seconds)", "{{instance}}")],
    )


def _state() -> Json:
    return lines(
        "State held",
        "Bytes of state as last written, by stage.",
        "bytes",
        [target("sum by (stage) (driftline_state_bytes)", "{{stage}}")],
    )
