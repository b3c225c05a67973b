"""From trials to a record: every arm's result, every question's answer, and the verdict."""

from collections.abc import Sequence

from spectrum_ft.compare_records import Asked, CompareSettings, Comparison
from spectrum_ft.comparing.contrasts import contrasts
from spectrum_ft.comparing.differences import differences
from spectrum_ft.comparing.summaries import mark_dominated, summarise
from spectrum_ft.comparing.tables import ArmTrials
from spectrum_ft.comparing.verdicts import verdicts
from spectrum_ft.environment import command_line, current_environment


def conclude(
    source: str, settings: CompareSettings, arms: Sequence[ArmTrials], asked: Sequence[Asked]
) -> Comparison:
    """What the trials of `arms` come to; arms without any are named and left out."""
    tried = [arm for arm in arms if arm.trials]
    results = mark_dominated([summarise(arm) for arm in tried])
    answers = contrasts({arm.name: arm for arm in tried}, asked)
    trials = [trial for arm in arms for trial in (*arm.trials, *arm.rates)]
    return Comparison(
        source=source,
        settings=settings,
        arms=results,
        contrasts=tuple(answers),
        verdicts=verdicts(results, answers),
        differences=differences(settings, tried, [arm.name for arm in arms if not arm.trials]),
        seconds=sum(trial.seconds for trial in trials),
        environment=current_environment(settings.training.device),
        command=command_line(),
    )
