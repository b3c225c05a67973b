"""What a report says, as strings: every way of showing a record takes its figures from here."""

from collections.abc import Sequence
from dataclasses import dataclass

from spectrum_ft.planning.making import Planned
from spectrum_ft.records import ScannedMatrix, ScanReport
from spectrum_ft.summaries import (
    KindSummary,
    lowest_trained_layer,
    skip_reasons,
    summarize_kinds,
)
from spectrum_ft_reports import numbers
from spectrum_ft_reports.sparklines import Cell
from spectrum_ft_reports.untrusted import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRow:
    """One line of the table."""

    kind: str
    """The kind."""
    cells: tuple[Cell, ...]
    """Its score by layer."""
    median: str
    """The median score."""
    train: str
    """How many of it train, of how many; empty where none is chosen from it."""
    params: str
    """The number of weights."""
    margin: str
    """The margin at the cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRow:
    """One matrix, in detail."""

    name: str
    """The tensor's name."""
    shape: str
    """Rows x columns."""
    score: str
    """The score that ranks."""
    signal: str
    """Singular values above the edge, of how many."""
    trained: bool
    """Whether it trains."""
    flags: str
    """What to know about its score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanView:
    """A scan, and the plan that is shown with it."""

    title: str
    """The model in one line."""
    score: str
    """The score that is shown."""
    layers: str
    """The range of layers in the table's header."""
    rows: tuple[KindRow, ...]
    """The table."""
    facts: tuple[str, ...]
    """What was counted, one sentence each."""
    matrices: tuple[MatrixRow, ...]
    """Every matrix, for those who ask."""


def scan_view(report: ScanReport, planned: Planned | None) -> ScanView:
    """The view of `report`, with what `planned` would train marked in it."""
    score = (planned and planned.plan.policy.score) or report.score
    choices = planned.choices if planned else ()
    summaries = summarize_kinds(report, score, choices)
    trained = set(planned.plan.train) if planned else set()
    numbers_of_layers = [layer for summary in summaries for layer in summary.by_layer]
    return ScanView(
        title=_title(report),
        score=score,
        layers=f"0 → {max(numbers_of_layers)}" if numbers_of_layers else "",
        rows=tuple(_row(summary) for summary in summaries),
        facts=(*_scan_facts(report), *(_plan_facts(planned, report, summaries) if planned else ())),
        matrices=tuple(_matrix_row(matrix, score, trained) for matrix in report.matrices),
    )


def _title(report: ScanReport) -> str:
    model = report.model
    revision = f" @ {model.revision[:12]}" if model.revision else ""
    size = f", {numbers.count(model.parameters)} weights" if model.parameters else ""
    layers = numbers.plural(model.layers, "layer")
    return f"{printable(model.source, 60)}{revision}{size}, {layers}"


def _row(summary: KindSummary) -> KindRow:
    return KindRow(
        kind=printable(summary.kind, 60),
        cells=tuple(_cells(summary)),
        median=numbers.score(summary.median),
        train=f"{summary.taken}/{summary.units}" if summary.taken else f"-/{summary.units}",
        params=numbers.count(summary.num_params) if summary.num_params else "-",
        margin=f"{100.0 * summary.margin:.2g} %" if summary.margin is not None else "-",
    )


def _cells(summary: KindSummary) -> list[Cell]:
    values = summary.by_layer
    finite = [value for value in values.values() if value is not None]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    span = high - low
    cells = []
    for layer in range(max(values, default=-1) + 1):
        value = values.get(layer)
        if layer not in values:
            height = None
        elif value is None:  # unbounded: above every finite score
            height = 1.0
        else:
            height = (value - low) / span if span > 0.0 else 0.5
        cells.append(Cell(height=height, marked=layer in summary.trained_layers))
    return cells


def _scan_facts(report: ScanReport) -> list[str]:
    time = f" in {numbers.seconds(report.seconds)}" if report.seconds else ""
    device = f" on {report.environment.device}" if report.environment else ""
    facts = [f"{numbers.plural(len(report.matrices), 'matrix', 'matrices')} scored{time}{device}."]
    reasons = skip_reasons(report)
    if reasons:
        listed = "; ".join(
            f"{number:,} {printable(reason)}" for reason, number in reasons.most_common(6)
        )
        facts.append(f"Not scored: {listed}.")
    flags = [flag for matrix in report.matrices for flag in matrix.flags]
    notable = {"saturated": "no noise below the edge", "thin": "too small to rank"}
    facts += [
        f"{numbers.plural(flags.count(flag), 'matrix', 'matrices')} {flag} ({meaning})."
        for flag, meaning in notable.items()
        if flag in flags
    ]
    return facts


def _plan_facts(
    planned: Planned, report: ScanReport, summaries: Sequence[KindSummary]
) -> list[str]:
    plan = planned.plan
    facts = [_share_fact(planned)]
    lowest = lowest_trained_layer(plan.train)
    layers = report.model.layers
    if lowest is None:
        facts.append("Backward runs through the whole model: what lies below the blocks trains.")
    elif layers:
        facts.append(
            f"Lowest trained layer: {lowest} of 0 to {layers - 1}; backward skips "
            f"{numbers.share(lowest, layers)} of the blocks."
        )
    margins = [(s.margin, s.kind) for s in summaries if s.margin is not None]
    if margins:
        margin, kind = min(margins)
        facts.append(
            f"Narrowest cut: {printable(kind)}, where the last matrix taken is "
            f"{100.0 * margin:.2g} % ahead of the first one left."
        )
    flagged = sorted({flag for c in planned.choices for u in c.at_the_cut for flag in u.flags})
    if flagged:
        facts.append(f"Flags at the cut: {', '.join(flagged)}.")
    if planned.tied_head:
        facts.append("The head shares its weights with the embeddings: both train.")
    return facts


def _share_fact(planned: Planned) -> str:
    plan = planned.plan
    counts = plan.counts
    tensors = numbers.plural(len(plan.train), "tensor")
    rule = plan.policy.name
    if plan.policy.share is not None:
        rule += f", {100.0 * plan.policy.share:g} % of each kind"
    if plan.policy.scope == "overall":
        rule = f"{plan.policy.name}, {100.0 * (plan.policy.share or 0.0):g} % of all matrices"
    if counts is None:
        return f"Plan ({rule}): {tensors} train; how many weights that is, an import does not say."
    return (
        f"Plan ({rule}): {tensors} train, {numbers.count(counts.train)} of "
        f"{numbers.count(counts.total)} weights = {numbers.share(counts.train, counts.total)} "
        f"of the model; the rest stays {_kept(plan.base)}."
    )


def _kept(base: str) -> str:
    return "frozen as it is" if base == "as-is" else f"frozen in {base}"


def _matrix_row(matrix: ScannedMatrix, score: str, trained: set[str]) -> MatrixRow:
    return MatrixRow(
        name=printable(matrix.name, 80),
        shape=" x ".join(map(str, matrix.shape)) or "-",
        score=numbers.score(matrix.scores.get(score)),
        signal="-" if matrix.spectrum is None else f"{matrix.signal_rank}/{matrix.spectrum.count}",
        trained=matrix.name in trained,
        flags=" ".join(matrix.flags),
    )
