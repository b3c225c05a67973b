"""How a plan's choice came about: made again from its policy and a scan, and held against it."""

from collections.abc import Mapping
from dataclasses import dataclass

from spectrum_ft.errors import PlanError
from spectrum_ft.planning.candidates import Candidate, block_matrices, ranked_candidates
from spectrum_ft.planning.making import PlanRequest, make_plan
from spectrum_ft.planning.policies import KindChoice
from spectrum_ft.planning.presets import PRESETS
from spectrum_ft.records.plans import Plan
from spectrum_ft.records.scans import ScanReport
from spectrum_ft.treatments.subjects import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a unit stands among those of its kind."""

    value: float
    """Its score; infinite where it is unbounded."""
    rank: int
    """Its rank by the score, from 1, the best."""
    of: int
    """How many are ranked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How a plan's choice came about."""

    kinds: tuple[KindChoice, ...]
    """What the policy takes of each kind of the scan."""
    added: tuple[str, ...]
    """Names that the plan reaches and the policy would not: put in by hand."""
    removed: tuple[str, ...]
    """Names that the policy takes and the plan does not: taken out by hand."""

    @property
    def edited(self) -> bool:
        """Whether the plan is not what its policy makes of the scan."""
        return bool(self.added or self.removed)


def choice_again(plan: Plan, report: ScanReport) -> Choice | None:
    """What the policy of `plan` takes of `report`; None where it chooses nothing, or cannot."""
    policy = plan.policy
    preset = PRESETS.get(policy.name)
    if preset is None or preset.policy is None or policy.share is None:
        return None
    picked = policy.lora == "picked"
    try:
        request = PlanRequest(
            preset=policy.name,
            share=policy.share,
            score=policy.score,
            scope=policy.scope,
            kinds=policy.kinds,
            exclude=policy.exclude,
            seed=policy.seed or 0,
            lora=policy.lora,
            lora_r=plan.lora.r if plan.lora and policy.lora != "none" else None,
        )
        kinds = make_plan(report, request).choices
    except PlanError:
        return None  # the file was edited into a policy that nothing can be made by
    taken = [name for kind in kinds for unit in kind.chosen for name in unit.names]
    able = {name for kind in kinds for unit in kind.order for name in unit.names}
    own = set(plan.adapted if picked else plan.train)
    beyond = (own & able) - set(taken)
    return Choice(
        kinds=kinds,
        added=tuple(n for n in plan.reached if n in beyond),
        removed=tuple(name for name in dict.fromkeys(taken) if name not in own),
    )


def standings(subject: Subject, score: str | None) -> Mapping[str, Standing]:
    """Where each ranked tensor's unit stands by `score`, by name; empty where there is no telling.

    `score` None stands for the scan's own.
    """
    if subject.report is None:
        return {}
    matrices = block_matrices(subject.report, subject.places)
    try:
        groups = ranked_candidates(matrices, score=score or subject.report.score)
    except PlanError:
        return {}  # some matrix lacks it
    return {
        name: Standing(value=unit.value, rank=place, of=len(units))
        for units in groups.values()
        for place, unit in enumerate(units, start=1)
        for name in unit.names
    }


def at_the_cut(choice: Choice) -> tuple[KindChoice, tuple[Candidate, ...]] | None:
    """The kind with the narrowest cut, and the last taken and first left; None without any."""
    margins = [(kind.margin, place) for place, kind in enumerate(choice.kinds) if kind.at_the_cut]
    known = [(margin, place) for margin, place in margins if margin is not None]
    if not known:
        return None
    kind = choice.kinds[min(known)[1]]
    return kind, kind.at_the_cut
