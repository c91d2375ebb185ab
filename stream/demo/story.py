"""The injected changes of the demo, and the decision at its end about which were found. Pure: no clock, no Kafka."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

Json = Mapping[str, Any]


class Injection(msgspec.Struct, frozen=True):
    """A planned change. ``at_share``: when, as a share of the demo's length. The incident must name one of
    ``expected``."""

    model: str
    what: str
    at_share: float
    expected: tuple[str, ...]


class Injected(msgspec.Struct, frozen=True):
    """A change that was injected: when, and after how many events of its model."""

    injection: Injection
    at_ms: int
    after_events: int


class Report(msgspec.Struct, frozen=True):
    """An incident as it arrived on the topic of drift events."""

    received_ms: int
    incident: dict[str, Any]

    @property
    def model(self) -> str:
        return str(self.incident.get("model"))

    @property
    def features(self) -> list[str]:
        return [str(feature.get("feature")) for feature in self.incident.get("features") or []]

    @property
    def verdict(self) -> str:
        """The verdict with its reason."""
        verdict, reason = self.incident.get("verdict") or "", self.incident.get("reason")
        return f"{verdict}, {reason}" if reason else str(verdict)


class Outcome(msgspec.Struct, frozen=True):
    """The result of one injection. ``report`` is None where nothing was found or nothing was injected."""

    injection: Injection
    injected: Injected | None
    report: Report | None

    @property
    def found(self) -> bool:
        return self.report is not None

    @property
    def delay_ms(self) -> int | None:
        if self.injected is None or self.report is None:
            return None
        return max(0, self.report.received_ms - self.injected.at_ms)

    @property
    def delay_events(self) -> int | None:
        """Events of the model between the change and the opening of the incident."""
        if self.injected is None or self.report is None:
            return None
        opened = self.report.incident.get("opened_at_event")
        return None if opened is None else max(0, int(opened) - self.injected.after_events)


class Summary(msgspec.Struct, frozen=True):
    """All outcomes, and the reports that belong to no injection."""

    outcomes: list[Outcome]
    false_reports: list[Report]

    @property
    def passed(self) -> bool:
        return all(outcome.found for outcome in self.outcomes) and not self.false_reports


STORY = (
    Injection(
        "image-segments",
        "camera replaced: another colour response",
        0.25,
        (
            *("rawred-mean", "rawgreen-mean", "rawblue-mean", "exred-mean", "exgreen-mean", "exblue-mean"),
            *("intensity-mean", "value-mean", "saturation-mean", "hue-mean"),
        ),
    ),
    Injection("phishing", "age_of_domain is missing from now on", 0.40, ("age_of_domain",)),
    Injection(
        "land-cover",
        "NumPy 1.26.4 -> 2.1.0 in serving: 8-bit pixels overflow",
        0.55,
        ("excess_red", "excess_green", "excess_blue", "brightness"),
    ),
)


class Collector:
    """Gathers the reports from drift events. A report keeps the time of the incident's opening and its newest
    content."""

    def __init__(self) -> None:
        self._reports: dict[str, Report] = {}

    @property
    def reports(self) -> list[Report]:
        return list(self._reports.values())

    def on_event(self, event: Json, received_ms: int) -> Report | None:
        """Reads one CloudEvent. Returns its report if it is a new one."""
        kind, data = str(event.get("type")), dict(event.get("data") or {})
        if ".incident." in kind:
            identity = str(data.get("id"))
        elif ".model.state." in kind and data.get("state") == "blind":
            identity = f"blind {data.get('model')}/{data.get('version')}"
            data.setdefault("verdict", "blind")
        else:
            return None
        known = self._reports.get(identity)
        report = Report(known.received_ms if known else received_ms, {**(known.incident if known else {}), **data})
        self._reports[identity] = report
        return None if known else report


def judge(story: Sequence[Injection], made: Iterable[Injected], reports: Sequence[Report]) -> Summary:
    """Assigns every report to its injection: the same model, not earlier, and at least one expected feature.

    Later incidents of a model are consequences if they name an expected feature, the environment, or only outputs of
    the model. All other reports are false.
    """
    by_model = {injected.injection.model: injected for injected in made}
    first: dict[str, Report] = {}
    false: list[Report] = []
    for report in sorted(reports, key=lambda report: report.received_ms):
        injected = by_model.get(report.model)
        if injected is None or _before(report, injected):
            false.append(report)
        elif set(report.features) & set(injected.injection.expected):
            first.setdefault(report.model, report)
        elif not _consequence(report):
            false.append(report)
    outcomes = [Outcome(injection, by_model.get(injection.model), first.get(injection.model)) for injection in story]
    return Summary(outcomes, false)


def _before(report: Report, injected: Injected) -> bool:
    """Whether the incident opened before the injection, by event time. Counts of events cannot decide it, because one
    partition can be read ahead of another.
    """
    opened_ms = report.incident.get("opened_at_ms")
    return report.received_ms < injected.at_ms or (opened_ms is not None and int(opened_ms) < injected.at_ms)


def _consequence(report: Report) -> bool:
    """Whether an incident follows from an injection: the output of a model changes with its input."""
    if report.incident.get("kind") == "environment":
        return True
    return bool(report.features) and all(name.startswith("@") for name in report.features)
