"""What is said of a comparison while it goes, one line a trial."""

from typing import TYPE_CHECKING

from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.untrusted import printable

if TYPE_CHECKING:
    from spectrum_ft.comparing.arms import Arm
    from spectrum_ft.comparing.comparing import Heard
    from spectrum_ft.comparing.jobs import Job
    from spectrum_ft.comparing.preparing import PreparedComparison

_WHY = {"test": "", "rate": ", choosing its rate", "pace": ", timing a step"}


def trial_name(job: "Job") -> str:
    """Which trial it is: `qlora, seed 1`, or `qlora, choosing its rate: 1.00e-04`."""
    rate = f": {numbers.rate(job.lr)}" if job.purpose == "rate" and job.lr is not None else ""
    seed = f", seed {job.seed}" if job.purpose == "test" else ""
    return f"{printable(job.arm, 60)}{_WHY[job.purpose]}{rate}{seed}"


def heard_text(heard: "Heard") -> str:
    """Where the trial stands."""
    message = heard.message
    where = "loading"
    if "asked" in message:
        where = f"asked {message['asked']:,} of {message['questions']:,} questions"
    elif "loss" in message:
        where = (
            f"step {message['step']:,}/{message['steps']:,}, loss {numbers.loss(message['loss'])}"
        )
    return f"{trial_name(heard.job)}: {where}"


def finished_line(heard: "Heard") -> str:
    """What came of the trial, in one line."""
    trial = heard.trial
    assert trial is not None
    parts = []
    if trial.failure is not None:
        parts.append(f"came to nothing: {printable(trial.failure)}")
    if trial.run is not None:
        parts.append(f"loss {numbers.loss(trial.run.last_loss)}")
        if trial.run.eval_loss is not None:
            parts.append(f"validation loss {numbers.loss(trial.run.eval_loss)}")
    evaluation = trial.evaluation
    if evaluation is not None:
        if evaluation.loss is not None:
            parts.append(f"held-out loss {numbers.loss(evaluation.loss)}")
        correct = evaluation.exact_match
        correct = evaluation.choice_accuracy if correct is None else correct
        if correct is not None:
            parts.append(f"{100.0 * correct:.1f} % correct")
    parts.append("known from before" if heard.reused else numbers.seconds(trial.seconds))
    return f"{heard.number}/{heard.of} {trial_name(heard.job)}: {', '.join(parts)}"


def arm_lines(prepared: "PreparedComparison") -> list[str]:
    """What each arm is going to do, one line an arm."""
    width = max(len(printable(arm.name, 60)) for arm in prepared.arms)
    return [f"{printable(arm.name, 60):<{width}}  {_doing(arm, prepared)}" for arm in prepared.arms]


def _doing(arm: "Arm", prepared: "PreparedComparison") -> str:
    contract = prepared.contracts.get(arm.name)
    if contract is None:
        return "trains nothing"
    parts = []
    if contract.trained:
        parts.append(f"trains {numbers.share(contract.trained, contract.total)}")
    if contract.adapters:
        parts.append(f"adapters of {numbers.count(contract.adapter_weights)} weights")
    if contract.quantized:
        parts.append(f"rest in {contract.base}")
    if contract.forecast is not None:
        parts.append(f"{numbers.size(contract.forecast.total_bytes)} forecast")
    rates = ", ".join(numbers.rate(rate) for rate in prepared.rates(arm))
    return f"{', '.join(parts)}; lr {rates}"
