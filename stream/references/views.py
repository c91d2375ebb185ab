"""Tables of a reference, and of the differences between two, measured on the bins of the first one."""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from detectors import values
from detectors.evidence import distances
from detectors.features import Kind
from detectors.reference.reference import FeatureReference, Reference
from stream.terminal.console import escape
from stream.terminal.output import number

NOTABLE_PSI = 0.1
"""By the usual rule for PSI, a value below 0.1 is not a notable change."""
BINS = 10


class Difference(msgspec.Struct, frozen=True):
    """One feature in two references. Sizes are None if one reference lacks it or has it as another kind."""

    feature: str
    kind: str
    other_kind: str | None
    psi: float | None = None
    jensen_shannon: float | None = None
    kolmogorov_smirnov: float | None = None
    missing_share: float | None = None
    other_missing_share: float | None = None

    @property
    def notable(self) -> bool:
        """Whether the feature is absent from one, has another kind, or differs by more than ``NOTABLE_PSI``."""
        return self.psi is None or self.psi > NOTABLE_PSI


def show(console: Console, reference: Reference) -> None:
    """Prints where the reference comes from, and a line for every feature."""
    console.print(
        f"[bold]{escape(str(reference.model_key))}[/]  {reference.rows:,} rows  {reference.digest}", soft_wrap=True
    )
    for name, value in {**reference.source, **reference.environment}.items():
        console.print(f"  {escape(name)}: {escape(str(value))}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("feature")
    table.add_column("kind")
    for name in ("present", "missing", "mean", "std", "tau"):
        table.add_column(name, justify="right")
    table.add_column("range or categories", overflow="fold")
    for feature in reference.features:
        table.add_row(
            escape(feature.feature),
            f"{feature.kind}{' (an id or counter)' if feature.identifier else ''}",
            f"{feature.present:,}",
            f"{feature.missing + feature.invalid:,}",
            number(feature.mean),
            number(feature.std),
            number(feature.tau),
            escape(_extent(feature)),
        )
    console.print(table)


def compare(left: Reference, right: Reference) -> list[Difference]:
    """The differences of every feature of either reference, the largest first."""
    others: Mapping[str, FeatureReference] = {feature.feature: feature for feature in right.features}
    known = {feature.feature for feature in left.features}
    found = [_compare(feature, others.get(feature.feature)) for feature in left.features]
    found.extend(Difference(f.feature, "absent", f.kind) for f in right.features if f.feature not in known)
    return sorted(found, key=lambda d: (-(float("inf") if d.psi is None else d.psi), d.feature))


def show_differences(console: Console, differences: list[Difference]) -> None:
    """Prints a line for every feature."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("feature")
    for name in ("PSI", "KS", "Jensen-Shannon", "missing"):
        table.add_column(name, justify="right")
    for one in differences:
        style = "yellow" if one.notable else ""
        name = f"[{style}]{escape(one.feature)}[/]" if style else escape(one.feature)
        if one.psi is None:
            table.add_row(name, f"{one.kind} -> {one.other_kind or 'absent'}", "", "", "")
            continue
        missing = f"{one.missing_share or 0:.1%} -> {one.other_missing_share or 0:.1%}"
        table.add_row(name, number(one.psi), number(one.kolmogorov_smirnov), number(one.jensen_shannon), missing)
    console.print(table)


def _extent(feature: FeatureReference) -> str:
    if feature.kind is Kind.NUMERIC:
        return f"{feature.edges[0]:.6g} to {feature.edges[-1]:.6g}" if feature.edges else ""
    more = f" and {feature.distinct - 6:,} more" if feature.distinct > 6 else ""
    return ", ".join(feature.categories[:6]) + more


def _compare(one: FeatureReference, other: FeatureReference | None) -> Difference:
    if other is None or other.kind != one.kind:
        return Difference(one.feature, one.kind, None if other is None else other.kind)
    left, right = (_numeric if one.kind is Kind.NUMERIC else _categorical)(one, other)
    return Difference(
        one.feature,
        one.kind,
        other.kind,
        psi=float(distances.psi(left, right)),
        jensen_shannon=float(distances.jensen_shannon(left, right)),
        kolmogorov_smirnov=float(distances.kolmogorov_smirnov(left, right)) if one.kind is Kind.NUMERIC else None,
        missing_share=_missing(one),
        other_missing_share=_missing(other),
    )


def _missing(feature: FeatureReference) -> float:
    return (feature.missing + feature.invalid) / max(feature.rows, 1)


def _numeric(one: FeatureReference, other: FeatureReference) -> tuple[Any, Any]:
    """Rows of both in about ten bins with equal shares of the first. Those of the second are interpolated in its
    bins."""
    if not one.edges or not other.edges:
        return np.array([one.present]), np.array([other.present])
    below = np.cumsum(one.counts)[: len(one.edges)]
    at = np.searchsorted(below, np.linspace(0, below[-1], BINS + 1)[1:-1], side="left")
    cuts = np.unique(np.asarray(one.edges)[at])
    edges = np.asarray(other.edges)
    theirs = np.interp(
        values.snapped(cuts, edges, other.std or 0.0), edges, np.cumsum(other.counts)[: len(other.edges)]
    )
    mine = np.interp(cuts, one.edges, below)
    return (
        np.rint(np.diff(mine, prepend=0, append=one.present)).astype(np.int64),
        np.rint(np.diff(theirs, prepend=0, append=other.present)).astype(np.int64),
    )


def _categorical(one: FeatureReference, other: FeatureReference) -> tuple[Any, Any]:
    """Rows of both by the categories of the first, with one more entry for all other categories."""
    theirs = dict(zip(other.categories, other.category_counts, strict=True))
    right = [theirs.get(name, 0) for name in one.categories]
    left = [*one.category_counts, one.present - sum(one.category_counts)]
    return np.array(left, dtype=np.int64), np.array([*right, other.present - sum(right)], dtype=np.int64)
