"""What the page of a scan can be asked: which share trains what, by each score."""

from dataclasses import dataclass

from spectrum_ft.errors import PlanError
from spectrum_ft.planning.exploring import (
    Exploration,
    explore,
    explore_scores,
    plannable_scores,
)
from spectrum_ft.planning.making import Planned, make_plan
from spectrum_ft.planning.requests import DEFAULT_SHARE, PlanRequest
from spectrum_ft.records.scans import ScanReport
from spectrum_ft_reports.parts.commands import argument
from spectrum_ft_reports.parts.untrusted import printable
from spectrum_ft_reports.scans.facts import trained_text
from spectrum_ft_reports.scans.units import Shade, Unit, shade

START = round(100 * DEFAULT_SHARE)
"""The share that is shown first, in per cent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What can be said of every share under one score."""

    shade: Shade
    """The colours."""
    percents: tuple[int | None, ...]
    """For each unit the smallest percentage at which it trains; None if none takes it."""
    said: tuple[str, ...]
    """What 1 %, 2 %, ... 100 % train, in words; empty where no plan can be made."""
    default: str
    """What the share that is shown first trains, in a sentence's words."""
    option: str
    """What the command needs besides the share; empty for the scan's own score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explorer:
    """The choices on offer, the one that is shown first at the front."""

    choices: tuple[Choice, ...]
    """One for each score that plans can be made with; one without any plan if there is none."""
    before: str
    """The command up to the share."""
    after: str
    """The command from what comes after the share and the score's option."""
    obstacle: str
    """Why no plan can be made; empty if one can."""
    unranked: str
    """Why the scan's own score ranks no plan, where another one does; else empty."""
    lacking: tuple[str, ...]
    """Other scores of the scan that no plan can be made with, because a matrix lacks them."""

    @property
    def first(self) -> Choice:
        """The choice that is shown first."""
        return self.choices[0]

    @property
    def can_plan(self) -> bool:
        """Whether there is any share to explore."""
        return not self.obstacle

    @property
    def command(self) -> str:
        """The command for what is shown first; empty where no plan can be made."""
        return f"{self.before}{START}%{self.first.option}{self.after}" if self.can_plan else ""


def explorer(
    report: ScanReport, units: list[Unit], name: str, *, only_first: bool = False
) -> Explorer:
    """What can be explored of `report`, whose file is called `name`.

    With `only_first` no choices but the first, for what cannot be asked for another.
    """
    if only_first:
        scores = plannable_scores(report)
        found = tuple(explore(report, score) for score in scores[:1])
    else:
        found = explore_scores(report)
        scores = tuple(exploration.score for exploration in found)
    choices = [_choice(report, units, exploration) for exploration in found]
    reason = _obstacle(report) if scores[:1] != (report.score,) else ""
    if not choices:
        choices = [
            Choice(
                shade=shade(units, report.score),
                percents=(None,) * len(units),
                said=(),
                default="",
                option="",
            )
        ]
    present = dict.fromkeys(score for matrix in report.matrices for score in matrix.scores)
    told = {report.score, *scores}
    return Explorer(
        choices=tuple(choices),
        before=f"spectrum plan {argument('scan.json' if name == '-' else name)} --top ",
        after=" -o plan.yaml",
        obstacle="" if found else reason,
        unranked=reason if found else "",
        lacking=tuple(printable(score, 40) for score in present if score not in told)[:12],
    )


def verdict(explored: Explorer) -> str:
    """What came of a scan, in one sentence."""
    if not explored.can_plan:
        return f"No plan can be made from this scan: {explored.obstacle}."
    first = explored.first
    return f"The best {START} % of each kind by {first.shade.score} are {first.default}."


def plan_shown(report: ScanReport, planned: Planned | None, explored: Explorer) -> Planned | None:
    """`planned`, the default plan; where there is none, the one by the score that is shown first.

    The scan's own score may rank no plan where another one does.
    """
    if planned is not None or not explored.can_plan:
        return planned
    return make_plan(report, PlanRequest(score=explored.first.shade.score))


def _choice(report: ScanReport, units: list[Unit], found: Exploration) -> Choice:
    percentages = found.percentages
    trained = [trained_text(share.tensors, share.weights, found.total) for share in found.shares]
    return Choice(
        shade=shade(units, found.score),
        percents=tuple(percentages.get(unit.matrices[0].name) for unit in units),
        said=tuple(
            _units(share.units, share.tensors, len(units)) + text
            for share, text in zip(found.shares, trained, strict=True)
        ),
        default=trained[START - 1],
        option="" if found.score == report.score else f" --score {found.score}",
    )


def _units(taken: int, tensors: int, units: int) -> str:
    """How many cells are lit, where that is not the number of tensors."""
    return f"{taken:,} of {units:,} cells: " if taken != tensors else ""


def _obstacle(report: ScanReport) -> str:
    try:
        explore(report, report.score)
    except PlanError as error:
        return printable(error.message)
    return ""
