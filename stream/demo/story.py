"""The demo's story: what is injected when, and the judgement at the end of what was found. Pure: no clock, no Kafka."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

Json = Mapping[str, Any]


class Injection(msgspec.Struct, frozen=True):
    """A change to come. ``at_share`` of the demo's length; one of ``expected`` must be named by the incident."""

    model: str
    what: str
    at_share: float
    expected: tuple[str, ...]


class Injected(msgspec.Struct, frozen=True):
    """A change that was made: when, and after how many events of its model."""

    injection: Injection
    at_ms: int
    after_events: int


class Report(msgspec.Struct, frozen=True):
    """An incident as it arrived on the drift events' topic."""

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
    """What became of one injection; ``report`` None: nothing found, or it was never made."""

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
        """Events of the model read between the change and the incident's opening."""
        if self.injected is None or self.report is None:
            return None
        opened = self.report.incident.get("opened_at_event")
        return None if opened is None else max(0, int(opened) - self.injected.after_events)


class Summary(msgspec.Struct, frozen=True):
    """All outcomes, and what was reported beside them."""

    outcomes: list[Outcome]
    false_reports: list[Report]

    @property
    def passed(self) -> bool:
        return all(outcome.found for outcome in self.outcomes) and not self.false_reports


STORY = (
    Injection(
        "image-segments",
        "camera swapped: another colour response",
        0.25,
        (
            *("rawred-mean", "rawgreen-mean", "rawblue-mean", "exred-mean", "exgreen-mean", "exblue-mean"),
            *("intensity-mean", "value-mean", "saturation-mean", "hue-mean"),
        ),
    ),
    Injection("phishing", "age_of_domain goes missing upstream", 0.40, ("age_of_domain",)),
    Injection(
        "land-cover",
        "NumPy 1.26.4 -> 2.1.0 in serving: 8-bit pixels wrap round",
        0.55,
        ("excess_red", "excess_green", "excess_blue", "brightness"),
    ),
)


class Collector:
    """Gathers the reports out of the drift events: an incident counts from its opening, with what was added later."""

    def __init__(self) -> None:
        self._reports: dict[str, Report] = {}

    @property
    def reports(self) -> list[Report]:
        return list(self._reports.values())

    def on_event(self, event: Json, received_ms: int) -> Report | None:
        """Takes a CloudEvent; the report where it is a new one."""
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
    """Gives every report to the injection it belongs to: the same model, not before it, and one expected feature.

    Further incidents of a model after its injection are consequences when they name what the first one or the story
    names or what the model answered; everything else is false.
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
    """By the event time it opened at: events read are no measure, for partitions run ahead of each other."""
    opened_ms = report.incident.get("opened_at_ms")
    return report.received_ms < injected.at_ms or (opened_ms is not None and int(opened_ms) < injected.at_ms)


def _consequence(report: Report) -> bool:
    """The model's answers change with its input: incidents about nothing else follow from it."""
    if report.incident.get("kind") == "environment":
        return True
    return bool(report.features) and all(name.startswith("@") for name in report.features)
