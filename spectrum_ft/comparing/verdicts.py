"""Verdicts: a sentence for each planned question, which never says more than the numbers do."""

from collections.abc import Mapping, Sequence

from spectrum_ft.comparing.contrasts import (
    FEWEST_EXAMPLES,
    FEWEST_SEEDS,
    FEWEST_STEPS,
    LEVEL,
    decisive,
)
from spectrum_ft.records.comparisons import ArmResult, Contrast

_INFORMATIVE = 0.05
"""The accuracy that some arm has to reach, or the questions are too hard to tell arms apart."""


def verdicts(
    results: Sequence[ArmResult], contrasts: Sequence[Contrast], *, before: str | None
) -> tuple[str, ...]:
    """What the comparison says, in sentences: caveats, before and after, answers, costs.

    `before` names the arm that is the model as it is; None where there is no such arm.
    """
    by_name = {result.name: result for result in results}
    told = decisive(contrasts)
    sentences = [*_failures(results), *_caveats(results, told)]
    sentences += [*_before_and_after(by_name, told, before), *map(_answer, told)]
    rivals: dict[str, list[ArmResult]] = {}
    for contrast in told:
        if contrast.asked.against in by_name:
            rivals.setdefault(contrast.asked.arm, []).append(by_name[contrast.asked.against])
    sentences += [_costs(by_name[arm], others) for arm, others in rivals.items() if arm in by_name]
    return tuple(sentence for sentence in sentences if sentence)


def _failures(results: Sequence[ArmResult]) -> list[str]:
    """Which arms came to nothing, and how often."""
    return [
        f"{result.name} came to nothing with {len(result.failed)} of {len(result.seeds)} seeds."
        for result in results
        if result.failed
    ]


def _caveats(results: Sequence[ArmResult], told: Sequence[Contrast]) -> list[str]:
    found = []
    seeds = min(
        (c.seeds for c in told), default=max((len(r.seeds) for r in results), default=FEWEST_SEEDS)
    )
    examples = min((c.examples for c in told), default=FEWEST_EXAMPLES)
    steps = min((r.steps for r in results if r.steps is not None), default=FEWEST_STEPS)
    small = [
        f"{count:,} {what if count != 1 else what[:-1]}"
        for count, least, what in (
            (seeds, FEWEST_SEEDS, "seeds"),
            (examples, FEWEST_EXAMPLES, "questions"),
            (steps, FEWEST_STEPS, "steps"),
        )
        if count < least
    ]
    if small:
        found.append(f"This comparison is too small to decide anything: {', '.join(small)}.")
    accuracies = [r.accuracy.mean for r in results if r.accuracy is not None]
    if accuracies and max(accuracies) < _INFORMATIVE:
        found.append(
            f"Accuracy is not informative here: no arm reaches {100.0 * _INFORMATIVE:.0f} %."
        )
    return found


def _before_and_after(
    by_name: Mapping[str, ArmResult], told: Sequence[Contrast], before: str | None
) -> list[str]:
    """From the model as it is to each arm that a question is about."""
    untrained = by_name.get(before) if before is not None else None
    if untrained is None or untrained.accuracy is None:
        return []
    about = [by_name[n] for n in dict.fromkeys(c.asked.arm for c in told) if n in by_name]
    after = [f"{100.0 * r.accuracy.mean:.1f} % ({r.name})" for r in about if r.accuracy is not None]
    if not after:
        return []
    start = f"{100.0 * untrained.accuracy.mean:.1f} % ({untrained.name})"
    return [f"From {start} to {', '.join(after)} correct."]


def _answer(contrast: Contrast) -> str:
    """The answer to one question."""
    arm, against = contrast.asked.arm, contrast.asked.against
    basis = _basis(contrast)
    if contrast.finding == "cannot be told":
        why = f" {contrast.reason}" if contrast.reason else ""
        return (
            f"Whether {arm} is better than {against} cannot be told{why}: "
            f"{_difference(contrast)} ({basis})."
        )
    if contrast.finding == "no difference shown":
        nearly = contrast.p is not None and contrast.p < LEVEL
        but = (
            "; taken alone its interval excludes 0, corrected for all questions it does not count"
            if nearly
            else ""
        )
        return (
            f"No difference shown between {arm} and {against}: "
            f"{_difference(contrast)} ({basis}){but}."
        )
    return f"{arm} is {contrast.finding} than {against}: {_difference(contrast)} ({basis})."


_UNITS: Mapping[str, tuple[float, str, str]] = {
    "accuracy": (100.0, ".1f", " points of accuracy"),
    "loss": (1.0, ".4f", " nats of loss"),
}


def _difference(contrast: Contrast) -> str:
    scale, form, unit = _UNITS[contrast.metric]
    return f"{scale * contrast.difference:+{form}}{unit}"


def _basis(contrast: Contrast) -> str:
    scale, form, _ = _UNITS[contrast.metric]
    seeds = f"{contrast.seeds} {'seed' if contrast.seeds == 1 else 'seeds'}"
    questions = "question" if contrast.examples == 1 else "questions"
    rests_on = f"{seeds}, {contrast.examples:,} {questions}"
    if contrast.low is None or contrast.high is None or contrast.p_adjusted is None:
        return rests_on
    interval = f"{scale * contrast.low:+{form}} to {scale * contrast.high:+{form}}"
    p = f"p {contrast.p_adjusted:.2g}" if contrast.p_adjusted >= 0.001 else "p < 0.001"
    return f"95 % interval {interval}, {p} corrected, {rests_on}"


def _costs(result: ArmResult, others: Sequence[ArmResult]) -> str:
    """What `result` costs beside the arms it is held against; empty where nothing can be said.

    Arms that update as many weights cost the same but for noise, and are left out.
    """
    parts = [_cost(result, other) for other in others if _weights(other) != _weights(result)]
    told = [part for part in parts if part]
    return f"{result.name} takes {'; '.join(told)}." if told else ""


def _weights(result: ArmResult) -> int:
    return result.trained + result.adapter_weights


def _cost(result: ArmResult, rival: ArmResult) -> str:
    if not result.seconds or not rival.seconds:
        return ""
    if not result.peak_memory_bytes or not rival.peak_memory_bytes:
        return ""
    ratio = _weights(result) / max(_weights(rival), 1)
    times = f"{ratio:.2g}" if ratio < 99.5 else f"{ratio:,.0f}"
    return (
        f"{result.seconds / rival.seconds:.2f} times the time of {rival.name}, "
        f"{result.peak_memory_bytes / rival.peak_memory_bytes:.2f} times its memory, and updates "
        f"{times} times its weights"
    )
