"""What a comparison comes to: one sentence, the figures that matter, and what to beware of."""

import re
from collections.abc import Sequence

from spectrum_ft.checkpoints.packaged import PACKAGED
from spectrum_ft.records.comparisons import ArmResult, Comparison, Contrast
from spectrum_ft_reports.comparisons.bases import is_of_questions
from spectrum_ft_reports.comparisons.columns import NONE, interval_text, percent
from spectrum_ft_reports.comparisons.contrast_views import UNITS, contrast_rows
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.facts import KeyFigure
from spectrum_ft_reports.parts.untrusted import printable

_MOST_NAMED = 3
_FOR_A_HEADLINE = 5
"""The seeds from which a claim may be made in a headline; a convention of ours."""


def deciding(comparison: Comparison) -> tuple[Contrast, ...]:
    """The answers in the metric that decides: accuracy where it was measured, else loss."""
    first = [contrast.metric for contrast in comparison.contrasts[:1]]
    return tuple(contrast for contrast in comparison.contrasts if contrast.metric in first)


def headline(comparison: Comparison) -> str:
    """The verdict in one sentence, which says no more than the answers do."""
    told = deciding(comparison)
    if not told:
        return "No planned question has an answer, so that no arm is called better than another."
    of = f"{numbers.plural(len(told), 'planned question')}"
    metric = UNITS[told[0].metric].metric
    shown = [contrast for contrast in told if contrast.finding in ("better", "worse")]
    untold = [contrast for contrast in told if contrast.finding == "cannot be told"]
    if len(untold) == len(told):
        reasons = {contrast.reason for contrast in told}
        why = (
            f" {printable(reason, 200)}" if len(reasons) == 1 and (reason := told[0].reason) else ""
        )
        return f"Which arm is better in {metric} cannot be told{why} ({of})."
    if not shown:
        if len(told) == 1:
            return f"No difference in {metric} is shown between {_pair(told[0], 'and')}."
        return f"No difference in {metric} is shown in any of {of}{_rest(0, len(untold))}."
    answers = ", ".join(
        f"{_name(c.asked.arm)} is {c.finding} than {_name(c.asked.against)}"
        for c in shown[:_MOST_NAMED]
    )
    more = f" and {len(shown) - _MOST_NAMED} more differ" if len(shown) > _MOST_NAMED else ""
    none = len(told) - len(shown) - len(untold)
    return f"In {metric}, {answers}{more}{_rest(none, len(untold), len(told))}."


def _rest(none: int, untold: int, whole: int = 0) -> str:
    """How many questions show nothing, and how many cannot be told."""
    text = (
        f"; no difference is shown in {none} of {numbers.plural(whole, 'question')}" if none else ""
    )
    return text + (f"; {untold} cannot be told" if untold else "")


def _name(name: str) -> str:
    return printable(name, 60)


def _pair(contrast: Contrast, word: str) -> str:
    return f"{_name(contrast.asked.arm)} {word} {_name(contrast.asked.against)}"


def key_figures(comparison: Comparison) -> tuple[KeyFigure, ...]:
    """The best arm, the first answer, and what its arm costs; as many as there are."""
    by_name = {arm.name: arm for arm in comparison.arms}
    best = _best(comparison.arms)
    figures = [_reached(best, comparison.arms)] if best is not None else []
    told = deciding(comparison)
    arm, rival = best, None
    if told:
        figures.append(_answered(told[0]))
        arm, rival = by_name.get(told[0].asked.arm), by_name.get(told[0].asked.against)
    if arm is not None:
        figures += _costs(arm, rival)
    return tuple(figures)


def _best(arms: Sequence[ArmResult]) -> ArmResult | None:
    """The arm with the highest mean accuracy, or the lowest mean loss where there is none."""
    accurate = [(arm.accuracy.mean, arm) for arm in arms if arm.accuracy is not None]
    if accurate:
        return max(accurate, key=lambda pair: pair[0])[1]
    measured = [(arm.loss.mean, arm) for arm in arms if arm.loss is not None]
    return min(measured, key=lambda pair: pair[0])[1] if measured else None


