"""From trials to a record: every arm's result, every question's answer, and the verdict."""

from collections.abc import Sequence

from spectrum_ft.comparing.contrasts import contrasts
from spectrum_ft.comparing.differences import differences
from spectrum_ft.comparing.summaries import mark_dominated, summarise
from spectrum_ft.comparing.tables import ArmTrials, evaluations_of
from spectrum_ft.comparing.verdicts import verdicts
from spectrum_ft.environment import command_line, current_environment
from spectrum_ft.records.comparisons import Asked, CompareSettings, Comparison


def conclude(
    source: str,
    settings: CompareSettings,
    arms: Sequence[ArmTrials],
    asked: Sequence[Asked],
    sittings: Sequence[str] = (),
) -> Comparison:
    """What the trials of `arms` come to; arms without any are named and left out.

    `sittings` says what was asked in each sitting, where that was not the same.
    """
    tried = [arm for arm in arms if arm.trials]
    results = mark_dominated([summarise(arm) for arm in tried])
    answers = contrasts({arm.name: arm for arm in tried}, asked)
    trials = [trial for arm in arms for trial in (*arm.trials, *arm.rates)]
    return Comparison(
        source=source,
        settings=settings,
        arms=results,
        contrasts=tuple(answers),
        verdicts=verdicts(results, answers, before=_as_it_is(tried)),
        differences=(
            *_changed_plans(sittings),
            *differences(settings, tried, [arm.name for arm in arms if not arm.trials]),
        ),
        seconds=sum(trial.seconds for trial in trials),
        environment=current_environment(settings.training.device),
        command=command_line(),
    )


def _changed_plans(sittings: Sequence[str]) -> list[str]:
    if len(sittings) < 2:
        return []
    return [
        f"What was asked changed after results had been seen ({', then '.join(sittings)}): "
        "p values are smaller than they should be by that."
    ]


def _as_it_is(arms: Sequence[ArmTrials]) -> str | None:
    """The name of the arm that is the model without training, examples or votes; None without."""
    for arm in arms:
        asked = [one.settings for one in evaluations_of(arm).values()]
        is_plain = asked and all(one.few_shot == 0 and one.votes == 1 for one in asked)
        if is_plain and all(trial.run is None for trial in arm.trials):
            return arm.name
    return None
