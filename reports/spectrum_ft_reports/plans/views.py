"""What is said of a plan, as strings: every way of showing it takes its figures from here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spectrum_ft.memory import TrainingShape
from spectrum_ft.planning.depth import lowest_trained_layer
from spectrum_ft.records.plans import Plan
from spectrum_ft.treatments.choices import Choice, choice_again, standings
from spectrum_ft.treatments.subjects import Subject
from spectrum_ft.treatments.totals import Totals, total_up
from spectrum_ft.treatments.treatments import TREATMENTS, Row, Treatment, lay_out
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.commands import argument, shell_line
from spectrum_ft_reports.parts.facts import Fact, KeyFigure
from spectrum_ft_reports.parts.planning import rule
from spectrum_ft_reports.parts.titles import short_source
from spectrum_ft_reports.parts.untrusted import printable
from spectrum_ft_reports.plans import wording
from spectrum_ft_reports.plans.cautions import cautions
from spectrum_ft_reports.plans.grids import Grid, grid_of
from spectrum_ft_reports.plans.kinds import KindRow, MatrixRow, kind_rows, matrix_rows
from spectrum_ft_reports.plans.memory import MemoryView, memory_view

MOST_MATRICES = 5_000
"""The most matrices that a page lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegendItem:
    """What a position of the grid may show."""

    treatment: Treatment
    """What it stands for."""
    label: str
    """That in a few words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanView:
    """A plan, and what training it takes."""

    title: str
    """The model and the recipe."""
    verdict: str
    """What the plan does, in one sentence."""
    cautions: tuple[str, ...]
    """What is missing, and what looks wrong."""
    figures: tuple[KeyFigure, ...]
    """The figures that matter."""
    legend: tuple[LegendItem, ...]
    """What the grid's positions may show, as far as it shows them."""
    packs: bool
    """Whether what does not train is kept in fewer bits where that can be."""
    grid: Grid
    """What becomes of every tensor, by kind and layer."""
    kinds: tuple[KindRow, ...]
    """The same in numbers."""
    units_note: str
    """What the numbers count; empty where that needs no saying."""
    memory: MemoryView | None
    """What training takes; None where that cannot be told."""
    facts: tuple[Fact, ...]
    """What there is to know of the plan, one line each."""
    score: str
    """The score that the matrices were ranked by; empty where none is known."""
    matrices: tuple[MatrixRow, ...]
    """What trains or carries an adapter."""
    reached: str
    """How many of each there are, in words."""
    left_out: str
    """How many matrices are not listed; empty for none."""
    facts_of_making: tuple[Fact, ...]
    """The policy, its seed and the model's fingerprint."""
    next_command: str
    """The command that trains it."""


def plan_view(plan: Plan, subject: Subject, shape: TrainingShape, *, path: str) -> PlanView:
    """The view of `plan`, read from `path`, trained as `shape` says on the model `subject`."""
    rows = lay_out(plan, subject)
    totals = total_up(plan, subject, rows)
    choice = choice_again(plan, subject.report) if subject.report is not None else None
    memory = memory_view(plan, subject, shape)
    lowest = lowest_trained_layer(subject.places, plan.reached)
    standing = standings(subject, plan.policy.score)
    matrices, left_out = matrix_rows(plan, rows, standing, MOST_MATRICES)
    return PlanView(
        title=_title(plan),
        verdict=wording.verdict(plan, totals),
        cautions=cautions(plan, subject, rows, choice, memory, totals),
        figures=_figures(plan, subject, totals, memory, lowest),
        legend=_legend(plan, rows),
        packs=plan.base != "as-is",
        grid=grid_of(rows, plan, standing),
        kinds=kind_rows(plan, rows, choice, subject),
        units_note=wording.units_note(rows),
        memory=memory,
        facts=_facts(plan, subject, rows, totals, choice, lowest),
        score=_score(plan, subject) if standing else "",
        matrices=matrices,
        reached=wording.reached(plan, rows),
        left_out=left_out,
        facts_of_making=wording.facts_of_making(plan, subject),
        next_command=_next_command(plan, subject, shape, path),
    )


