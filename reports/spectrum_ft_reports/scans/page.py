"""A scan as a page that can be explored."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from spectrum_ft.planning.making import Planned
from spectrum_ft.records.scans import ScannedMatrix, ScanReport
from spectrum_ft_reports.pages.masthead import Masthead, Source, making
from spectrum_ft_reports.pages.rendering import render
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.facts import Fact, KeyFigure
from spectrum_ft_reports.parts.untrusted import printable
from spectrum_ft_reports.scans import spectra
from spectrum_ft_reports.scans.cautions import cautions
from spectrum_ft_reports.scans.explorer import START, Explorer, explorer, plan_shown, verdict
from spectrum_ft_reports.scans.heat_map import ROW, heat_map
from spectrum_ft_reports.scans.matrix_lines import lines_of
from spectrum_ft_reports.scans.matrix_texts import fact_labels, fact_texts, full_name, scores_of
from spectrum_ft_reports.scans.page_data import page_data
from spectrum_ft_reports.scans.units import Unit, units_of
from spectrum_ft_reports.scans.views import scan_view

_SCRIPTS = ("table.js", "copy.js", "histogram.js", "explorer.js")
_MOST_REASONS, _MOST_NAMES, _MOST_OUTSIDE = 30, 60, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Skips:
    """The tensors without a score that share a reason."""

    reason: str
    """Why they have none."""
    count: str
    """How many there are."""
    names: tuple[str, ...]
    """The first of them."""
    more: int
    """How many more there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectrum:
    """The spectrum that is shown first."""

    unit: int
    """The unit that it belongs to, by its place among `units_of`."""
    member: int
    """The matrix's place in the unit."""
    name: str
    """The matrix."""
    facts: tuple[Fact, ...]
    """What is known of it."""
    picture: spectra.Histogram
    """Its drawing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """A matrix that is in no layer."""

    unit: int
    """Its unit, by its place among `units_of`."""
    name: str
    """The matrix."""
    value: str
    """Its score."""


def scan_page(report: ScanReport, planned: Planned | None, *, source: Source) -> str:
    """The page of `report`; `planned` is the default plan, None if there is none."""
    units = units_of(report)
    explored = explorer(report, units, source.name)
    scores = scores_of(report)
    lines = lines_of(units, scores)
    planned = plan_shown(report, planned, explored)
    view = scan_view(report, planned)
    outside = [
        Outside(
            unit=place, name=full_name(unit.matrices[0]), value=explored.first.shade.texts[place]
        )
        for place, unit in enumerate(units)
        if unit.layer is None
    ]
    per_matrix = len(lines) and sum(len(unit.matrices) for unit in units) == len(lines)
    environment = report.environment  # an import has none
    return render(
        "scan.html",
        scripts=_SCRIPTS,
        head=Masthead(
            kind="scan",
            title=view.title,
            verdict=verdict(explored),
            figures=_figures(report, planned, units),
            cautions=cautions(report, explored),
        ),
        made=making(
            command=report.command,
            schema=report.schema if environment else "a result file of the published script",
            source=source,
            environment=environment,
        ),
        view=view,
        explored=explored,
        start=START,
        map=heat_map(units, explored.first),
        row=ROW,
        outside=outside[:_MOST_OUTSIDE],
        outside_left=len(outside) - _MOST_OUTSIDE,
        shown=_shown(units, explored, scores),
        scores=[printable(score, 40) for score in scores],
        lines=lines,
        lit=[_is_lit(percent) for percent in explored.first.percents],
        per_matrix=per_matrix,
        lines_left=len(units) - len(lines) if not per_matrix else 0,
        matrices=numbers.plural(len(report.matrices), "matrix", "matrices"),
        has_experts=any(len(unit.matrices) > 1 for unit in units),
        is_import=report.model.fingerprint is None,
        skips=_skips(report)[:_MOST_REASONS],
        skipped=numbers.plural(len(report.skipped), "tensor"),
        data=page_data(units, explored, scores),
    )


def _is_lit(percent: int | None) -> bool:
    return percent is not None and percent <= START


def _figures(
    report: ScanReport, planned: Planned | None, units: Sequence[Unit]
) -> tuple[KeyFigure, ...]:
    kinds = numbers.plural(len({unit.kind for unit in units}), "kind")
    layers = numbers.plural(report.model.layers, "layer")
    scored = numbers.plural(len(report.matrices), "matrix", "matrices")
    figures = [KeyFigure(label="scored", value=scored, note=f"{kinds}, {layers}")]
    if planned is not None:
        figures += _plan_figures(report, planned)
    if report.skipped:
        tensors = numbers.plural(len(report.skipped), "tensor")
        figures.append(KeyFigure(label="skipped", value=tensors, note="each with its reason"))
    return tuple(figures)


def _plan_figures(report: ScanReport, planned: Planned) -> list[KeyFigure]:
    counts, lowest = planned.plan.counts, planned.lowest_layer
    tensors = numbers.plural(len(planned.plan.train), "tensor")
    label = f"trains at {START} %"
    if counts is None:
        figures = [KeyFigure(label=label, value=tensors, note="of unknown shapes")]
    else:
        weights = f"{numbers.count(counts.train)} of {numbers.count(counts.total)} weights"
        trained = numbers.share(counts.train, counts.total)
        figures = [KeyFigure(label=label, value=trained, note=weights)]
    if lowest is None:
        return [*figures, KeyFigure(label="backward pass", value="whole model")]
    share = numbers.share(lowest, report.model.layers)
    spared = f"{share} of the blocks spared" if lowest else "no block is spared"
    return [
        *figures,
        KeyFigure(label="backward pass", value=f"down to layer {lowest}", note=spared),
    ]


def _shown(units: Sequence[Unit], explored: Explorer, scores: Sequence[str]) -> Spectrum | None:
    """The spectrum of the best ranked matrix; of one that has an edge inside, if there is any."""
    percents = explored.first.percents
    order = sorted(range(len(units)), key=lambda place: (percents[place] or 101, place))
    found = None
    for place in order:
        for member, matrix in enumerate(units[place].matrices):
            if spectra.is_drawable(matrix.spectrum):
                if "saturated" not in matrix.flags:
                    return _spectrum(matrix, place, member, scores)
                found = found or _spectrum(matrix, place, member, scores)
    return found


def _spectrum(matrix: ScannedMatrix, unit: int, member: int, scores: Sequence[str]) -> Spectrum:
    return Spectrum(
        unit=unit,
        member=member,
        name=full_name(matrix),
        facts=tuple(map(Fact, fact_labels(scores), fact_texts(matrix, scores))),
        picture=spectra.histogram(matrix),
    )


def _skips(report: ScanReport) -> list[Skips]:
    """The skipped tensors by reason, the most frequent first."""
    names = defaultdict[str, list[str]](list)
    for tensor in report.skipped:
        expert = "" if tensor.expert is None else f"[{tensor.expert}]"
        names[tensor.reason].append(f"{printable(tensor.name)}{expert}")
    return [
        Skips(
            reason=printable(reason),
            count=numbers.plural(len(found), "tensor"),
            names=tuple(found[:_MOST_NAMES]),
            more=max(0, len(found) - _MOST_NAMES),
        )
        for reason, found in sorted(names.items(), key=lambda item: -len(item[1]))
    ]