def _reached(best: ArmResult, arms: Sequence[ArmResult]) -> KeyFigure:
    if best.accuracy is not None:
        estimate, label, value = best.accuracy, "accuracy", f"{percent(best.accuracy.mean)} %"
        interval = interval_text(estimate, is_accuracy=True)
    else:
        assert best.loss is not None
        estimate, label, value = best.loss, "held-out loss", numbers.loss(best.loss.mean)
        interval = interval_text(estimate, is_accuracy=False)
    if len(arms) > 1:
        label = f"{'highest' if best.accuracy is not None else 'lowest'} mean {label}"
    over = " over questions only" if is_of_questions(estimate) else ""
    note = _name(best.name) + (f"; 95 % interval{over} {interval}" if interval else "")
    return KeyFigure(label=label, value=value, note=note)


def _answered(contrast: Contrast) -> KeyFigure:
    (row,) = contrast_rows([contrast], contrast.metric)
    unit = UNITS[contrast.metric]
    interval = f"95 % interval {row.interval}; " if row.interval != NONE else ""
    return KeyFigure(
        label=_pair(contrast, "against"),
        value=f"{row.difference} {unit.noun}",
        note=f"{unit.metric}; {interval}{row.finding}",
    )


def _costs(arm: ArmResult, rival: ArmResult | None) -> list[KeyFigure]:
    figures = []
    if arm.peak_memory_bytes is not None:
        note = ""
        if rival is not None and rival.peak_memory_bytes is not None:
            note = f"{_name(rival.name)}: {numbers.size(rival.peak_memory_bytes)}"
        value = numbers.size(arm.peak_memory_bytes)
        figures.append(KeyFigure(label=f"memory of {_name(arm.name)}", value=value, note=note))
    if arm.seconds is not None:
        note = ""
        if rival is not None and rival.seconds is not None:
            note = f"{_name(rival.name)}: {numbers.seconds(rival.seconds)}"
        value = numbers.seconds(arm.seconds)
        figures.append(KeyFigure(label=f"time of {_name(arm.name)}", value=value, note=note))
    return figures


def cautions(comparison: Comparison) -> tuple[str, ...]:
    """Where the figures are weaker than they look."""
    told = deciding(comparison)
    reasons = dict.fromkeys(c.reason for c in told if c.reason is not None)
    found = []
    for reason in reasons:
        number = sum(1 for contrast in told if contrast.reason == reason)
        of = f"{number} of {numbers.plural(len(told), 'question')}"
        found.append(f"{of} cannot be told {printable(reason, 200)}.")
    seeds = len(comparison.settings.seeds)
    if seeds == 1:
        found.append(
            "One seed: each figure is of a single run, and another seed gives another one."
        )
    elif seeds < _FOR_A_HEADLINE:
        found.append(
            f"{seeds} seeds: only a large difference can be told from chance. "
            f"{_FOR_A_HEADLINE} seeds or more tell smaller ones."
        )
    found += [
        f"{_name(arm.name)} came to nothing with {len(arm.failed)} of {len(arm.seeds)} seeds; "
        "its figures are of the others."
        for arm in comparison.arms
        if arm.failed
    ]
    if _is_rounded(comparison.source):
        found.append(
            "The model's weights carry the rounding of the GGUF file that they come from. NF4 is a "
            "second rounding on top of it, so that a gap to QLoRA need not hold for other models."
        )
    return tuple(found)


_CONVERTED = re.compile(r"[._-]I?Q[2-8]_[A-Z0-9_]+-[0-9a-f]{16}/?$", re.IGNORECASE)
"""How the folder of a converted GGUF file is named: with the type of its weights, and a digest."""


def _is_rounded(source: str) -> bool:
    """Whether the model comes from a GGUF file, as far as its name tells."""
    kept, _, name = source.partition(":")
    packaged = PACKAGED.get(name) if kept == "packaged" else None
    file = packaged.file if packaged is not None else source
    return file.lower().endswith(".gguf") or bool(_CONVERTED.search(source))
