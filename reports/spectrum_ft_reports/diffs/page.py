"""A diff as a page."""

from typing import NamedTuple

from spectrum_ft.records.diffs import DIFF_SCHEMA, MatrixDiff, ScanDiff
from spectrum_ft_reports.diffs.headline import cautions, headline, key_figures
from spectrum_ft_reports.diffs.pictures import PICTURES, draw_for_page
from spectrum_ft_reports.diffs.views import MatrixDiffRow, diff_title, diff_view
from spectrum_ft_reports.pages.figures import Shown, shown
from spectrum_ft_reports.pages.masthead import Masthead, Source, making
from spectrum_ft_reports.pages.rendering import render

LISTED_ON_PAGES = 1_000
"""How many matrices a page lists: more take longer to open than anyone reads."""


class Line(NamedTuple):
    """A line of the table of matrices."""

    row: MatrixDiffRow
    """What stands in it."""
    matrix: MatrixDiff
    """What it is sorted by."""


def diff_page(diff: ScanDiff, *, source: Source) -> str:
    """The page of `diff`, read from `source`."""
    view = diff_view(diff, limit=LISTED_ON_PAGES)
    shown = (_shown(diff, name) for name in PICTURES)
    return render(
        "diff.html",
        head=Masthead(
            kind="diff",
            title=diff_title(diff),
            verdict=headline(diff),
            figures=key_figures(diff),
            cautions=cautions(diff),
        ),
        made=making(
            command=diff.command, schema=DIFF_SCHEMA, source=source, environment=diff.environment
        ),
        view=view,
        kinds=list(zip(view.kinds, diff.kinds, strict=True)),
        lines=[Line(*pair) for pair in zip(view.matrices, diff.matrices, strict=False)],
        pictures=[picture for picture in shown if picture is not None],
    )


def _shown(diff: ScanDiff, name: str) -> Shown | None:
    drawn = draw_for_page(diff, name)
    if drawn is None:
        return None
    figure, caption = drawn
    notes = caption.notes.replace("\n", " ")
    return shown(figure, f"{name}-picture", title=caption.title, notes=notes)
