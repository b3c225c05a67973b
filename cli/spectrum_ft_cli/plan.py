"""`spectrum plan`: choose what to train."""

import sys
from pathlib import Path
from typing import get_args

import click

from spectrum_ft.checkpoints.naming import Role
from spectrum_ft.errors import PlanError
from spectrum_ft.memory import TrainingShape, forecast, forecasts
from spectrum_ft.planning.budgets import Budget, fit_plan, params_budget, vram_budget
from spectrum_ft.planning.exports import EXPORTS, export_plan, left_out
from spectrum_ft.planning.making import Planned, PlanRequest, make_plan
from spectrum_ft.planning.plan_files import plan_to_yaml
from spectrum_ft.planning.policies import Scope
from spectrum_ft.planning.presets import PRESETS
from spectrum_ft.record_files import to_json
from spectrum_ft.records.forecasts import Forecast
from spectrum_ft.records.plans import Base, LoraOn, Plan
from spectrum_ft.records.scans import ScanReport
from spectrum_ft.scan_files import read_scan
from spectrum_ft.spectra.scores import SCORES
from spectrum_ft_cli.commands import Command, option
from spectrum_ft_cli.output import check_output, emit, output_options
from spectrum_ft_cli.plan_options import adapter_options, shape_options
from spectrum_ft_cli.scan import kinds_option, names_a_scan, pickle_option, run_scan
from spectrum_ft_cli.showing.scans import show_scan
from spectrum_ft_cli.talk import Talk
from spectrum_ft_cli.values import Count, Share, Size

_PRESET_HELP = "; ".join(f"{preset.name}: {preset.meaning}" for preset in PRESETS.values())
_EXPORT_HELP = "; ".join(f"{export.name}: {export.meaning}" for export in EXPORTS.values())


def _scan_of(source: str, talk: Talk, *, score: str | None, allow_pickle: bool) -> ScanReport:
    """The scan in the file `source`, or of the model `source`."""
    if names_a_scan(source):
        return read_scan(source)
    return run_scan(source, talk, score=score or "snr", allow_pickle=allow_pickle)


def _budget(
    report: ScanReport, shape: TrainingShape, *, params: int | None, vram: int | None
) -> Budget | None:
    """What is to decide the share, if anything is."""
    if params is not None:
        return params_budget(params)
    if vram is None:
        return None
    forecast_of = forecasts(report.shapes, shape)

    def cost(plan: Plan) -> int:
        return forecast_of(plan).total_bytes

    return vram_budget(vram, cost)


def _memory(
    report: ScanReport, planned: Planned, shape: TrainingShape
) -> tuple[Forecast, TrainingShape] | None:
    """What training takes, and how it was meant; None where it cannot be told (an import)."""
    try:
        return forecast(planned.plan, report.shapes, shape), shape
    except PlanError:
        return None


