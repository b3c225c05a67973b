"""What a report says, as strings: every way of showing a record takes its figures from here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from spectrum_ft.planning.making import Planned
from spectrum_ft.records import ScannedMatrix, ScanReport
from spectrum_ft.summaries import (
    KindSummary,
    skip_reasons,
    summarize_kinds,
)
from spectrum_ft_reports import numbers
from spectrum_ft_reports.sparklines import Cell
from spectrum_ft_reports.untrusted import printable

_MOST_LAYERS = 2_000

_NOTABLE = {
    "saturated": "the edge leaves no noise, so the score is no ratio",
    "thin": "too small or too low in rank to be ranked",
}


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


class Fact(NamedTuple):
    """One line below the table."""

    label: str
    """What it is about, in a word."""
    text: str
    """What there is to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRow:
    """One matrix, in detail."""

    kind: str
    """Its kind."""
    layer: str
    """Its block, and its expert if it is one: `3`, `3:17`."""
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
    facts: tuple[Fact, ...]
    """What was counted, one line each."""
    matrices: tuple[MatrixRow, ...]
    """Every matrix by kind and layer; empty unless asked for."""


def scan_view(
    report: ScanReport, planned: Planned | None, *, with_matrices: bool = False
) -> ScanView:
    """The view of `report`, with what `planned` would train marked in it."""
    score = (planned and planned.plan.policy.score) or report.score
    choices = planned.choices if planned else ()
    summaries = summarize_kinds(report, score, choices)
    numbers_of_layers = [layer for summary in summaries for layer in summary.by_layer]
    return ScanView(
        title=_title(report),
        score=score,
        layers=f"0 → {max(numbers_of_layers)}" if numbers_of_layers else "",
        rows=tuple(_row(summary) for summary in summaries),
        facts=(*_scan_facts(report), *(_plan_facts(planned, report, summaries) if planned else ())),
        matrices=_matrix_rows(report, score, planned) if with_matrices else (),
    )


def _title(report: ScanReport) -> str:
    model = report.model
    revision = f" @ {model.revision[:12]}" if model.revision else ""
    size = f", {numbers.count(model.parameters)} weights" if model.parameters else ""
    layers = numbers.plural(model.layers, "layer")
    return f"{printable(_short_source(model.source), 60)}{revision}{size}, {layers}"


def _short_source(source: str) -> str:
    """A Hub id as it is; of a path, its last part."""
    is_path = source.startswith(("/", "~", ".")) or source.count("/") > 1
    return source.rstrip("/").rsplit("/", 1)[-1] if is_path else source


def _row(summary: KindSummary) -> KindRow:
    return KindRow(
        kind=printable(summary.kind, 60),
        cells=tuple(_cells(summary)),
        median=numbers.score(summary.median),
        train=f"{summary.taken}/{summary.units}" if summary.taken else f"-/{summary.units}",
        params=numbers.count(summary.num_params) if summary.num_params else "-",
    )


def _cells(summary: KindSummary) -> list[Cell]:
    values = summary.by_layer
    finite = [value for value in values.values() if value is not None]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    span = high - low
    cells = []
    last = max(values, default=-1)
    # Missing layers show as holes, unless the numbers make no sense.
    for layer in range(last + 1) if last < _MOST_LAYERS else sorted(values):
        value = values.get(layer)
        if layer not in values:
            height = None
        elif value is None:  # unbounded: above every finite score
            height = 1.0
        else:
            height = (value - low) / span if span > 0.0 else 0.5
        cells.append(Cell(height=height, marked=layer in summary.trained_layers))
    return cells


