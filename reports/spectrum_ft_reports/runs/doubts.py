"""Where a run is weaker than it looks."""

from spectrum_ft.records.training import TrainRun, TrainStep
from spectrum_ft.tuning.runs.metrics import Metrics
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.untrusted import printable
from spectrum_ft_reports.runs.contracts import precision_warning

_FEW_EXAMPLES = 100
"""Below this many, a held-out loss depends on which examples they happen to be."""

_MUCH_MORE = 1.15
"""How far above its forecast peak memory may be: what forecasts on a CPU are held to."""


def doubts(run: TrainRun, metrics: Metrics | None) -> tuple[str, ...]:
    """What to know before the run is trusted, a sentence each."""
    found = [_of_metrics(metrics), _of_held_out(run), _of_overfitting(run, metrics)]
    found += [_of_movement(run), _of_memory(run)]
    return tuple(doubt for doubt in found if doubt is not None)


def _of_metrics(metrics: Metrics | None) -> str | None:
    if metrics is None or metrics.fault is None:
        return None
    lost = "shown as far as it is known" if metrics.steps else "not shown"
    return f"The course of the run is {lost}: metrics.jsonl {printable(metrics.fault)}."


def _of_held_out(run: TrainRun) -> str | None:
    if run.eval_data is None:
        return (
            "There were no held-out data, so nothing tells how the model does on examples that "
            "it was not trained on."
        )
    if run.eval_data.kept >= _FEW_EXAMPLES:
        return None
    examples = numbers.plural(run.eval_data.kept, "example")
    return f"The held-out loss is that of {examples}, and may be another on others."


def _of_overfitting(run: TrainRun, metrics: Metrics | None) -> str | None:
    """That training went on for too long."""
    if metrics is None or run.settings.keep_best or len(metrics.evaluations) < 2:
        return None
    best, last = min(metrics.evaluations, key=_held_out), metrics.evaluations[-1]
    lowest, reached = numbers.loss(_held_out(best)), numbers.loss(_held_out(last))
    if lowest == reached:
        return None
    return (
        f"The held-out loss was lowest after step {best.step:,}, {lowest}, and is {reached} in the "
        "end; --keep-best keeps the best checkpoint."
    )


def _held_out(step: TrainStep) -> float:
    assert step.eval_loss is not None
    return step.eval_loss


def _of_movement(run: TrainRun) -> str | None:
    warning = precision_warning(run.contract)
    if warning is not None:
        return f"{warning[0].upper()}{warning[1:]}."
    if run.contract.trained and run.moved < 0.5:
        return f"Only {100.0 * run.moved:.1f} % of the weights that train have moved."
    return None


def _of_memory(run: TrainRun) -> str | None:
    forecast = run.contract.forecast
    beyond = run.peak_memory_bytes - run.imported_memory_bytes
    if forecast is None or beyond <= _MUCH_MORE * forecast.total_bytes:
        return None
    expected = numbers.size(forecast.total_bytes)
    return f"Training took {numbers.size(beyond)} where {expected} was forecast."
