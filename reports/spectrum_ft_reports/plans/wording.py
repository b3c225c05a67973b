"""What is said of a plan in words: its verdict, its parts, what to beware of."""

from collections.abc import Sequence
from math import isinf

from spectrum_ft.records.plans import Plan
from spectrum_ft.treatments.choices import Choice, at_the_cut
from spectrum_ft.treatments.subjects import Subject
from spectrum_ft.treatments.totals import Totals
from spectrum_ft.treatments.treatments import Row, Treatment
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.facts import Fact
from spectrum_ft_reports.parts.planning import rule, saved_backward
from spectrum_ft_reports.parts.untrusted import printable

BASES = {"as-is": "as it is", "nf4": "in NF4", "int8": "in int8"}
"""How a base keeps a matrix."""


def treatment_labels(plan: Plan) -> dict[Treatment, str]:
    """What each treatment is called under `plan`."""
    packed = BASES[plan.base]
    adapter = "frozen, with an adapter" if plan.base == "as-is" else f"{packed}, with an adapter"
    return {
        "train": "trains in full",
        "adapter": adapter,
        "packed": f"frozen, {packed}",
        "frozen": "frozen as it is",
    }


def verdict(plan: Plan, totals: Totals) -> str:
    """What the plan does, in one sentence."""
    if not totals.whole:
        return _verdict_of_names(plan)
    of = totals.matrices.total()
    train, adapted, packed = (totals.matrices[t] for t in ("train", "adapter", "packed"))
    if totals.train is not None and totals.train == totals.total:
        return f"Trains every weight of the model, {numbers.count(totals.train)} of them."
    clauses = []
    if plan.train:
        amount = f"Trains {train:,} of {numbers.plural(of, 'matrix', 'matrices')}"
        clauses.append(f"{amount}{_others(totals)}{_weights(totals)}")
    if adapted:
        adapters = f"adapters on {adapted:,}" if plan.train else f"Trains adapters on {adapted:,}"
        of_all = "" if plan.train else f" of {numbers.plural(of, 'matrix', 'matrices')}"
        clauses.append(f"{adapters}{of_all}{_on_top(totals)}")
    elif plan.lora is not None:
        clauses.append("adapters on tensors that are no matrix of a block")
    clauses.append(_kept(plan, adapted, packed))
    return "; ".join(clause for clause in clauses if clause) + "."


def _verdict_of_names(plan: Plan) -> str:
    counts = plan.counts
    clauses = []
    if plan.train:
        weights = ""
        if counts is not None:
            share = numbers.share(counts.train, counts.total)
            amount = f"{numbers.count(counts.train)} of {numbers.count(counts.total)} weights"
            weights = f", {amount} ({share})"
        clauses.append(f"Trains {numbers.plural(len(plan.train), 'tensor')}{weights}")
    if plan.lora is not None:
        matrices = numbers.plural(len(plan.lora.matrices), "matrix", "matrices")
        clauses.append(f"{'adapters' if plan.train else 'Trains adapters'} on {matrices}")
    rest = "all else is frozen" + (
        f", its linear matrices {BASES[plan.base]}" * (plan.base != "as-is")
    )
    return "; ".join([*clauses, rest]) + "."


def _others(totals: Totals) -> str:
    if not totals.others_trained:
        return ""
    return (
        f" and {'the' if totals.others_whole else 'some of the'} {_listed(totals.others_trained)}"
    )