def _scan_facts(report: ScanReport) -> list[Fact]:
    time = f" in {numbers.seconds(report.seconds)}" if report.seconds else ""
    device = f" on {report.environment.device}" if report.environment else ""
    scored = numbers.plural(len(report.matrices), "matrix", "matrices")
    facts = [Fact("scored", f"{scored}{time}{device}")]
    reasons = skip_reasons(report)
    if reasons:
        listed = [f"{number:,} × {printable(reason)}" for reason, number in reasons.most_common()]
        more = f"; {len(listed) - 6} more reasons" if len(listed) > 6 else ""
        facts.append(Fact("skipped", "; ".join(listed[:6]) + more))
    flags = [flag for matrix in report.matrices for flag in matrix.flags]
    return facts + [
        Fact(flag, f"{numbers.plural(flags.count(flag), 'matrix', 'matrices')}: {meaning}")
        for flag, meaning in _NOTABLE.items()
        if flag in flags
    ]


def _plan_facts(
    planned: Planned, report: ScanReport, summaries: Sequence[KindSummary]
) -> list[Fact]:
    plan = planned.plan
    facts = [Fact("plan", _rule(planned)), Fact("trains", _trained(planned))]
    if planned.tied_head:
        facts.append(Fact("head", "shares its weights with the embeddings: both train"))
    facts.append(Fact("rest", "frozen as it is" if plan.base == "as-is" else f"in {plan.base}"))
    facts.append(Fact("backward", _backward(planned.lowest_layer, report.model.layers)))
    margins = [(s.margin, s.kind) for s in summaries if s.margin is not None]
    if margins and plan.policy.score is not None:
        margin, kind = min(margins)
        facts.append(
            Fact(
                "cut",
                f"narrowest in {printable(kind)}: {100.0 * margin:.2g} % between the last matrix "
                "taken and the first one left",
            )
        )
    at_cut = {flag for c in planned.choices for unit in c.at_the_cut for flag in unit.flags}
    flagged = [flag for flag in _NOTABLE if flag in at_cut]
    return facts + [Fact("at cut", f"some are {flag}: {_NOTABLE[flag]}") for flag in flagged]


def _rule(planned: Planned) -> str:
    policy = planned.plan.policy
    if policy.share is None:
        return policy.name
    ranked = f" by {policy.score}" if policy.score is not None else ""
    of = "each kind" if policy.scope == "kind" else "all matrices"
    return f"{policy.name}, {100.0 * policy.share:g} % of {of}{ranked}"


def _trained(planned: Planned) -> str:
    counts = planned.plan.counts
    tensors = numbers.plural(len(planned.plan.train), "tensor")
    if counts is None:
        return f"{tensors}; an imported result does not say how many weights that is"
    return (
        f"{tensors}, {numbers.count(counts.train)} of {numbers.count(counts.total)} weights "
        f"= {numbers.share(counts.train, counts.total)} of the model"
    )


def _backward(lowest: int | None, layers: int) -> str:
    if lowest is None:
        return "runs through the whole model"
    saved = f"{numbers.share(lowest, layers)} of the blocks are never differentiated"
    return f"stops at layer {lowest}; " + (saved if lowest else "no block is spared")


def _matrix_rows(report: ScanReport, score: str, planned: Planned | None) -> tuple[MatrixRow, ...]:
    trained = set(planned.plan.train) if planned else set()
    order: dict[str, int] = {}
    for matrix in report.matrices:
        order.setdefault(matrix.kind, len(order))
    by_kind = sorted(report.matrices, key=lambda matrix: order[matrix.kind])
    return tuple(_matrix_row(matrix, score, trained) for matrix in by_kind)


def _layer(matrix: ScannedMatrix) -> str:
    if matrix.layer is None:
        return "-"
    return str(matrix.layer) if matrix.expert is None else f"{matrix.layer}:{matrix.expert}"


def _matrix_row(matrix: ScannedMatrix, score: str, trained: set[str]) -> MatrixRow:
    return MatrixRow(
        kind=printable(matrix.kind, 60),
        layer=_layer(matrix),
        shape=" x ".join(map(str, matrix.shape)) or "-",
        score=numbers.score(matrix.scores.get(score)),
        signal="-" if matrix.spectrum is None else f"{matrix.signal_rank}/{matrix.spectrum.count}",
        trained=matrix.name in trained,
        flags=" ".join(matrix.flags),
    )
