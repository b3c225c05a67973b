"""Arms: the recipes that a comparison holds against each other, told by short names.

base            the model as it is               few-shot:5     with five solved examples
votes:16        the most frequent of 16 answers
PRESET[-PERCENT][:SCORE or :SEED]                spectrum-25, spectrum-25:snr_mp, random-25:7
NAME=FILE, or FILE                               a plan file, under a name or its own
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from spectrum_ft.errors import PlanError
from spectrum_ft.planning.plan_files import parse_plan
from spectrum_ft.planning.presets import PRESETS, Standing
from spectrum_ft.planning.requests import PlanRequest
from spectrum_ft.record_files import read_bytes_of
from spectrum_ft.records.comparisons import Asked, CompareError
from spectrum_ft.records.plans import Plan
from spectrum_ft.spectra.scores import SCORES

_PLAN_FILES = (".yaml", ".yml")
_NAMES = "|".join(sorted(PRESETS, key=len, reverse=True))
_PRESET = re.compile(rf"({_NAMES})(?:-(\d{{1,3}}(?:\.\d{{1,2}})?))?(?::(.+))?")
_PROMPTED = re.compile(r"(few-shot|votes):(\d{1,4})")
_LIMITS = {"few-shot": (1, 100), "votes": (2, 1000)}
"""The fewest and the most solved examples and votes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One recipe: what is trained, if anything, and how the model is asked."""

    name: str
    """Its name in reports, as it was given."""
    request: PlanRequest | None = None
    """The plan that it trains under, as asked of a scan."""
    drawn: bool = False
    """Whether each of the comparison's seeds draws a plan of its own."""
    plan: Plan | None = None
    """The plan that it trains under, from a file."""
    few_shot: int = 0
    """Solved examples in front of each question."""
    votes: int = 1
    """Answers sampled for each question, at most."""
    standing: Standing = "context"
    """What is asked of it."""

    @property
    def trains(self) -> bool:
        """Whether it trains anything."""
        return self.request is not None or self.plan is not None

    @property
    def takes_share(self) -> bool:
        """Whether a budget could decide how much of the model it trains."""
        return self.request is not None and PRESETS[self.request.preset].policy is not None

    @property
    def depends_on_seed(self) -> bool:
        """Whether anything in it is random."""
        return self.trains or self.few_shot > 0 or self.votes > 1


def parse_arms(names: Iterable[str]) -> tuple[Arm, ...]:
    """The arms of these names, in their order.

    Raises `CompareError` for a name that means nothing, or comes twice, and the `PlanError` of a
    recipe that cannot be.
    """
    arms = tuple(_parse(name.strip()) for name in names)
    if not arms:
        raise CompareError("no arm to try", "give some, e.g. --arms base,spectrum-25,qlora")
    seen: set[str] = set()
    for arm in arms:
        if arm.name in seen:
            raise CompareError(
                f"the arm {ascii(arm.name)[1:-1][:80]} comes twice",
                "name each once; NAME=FILE gives a plan file another name",
            )
        seen.add(arm.name)
    return arms


def _parse(name: str) -> Arm:
    label, equals, file = name.partition("=")
    if equals or name.lower().endswith(_PLAN_FILES):
        path = file if equals else name
        label = label.strip() if equals else Path(name).stem
        if not label:
            raise CompareError(f"{ascii(name)[:80]}: an arm without a name", "write NAME=FILE")
        if label == "base" or _PRESET.fullmatch(label) or _PROMPTED.match(label):
            raise CompareError(
                f"a plan file cannot be called {label}, which is an arm of its own",
                f"give it another name: NAME={ascii(path)[1:-1][:120]}",
            )
        plan = parse_plan(read_bytes_of(path), path)
        return Arm(name=label, plan=replace(plan, command=""), standing="candidate")
    if name == "base":
        return Arm(name=name)
    prompted = [_PROMPTED.fullmatch(part) for part in name.split("+")]
    if all(prompted):
        return _prompted(name, {found[1]: int(found[2]) for found in prompted if found})
    if found := _PRESET.fullmatch(name):
        return _recipe(name, found[1], found[2], found[3])
    raise _unknown(name)


def _prompted(name: str, counts: dict[str, int]) -> Arm:
    if len(counts) < name.count(":"):
        raise CompareError(f"the arm {name}: says one thing twice", "say it once")
    for what, count in counts.items():
        least, most = _LIMITS[what]
        if not least <= count <= most:
            raise CompareError(
                f"the arm {name}: {count} is not between {least} and {most}",
                f"write e.g. {what}:{max(5, least)}",
            )
    return Arm(name=name, few_shot=counts.get("few-shot", 0), votes=counts.get("votes", 1))


def _recipe(name: str, preset: str, percent: str | None, rest: str | None) -> Arm:
    score = rest if rest in SCORES else None
    seed = int(rest) if rest and rest.isdecimal() and len(rest) < 10 else None
    if rest and score is None and seed is None:
        close = difflib.get_close_matches(rest, SCORES, n=1)
        raise CompareError(
            f"the arm {ascii(name)[1:-1][:80]}: {ascii(rest)[:40]} is neither a score nor a seed",
            f"did you mean {close[0]}?" if close else f"scores: {', '.join(SCORES)}",
        )
    is_scored = PRESETS[preset].uses_score
    is_drawn = PRESETS[preset].policy is not None and not is_scored
    if (score is not None and not is_scored) or (seed is not None and not is_drawn):
        raise CompareError(
            f"the arm {name}: {preset} is not chosen by a {'seed' if score is None else 'score'}",
            "leave out what follows the colon",
        )
    try:
        request = PlanRequest(
            preset=preset,
            share=float(percent) / 100.0 if percent else None,
            score=score,
            seed=seed or 0,
        )
    except PlanError as fault:
        raise PlanError(f"the arm {name}: {fault.message}", fault.hint) from None
    standing = PRESETS[preset].standing
    return Arm(name=name, request=request, drawn=is_drawn and seed is None, standing=standing)


def _unknown(name: str) -> CompareError:
    known = ["base", "few-shot:5", "votes:16", *(f"{p}-25" for p in PRESETS), *PRESETS]
    close = difflib.get_close_matches(name, known, n=1)
    return CompareError(
        f"unknown arm {ascii(name)[:80]}",
        f"did you mean {close[0]}?"
        if close
        else "arms: base, few-shot:K, votes:N, a plan file, or PRESET[-PERCENT] with "
        + ", ".join(PRESETS),
    )


def planned_questions(arms: Iterable[Arm], against: Iterable[str]) -> tuple[Asked, ...]:
    """What is asked, fixed before anything is run: is each candidate better than each rival?

    Rivals are QLoRA, a choice by chance, and the arms named in `against`. Raises `CompareError`
    for a name there that is no arm.
    """
    arms, against = list(arms), list(against)
    names = [arm.name for arm in arms]
    for name in against:
        if name not in names:
            raise CompareError(
                f"--against {ascii(name)[1:-1][:80]}: no such arm", f"arms: {', '.join(names)}"
            )
    if against and not any(arm.standing == "candidate" for arm in arms):
        raise CompareError(
            "--against: there is no candidate to hold against anything",
            "add an arm that is chosen by score, such as spectrum-25, or a plan file",
        )
    rivals = [arm.name for arm in arms if arm.standing == "rival" or arm.name in against]
    return tuple(
        Asked(question=f"Is {arm.name} better than {rival}?", arm=arm.name, against=rival)
        for arm in arms
        if arm.standing == "candidate"
        for rival in rivals
        if rival != arm.name
    )
