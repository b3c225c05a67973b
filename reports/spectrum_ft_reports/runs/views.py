"""What is said of a training run, as strings: its contract, its course, and what came of it."""

from dataclasses import dataclass

from spectrum_ft.records.training import Contract, DataSummary, TrainRun, TrainSettings, TrainStep
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.facts import Fact
from spectrum_ft_reports.parts.sparklines import Cell, curve
from spectrum_ft_reports.parts.titles import short_source
from spectrum_ft_reports.parts.untrusted import printable
from spectrum_ft_reports.runs.course import Course

_KEPT = {
    "master": "kept in float32",
    "stochastic": "kept in {dtype}, rounded stochastically",
    "as-is": "kept in {dtype}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A finished run."""

    title: str
    """The model and what trained, in one line."""
    facts: tuple[Fact, ...]
    """What came of it, one line each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CourseView:
    """A run that is at work."""

    done: int
    """Steps done."""
    steps: int
    """Steps in all."""
    time: str
    """How many steps are done, since when, and how long the rest takes."""
    losses: tuple[Cell, ...]
    """The training loss of every step seen."""
    facts: tuple[Fact, ...]
    """Where it stands, one line each."""


def contract_facts(
    contract: Contract, settings: TrainSettings, data: DataSummary, eval_data: DataSummary | None
) -> tuple[Fact, ...]:
    """What a run is about to do, one line a subject."""
    facts = [Fact("data", _data(data, settings))]
    if eval_data is not None:
        facts.append(Fact("held-out", _data(eval_data, settings)))
    facts.append(Fact("model", _model(contract)))
    facts.append(Fact("trains", _trained(contract)))
    if contract.adapters:
        facts.append(Fact("adapters", _adapters(contract)))
    if contract.quantized or contract.frozen:
        facts.append(Fact("rest", _rest(contract)))
    facts.append(Fact("backward", _backward(contract)))
    facts.append(Fact("steps", _steps(contract, settings)))
    facts.append(Fact("memory", _memory(contract)))
    return tuple(facts)


def precision_warning(contract: Contract) -> str | None:
    """What to know before 16-bit weights are trained as they are; None where they are not."""
    if contract.precision != "as-is" or contract.dtype == "float32" or not contract.trained:
        return None
    return (
        f"--precision as-is: the updates of {contract.dtype} weights are mostly too small to "
        "change them; --precision master or stochastic keeps what they lose"
    )


def _data(data: DataSummary, settings: TrainSettings) -> str:
    parts = [numbers.plural(data.rows, "example")]
    if data.truncated:
        parts.append(f"{data.truncated:,} cut at {settings.max_length:,} tokens")
    if data.dropped:
        parts.append(f"{data.dropped:,} dropped")
    if data.last_answer_only:
        parts.append(f"{data.last_answer_only:,} learned by their last answer only")
    learned = f"{data.learned_tokens:,} of {data.tokens:,} tokens are learned"
    return f"{printable(data.shape)}: {', '.join(parts)}; {learned}"


def _model(contract: Contract) -> str:
    source = printable(short_source(contract.source), 60)
    layers = numbers.plural(contract.layers, "layer")
    where = f"on {printable(contract.device, 60)} in {contract.dtype}"
    return f"{source}, {numbers.count(contract.total)} weights, {layers}, {where}"


def _trained(contract: Contract) -> str:
    if not contract.trained:
        return "adapters only"
    kept = _KEPT[contract.precision].format(dtype=contract.dtype)
    return (
        f"{numbers.plural(contract.trained_tensors, 'tensor')}, "
        f"{numbers.count(contract.trained)} weights = "
        f"{numbers.share(contract.trained, contract.total)} of the model, {kept}"
    )


def _adapters(contract: Contract) -> str:
    matrices = numbers.plural(contract.adapters, "matrix", "matrices")
    return f"on {matrices}: {numbers.count(contract.adapter_weights)} weights on top"


def _rest(contract: Contract) -> str:
    parts = []
    if contract.quantized:
        packed = numbers.share(contract.quantized, contract.total)
        parts.append(f"{numbers.count(contract.quantized)} weights = {packed} in {contract.base}")
    if contract.frozen:
        frozen = numbers.share(contract.frozen, contract.total)
        parts.append(f"{numbers.count(contract.frozen)} = {frozen} frozen as they are")
    return ", ".join(parts)


def _backward(contract: Contract) -> str:
    lowest, layers = contract.lowest_layer, contract.layers
    if lowest is None:
        return "runs through the whole model"
    if not lowest:
        return "reaches layer 0; no block is skipped"
    skipped = f"{lowest} of {layers} = {numbers.share(lowest, layers)}"
    return f"stops at layer {lowest}; the blocks below it are skipped: {skipped}"


def _steps(contract: Contract, settings: TrainSettings) -> str:
    rows = f"{settings.batch_size:,}"
    if settings.grad_accum > 1:
        rows += f" × {settings.grad_accum:,}"
    return f"{contract.steps:,} of {rows} {'row' if rows == '1' else 'rows'}"


def _peak(run: TrainRun) -> str:
    most = f"{numbers.size(run.peak_memory_bytes)} at most"
    if not run.imported_memory_bytes:
        return most
    beyond = run.peak_memory_bytes - run.imported_memory_bytes
    return f"{most}, {numbers.size(beyond)} of it beyond libraries and data"


def _memory(contract: Contract) -> str:
    available = numbers.size(contract.available_bytes)
    forecast = contract.forecast
    if forecast is None:
        return f"{available} available; what training takes cannot be told"
    needed = numbers.size(forecast.total_bytes)
    fits = forecast.total_bytes <= contract.available_bytes
    beyond = " beyond the libraries" if forecast.device == "cpu" else ""
    verdict = "" if fits else ": it does not fit"
    return f"{needed} forecast{beyond}, {available} available{verdict}"


def course_view(course: Course, *, elapsed: float, stopping: bool) -> CourseView:
    """The view of a run at work, `elapsed` seconds after this process began it."""
    return CourseView(
        done=course.done,
        steps=course.steps,
        time=_time(course, elapsed),
        losses=curve(course.losses),
        facts=tuple(_course_facts(course, stopping)),
    )


def _time(course: Course, elapsed: float) -> str:
    left = course.seconds_left
    remaining = f", {numbers.seconds(left)} left" if left is not None else ""
    return f"{course.done:,}/{course.steps:,}, {numbers.seconds(elapsed)}{remaining}"


def _course_facts(course: Course, stopping: bool) -> list[Fact]:
    facts = []
    if course.last is None:
        facts.append(Fact("now", "loading the model, and the first step"))
    else:
        assert course.last.loss is not None
        assert course.mean_loss is not None
        mean = f"mean {numbers.loss(course.mean_loss)}"
        facts.append(Fact("loss", f"{numbers.loss(course.last.loss)} now, {mean}"))
        facts.append(Fact("rate", ", ".join(_pace(course, course.last))))
    if course.evaluated is not None and course.best is not None:
        facts.append(Fact("held-out", _held_out(course.evaluated, course.best)))
    if stopping:
        facts.append(Fact("stopping", "after this step; Ctrl+C again leaves at once"))
    return facts


def _held_out(evaluated: TrainStep, best: TrainStep) -> str:
    assert evaluated.eval_loss is not None
    assert best.eval_loss is not None
    if evaluated is best:
        return f"{numbers.loss(evaluated.eval_loss)} after step {evaluated.step:,}, the best so far"
    return (
        f"{numbers.loss(evaluated.eval_loss)} after step {evaluated.step:,}, "
        f"best {numbers.loss(best.eval_loss)} after step {best.step:,}"
    )


def _pace(course: Course, step: TrainStep) -> list[str]:
    rates = [numbers.rate(rate) for rate in (step.lr, step.lora_lr) if rate is not None]
    adapters = " (adapters)" if step.lora_lr is not None else ""
    parts = [f"lr {' and '.join(rates)}{adapters}"]
    if (speed := course.tokens_per_second) is not None:
        parts.append(f"{speed:,.0f} tokens/s")
    if step.memory_bytes is not None:
        parts.append(numbers.size(step.memory_bytes))
    return parts


def step_line(course: Course) -> str:
    """The step seen last in one line."""
    step = course.last
    assert step is not None
    assert step.loss is not None
    pace = "  ".join(_pace(course, step))
    return f"step {step.step:,}/{course.steps:,}  loss {numbers.loss(step.loss)}  {pace}"


def evaluation_line(course: Course) -> str:
    """The evaluation seen last in one line."""
    assert course.evaluated is not None
    assert course.best is not None
    return f"held-out loss {_held_out(course.evaluated, course.best)}"


def run_view(run: TrainRun, folder: str | None = None) -> RunView:
    """The view of a finished run, kept in `folder` where that is known."""
    contract = run.contract
    steps = numbers.plural(run.steps, "step")
    if run.steps < contract.steps:
        steps = f"{run.steps:,} of {contract.steps:,} steps, then no better held-out loss"
    change = f"{numbers.loss(run.first_loss)} → {numbers.loss(run.last_loss)}"
    facts = [Fact("loss", f"{change} over {steps}")]
    if run.eval_loss is not None:
        best = f", the best: after step {run.result_step:,}" if run.settings.keep_best else ""
        facts.append(Fact("held-out", f"loss {numbers.loss(run.eval_loss)}{best}"))
    what = "weights that train" if contract.trained else "adapters' products"
    facts.append(Fact("moved", f"{100.0 * run.moved:.1f} % of the {what}"))
    speed = f", {run.tokens / run.seconds:,.0f} tokens/s" if run.seconds > 0.0 else ""
    facts.append(Fact("time", f"{numbers.seconds(run.seconds)}{speed}"))
    facts.append(Fact("memory", _peak(run)))
    where = f" in {printable(folder, 60)}" if folder else ""
    kept, whole = numbers.disk_size(run.result_bytes), numbers.disk_size(2 * contract.total)
    facts.append(Fact("kept", f"{kept}{where}; the whole model in 16 bits is {whole}"))
    return RunView(title=_title(run), facts=tuple(facts))


def _title(run: TrainRun) -> str:
    contract = run.contract
    parts = []
    if contract.trained:
        parts.append(f"{numbers.share(contract.trained, contract.total)} trained")
    if contract.adapters:
        parts.append(f"adapters on {numbers.plural(contract.adapters, 'matrix', 'matrices')}")
    source = printable(short_source(run.source), 60)
    return f"{source}, {printable(run.plan.policy.name, 40)}: {', '.join(parts)}"
