"""The summary of a topic as text for the terminal and as an HTML page."""

import json
from html import escape as html

from rich.console import Console
from rich.table import Table

from stream.charts import style, svg
from stream.survey.survey import FeatureSurvey, ModelSurvey, TopicSurvey
from stream.terminal.console import escape
from stream.terminal.output import number


def show(console: Console, found: TopicSurvey) -> None:
    """Prints a headline, then a table for every model version."""
    console.print(f"[bold]{escape(found.topic)}[/]  {escape(headline(found))}", soft_wrap=True)
    for reason, count in found.rejected.items():
        console.print(f"[yellow]unreadable[/] {count:,} x {escape(reason)}", soft_wrap=True)
    if found.proposed is not None:
        console.print("The records name no model. They are read here with this entry of topics.events:", soft_wrap=True)
        console.print(f"  {escape(json.dumps(found.proposed, ensure_ascii=False))}", soft_wrap=True)
    for model in found.models:
        console.print()
        console.print(f"[bold]{escape(model.model)}/{escape(model.version)}[/]  {escape(about(model))}", soft_wrap=True)
        console.print(_table(model))
        for line in rhythm_lines(model):
            console.print(escape(line), soft_wrap=True)
        for name, reason in list(model.not_watched.items())[:20]:
            console.print(f"not watched: {escape(name)}: {escape(reason)}", soft_wrap=True)


def headline(found: TopicSurvey) -> str:
    """The size, freshness and shapes of the records, in one line."""
    age = "no records" if found.newest_age_seconds is None else f"the newest is {_age(found.newest_age_seconds)} old"
    shapes = ", ".join(f"{count:,} x {name}" for name, count in found.shapes.items())
    parts = "partition" if found.partitions == 1 else "partitions"
    return f"{found.partitions} {parts} with {found.held:,} records; read {found.read:,} ({shapes}); {age}"


def about(model: ModelSurvey) -> str:
    """The events, rate, segments and environments of a model, in one line."""
    rate = "" if model.events_per_second is None else f", {model.events_per_second:,.3g} per second"
    segments = f", {len(model.segments)} segments" if model.segments else ""
    environments = f", {len(model.environments)} environments" if len(model.environments) > 1 else ""
    return f"{model.events:,} events{rate}, {len(model.features)} features{segments}{environments}"


def rhythm_lines(model: ModelSurvey) -> list[str]:
    """How much events depend on each other and on the hour, and what that costs in delay, as lines of text."""
    known = [(feature.feature, feature.rhythm) for feature in model.features if feature.rhythm is not None]
    if not known:
        return []
    name, most = max(known, key=lambda item: item[1].dependence)
    lines = [
        f"dependence: {most.dependence:.3g} ({name}); a shift of half a standard deviation needs about "
        f"{most.half_sigma_events:,} events"
        if most.dependence > 1
        else "dependence: none; a shift of half a standard deviation needs about "
        f"{most.half_sigma_events:,} events once the season is known"
    ]
    hours = [(found.hours_differ, name) for name, found in known if found.hours_differ is not None]
    if not hours:
        return [*lines, "season: not known, the sample spans less than two days"]
    differ, name = max(hours)
    text = f"hours differ by {differ:.2g} standard deviations ({name})" if differ else "hours do not differ"
    return [*lines, f"season: {text}"]


def _table(model: ModelSurvey) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("feature", "kind"):
        table.add_column(name, overflow="fold")
    for name in ("missing", "invalid", "distinct"):
        table.add_column(name, justify="right")
    table.add_column("1 %  50 %  99 %, or most frequent values", overflow="fold")
    for feature in model.features:
        kind = f"{feature.kind}, an id" if feature.identifier else str(feature.kind)
        share = [_share(count, model.events) for count in (feature.missing, feature.invalid)]
        table.add_row(escape(feature.feature), kind, *share, f"{feature.distinct:,}", escape(values(feature)))
    return table


def values(feature: FeatureSurvey) -> str:
    """Quantiles of a numeric feature, the most frequent values of another."""
    if feature.quantiles:
        return "  ".join(number(feature.quantiles[q]) for q in ("0.01", "0.5", "0.99"))
    if feature.identifier:
        return "nearly all differ"
    return ", ".join(f"{name} {count / max(feature.present, 1):.0%}" for name, count in list(feature.top.items())[:4])


def page(found: TopicSurvey) -> str:
    """The summary as one HTML page that loads no other files."""
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html(found.topic)}</title><style>{style.STYLE}</style></head><body>",
        f'<h1>{html(found.topic)}</h1><p class="soft">{html(headline(found))}</p>',
    ]
    if found.rejected:
        rows = "".join(f'<tr><td class="n">{n:,}</td><td>{html(why)}</td></tr>' for why, n in found.rejected.items())
        parts.append(f"<h2>Unreadable</h2><table>{rows}</table>")
    for model in found.models:
        parts.append(f"<h2>{html(model.model)}/{html(model.version)}</h2><p class='soft'>{html(about(model))}</p>")
        parts += [f"<p class='soft'>{html(line)}</p>" for line in rhythm_lines(model)]
        parts.append('<div class="features">')
        parts.extend(_card(feature, model.events) for feature in model.features)
        parts.append("</div>")
    parts.append("</body></html>\n")
    return "\n".join(parts)


def _card(feature: FeatureSurvey, events: int) -> str:
    names = list(feature.top) if not feature.quantiles else []
    picture = "" if feature.identifier else svg.histograms([], feature.histogram, names, feature.feature)
    missing, invalid = (_share(count, events) for count in (feature.missing, feature.invalid))
    return (
        f'<div class="feature"><b>{html(feature.feature)}</b><span class="soft">{feature.kind}, missing {missing}, '
        f"invalid {invalid}, distinct {feature.distinct:,}</span>{picture}"
        f'<span class="soft">{html(values(feature))}</span></div>'
    )


def _share(count: int, whole: int) -> str:
    return "-" if not count else f"{count / max(whole, 1):.1%}"


def _age(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return "less than 2 seconds" if seconds < 2 else f"{seconds:.0f} seconds"
