"""`spectrum report`: show a record again, or write it to a file."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import click

from spectrum_ft.comparing.comparison_folder import RECORD as COMPARISON_RECORD
from spectrum_ft.errors import OutputError, RecordError
from spectrum_ft.memory import TrainingShape
from spectrum_ft.planning.plan_files import parse_plan
from spectrum_ft.record_files import parse_record, read_bytes_of, to_record
from spectrum_ft.records.comparisons import COMPARISON_SCHEMA, Comparison
from spectrum_ft.records.diffs import DIFF_SCHEMA, ScanDiff
from spectrum_ft.records.evaluations import EVALUATION_SCHEMA, Evaluation
from spectrum_ft.records.plans import PLAN_SCHEMA
from spectrum_ft.records.scan_forecasts import SCAN_FORECAST_SCHEMA, ScanForecast
from spectrum_ft.records.scans import SCAN_SCHEMA
from spectrum_ft.records.training import RUN_SCHEMA, TrainRun
from spectrum_ft.scan_files import parse_scan
from spectrum_ft.tuning.runs.run_folder import RECORD, START
from spectrum_ft.writing import write_file
from spectrum_ft_cli.commands import Command, option
from spectrum_ft_cli.output import check_output
from spectrum_ft_cli.plan_options import shape_options, shape_options_given
from spectrum_ft_cli.showing import (
    comparisons,
    diffs,
    evaluations,
    plans,
    runs,
    scan_forecasts,
    scans,
)
from spectrum_ft_cli.showing.given import Formats, Given
from spectrum_ft_cli.talk import Talk


@click.command("report", cls=Command)
@click.argument("record")
@option("--matrices", group="Output", is_flag=True, help="List every matrix of a scan as well.")
@option(
    "--scan",
    group="Memory forecast",
    metavar="SCAN|MODEL",
    help="What a plan was made from. [default: the model that it names, if that is here]",
)
@shape_options
@option(
    "-o",
    "--output",
    group="Output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write it to this file instead: a page (.html), Markdown (.md), a picture (.png, .svg).",
)
@option("--force", group="Output", is_flag=True, help="Replace an existing output.")
@click.pass_obj
def command(
    talk: Talk,
    record: str,
    matrices: bool,
    scan: str | None,
    shape: TrainingShape,
    output: Path | None,
    force: bool,
) -> None:
    """Show any record again, or write it as a page or a picture.

    RECORD is a file that `spectrum` wrote: a scan or its forecast, a plan, an evaluation, a diff;
    the folder of a finished run or of a comparison; a result file of the published Spectrum script;
    or - for standard input.

    \b
    Example:
      spectrum report scan.json -o scan.html
      spectrum report plan.yaml --scan scan.json
      spectrum report ./comparison -o comparison.md
    """
    check_output(output, force=force)
    _refuse_own(record, output)
    is_folder = Path(record).is_dir()
    path = str(_record_in(Path(record))) if is_folder else record
    data = read_bytes_of(path)
    kind = _kind_of(data, path)
    _refuse_idle(kind, matrices=matrices, scan=scan, output=output)
    found = kind.read(data, path)
    given = Given(
        path=path,
        folder=record if is_folder else None,
        digest=hashlib.sha256(data).hexdigest(),
        matrices=matrices,
        scan=scan,
        shape=shape,
    )
    if output is None:
        kind.showing.show(found, given)
        return
    suffix, formats = output.suffix.lower(), kind.showing.FORMATS
    if suffix not in formats:
        raise OutputError(
            f"{output}: {kind.name} cannot be written as {suffix or 'a file without an ending'}",
            f"end its name in {' or '.join(formats)}",
        )
    write_file(output, formats[suffix](found, given), force=force)
    talk.say(f"Wrote {output}.")


class _Showing(Protocol):
    """A module that shows one kind of record."""

    FORMATS: Formats

    def show(self, record: Any, given: Given, /) -> None:
        """Print it."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of record."""

    name: str
    """What it is called, in a sentence."""
    schema: str
    """Its layout's name and version."""
    read: Callable[[bytes, str], Any]
    """The record in the bytes of the file of that path; raises `RecordError`."""
    showing: _Showing
    """What shows it, and writes it to files."""


def _of(record: type, schema: str) -> Callable[[bytes, str], Any]:
    return lambda data, path: to_record(parse_record(data, path), record, schema, path)


_SCAN = _Kind("a scan", SCAN_SCHEMA, parse_scan, scans)
_PLAN = _Kind("a plan", PLAN_SCHEMA, parse_plan, plans)
_KINDS = (
    _SCAN,
    _PLAN,
    _Kind("a run", RUN_SCHEMA, _of(TrainRun, RUN_SCHEMA), runs),
    _Kind("an evaluation", EVALUATION_SCHEMA, _of(Evaluation, EVALUATION_SCHEMA), evaluations),
    _Kind("a comparison", COMPARISON_SCHEMA, _of(Comparison, COMPARISON_SCHEMA), comparisons),
    _Kind("a diff", DIFF_SCHEMA, _of(ScanDiff, DIFF_SCHEMA), diffs),
    _Kind(
        "a forecast", SCAN_FORECAST_SCHEMA, _of(ScanForecast, SCAN_FORECAST_SCHEMA), scan_forecasts
    ),
)
"""Every kind of record that there is a report of."""


def _kind_of(data: bytes, path: str) -> _Kind:
    """The kind of record in `data`; what names none of our schemas may be a scan of the script's.

    A scan is large and is parsed once: only what names another schema is parsed to see which.
    """
    names = {kind.schema.partition("@")[0]: kind for kind in _KINDS}
    if not any(f"{name}@".encode() in data for name in names if names[name] is not _SCAN):
        return _SCAN
    if not data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return _PLAN  # the only record in YAML
    schema = str(parse_record(data, path).get("schema"))
    return names.get(schema.partition("@")[0], _SCAN)


def _refuse_idle(kind: _Kind, *, matrices: bool, scan: str | None, output: Path | None) -> None:
    """A usage error for an option that would do nothing."""
    if matrices and kind is not _SCAN:
        raise click.UsageError("--matrices lists the matrices of a scan, and this is none.")
    if matrices and output is not None:
        raise click.UsageError("--matrices lists on the terminal; a page lists them by itself.")
    if scan is not None and kind is not _PLAN:
        raise click.UsageError("--scan says what a plan was made from, and this is none.")
    if kind is not _PLAN and (idle := shape_options_given()):
        raise click.UsageError(f"{idle[0]} is for the forecast of a plan, and this is none.")


def _refuse_own(record: str, output: Path | None) -> None:
    """Raise `OutputError` for a report that would replace its own record."""
    read = Path(record)
    if output is not None and output.exists() and read.exists() and output.samefile(read):
        raise OutputError(f"{output}: is the record itself", "give the name of another file")


def _record_in(folder: Path) -> Path:
    """The record of what lies in `folder`; `RecordError` where none does."""
    if (folder / COMPARISON_RECORD).exists():
        return folder / COMPARISON_RECORD
    if not (folder / RECORD).exists() and (folder / START).exists():
        raise RecordError(
            f"{folder}: this run is not finished", "the command that began it goes on with it"
        )
    if not (folder / RECORD).exists():
        raise RecordError(
            f"{folder}: holds no finished run and no comparison",
            "`spectrum scan` scores the matrices of a model",
        )
    return folder / RECORD
