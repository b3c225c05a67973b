"""What came of each arm, over its seeds."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from spectrum_ft.checkpoints.naming import place_tensors
from spectrum_ft.comparing.proportions import wilson
from spectrum_ft.comparing.statistics import crossed_interval, sampled_interval
from spectrum_ft.comparing.tables import ArmTrials, MetricName, evaluations_of, table_of
from spectrum_ft.records.comparisons import ArmResult, Estimate, RateTried, Trial
from spectrum_ft.records.training import TrainRun


def summarise(arm: ArmTrials) -> ArmResult:
    """What came of `arm`, which has one trial or more."""
    runs = [trial.run for trial in arm.trials if trial.run is not None]
    contract = runs[0].contract if runs else None
    settings = runs[0].settings if runs else None
    evaluations = list(evaluations_of(arm).values())
    samples = [one.samples for one in evaluations if one.samples is not None]
    return ArmResult(
        name=arm.name,
        seeds=tuple(trial.seed for trial in arm.trials),
        failed=tuple(trial.seed for trial in arm.trials if trial.failure is not None),
        lr=settings.lr if settings and runs[0].plan.train else None,
        lora_lr=settings.lora_lr if settings and runs[0].plan.lora else None,
        rates=tuple(_rate(trial) for trial in arm.rates),
        accuracy=_estimate(arm, "accuracy"),
        loss=_estimate(arm, "loss"),
        general_loss=_general(arm),
        samples=sum(samples) / len(samples) if samples else None,
        seconds=median(run.seconds for run in runs) if runs else None,
        tokens_per_second=median(run.tokens / max(run.seconds, 1e-9) for run in runs)
        if runs
        else None,
        peak_memory_bytes=max(run.peak_memory_bytes for run in runs) if runs else None,
        trained=contract.trained if contract else 0,
        adapter_weights=contract.adapter_weights if contract else 0,
        total=contract.total if contract else None,
        steps=runs[0].steps if runs else None,
        result_bytes=runs[0].result_bytes if runs else None,
        lowest_layer=contract.lowest_layer if contract else None,
        layers=_layers(runs[0]) if runs else (),
        dominated=False,
        curves=tuple(trial.curve for trial in arm.trials if trial.curve),
    )


def _rate(trial: Trial) -> RateTried:
    assert trial.lr is not None
    return RateTried(lr=trial.lr, loss=None if trial.run is None else trial.run.eval_loss)


def _estimate(arm: ArmTrials, metric: MetricName) -> Estimate | None:
    """The metric over the arm's seeds; of one trial the interval is over new examples only."""
    table = table_of(arm, metric)
    if table is None:
        return None
    seeds, examples = table.shape
    values = tuple(float(value) for value in table.mean(axis=1))
    mean = float(table.mean())
    low: float | None
    high: float | None
    if metric == "accuracy" and (seeds == 1 or not table.var()):
        low, high = wilson(round(mean * examples), examples)
    elif examples < 2:
        low = high = None
    else:
        interval = crossed_interval(table) if seeds > 1 else sampled_interval(table[0])
        low, high = interval.low, interval.high
        if metric == "accuracy":
            low, high = max(0.0, low), min(1.0, high)
    return Estimate(mean=mean, low=low, high=high, values=values)


def _general(arm: ArmTrials) -> Estimate | None:
    """The loss on the general text: one text, so its interval is not told."""
    values = [e.general_loss for e in evaluations_of(arm).values() if e.general_loss is not None]
    if not values:
        return None
    return Estimate(mean=sum(values) / len(values), low=None, high=None, values=tuple(values))


def _layers(run: TrainRun) -> tuple[int, ...]:
    """How many matrices train in full in each block, norms and biases not counted."""
    places = place_tensors(run.plan.train).values()
    counts = Counter(place.layer for place in places if place.role == "block")
    return tuple(counts[layer] for layer in range(run.contract.layers)) if counts else ()


_NEARLY = 1.02


def mark_dominated(results: Sequence[ArmResult]) -> tuple[ArmResult, ...]:
    """`results` with those marked that another one beats: Pareto's order.

    Held against each other are accuracy (else loss), peak memory and time of arms that train.
    """
    return tuple(
        replace(one, dominated=any(_dominates(other, one) for other in results if other is not one))
        for one in results
    )


def _dominates(one: ArmResult, other: ArmResult) -> bool:
    """Whether `one` is at least as good in everything, and better in something.

    Memory and time that differ by less than 2 % count as equal: they are measured.
    """
    a, b = _costs(one), _costs(other)
    if a is None or b is None or (one.accuracy is None) != (other.accuracy is None):
        return False
    (worth, *costs), (other_worth, *others) = a, b
    if worth > other_worth or any(x > _NEARLY * y for x, y in zip(costs, others, strict=True)):
        return False
    return worth < other_worth or any(_NEARLY * x < y for x, y in zip(costs, others, strict=True))


def _costs(result: ArmResult) -> tuple[float, ...] | None:
    """What is better the lower it is; None for an arm that does not train."""
    if result.peak_memory_bytes is None or result.seconds is None:
        return None
    if result.accuracy is not None:
        return -result.accuracy.mean, result.peak_memory_bytes, result.seconds
    if result.loss is not None:
        return result.loss.mean, result.peak_memory_bytes, result.seconds
    return None
