"""`spectrum report`: show a record again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click

from spectrum_ft.comparing.comparison_folder import RECORD as COMPARISON_RECORD
from spectrum_ft.errors import RecordError
from spectrum_ft.record_files import STDIN, parse_record, read_bytes_of, to_record
from spectrum_ft.records.comparisons import COMPARISON_SCHEMA, Comparison
from spectrum_ft.records.diffs import DIFF_SCHEMA, ScanDiff
from spectrum_ft.records.evaluations import EVALUATION_SCHEMA, Evaluation
from spectrum_ft.records.scan_forecasts import SCAN_FORECAST_SCHEMA, ScanForecast
from spectrum_ft.records.training import RUN_SCHEMA, TrainRun
from spectrum_ft.scan_files import read_scan
from spectrum_ft.tuning.runs.run_folder import RECORD, START
from spectrum_ft_cli.commands import Command, option
from spectrum_ft_cli.scan import plan_to_show
from spectrum_ft_cli.show import show_scan


@click.command("report", cls=Command)
@click.argument("record")
@option("--matrices", group="Output", is_flag=True, help="List every matrix of a scan as well.")
@option(
    "-o",
    "--output",
    group="Output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write it to this file instead: a comparison's pictures (.png, .svg), or all of a "
    "comparison or a diff (.md).",
)
@option("--force", group="Output", is_flag=True, help="Replace an existing output.")
def command(record: str, matrices: bool, output: Path | None, force: bool) -> None:
    """Show a record again.

    RECORD is a file written by `spectrum scan -o`, `spectrum eval -o` or `spectrum diff -o`, the
    folder of a finished `spectrum train -o` or of a `spectrum compare -o`, a result file of the
    published Spectrum script, or - for a scan on standard input.

    \b
    Example:
      spectrum report scan.json --matrices
      spectrum report ./run
      spectrum report ./comparison -o comparison.md
    """
    path = str(_record_in(Path(record))) if Path(record).is_dir() else record
    found = _other_than_scan(path)
    if output is not None:
        _write(found, path, output, force=force)
        return
    if found is None:
        report = read_scan(path)
        show_scan(report, plan_to_show(report), with_matrices=matrices)
        return
    if matrices:
        raise click.UsageError("--matrices lists the matrices of a scan, and this is none.")
    kind, table = found
    kind.show(to_record(table, kind.record, kind.schema, path), record if path != record else None)


def _show_run(run: TrainRun, folder: str | None) -> None:
    from spectrum_ft_cli.show_training import show_run

    show_run(run, folder)


def _show_evaluation(evaluation: Evaluation, folder: str | None) -> None:
    from spectrum_ft_cli.show_evaluation import show_evaluation

    show_evaluation(evaluation)


def _show_comparison(comparison: Comparison, folder: str | None) -> None:
    from spectrum_ft_cli.show_comparison import show_comparison

    show_comparison(comparison, folder)


def _write_comparison(comparison: Comparison, output: Path, force: bool) -> None:
    from spectrum_ft_cli.show_comparison import write_report

    write_report(comparison, output, force=force)


def _show_diff(diff: ScanDiff, folder: str | None) -> None:
    from spectrum_ft_cli.show_diff import show_diff

    show_diff(diff)


def _write_diff(diff: ScanDiff, output: Path, force: bool) -> None:
    from spectrum_ft_cli.show_diff import write_diff

    write_diff(diff, output, force=force)


def _show_scan_forecast(forecast: ScanForecast, folder: str | None) -> None:
    from spectrum_ft_cli.scan_forecast import show_forecast

    show_forecast(forecast)


class _Kind(NamedTuple):
    """A kind of record, how it is shown (with the folder that it lies in, if that was named), and
    how it is written to a file, if it can be."""

    schema: str
    record: type
    show: Callable[[Any, str | None], None]
    write: Callable[[Any, Path, bool], None] | None = None


_KINDS = (
    _Kind(RUN_SCHEMA, TrainRun, _show_run),
    _Kind(EVALUATION_SCHEMA, Evaluation, _show_evaluation),
    _Kind(COMPARISON_SCHEMA, Comparison, _show_comparison, _write_comparison),
    _Kind(DIFF_SCHEMA, ScanDiff, _show_diff, _write_diff),
    _Kind(SCAN_FORECAST_SCHEMA, ScanForecast, _show_scan_forecast),
)
"""Every kind of record but scans, which take options of their own."""


def _write(
    found: tuple["_Kind", dict[str, Any]] | None, path: str, output: Path, *, force: bool
) -> None:
    """Write the comparison or diff in `path` to `output`; a usage error for another record."""
    kind, table = found or (None, {})
    if kind is None or kind.write is None:
        raise click.UsageError("-o writes a comparison or a diff, and this is neither.")
    kind.write(to_record(table, kind.record, kind.schema, path), output, force)


def _record_in(folder: Path) -> Path:
    """The record of what lies in `folder`."""
    if (folder / COMPARISON_RECORD).exists():
        return folder / COMPARISON_RECORD
    if not (folder / RECORD).exists() and (folder / START).exists():
        raise RecordError(
            f"{folder}: this run is not finished", "the command that began it goes on with it"
        )
    return folder / RECORD


def _other_than_scan(path: str) -> tuple[_Kind, dict[str, Any]] | None:
    """The kind of the record in the file `path`, and its content; None if it may be a scan."""
    if path == STDIN:
        return None
    data = read_bytes_of(path)
    names = {kind.schema.partition("@")[0]: kind for kind in _KINDS}
    # A scan can be large, and is only parsed here where it might be something else.
    if not any(f'"{name}@'.encode() in data for name in names):
        return None
    table = parse_record(data, path)
    kind = names.get(str(table.get("schema")).partition("@")[0])
    return None if kind is None else (kind, table)