def _title(plan: Plan) -> str:
    share = "" if plan.policy.share is None else f" {100.0 * plan.policy.share:g} %"
    source = printable(short_source(plan.model.source), 60) or "a model without a name"
    return f"{source}, {printable(plan.policy.name, 40)}{share}"


def _score(plan: Plan, subject: Subject) -> str:
    assert subject.report is not None  # or there were no standings
    return printable(plan.policy.score or subject.report.score, 40)


def _figures(
    plan: Plan, subject: Subject, totals: Totals, memory: MemoryView | None, lowest: int | None
) -> tuple[KeyFigure, ...]:
    value, note = wording.trained_share(plan, totals)
    figures = [KeyFigure(label="trains", value=value, note=note)]
    if plan.lora is not None:
        matrices = numbers.plural(len(plan.lora.matrices), "matrix", "matrices")
        figures.append(
            KeyFigure(label="adapters on", value=matrices, note=wording.adapters(plan, totals))
        )
    if memory is not None:
        budget = f"; planned for {memory.budget}" if memory.budget else ""
        note = f"forecast on {memory.device} for {memory.tokens}{budget}"
        figures.append(KeyFigure(label="memory", value=memory.total, note=note))
    value, note = wording.backward(lowest, subject)
    return (*figures, KeyFigure(label="backward pass", value=value, note=note))


def _legend(plan: Plan, rows: Sequence[Row]) -> tuple[LegendItem, ...]:
    labels = wording.treatment_labels(plan)
    seen = {treatment for row in rows for treatment, number in row.counts.items() if number}
    return tuple(
        LegendItem(treatment=treatment, label=labels[treatment])
        for treatment in TREATMENTS
        if treatment in seen
    )


def _facts(
    plan: Plan,
    subject: Subject,
    rows: Sequence[Row],
    totals: Totals,
    choice: Choice | None,
    lowest: int | None,
) -> tuple[Fact, ...]:
    facts = [Fact("plan", rule(plan.policy))]
    if plan.lora is not None:
        matrices = numbers.plural(len(plan.lora.matrices), "matrix", "matrices")
        facts.append(Fact("adapters", f"on {matrices}; {wording.adapters(plan, totals)}"))
    if totals.total is None or totals.train != totals.total:
        facts.append(Fact("rest", wording.rest(plan, totals, rows)))
    facts.append(Fact("backward", ", ".join(filter(None, wording.backward(lowest, subject)))))
    if choice is not None and not choice.edited and (cut := wording.cut(plan, choice)):
        facts.append(Fact("cut", cut))
    if subject.found is not None:
        facts.append(Fact("model", printable(subject.found, 200)))
    return tuple(facts)


def _next_command(plan: Plan, subject: Subject, shape: TrainingShape, path: str) -> str:
    """The command that trains `plan` as its memory was forecast."""
    is_model = subject.found is not None and subject.report is None
    model = (subject.found if is_model else plan.model.source) or "MODEL"
    if plan.model.fingerprint is None and not is_model:
        model = "MODEL"  # an import names a file of scores
    file = argument("plan.yaml" if path == "-" else path)
    options = shell_line("--data", "train.jsonl", *_options(shape), "-o", "run")
    return f"spectrum train {argument(model)} --plan {file} {options}"


def _options(shape: TrainingShape) -> list[str]:
    """What differs from training's own defaults."""
    usual = TrainingShape()
    told: Mapping[str, tuple[object, object]] = {
        "--batch-size": (shape.batch_size, usual.batch_size),
        "--max-length": (shape.max_length, usual.max_length),
        "--precision": (shape.precision, usual.precision),
        "--optim": (shape.optimizer, usual.optimizer),
    }
    words = [w for o, (own, normal) in told.items() if own != normal for w in (o, str(own))]
    words += ["--grad-checkpointing"] * shape.gradient_checkpointing
    return words + ["--device", shape.device] * (shape.device != usual.device)
