"""`spectrum diff`: how two scans or two models differ."""

import sys
from contextlib import nullcontext
from pathlib import Path

import click

from spectrum_ft.diffing.at_hand import spectra_in
from spectrum_ft.diffing.diffing import diff
from spectrum_ft.planning.requests import DEFAULT_SHARE
from spectrum_ft.record_files import STDIN, to_json
from spectrum_ft.records.scans import ScanReport
from spectrum_ft.scan_files import read_scan
from spectrum_ft.scanning.compute import Compute
from spectrum_ft.spectra.scores import SCORES
from spectrum_ft.spectra.store import SpectraStore
from spectrum_ft_cli.commands import Command, option
from spectrum_ft_cli.compute_options import compute_options
from spectrum_ft_cli.output import check_output, emit, output_options
from spectrum_ft_cli.scan import kinds_option, names_a_scan, pickle_option, run_scan
from spectrum_ft_cli.talk import Talk
from spectrum_ft_cli.values import Share
from spectrum_ft_reports.diffs.views import LISTED


@click.command("diff", cls=Command)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@option(
    "--score",
    group="Selection",
    type=click.Choice(list(SCORES)),
    default="snr",
    show_default=True,
    help="The score that ranks.",
)
@option(
    "--top",
    "share",
    group="Selection",
    type=Share(),
    help="The share of each kind that the selections take, as 25% or 0.25. [default: 25%]",
)
@kinds_option
@compute_options
@output_options("the diff")
@option(
    "--limit",
    group="Output",
    type=click.IntRange(min=0),
    default=LISTED,
    show_default=True,
    help="Matrices to list; the record always has all that differ.",
)
@pickle_option
@click.pass_obj
def command(
    talk: Talk,
    a: str,
    b: str,
    score: str,
    share: float | None,
    kinds: tuple[str, ...],
    device: str,
    workers: int | None,
    memory: int | None,
    engine: str,
    stream: bool,
    as_json: bool,
    output: Path | None,
    force: bool,
    limit: int,
    allow_pickle: bool,
) -> None:
    """Show how two scans or two models differ.

    A and B are files written by `spectrum scan -o`, result files of the published Spectrum script,
    or models as `spectrum scan` takes them; one of them may be - for a scan on standard input.
    Models are scanned first, and a matrix that both hold is computed once. Matrices are matched by
    name.

    \b
    Example:
      spectrum diff before.json after.json
      spectrum diff ./base ./tuned --score snr_mp -o diff.json
    """
    if a == b == STDIN:
        raise click.UsageError("Only one of A and B can come from standard input.")
    for source in (a, b):
        check_output(output, force=force, source=source)
    compute = Compute(workers=workers, memory_bytes=memory, device=device, engine=engine)

    def scan_of(source: str) -> ScanReport:
        if names_a_scan(source):
            return read_scan(source)
        return run_scan(
            source,
            talk,
            kinds=kinds,
            score=score,
            compute=compute,
            allow_pickle=allow_pickle,
            stream=stream,
        )

    named = tuple(dict.fromkeys((a, b)))
    models = [source for source in named if not names_a_scan(source)]
    if not models and (compute != Compute() or stream):
        talk.say("A and B are scans already: the options of computing change nothing.")
    # Files first: what is wrong with one shows at once, and a scan may take hours.
    reports = {source: scan_of(source) for source in sorted(named, key=models.__contains__)}
    with SpectraStore.in_user_cache() if models else nullcontext() as store:
        found = diff(
            reports[a],
            reports[b],
            score=score,
            share=share or DEFAULT_SHARE,
            kinds=kinds,
            given=(a, b),
            spectrum_of=None if store is None else spectra_in(store),
        )
    if output is not None:
        emit(to_json(found), output, force=force)
        talk.say(f"Wrote {output}.")
    if as_json:
        sys.stdout.write(to_json(found))
        return
    from spectrum_ft_cli.showing.diffs import show_diff  # rich, for those who look

    show_diff(found, limit=limit)
