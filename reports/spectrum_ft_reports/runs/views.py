"""What is said of a finished run, as strings: every way of showing it takes its figures from here.

What is said before it and while it is at work is in `contracts` and `live`.
"""

from dataclasses import dataclass, field, fields

from spectrum_ft.records.training import TrainRun
from spectrum_ft.tuning.runs.metrics import Metrics
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.facts import Fact, KeyFigure
from spectrum_ft_reports.parts.sparklines import Cell, curve
from spectrum_ft_reports.parts.titles import short_source
from spectrum_ft_reports.parts.untrusted import printable
from spectrum_ft_reports.runs.contracts import contract_facts
from spectrum_ft_reports.runs.doubts import doubts
from spectrum_ft_reports.runs.movement import KindMovement, movement
from spectrum_ft_reports.runs.next_commands import next_commands
from spectrum_ft_reports.runs.rows import (
    NONE,
    CourseRow,
    MovedRow,
    SettingRow,
    course_rows,
    moved_row,
    setting_rows,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A finished run."""

    title: str
    """The model and what trained, in one line."""
    verdict: str
    """What came of it, in one sentence."""
    figures: tuple[KeyFigure, ...]
    """The figures that matter."""
    facts: tuple[Fact, ...]
    """What came of it, one line each."""
    cautions: tuple[str, ...]
    """Where it is weaker than it looks, a sentence each."""
    losses: tuple[Cell, ...]
    """The training loss of every step; empty where it is not known."""
    course: tuple[CourseRow, ...]
    """How it went; empty where that is not known."""
    moved: tuple[MovedRow, ...]
    """How much of each kind moved; empty where that is not known."""
    contract: tuple[Fact, ...]
    """What it was about to do, one line a subject."""
    data: tuple[Fact, ...]
    """Where the data came from."""
    settings: tuple[SettingRow, ...]
    """What differs from the defaults."""
    commands: tuple[str, ...]
    """What to do next; empty where its folder is not known."""
    command: str
    """The command that made it."""
    blank: frozenset[str] = field(default_factory=frozenset)
    """The fields of a course's rows that hold nothing in any of them."""


def run_view(run: TrainRun, folder: str | None = None, metrics: Metrics | None = None) -> RunView:
    """The view of a finished run; `folder` is where it is kept, `metrics` how it went, if known."""
    kinds = movement(run)
    rows = course_rows(metrics)
    columns = [f.name for f in fields(CourseRow)]
    return RunView(
        title=_title(run),
        verdict=_verdict(run),
        figures=tuple(_figures(run)),
        facts=tuple(_facts(run, folder, kinds)),
        cautions=doubts(run, metrics),
        losses=curve([s.loss for s in metrics.steps if s.loss is not None]) if metrics else (),
        course=rows,
        moved=tuple(moved_row(kind) for kind in kinds),
        contract=contract_facts(run.contract, run.settings, run.data, run.eval_data),
        data=tuple(_data(run)),
        settings=setting_rows(run.settings),
        commands=next_commands(run, folder) if folder else (),
        command=printable(run.command, 8_000),
        blank=frozenset(c for c in columns if all(getattr(row, c) == NONE for row in rows)),
    )


def _title(run: TrainRun) -> str:
    contract = run.contract
    parts = []
    if contract.trained:
        parts.append(f"{numbers.share(contract.trained, contract.total)} trained")
    if contract.adapters:
        parts.append(f"adapters on {numbers.plural(contract.adapters, 'matrix', 'matrices')}")
    source = printable(short_source(run.source), 60)
    return f"{source}, {printable(run.plan.policy.name, 40)}: {', '.join(parts)}"


def _verdict(run: TrainRun) -> str:
    first, last = numbers.loss(run.first_loss), numbers.loss(run.last_loss)
    steps = numbers.plural(run.steps, "step")
    if first == last:
        said = f"The training loss stayed at {first} over {steps}"
    else:
        way = "fell" if run.last_loss < run.first_loss else "rose"
        said = f"The training loss {way} from {first} to {last} over {steps}"
    if run.eval_loss is None:
        return f"{said}."
    return f"{said}; the held-out loss of the result is {numbers.loss(run.eval_loss)}."


def _figures(run: TrainRun) -> list[KeyFigure]:
    first, last = numbers.loss(run.first_loss), numbers.loss(run.last_loss)
    figures = [KeyFigure("training loss", last, f"{first} at first, {_steps(run)}")]
    if run.eval_loss is not None:
        which = f"the best, after step {run.result_step:,}" if run.settings.keep_best else "at last"
        figures.append(KeyFigure("held-out loss", numbers.loss(run.eval_loss), which))
    figures.append(KeyFigure("moved", f"{100.0 * run.moved:.1f} %", f"of the {_movable(run)}"))
    figures.append(KeyFigure("peak memory", numbers.size(run.peak_memory_bytes), _memory_note(run)))
    figures.append(KeyFigure("time", numbers.seconds(run.seconds), _speed(run)))
    return figures


def _change(run: TrainRun) -> str:
    return f"{numbers.loss(run.first_loss)} → {numbers.loss(run.last_loss)}"


def _steps(run: TrainRun) -> str:
    if run.steps < run.contract.steps:
        return f"{run.steps:,} of {run.contract.steps:,} steps, then no better held-out loss"
    return numbers.plural(run.steps, "step")


def _movable(run: TrainRun) -> str:
    return "weights that train" if run.contract.trained else "adapters' products"


def _memory_note(run: TrainRun) -> str:
    """What the peak is to be held against."""
    forecast = run.contract.forecast
    told = "no forecast" if forecast is None else f"{numbers.size(forecast.total_bytes)} forecast"
    if not run.imported_memory_bytes:
        return told
    return f"{numbers.size(_beyond(run))} beyond libraries and data, {told}"


def _beyond(run: TrainRun) -> int:
    return max(0, run.peak_memory_bytes - run.imported_memory_bytes)


def _speed(run: TrainRun) -> str:
    return f"{run.tokens / run.seconds:,.0f} tokens/s" if run.seconds > 0.0 else ""


def _facts(run: TrainRun, folder: str | None, kinds: tuple[KindMovement, ...]) -> list[Fact]:
    facts = [Fact("loss", f"{_change(run)} over {_steps(run)}")]
    if run.eval_loss is not None:
        best = f", the best: after step {run.result_step:,}" if run.settings.keep_best else ""
        facts.append(Fact("held-out", f"loss {numbers.loss(run.eval_loss)}{best}"))
    facts.append(Fact("moved", f"{100.0 * run.moved:.1f} % of the {_movable(run)}{_range(kinds)}"))
    speed = f", {said}" if (said := _speed(run)) else ""
    facts.append(Fact("time", f"{numbers.seconds(run.seconds)}{speed}"))
    facts.append(Fact("memory", _peak(run)))
    where = f" in {printable(folder, 60)}" if folder else ""
    kept, whole = numbers.disk_size(run.result_bytes), numbers.disk_size(2 * run.contract.total)
    facts.append(Fact("kept", f"{kept}{where}; the whole model in 16 bits is {whole}"))
    return facts


def _range(kinds: tuple[KindMovement, ...]) -> str:
    if sum(kind.tensors for kind in kinds) < 2:
        return ""
    low, high = min(kind.lowest for kind in kinds), max(kind.highest for kind in kinds)
    least, most = f"{100.0 * low:.1f}", f"{100.0 * high:.1f}"
    return "" if least == most else f", {least} to {most} % of a tensor"


def _peak(run: TrainRun) -> str:
    most = f"{numbers.size(run.peak_memory_bytes)} at most"
    if not run.imported_memory_bytes:
        return most
    return f"{most}, {numbers.size(_beyond(run))} of it beyond libraries and data"


def _data(run: TrainRun) -> list[Fact]:
    """The files, and what tells them from others."""
    facts = []
    for label, data in (("data file", run.data), ("held-out file", run.eval_data)):
        if data is not None:
            digest = printable(data.digest[:16])
            facts.append(Fact(label, f"{printable(data.source, 120)}, SHA-256 {digest}..."))
    return facts
