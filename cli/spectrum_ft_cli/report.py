"""`spectrum report`: show a record again."""

from pathlib import Path

import click

from spectrum_ft.errors import RecordError
from spectrum_ft.record_files import STDIN, parse_record, read_bytes_of, to_record
from spectrum_ft.scan_files import read_scan
from spectrum_ft.train_records import RUN_SCHEMA, TrainRun
from spectrum_ft.tuning.runs.run_folder import RECORD, START, read_run
from spectrum_ft_cli.commands import Command, option
from spectrum_ft_cli.scan import plan_to_show
from spectrum_ft_cli.show import show_scan

_RUNS = f'"{RUN_SCHEMA.partition("@")[0]}@'.encode()


@click.command("report", cls=Command)
@click.argument("record", metavar="SCAN|RUN")
@option("--matrices", group="Output", is_flag=True, help="List every matrix of a scan as well.")
def command(record: str, matrices: bool) -> None:
    """Show a scan or a run again.

    SCAN is a file written by `spectrum scan -o`, a result file of the published Spectrum script,
    or - for standard input. RUN is the folder of a finished `spectrum train -o`, or its run.json.

    \b
    Example:
      spectrum report scan.json --matrices
      spectrum report ./run
    """
    run = _run(record)
    if run is None:
        report = read_scan(record)
        show_scan(report, plan_to_show(report), with_matrices=matrices)
        return
    if matrices:
        raise click.UsageError("--matrices lists the matrices of a scan, and this is a run.")
    from spectrum_ft_cli.show_training import show_run

    show_run(run, record if Path(record).is_dir() else None)


def _run(record: str) -> TrainRun | None:
    """The record of the run that `record` names; None if it is something else."""
    if record == STDIN:
        return None
    path = Path(record)
    if path.is_dir():
        if not (path / RECORD).exists() and (path / START).exists():
            raise RecordError(
                f"{path}: this run is not finished", "the command that began it goes on with it"
            )
        return read_run(path)
    data = read_bytes_of(record)
    if _RUNS not in data:
        return None
    return to_record(parse_record(data, record), TrainRun, RUN_SCHEMA, record)
