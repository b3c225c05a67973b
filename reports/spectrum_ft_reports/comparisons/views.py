"""What is said of a comparison, as strings: terminal and Markdown take their figures from here."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from spectrum_ft.records.comparisons import ArmResult, Comparison
from spectrum_ft_reports.comparisons.bases import ColumnNote, basis, column_notes, estimates_of
from spectrum_ft_reports.comparisons.columns import FigureColumn, figure_columns
from spectrum_ft_reports.comparisons.contrast_views import (
    LONGEST_NAME,
    ContrastGroup,
    contrast_groups,
)
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.bounds import bounded
from spectrum_ft_reports.parts.facts import Fact
from spectrum_ft_reports.parts.sparklines import Cell, curve
from spectrum_ft_reports.parts.titles import short_source
from spectrum_ft_reports.parts.untrusted import printable

_LONGEST_SENTENCE = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmName:
    """An arm, as the table names it."""

    name: str
    """Its name."""
    dominated: bool
    """Whether another arm makes it pointless; see `domination`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CourseRow:
    """How the loss of an arm went."""

    name: str
    """The arm."""
    first: str
    """The loss of the first step."""
    cells: tuple[Cell, ...]
    """The loss of every step, on the arm's own scale."""
    last: str
    """The mean loss of the last tenth of the steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceRow:
    """Where the matrices of an arm lie."""

    name: str
    """The arm."""
    cells: tuple[Cell, ...]
    """How many of each block train, on one scale for all arms; marked where any does."""
    text: str
    """How many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonView:
    """A comparison."""

    title: str
    """The model."""
    setting: str
    """What was held equal, in one line."""
    arms: tuple[ArmName, ...]
    """The arms."""
    columns: tuple[FigureColumn, ...]
    """Their figures; columns without any are left out."""
    basis: str
    """What the 95 % intervals of arms are over; empty without any."""
    domination: str
    """What it means that an arm is dominated; empty where none is."""
    verdicts: tuple[str, ...]
    """The verdict, a sentence each."""
    contrasts: tuple[ContrastGroup, ...]
    """The answers behind it, one group a metric."""
    contrast_notes: tuple[ColumnNote, ...]
    """How to read them."""
    courses: tuple[CourseRow, ...]
    """How training went with the first seed."""
    places: tuple[PlaceRow, ...]
    """Where what trains in full lies."""
    differences: tuple[str, ...]
    """What differs besides the plans."""
    facts: tuple[Fact, ...]
    """How it was made."""
    command: str
    """The command that makes it again."""


def comparison_view(comparison: Comparison, folder: str | None = None) -> ComparisonView:
    """The view of `comparison`, kept in `folder` where that is known."""
    arms = comparison.arms
    return ComparisonView(
        title=model_name(comparison),
        setting=_setting(comparison),
        arms=tuple(ArmName(name=_name(arm.name), dominated=arm.dominated) for arm in arms),
        columns=tuple(figure_columns(arms)),
        basis=basis(estimates) if (estimates := estimates_of(arms)) else "",
        domination=domination(arms) if any(arm.dominated for arm in arms) else "",
        verdicts=_sentences(comparison.verdicts),
        contrasts=contrast_groups(comparison.contrasts),
        contrast_notes=column_notes(comparison.contrasts),
        courses=tuple(_course(arm) for arm in arms if arm.curves and arm.curves[0]),
        places=tuple(_places(arms)),
        differences=_sentences(comparison.differences),
        facts=tuple(_facts(comparison, folder)),
        command=printable(comparison.command, 8_000),
    )


def domination(arms: Sequence[ArmResult]) -> str:
    """What it means that one of `arms` is dominated."""
    what = "accuracy" if any(arm.accuracy is not None for arm in arms) else "loss"
    return (
        f"another arm is no worse in {what}, memory and time and better in one; memory and time "
        "within 2 % count as equal"
    )


def model_name(comparison: Comparison) -> str:
    """The model, safe to show."""
    return printable(short_source(comparison.source), 80)


def _name(name: str) -> str:
    return printable(name, LONGEST_NAME)


def _sentences(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(printable(text, _LONGEST_SENTENCE) for text in texts)


def _setting(comparison: Comparison) -> str:
    seeds = comparison.settings.seeds
    parts = [numbers.plural(len(comparison.arms), "arm"), _length(comparison)]
    listed = ", ".join(map(str, seeds[:12])) + (", ..." if len(seeds) > 12 else "")
    parts.append(f"{numbers.plural(len(seeds), 'seed')} ({listed})")
    asked = {contrast.examples for contrast in comparison.contrasts}
    limit = comparison.settings.evaluation.limit
    if len(asked) == 1:
        parts.append(numbers.plural(asked.pop(), "question"))
    elif limit is not None:
        parts.append(f"at most {numbers.plural(limit, 'question')}")
    return ", ".join(part for part in parts if part)


def _length(comparison: Comparison) -> str:
    """How long the arms trained: `120 steps of 8 rows`; empty where nothing trained."""
    settings = comparison.settings
    steps = {arm.steps for arm in comparison.arms if arm.steps is not None}
    if not steps:
        return ""
    rows = numbers.plural(settings.training.batch_size * settings.training.grad_accum, "row")
    if settings.minutes is not None:
        return f"{settings.minutes:g} minutes of training in steps of {rows}"
    if len(steps) > 1:
        return f"{min(steps):,} to {max(steps):,} steps of {rows}"
    return f"{numbers.plural(steps.pop(), 'step')} of {rows}"


def _course(arm: ArmResult) -> CourseRow:
    losses = [bounded(point.loss) for point in arm.curves[0]]
    last = losses[-max(1, len(losses) // 10) :]
    return CourseRow(
        name=_name(arm.name),
        first=numbers.loss(losses[0]),
        cells=curve(losses),
        last=numbers.loss(fmean(last)),
    )


def _places(arms: Sequence[ArmResult]) -> list[PlaceRow]:
    most = max((number for arm in arms for number in arm.layers), default=0)
    rows = []
    for arm in arms:
        if not any(arm.layers):
            continue
        cells = tuple(Cell(height=number / most, marked=number > 0) for number in arm.layers)
        rows.append(PlaceRow(name=_name(arm.name), cells=cells, text=place_text(arm)))
    return rows


def place_text(arm: ArmResult) -> str:
    """How many matrices train in full, and in how many blocks: `52 in 21 of 30 blocks`."""
    reached = sum(1 for number in arm.layers if number)
    return f"{sum(arm.layers):,} in {reached:,} of {numbers.plural(len(arm.layers), 'block')}"


def _facts(comparison: Comparison, folder: str | None) -> list[Fact]:
    environment, settings = comparison.environment, comparison.settings
    where = ", ".join(
        printable(text, 60)
        for text in (
            environment.device,
            environment.platform,
            f"spectrum-ft {environment.spectrum_ft}",
        )
    )
    facts = [
        Fact("data", printable(settings.training.data, 120)),
        Fact("test", printable(settings.evaluation.data, 120)),
        Fact("took", f"{numbers.seconds(comparison.seconds)} for all trials; {where}"),
    ]
    if folder is not None:
        facts.append(Fact("kept", printable(folder, 200)))
    return facts
