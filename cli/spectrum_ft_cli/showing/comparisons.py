"""A comparison's record, where the user reads it."""

from pathlib import Path

from spectrum_ft.errors import OutputError
from spectrum_ft.records.comparisons import Comparison
from spectrum_ft_cli.showing.console import ReportConsole
from spectrum_ft_cli.showing.given import Formats, Given
from spectrum_ft_reports.comparisons.terminal import print_comparison
from spectrum_ft_reports.comparisons.views import comparison_view


def show_comparison(comparison: Comparison, folder: str | None = None) -> None:
    """Print a comparison, kept in `folder` where that is known, on standard output."""
    print_comparison(ReportConsole(), comparison_view(comparison, folder))


def show(comparison: Comparison, given: Given) -> None:
    """Print a comparison on standard output."""
    show_comparison(comparison, given.folder)


def draw_pictures(comparison: Comparison, folder: Path) -> list[Path]:
    """Draw every picture that `comparison` has anything to show in, into its own `folder`.

    Pictures from before are replaced, as its record is.
    """
    from spectrum_ft.writing import write_file
    from spectrum_ft_reports.comparisons.pictures import draw, pictures_of
    from spectrum_ft_reports.drawing.files import picture_bytes

    paths = []
    for name in pictures_of(comparison):
        paths.append(folder / f"{name}.png")
        write_file(paths[-1], picture_bytes(draw(comparison, name), ".png"), force=True)
    return paths


def _markdown(comparison: Comparison, given: Given) -> str:
    from spectrum_ft_reports.comparisons.markdown import comparison_markdown

    return comparison_markdown(comparison_view(comparison))


def _page(comparison: Comparison, given: Given) -> str:
    from spectrum_ft_reports.comparisons.page import comparison_page
    from spectrum_ft_reports.pages.masthead import Source

    source = Source(name=given.folder or given.path, digest=given.digest)
    return comparison_page(comparison, source=source)


def _png(comparison: Comparison, given: Given) -> bytes:
    return _picture(comparison, ".png")


def _svg(comparison: Comparison, given: Given) -> bytes:
    return _picture(comparison, ".svg")


def _picture(comparison: Comparison, suffix: str) -> bytes:
    """All pictures below each other."""
    from spectrum_ft_reports.comparisons.pictures import draw, pictures_of
    from spectrum_ft_reports.drawing.files import picture_bytes

    which = pictures_of(comparison)
    if not which:
        raise OutputError(
            "there is nothing to draw: no arm was trained or measured",
            "a comparison with results is needed",
        )
    return picture_bytes(draw(comparison, *which), suffix)


FORMATS: Formats = {".html": _page, ".md": _markdown, ".png": _png, ".svg": _svg}
"""The files that a comparison is written to."""
