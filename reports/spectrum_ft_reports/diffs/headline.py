"""What a diff comes to: one sentence, the figures that matter, and what to beware of."""

from spectrum_ft.records.diffs import DiffSide, ScanDiff
from spectrum_ft_reports.diffs.views import place_text, ratio_text
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.facts import KeyFigure
from spectrum_ft_reports.parts.untrusted import printable


def headline(diff: ScanDiff) -> str:
    """What changed, in one sentence."""
    matched = numbers.plural(diff.matched, "matrix", "matrices")
    if not diff.matrices:
        if diff.unknown:
            return f"Neither a score nor the selection differs in the {matched} that both scored."
        return f"A and B are the same in the {matched} that both scored."
    if diff.unknown == diff.matched:
        changed = f"{len(diff.matrices):,} of {matched} differ in their score or selection"
    else:
        changed = f"{diff.changed:,} of {matched} changed"
    overlap = diff.overlap
    if overlap is None:
        return f"{changed}; no kind is large enough to select from."
    if overlap.taken_a == 1:
        not_ = "" if overlap.shared else "not "
        return f"{changed}; the pick in A is {not_}picked in B."
    if overlap.shared == overlap.taken_a:
        return f"{changed}; all {overlap.taken_a:,} picks in A are picked in B."
    verb = "is" if overlap.shared == 1 else "are"
    return (
        f"{changed}; of the {overlap.taken_a:,} picks in A, {overlap.shared:,} {verb} picked in B."
    )


def key_figures(diff: ScanDiff) -> tuple[KeyFigure, ...]:
    """How much changed, how alike the selections are, and what changed most."""
    figures = []
    if diff.unknown < diff.matched:
        unknown = f"; {diff.unknown:,} unknown" if diff.unknown else ""
        figures.append(
            KeyFigure(
                label="matrices changed",
                value=f"{diff.changed:,} of {diff.matched:,}",
                note=f"{diff.identical:,} identical{unknown}",
            )
        )
    if diff.overlap is not None:
        a, b, shared = diff.overlap.taken_a, diff.overlap.taken_b, diff.overlap.shared
        figures.append(
            KeyFigure(
                label="selected in both",
                value=f"{shared:,} of {a:,}" if a == b else f"{shared:,} of {a:,} and {b:,}",
                note=f"Jaccard {ratio_text(diff.overlap.jaccard)}",
            )
        )
    changes = [(abs(m.score_change), m) for m in diff.matrices if m.score_change is not None]
    if changes:
        most = max(changes, key=lambda pair: pair[0])[1]
        figures.append(
            KeyFigure(
                label=f"largest change of {printable(diff.score, 40)}",
                value=numbers.change(most.score_change),
                note=place_text(most),
            )
        )
    correlations = [(k.correlation, k.kind) for k in diff.kinds if k.correlation is not None]
    if correlations:
        least, kind = min(correlations)
        figures.append(
            KeyFigure(
                label="least rank correlation", value=ratio_text(least), note=printable(kind, 60)
            )
        )
    return tuple(figures)


def cautions(diff: ScanDiff) -> tuple[str, ...]:
    """Where A and B are less comparable than they look."""
    found = []
    if diff.unknown:
        found.append(
            f"Of {numbers.plural(diff.unknown, 'matrix', 'matrices')} it is not known whether the "
            "content changed: an imported result has no digests."
        )
    for letter, other, side in (("A", "B", diff.a), ("B", "A", diff.b)):
        if side.unmatched:
            number = numbers.plural(len(side.unmatched), "matrix", "matrices")
            found.append(f"{number} of {letter} {_have(len(side.unmatched))} no score in {other}.")
    if diff.reshaped:
        number = numbers.plural(diff.reshaped, "matrix", "matrices")
        found.append(f"{number} {_have(diff.reshaped)} another shape in B.")
    computed = _computed(diff.a), _computed(diff.b)
    if None not in computed and computed[0] != computed[1]:
        found.append(
            "A and B were computed by other versions or on other devices, which may change scores "
            "in their last digits."
        )
    return tuple(found)


def _have(number: int) -> str:
    return "has" if number == 1 else "have"


def _computed(side: DiffSide) -> tuple[str, str] | None:
    environment = side.environment
    return None if environment is None else (environment.device, environment.spectrum_ft)
