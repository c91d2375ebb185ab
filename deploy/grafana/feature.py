"""The feature dashboard: evidence, size of its change, missing and unexpected values."""

from deploy.grafana.layout import FEATURE, MODEL, SEGMENT, VERSION, dashboard, variables
from deploy.grafana.panels import (
    DRIFTED,
    EVIDENCE,
    NEUTRAL,
    ONE,
    UNIT,
    Json,
    against,
    lines,
    panel,
    stat,
    steps,
    target,
    targets,
)


def board() -> Json:
    one = f'{ONE}, feature=~"$feature"'
    sizes = {
        "psi": "PSI",
        "wasserstein": "Wasserstein",
        "kolmogorov_smirnov": "Kolmogorov-Smirnov",
        "jensen_shannon": "Jensen-Shannon",
    }
    drifted = {**steps((None, "transparent"), (1, "red")), "mappings": DRIFTED}
    rows = [
        [
            stat(
                "Now",
                "Whether the feature differs from its reference.",
                f"max(driftline_feature_drifted{{{one}}})",
                5,
                drifted,
            ),
            stat(
                "Evidence",
                "How unlikely the present is under the reference, as a power of ten.",
                f"max(driftline_feature_score{{{EVIDENCE}, {one}}})",
                5,
                {**NEUTRAL, "decimals": 1},
            ),
            stat(
                "Missing",
                "Share of events in which the feature is absent.",
                f"max(driftline_feature_missing_ratio{{{one}}})",
                5,
                NEUTRAL,
                "percentunit",
            ),
            stat(
                "Unexpected",
                "Share of events with a value that the reference does not contain.",
                f"max(driftline_feature_unexpected_ratio{{{one}}})",
                5,
                NEUTRAL,
                "percentunit",
            ),
            stat(
                "Smallest detectable shift",
                "In standard deviations: with this reference a smaller shift is never found. For numbers only.",
                f"max(driftline_feature_smallest_shift{{{one}}})",
                4,
                {**NEUTRAL, "decimals": 2},
            ),
        ],
        [
            against(
                "threshold",
                lines(
                    "Evidence",
                    "Evidence (log10) that the feature has changed, by segment, and the threshold for blaming it.",
                    "short",
                    targets(
                        (
                            f"max by ({UNIT}) (driftline_feature_score{{{EVIDENCE}, {one}}})",
                            "{{segment}} {{model_version}}",
                        ),
                        (f"max(driftline_feature_threshold{{{EVIDENCE}, {one}}})", "threshold"),
                    ),
                ),
            ),
            lines(
                "Size of the change",
                "Distance of the present from the reference, by four measures. driftline's page explains each.",
                "short",
                targets(
                    *(
                        (f'max(driftline_feature_score{{statistic="{size}", {one}}})', name)
                        for size, name in sizes.items()
                    )
                ),
            ),
        ],
        [
            lines(
                "Missing and unexpected",
                "Shares of events without a value, and with a value that the reference does not contain.",
                "percentunit",
                targets(
                    (f"max(driftline_feature_missing_ratio{{{one}}})", "missing"),
                    (f"max(driftline_feature_unexpected_ratio{{{one}}})", "unexpected"),
                ),
            ),
            panel(
                "state-timeline",
                "Drifted",
                "When the feature differed from its reference.",
                "short",
                [target(f"max by (feature) (driftline_feature_drifted{{{one}}})", "{{feature}}")],
                12,
                8,
                {**drifted, **steps((None, "green"), (1, "red")), "custom": {"fillOpacity": 80}},
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
