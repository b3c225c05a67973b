"""What differs between the arms of a comparison besides their plans, and what to keep in mind."""

from collections.abc import Callable, Sequence

from spectrum_ft.comparing.tables import ArmTrials
from spectrum_ft.records.comparisons import CompareSettings
from spectrum_ft.records.training import TrainRun

_HELD_EQUAL: dict[str, Callable[[TrainRun], object]] = {
    "optimizer steps": lambda run: run.steps,
    "tokens seen": lambda run: (run.settings.seed, run.tokens),
    "rows a step": lambda run: run.settings.batch_size * run.settings.grad_accum,
    "training data": lambda run: run.data.digest,
    "frozen weights' type": lambda run: run.settings.dtype,
    "device": lambda run: run.contract.device,
    "versions and machine": lambda run: run.environment,
}
"""What should be the same in all trials, and how it is read from one."""


def differences(
    settings: CompareSettings, arms: Sequence[ArmTrials], missing: Sequence[str]
) -> tuple[str, ...]:
    """Sentences about what is not equal between `arms`; `missing` have no trial yet."""
    runs = [trial.run for arm in arms for trial in arm.trials if trial.run is not None]
    found = [f"No result yet: {', '.join(missing)}."] if missing else []
    found += _failures(arms)
    found += _uneven_seeds(settings, arms)
    for what, read in _HELD_EQUAL.items():
        if settings.minutes is not None and what in ("optimizer steps", "tokens seen"):
            continue
        if _differs(what, read, runs):
            found.append(f"Not equal in all trials: {what}{_values(read, runs)}.")
    if settings.minutes is not None:
        found.append(
            f"Arms had the same {settings.minutes:g} minutes, not the same steps: "
            "each one's steps were timed first."
        )
    if settings.match is not None:
        found.append(f"Shares were found so that budgets are equal: --match {settings.match}.")
    found += _rates(arms)
    found += _rows(runs)
    swept = [trial.run for arm in arms if arm.rates for trial in arm.trials if trial.run]
    if any(run.plan.train and run.plan.lora for run in swept):
        found.append("Where an arm trains weights and adapters, only the weights' rate was chosen.")
    found.append("Times are of one machine, and of whatever else it was doing.")
    return tuple(found)


def _failures(arms: Sequence[ArmTrials]) -> list[str]:
    return [
        f"{arm.name} came to nothing with seed {trial.seed}: {trial.failure}."
        for arm in arms
        for trial in arm.trials
        if trial.failure is not None
    ]


def _differs(what: str, read: Callable[[TrainRun], object], runs: Sequence[TrainRun]) -> bool:
    values = {repr(read(run)) for run in runs}
    if what == "tokens seen":  # each seed has an order of its own
        return len(values) > len({run.settings.seed for run in runs})
    return len(values) > 1


def _values(read: Callable[[TrainRun], object], runs: Sequence[TrainRun]) -> str:
    """The values in parentheses, where they are short enough to say something."""
    values = list(dict.fromkeys(read(run) for run in runs))
    shown = ", ".join(str(value) for value in values)
    is_short = len(shown) <= 60 and all(isinstance(value, int | str) for value in values)
    return f" ({shown})" if is_short else ""


def _rows(runs: Sequence[TrainRun]) -> list[str]:
    """What training rows lost, which is the same in all arms unless their data differ."""
    lost = max(((r.data.truncated, r.data.dropped, r.data.rows) for r in runs), default=(0, 0, 0))
    cut, dropped, rows = lost
    if not cut and not dropped:
        return []
    return [f"Of {rows:,} training rows, {cut:,} were cut and {dropped:,} left out."]


def _uneven_seeds(settings: CompareSettings, arms: Sequence[ArmTrials]) -> list[str]:
    fewer = [
        f"{arm.name} {len(arm.trials)}"
        for arm in arms
        if any(trial.run is not None for trial in arm.trials)
        and len(arm.trials) < len(settings.seeds)
    ]
    return [f"Fewer than {len(settings.seeds)} seeds yet: {', '.join(fewer)}."] if fewer else []


def _rates(arms: Sequence[ArmTrials]) -> list[str]:
    """How learning rates came about, and where the best one tried is at the edge of the range."""
    trained = [arm for arm in arms if any(trial.run is not None for trial in arm.trials)]
    given = [arm.name for arm in trained if not arm.rates]
    found = []
    if given and len(given) < len(trained):
        found.append(f"Learning rates were given, not chosen, for: {', '.join(given)}.")
    elif given:
        found.append("Learning rates were given, not chosen for each arm.")
    edges = [arm.name for arm in trained if _at_an_edge(arm)]
    if edges:
        found.append(
            "The best learning rate tried is the lowest or highest of them, so that a better one "
            f"may lie beyond, for: {', '.join(edges)}."
        )
    return found


def _at_an_edge(arm: ArmTrials) -> bool:
    rates = sorted(trial.lr for trial in arm.rates if trial.lr is not None)
    return len(rates) > 1 and arm.trials[0].lr in (rates[0], rates[-1])
