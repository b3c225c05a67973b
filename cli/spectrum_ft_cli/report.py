"""`spectrum report`: show a record again."""

import click

from spectrum_ft.scan_files import read_scan
from spectrum_ft_cli.commands import Command, option
from spectrum_ft_cli.scan import plan_to_show
from spectrum_ft_cli.show import show_scan


@click.command("report", cls=Command)
@click.argument("record", metavar="SCAN")
@option("--matrices", group="Output", is_flag=True, help="List every matrix as well.")
def command(record: str, matrices: bool) -> None:
    """Show a scan again.

    SCAN is a file written by `spectrum scan -o`, a result file of the published Spectrum script,
    or - for standard input.

    \b
    Example:
      spectrum report scan.json --matrices
    """
    report = read_scan(record)
    show_scan(report, plan_to_show(report), with_matrices=matrices)
