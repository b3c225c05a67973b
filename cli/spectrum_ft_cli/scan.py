"""`spectrum scan`: score every matrix of a model."""

import sys
import time
from pathlib import Path

import click

from spectrum_ft.checkpoints.checkpoint import open_checkpoint
from spectrum_ft.checkpoints.folder import is_weight_file
from spectrum_ft.record_files import STDIN, to_json
from spectrum_ft.records.scans import ScanReport
from spectrum_ft.scanning.compute import Compute, open_engine
from spectrum_ft.scanning.jobs import ScanJob, prepare_scan
from spectrum_ft.scanning.scans import iter_scan, scan_report
from spectrum_ft.spectra.scores import SCORES
from spectrum_ft.spectra.store import SpectraStore
from spectrum_ft_cli.commands import Command, option
from spectrum_ft_cli.compute_options import compute_options
from spectrum_ft_cli.output import check_output, emit, output_options
from spectrum_ft_cli.progress import follow
from spectrum_ft_cli.scan_forecast import estimate, say_forecast
from spectrum_ft_cli.talk import Talk
from spectrum_ft_reports.parts.commands import argument

kinds_option = option(
    "--kinds",
    group="Selection",
    multiple=True,
    metavar="GLOB",
    help="Only kinds that match, e.g. 'mlp.*'. May be repeated.",
)

pickle_option = option(
    "--allow-pickle",
    group="Dangerous",
    is_flag=True,
    help="Read .bin, .pt and .pth weights, which are pickles. Only for files that you trust.",
)


def run_scan(
    model: str,
    talk: Talk,
    *,
    kinds: tuple[str, ...] = (),
    score: str = "snr",
    compute: Compute | None = None,
    cache: bool = True,
    allow_pickle: bool = False,
    stream: bool = False,
) -> ScanReport:
    """The scan report of `model`, with progress on standard error."""
    started = time.monotonic()
    job = _job(model, talk, kinds=kinds, score=score, allow_pickle=allow_pickle, stream=stream)
    compute = compute or Compute()
    engine = open_engine(compute)
    say_forecast(job, compute, talk, cache=cache)
    with SpectraStore.in_user_cache() if cache else SpectraStore(None) as store:
        results = follow(iter_scan(job, store, engine), job, talk)
    return scan_report(job, results, device=engine.device, seconds=time.monotonic() - started)


def _job(
    model: str,
    talk: Talk,
    *,
    kinds: tuple[str, ...],
    score: str,
    allow_pickle: bool,
    stream: bool,
) -> ScanJob:
    """What a scan of `model` is to do; says where the model came from if that matters."""
    checkpoint = open_checkpoint(model, allow_pickle=allow_pickle, stream=stream)
    if checkpoint.note:
        talk.say(checkpoint.note)
    return prepare_scan(checkpoint, kinds=kinds, score=score)


def names_a_scan(source: str) -> bool:
    """Whether `source` names a scan rather than a model."""
    path = Path(source)
    is_file = path.exists() and not path.is_dir()
    return source == STDIN or path.suffix == ".json" or (is_file and not is_weight_file(path))


@click.command("scan", cls=Command)
@click.argument("model")
@kinds_option
@option(
    "--score",
    group="Selection",
    type=click.Choice(list(SCORES)),
    default="snr",
    show_default=True,
    help="The score to make sure of and to show; all are computed.",
)
@compute_options
@option(
    "--estimate",
    "only_estimate",
    group="Compute",
    is_flag=True,
    help="Only say what the scan would take, from headers and this machine's speed.",
)
@option(
    "--no-cache", group="Compute", is_flag=True, help="Neither use nor keep spectra of other scans."
)
@output_options("the scan report")
@option("--matrices", group="Output", is_flag=True, help="List every matrix as well.")
@pickle_option
@click.pass_obj
def command(
    talk: Talk,
    model: str,
    kinds: tuple[str, ...],
    score: str,
    device: str,
    workers: int | None,
    memory: int | None,
    engine: str,
    stream: bool,
    only_estimate: bool,
    no_cache: bool,
    as_json: bool,
    output: Path | None,
    force: bool,
    matrices: bool,
    allow_pickle: bool,
) -> None:
    """Score every matrix of a model.

    MODEL is a folder as transformers writes it, a .safetensors or .gguf file, a Hub id such as
    owner/name[@revision], or packaged:NAME. The files are read as a stream: the model is never
    loaded and none of its code is run. A scan that is interrupted goes on where it stopped.

    \b
    Example:
      spectrum scan ./model -o scan.json
    """
    check_output(output, force=force, source=model)
    compute = Compute(workers=workers, memory_bytes=memory, device=device, engine=engine)
    if only_estimate:
        job = _job(model, talk, kinds=kinds, score=score, allow_pickle=allow_pickle, stream=stream)
        estimate(
            job,
            talk,
            compute=compute,
            cache=not no_cache,
            as_json=as_json,
            output=output,
            force=force,
        )
        return
    report = run_scan(
        model,
        talk,
        kinds=kinds,
        score=score,
        compute=compute,
        stream=stream,
        cache=not no_cache,
        allow_pickle=allow_pickle,
    )
    if output is not None:
        emit(to_json(report), output, force=force)
        talk.say(f"Wrote {output}.")
    if as_json:
        sys.stdout.write(to_json(report))
        return
    from spectrum_ft_cli.showing.scans import plan_to_show, show_scan  # rich, for those who look

    planned = plan_to_show(report)
    show_scan(report, planned, with_matrices=matrices)
    if planned is None:
        return
    source = str(output) if output is not None else model
    talk.say(f"Next: spectrum plan {argument(source)} --top 25% -o plan.yaml")
