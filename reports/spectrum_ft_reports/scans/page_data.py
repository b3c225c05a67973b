"""What the scripts of a scan's page look up: nothing in it is computed there, only compared."""

from collections.abc import Sequence
from typing import Any

from spectrum_ft.records.scans import ScannedMatrix
from spectrum_ft_reports.scans import spectra
from spectrum_ft_reports.scans.explorer import START, Explorer
from spectrum_ft_reports.scans.heat_map import unit_title
from spectrum_ft_reports.scans.matrix_texts import (
    fact_labels,
    fact_texts,
    full_name,
    shared_name,
)
from spectrum_ft_reports.scans.units import Unit


def page_data(units: Sequence[Unit], explored: Explorer, scores: Sequence[str]) -> dict[str, Any]:
    """What `explorer.js` and `histogram.js` read: texts, and for each unit the share that takes it.

    A unit is `[title, before, after, names, matrices]`: a name is `before + names[i] + after`, and
    a matrix is one string, its `facts` and its histogram (see `spectra.compact`) joined by `|`.
    A fact is a number of `texts` where `#` stands before it.
    """
    said = list(dict.fromkeys(choice.said for choice in explored.choices))
    texts: dict[str, int] = {}
    return {
        "share": START,
        "before": explored.before,
        "after": explored.after,
        "said": said,
        "choices": [
            {
                "score": choice.shade.score,
                "option": choice.option,
                "said": said.index(choice.said),
                "percents": choice.percents,
                "heights": choice.shade.heights,
                "values": choice.shade.texts,
            }
            for choice in explored.choices
        ],
        "facts": fact_labels(scores),
        "units": [_unit(unit, scores, texts) for unit in units],
        "texts": list(texts),
    }


def _unit(unit: Unit, scores: Sequence[str], texts: dict[str, int]) -> list[Any]:
    names = [full_name(matrix) for matrix in unit.matrices]
    before, after, rests = shared_name(names)
    matrices = [_matrix(matrix, scores, texts) for matrix in unit.matrices]
    return [unit_title(unit), before, after, rests, matrices]


def _matrix(matrix: ScannedMatrix, scores: Sequence[str], texts: dict[str, int]) -> str:
    texts_of = fact_texts(matrix, scores)
    for place in (0, 1, -1):  # shape, type and flags: words recur, figures hardly do
        texts_of[place] = f"#{texts.setdefault(texts_of[place], len(texts))}"
    drawn = spectra.compact(matrix) if spectra.is_drawable(matrix.spectrum) else ""
    return "|".join((*texts_of, drawn))