def _listed(words: Sequence[str]) -> str:
    """`norms, biases and head`."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _weights(totals: Totals) -> str:
    if totals.train is None or totals.total is None:
        return ""
    amount = f"{numbers.count(totals.train)} of {numbers.count(totals.total)} weights"
    return f", {amount} ({numbers.share(totals.train, totals.total)})"


def _on_top(totals: Totals) -> str:
    return "" if totals.adapters is None else f", {numbers.count(totals.adapters)} weights on top"


def _kept(plan: Plan, adapted: int, packed: int) -> str:
    base = BASES[plan.base]
    if plan.base == "as-is" or not adapted + packed:
        return "the rest is frozen as it is"
    if not packed:
        return f"those with adapters are kept {base}, all else is frozen as it is"
    if not adapted:
        return f"{packed:,} {'others are' if plan.train else 'are'} kept {base}"
    return f"these and {packed:,} more are kept {base}"


def trained_share(plan: Plan, totals: Totals) -> tuple[str, str]:
    """How much of the model is updated, and of what."""
    if totals.train is None or totals.total is None:
        tensors = numbers.plural(len(plan.train), "tensor")
        return tensors, "how many weights that is, is not known"
    amount = f"{numbers.count(totals.train)} of {numbers.count(totals.total)} weights"
    return numbers.share(totals.train, totals.total), amount


def adapters(plan: Plan, totals: Totals) -> str:
    """How large the adapters are."""
    assert plan.lora is not None
    size = f"rank {plan.lora.r:,}, alpha {plan.lora.alpha:g}, dropout {plan.lora.dropout:g}"
    return f"{size}{_on_top(totals)}"


def backward(lowest: int | None, subject: Subject) -> tuple[str, str]:
    """Where the backward pass can stop, and what that saves."""
    if lowest is None:
        return "runs through the whole model", ""
    where = f"stops at layer {lowest}"
    if subject.found is None:
        return where, ""
    return where, saved_backward(lowest, subject.layers)


def rest(plan: Plan, totals: Totals, rows: Sequence[Row]) -> str:
    """How what does not train is kept, and what of it is not packed."""
    if plan.base == "as-is":
        return "frozen as it is"
    base = BASES[plan.base]
    if not totals.whole:
        return f"the other linear matrices of the blocks {base}; all else as it is"
    packed = totals.matrices["packed"] + totals.matrices["adapter"]
    if not packed:
        return f"frozen as it is; no matrix is left to be kept {base}"
    weights = f", {numbers.count(totals.packed)} weights" if totals.packed else ""
    told = f"{numbers.plural(packed, 'matrix', 'matrices')} of the blocks {base}{weights}"
    bare = [row.label for row in rows if not row.is_kind and row.counts.get("frozen")]
    left = [u for r in rows if r.is_kind for u in r.units if u.treatment == "frozen"]
    bare += ["experts"] * any(unit.of_experts for unit in left)
    bare += ["what cannot be packed"] * any(not unit.of_experts for unit in left)
    return f"{told}; {_listed(bare)} as they are" if bare else told


def cut(plan: Plan, choice: Choice) -> str:
    """Where the choice was narrowest; empty where no score ranked, or there was nothing to cut."""
    narrowest = at_the_cut(choice) if plan.policy.score is not None else None
    if narrowest is None:
        return ""
    kind, (last, first) = narrowest
    assert kind.margin is not None  # or it were not the narrowest
    values = f"{numbers.score(last.value)} and {numbers.score(first.value)}"
    return (
        f"narrowest in {printable(kind.kind, 60)}: {100.0 * kind.margin:.2g} % between the last "
        f"taken and the first left ({values})"
    )


def reached(plan: Plan, rows: Sequence[Row]) -> str:
    """How much the plan reaches: `56 train in full, 154 carry an adapter`."""
    train, adapted = (sum(r.counts.get(t, 0) for r in rows) for t in ("train", "adapter"))
    told = [f"{train:,} {'trains' if train == 1 else 'train'} in full"] * (train > 0)
    told += [f"{adapted:,} {'carries' if adapted == 1 else 'carry'} an adapter"] * (adapted > 0)
    return ", ".join(told)


def units_note(rows: Sequence[Row]) -> str:
    """What the numbers count, where experts make that worth saying."""
    joined = any(unit.of_experts for row in rows if row.is_kind for unit in row.units)
    return "The experts of a block that share a kind are planned as one and count as one." * joined


def facts_of_making(plan: Plan, subject: Subject) -> tuple[Fact, ...]:
    """The policy and the model that the plan was made for."""
    policy = plan.policy
    facts = [Fact("policy", rule(policy))]
    if policy.seed is not None and policy.score is None:
        facts.append(Fact("seed", str(policy.seed)))
    for label, globs in (("kinds", policy.kinds), ("exclude", policy.exclude)):
        if globs:
            facts.append(Fact(label, printable(", ".join(globs), 400)))
    facts.append(Fact("made for", printable(plan.model.source, 200) or "a model without a name"))
    if subject.found is not None:
        facts.append(Fact("shapes from", printable(subject.found, 200)))
    fingerprint = plan.model.fingerprint
    facts.append(
        Fact("fingerprint", printable(fingerprint or "none: names alone say whose it is", 80))
    )
    return tuple(facts)


def score_text(value: float) -> str:
    """A score, or that it is unbounded."""
    return "no bound" if isinf(value) else numbers.score(value)