@click.command("plan", cls=Command)
@click.argument("scan", metavar="SCAN|MODEL")
@option(
    "--top",
    "share",
    group="Selection",
    type=Share(),
    help="The share to train, as 25% or 0.25. [default: 25%]",
)
@option(
    "--params",
    group="Selection",
    type=Count(),
    help="Instead: the largest share that trains no more weights than this, e.g. 50M.",
)
@option(
    "--vram",
    group="Selection",
    type=Size(),
    help="Instead: the largest share whose forecast memory is no more than this, e.g. 24GiB. "
    "Leave some of a GPU's memory for its driver.",
)
@option(
    "--preset",
    group="Selection",
    type=click.Choice(list(PRESETS)),
    default="spectrum",
    show_default=True,
    help=_PRESET_HELP,
)
@option(
    "--score",
    group="Selection",
    type=click.Choice(list(SCORES)),
    help="The score that ranks. [default: the scan's]",
)
@option(
    "--scope",
    group="Selection",
    type=click.Choice(list(get_args(Scope))),
    default="kind",
    show_default=True,
    help="Take the share of each kind, or of all matrices by rank.",
)
@kinds_option
@option(
    "--exclude",
    group="Selection",
    multiple=True,
    metavar="GLOB",
    help="Leave out kinds or tensors that match. May be repeated.",
)
@option(
    "--train-embeddings", group="Selection", is_flag=True, help="Train the token embeddings too."
)
@option("--train-head", group="Selection", is_flag=True, help="Train the output head too.")
@option("--train-norms", group="Selection", is_flag=True, help="Train the norms' weights too.")
@option(
    "--seed",
    group="Selection",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="The seed of --preset random.",
)
@option(
    "--base",
    group="Selection",
    type=click.Choice(list(get_args(Base))),
    help="How the matrices that do not train are kept. [default: the preset's]",
)
@adapter_options
@shape_options
@output_options("the plan")
@option(
    "--export",
    group="Output",
    type=click.Choice(list(EXPORTS)),
    help=f"Write the plan in another tool's format instead. {_EXPORT_HELP}.",
)
@pickle_option
@click.pass_obj
def command(
    talk: Talk,
    scan: str,
    share: float | None,
    params: int | None,
    vram: int | None,
    preset: str,
    score: str | None,
    scope: Scope,
    kinds: tuple[str, ...],
    exclude: tuple[str, ...],
    train_embeddings: bool,
    train_head: bool,
    train_norms: bool,
    seed: int,
    base: Base | None,
    lora: LoraOn | None,
    lora_r: int | None,
    lora_alpha: float | None,
    lora_dropout: float | None,
    shape: TrainingShape,
    as_json: bool,
    output: Path | None,
    force: bool,
    export: str | None,
    allow_pickle: bool,
) -> None:
    """Choose what to train from a scan.

    SCAN is a file written by `spectrum scan -o`, a result file of the published Spectrum script,
    or - for standard input; a MODEL is scanned first. The memory that training would take is
    forecast from the shapes of the tensors alone.

    \b
    Example:
      spectrum scan ./model -o scan.json
      spectrum plan scan.json --top 25% -o plan.yaml
      spectrum plan scan.json --vram 22GiB --preset hybrid -o plan.yaml
    """
    if as_json and export is not None:
        raise click.UsageError("--json and --export are two formats; choose one.")
    if sum(amount is not None for amount in (share, params, vram)) > 1:
        raise click.UsageError("--top, --params and --vram all decide the share; choose one.")
    asked: list[tuple[bool, Role]] = [
        (train_embeddings, "embedding"),
        (train_head, "head"),
        (train_norms, "norm"),
    ]
    request = PlanRequest(
        preset=preset,
        share=share,
        score=score,
        scope=scope,
        kinds=kinds,
        exclude=exclude,
        train_roles=tuple(role for wanted, role in asked if wanted),
        base=base,
        lora=lora,
        lora_r=lora_r,
        lora_alpha=lora_alpha,
        lora_dropout=lora_dropout,
        seed=seed,
    )
    check_output(output, force=force, source=scan)
    report = _scan_of(scan, talk, score=score, allow_pickle=allow_pickle)
    budget = _budget(report, shape, params=params, vram=vram)
    planned = fit_plan(report, request, budget) if budget else make_plan(report, request)
    exported = export_plan(planned.plan, export, stored=report.shapes) if export else None
    # Files first: whoever reads our output may go away at any time.
    if output is not None:
        emit(exported or plan_to_yaml(planned.plan), output, force=force)
        talk.say(f"Wrote {output}.")
    if as_json:
        sys.stdout.write(to_json(planned.plan))
    elif exported is None:
        show_scan(report, planned, memory=_memory(report, planned, shape))
    elif output is None:
        emit(exported, None, force=force)
    if export is not None and (gap := left_out(planned.plan, export)):
        talk.say(gap)
    if output is None and export is None and not as_json:
        talk.say("Nothing is written without -o plan.yaml.")
