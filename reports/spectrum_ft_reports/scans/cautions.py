"""Where a scan's scores are weaker than they look."""

from collections import Counter

from spectrum_ft.records.scans import ScanReport
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.untrusted import printable
from spectrum_ft_reports.scans.explorer import Explorer

_UNROUNDED = {"float64", "float32", "bfloat16", "float16", "F64", "F32", "BF16", "F16"}
"""Types, as checkpoints and GGUF spell them, in which weights are stored as they were trained."""


def cautions(report: ScanReport, explored: Explorer) -> tuple[str, ...]:
    """One sentence for each thing that weakens the scores, the gravest first."""
    return tuple(
        sentence
        for sentence in (
            _unranked(report, explored),
            _imported(report),
            _saturated(report),
            _rounded(report),
            _lacking(explored),
        )
        if sentence
    )


def _unranked(report: ScanReport, explored: Explorer) -> str:
    if not explored.unranked:
        return ""
    return (
        f"No plan can rank by {printable(report.score, 40)}, the score of this scan: "
        f"{explored.unranked}. What is shown is by {explored.first.shade.score}."
    )


def _imported(report: ScanReport) -> str:
    if report.model.fingerprint is not None:
        return ""
    return (
        "These scores are imported: shapes, spectra and the number of weights are not known. "
        "A scan of the model itself has them."
    )


def _saturated(report: ScanReport) -> str:
    found = sum("saturated" in matrix.flags for matrix in report.matrices)
    if not found:
        return ""
    of = numbers.plural(len(report.matrices), "matrix", "matrices")
    return (
        f"{found:,} of {of} {'is' if found == 1 else 'are'} saturated: the edge leaves no noise, "
        "so the snr is no ratio of signal to noise there."
    )


def _rounded(report: ScanReport) -> str:
    types = Counter(
        matrix.dtype
        for matrix in report.matrices
        if matrix.dtype is not None and matrix.dtype not in _UNROUNDED
    )
    if not types:
        return ""
    listed = ", ".join(printable(dtype, 20) for dtype, _ in types.most_common(4))
    what = "matrix is" if types.total() == 1 else "matrices are"
    return (
        f"{types.total():,} {what} stored in few bits ({listed}): the weights "
        "carry rounding noise, which no score can tell from their own. "
        "Scan the original weights if you can."
    )


def _lacking(explored: Explorer) -> str:
    if not explored.lacking or not explored.can_plan:
        return ""
    listed = ", ".join(explored.lacking)
    return f"No plan can rank by {listed}: not every matrix has that score."
