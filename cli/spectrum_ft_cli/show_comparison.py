"""A comparison's record, where the user reads it: terminal, pictures, Markdown."""

from pathlib import Path

from spectrum_ft.errors import OutputError
from spectrum_ft.records.comparisons import Comparison
from spectrum_ft.writing import write_file
from spectrum_ft_cli.show import ReportConsole
from spectrum_ft_reports.comparisons.markdown import comparison_markdown
from spectrum_ft_reports.comparisons.terminal import print_comparison
from spectrum_ft_reports.comparisons.views import comparison_view

_MARKDOWN = (".md", ".markdown")


def show_comparison(comparison: Comparison, folder: str | None = None) -> None:
    """Print a comparison, kept in `folder` where that is known, on standard output."""
    print_comparison(ReportConsole(highlight=False), comparison_view(comparison, folder))


def draw_pictures(comparison: Comparison, folder: Path) -> list[Path]:
    """Draw every picture that `comparison` has anything to show in, into its own `folder`.

    Pictures from before are replaced, as its record is.
    """
    from spectrum_ft_reports.comparisons.pictures import pictures_of, write_picture

    paths = []
    for name in pictures_of(comparison):
        paths.append(folder / f"{name}.png")
        write_picture(comparison, name, paths[-1], force=True)
    return paths


def write_report(comparison: Comparison, output: Path, *, force: bool) -> None:
    """Write a comparison to `output`: as Markdown, or all its pictures below each other.

    The name's ending decides. Raises `OutputError`.
    """
    suffix = output.suffix.lower()
    if suffix in _MARKDOWN:
        write_file(output, comparison_markdown(comparison_view(comparison)), force=force)
        return
    from spectrum_ft_reports.comparisons.pictures import SUFFIXES, pictures_of, write_picture

    if suffix not in SUFFIXES:
        raise OutputError(
            f"{output}: no kind of report that there is",
            f"end its name in {', '.join(SUFFIXES)} or {_MARKDOWN[0]}",
        )
    write_picture(comparison, pictures_of(comparison), output, force=force)
