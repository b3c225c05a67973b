"""What to beware of in a plan, or in what is shown of it."""

from collections.abc import Sequence

from spectrum_ft.records.plans import Plan
from spectrum_ft.treatments.choices import Choice
from spectrum_ft.treatments.subjects import Subject
from spectrum_ft.treatments.totals import Totals
from spectrum_ft.treatments.treatments import Row
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.untrusted import printable
from spectrum_ft_reports.plans.memory import MemoryView

_AT_THE_CUT = {
    "saturated": "the edge leaves no noise, so the score is no ratio",
    "thin": "too small or too low in rank to be ranked",
}


def cautions(
    plan: Plan,
    subject: Subject,
    rows: Sequence[Row],
    choice: Choice | None,
    memory: MemoryView | None,
    totals: Totals,
) -> tuple[str, ...]:
    """What is missing, and what looks wrong."""
    told = [printable(subject.lacking, 600)] if subject.lacking else []
    if not subject.lacking and not subject.sized:
        told.append(
            "An imported result does not say how large its matrices are, so numbers of weights and "
            "the memory cannot be told. --scan MODEL reads them from the model's files."
        )
    elif subject.sized and memory is None:
        told.append("The memory of a model like this cannot be forecast: no blocks are told in it.")
    if memory is not None and not memory.fits:
        told.append(
            f"The forecast is above the {memory.budget} that the plan was made for: it was made "
            "for another batch, length, precision, optimizer or device."
        )
    told += _edits(plan, choice, totals, subject)
    if torn := [unit for row in rows if row.is_kind for unit in row.units if unit.split]:
        where = ", ".join(f"layer {unit.layer}" for unit in torn[:3])
        more = ", ..." if len(torn) > 3 else ""
        told.append(
            f"The experts of a block are one parameter, and this plan splits them in {where}"
            f"{more}: it cannot be trained as it is."
        )
    if choice is not None and plan.policy.score == "snr":
        flags = {f for kind in choice.kinds for unit in kind.at_the_cut for f in unit.flags}
        told += [f"At the cut some are {f}: {_AT_THE_CUT[f]}." for f in _AT_THE_CUT if f in flags]
    return tuple(told)


def _edits(plan: Plan, choice: Choice | None, totals: Totals, subject: Subject) -> list[str]:
    if choice is not None and choice.edited:
        number = len(choice.added) + len(choice.removed)
        names = numbers.plural(number, "matrix differs", "matrices differ")
        listed = ", ".join(printable(name, 60) for name in (*choice.added, *choice.removed)[:2])
        return [
            f"{names} from what this policy takes of this scan ({listed}{', ...' * (number > 2)}): "
            "edited by hand, or made from another scan."
        ]
    counts = plan.counts
    if counts is not None and subject.sized and counts.train != totals.train:
        return [
            f"The file counts {numbers.count(counts.train)} trained weights, its names amount to "
            f"{numbers.count(totals.train or 0)}: it was edited by hand."
        ]
    return []
