"""What a report says, as strings: every way of showing a record takes its figures from here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from spectrum_ft.memory import TrainingShape
from spectrum_ft.planning.making import Planned
from spectrum_ft.records.forecasts import Forecast
from spectrum_ft.records.scans import ScannedMatrix, ScanReport
from spectrum_ft.summaries import KindSummary, summarize_kinds
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.facts import Fact
from spectrum_ft_reports.parts.sparklines import Cell, height
from spectrum_ft_reports.parts.titles import model_title
from spectrum_ft_reports.parts.untrusted import printable
from spectrum_ft_reports.scans.facts import memory_facts, plan_facts, scan_facts
from spectrum_ft_reports.scans.matrix_texts import flags_text, layer_text, shape_text, signal_text

_MOST_LAYERS = 2_000
_MOST_RANGES = 40


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
    layers: str
    """The layers of which something trains: `0-3, 7`; empty for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRow:
    """One matrix, in detail."""

    kind: str
    """Its kind."""
    layer: str
    """Its block, and its expert if it is one: `3`, `3:17`."""
    shape: str
    """Rows x columns, of one expert where many are stacked."""
    score: str
    """The score that ranks."""
    signal: str
    """Singular values above the edge, of how many."""
    trained: str
    """`yes` if it trains in full, `lora` if it carries an adapter, else empty."""
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
    report: ScanReport,
    planned: Planned | None,
    *,
    memory: tuple[Forecast, TrainingShape] | None = None,
    with_matrices: bool = False,
) -> ScanView:
    """The view of `report`, with what `planned` would train marked in it.

    `memory` is what training the plan takes, and how it would be trained.
    """
    score = (planned and planned.plan.policy.score) or report.score
    choices = planned.choices if planned else ()
    summaries = summarize_kinds(report, score, choices)
    numbers_of_layers = [layer for summary in summaries for layer in summary.by_layer]
    return ScanView(
        title=model_title(report.model),
        score=printable(score, 40),
        layers=f"0 → {max(numbers_of_layers)}" if numbers_of_layers else "",
        rows=tuple(_row(summary) for summary in summaries),
        facts=(
            *scan_facts(report),
            *(plan_facts(planned, report, summaries) if planned else ()),
            *(memory_facts(*memory) if memory else ()),
        ),
        matrices=_matrix_rows(report, score, planned) if with_matrices else (),
    )


def _row(summary: KindSummary) -> KindRow:
    return KindRow(
        kind=printable(summary.kind, 60),
        cells=tuple(_cells(summary)),
        median=numbers.score(summary.median),
        train=f"{summary.taken}/{summary.units}" if summary.taken else f"-/{summary.units}",
        params=numbers.count(summary.num_params) if summary.num_params else "-",
        layers=_ranges(sorted(summary.trained_layers)),
    )


def _ranges(layers: Sequence[int]) -> str:
    """Ascending numbers, neighbours joined: `0-3, 7`."""
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1][1:] = [layer]
        else:
            runs.append([layer])
    texts = ["-".join(map(str, run)) for run in runs]
    more = f", {len(texts) - _MOST_RANGES:,} more ranges" if len(texts) > _MOST_RANGES else ""
    return ", ".join(texts[:_MOST_RANGES]) + more


def _cells(summary: KindSummary) -> list[Cell]:
    values = summary.by_layer
    finite = [value for value in values.values() if value is not None and isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    cells = []
    last = max(values, default=-1)
    # Missing layers show as holes, unless the numbers make no sense.
    for layer in range(last + 1) if last < _MOST_LAYERS else sorted(values):
        value = values.get(layer)
        if value is None:
            at = None
        elif not isfinite(value):  # unbounded: above every finite score
            at = 1.0
        else:
            at = height(value, low, high)
        cells.append(Cell(height=at, marked=layer in summary.trained_layers))
    return cells


def _matrix_rows(report: ScanReport, score: str, planned: Planned | None) -> tuple[MatrixRow, ...]:
    trained = dict.fromkeys(planned.plan.train, "yes") if planned else {}
    if planned and planned.plan.lora:
        trained |= dict.fromkeys(planned.plan.lora.matrices, "lora")
    order: dict[str, int] = {}
    for matrix in report.matrices:
        order.setdefault(matrix.kind, len(order))
    by_kind = sorted(report.matrices, key=lambda matrix: order[matrix.kind])
    return tuple(_matrix_row(matrix, score, trained) for matrix in by_kind)


def _matrix_row(matrix: ScannedMatrix, score: str, trained: Mapping[str, str]) -> MatrixRow:
    return MatrixRow(
        kind=printable(matrix.kind, 60),
        layer=layer_text(matrix),
        shape=shape_text(matrix),
        score=numbers.score(matrix.scores.get(score)),
        signal=signal_text(matrix),
        trained=trained.get(matrix.name, ""),
        flags=flags_text(matrix),
    )
