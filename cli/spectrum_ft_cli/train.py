"""`spectrum train`: train what a plan says."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spectrum_ft.planning.making import PlanRequest, make_plan
from spectrum_ft.planning.plan_files import parse_plan
from spectrum_ft.planning.presets import PRESETS
from spectrum_ft.record_files import read_bytes_of, to_json
from spectrum_ft.records.plans import Plan
from spectrum_ft.records.training import TrainRun, TrainSettings, TrainStep
from spectrum_ft.tuning.runs.run_folder import CHECKPOINTS, PLAN
from spectrum_ft_cli.commands import Command, option
from spectrum_ft_cli.libraries import quiet_libraries
from spectrum_ft_cli.output import check_folder
from spectrum_ft_cli.scan import run_scan
from spectrum_ft_cli.showing.runs import say_contract, show_contract, show_run
from spectrum_ft_cli.stopping import Stopping
from spectrum_ft_cli.talk import Talk
from spectrum_ft_cli.train_config import given, kept_config, settle
from spectrum_ft_cli.train_options import as_settings, setting_options
from spectrum_ft_cli.train_progress import watching
from spectrum_ft_cli.values import Share
from spectrum_ft_reports.runs.next_commands import merge_command

if TYPE_CHECKING:
    from spectrum_ft.tuning.training import Training


@click.command("train", cls=Command)
@click.argument("model")
@option(
    "--plan",
    group="Plan",
    metavar="FILE",
    help="What trains: a file written by `spectrum plan -o`, or - for standard input.",
)
@option(
    "--preset",
    group="Plan",
    type=click.Choice(list(PRESETS)),
    help="Instead: scan the model and plan by this recipe, see `spectrum plan --help`. "
    "[default with --top: spectrum]",
)
@option(
    "--top",
    "share",
    group="Plan",
    type=Share(),
    help="The share that the recipe takes, as 25% or 0.25. [default with --preset: its own]",
)
@setting_options
@option(
    "--resume-from",
    group="Checkpoints",
    type=click.IntRange(min=1),
    metavar="STEP",
    help="Go on from this checkpoint; later ones are deleted. [default: the newest]",
)
@option(
    "--ignore-forecast",
    group="Precision and memory",
    is_flag=True,
    help="Try even if the memory forecast does not fit.",
)
@option(
    "-o",
    "--output",
    group="Output",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Keep the run in this folder; an unfinished one there goes on.",
)
@option("--force", group="Output", is_flag=True, help="Delete an earlier run that is there.")
@option(
    "--dry-run",
    group="Output",
    is_flag=True,
    help="Check model, plan, data and memory, print what would be done, and write nothing.",
)
@option("--json", "as_json", group="Output", is_flag=True, help="Print the record as JSON.")
@click.pass_context
def command(ctx: click.Context, /, **_: Any) -> int | None:
    """Train what a plan says.

    MODEL is what `spectrum scan` takes, except for a single .safetensors file. What the run is
    about to do is checked and said before it begins. One that is interrupted goes on where it
    stopped when the same command is given again.

    \b
    Example:
      spectrum train ./model --plan plan.yaml --data train.jsonl -o run
      spectrum train ./model --preset hybrid --top 25% --data train.jsonl -o run
      spectrum merge run -o merged
    """
    talk: Talk = ctx.obj
    settle(ctx)
    asked = ctx.params
    output: Path | None = asked["output"]
    if output is None and not asked["dry_run"]:
        raise click.UsageError("Missing option '-o': the folder to keep the run in.")
    settings = as_settings(asked)
    if output is not None:
        check_folder(output, model=asked["model"], what="the run")
    plan = _plan(asked, settings.seed, talk)
    talk.kept = None if output is None else _kept(ctx, output)
    with quiet_libraries(talk):
        if output is None or asked["dry_run"]:
            _rehearse(ctx, plan, settings)
            return None
        with _prepared(ctx, plan, settings, output) as training:
            run = _train(ctx, training, output)
    if isinstance(run, int):
        return run
    # The reader of our output may go away at any time: all files are written.
    if asked["as_json"]:
        sys.stdout.write(to_json(run))
    else:
        show_run(run, str(output))
    talk.say(f"Next: {merge_command(str(output))}")
    return None


def _plan(asked: dict[str, Any], seed: int, talk: Talk) -> Plan:
    """The plan in the file that was named, or one made on the spot."""
    if asked["plan"] is not None:
        return parse_plan(read_bytes_of(asked["plan"]), asked["plan"])
    recipe = PlanRequest(
        preset=asked["preset"] or PlanRequest().preset, share=asked["share"], seed=seed
    )
    planned = make_plan(run_scan(asked["model"], talk), recipe)
    # This command line belongs to the run, and may differ where the run is taken up again.
    return replace(planned.plan, command="")


@contextmanager
def _prepared(
    ctx: click.Context, plan: Plan, settings: TrainSettings, output: Path
) -> Iterator["Training"]:
    """The run in `output`, ready to begin or to go on."""
    from spectrum_ft.tuning.training import prepare_training

    asked = ctx.params
    with prepare_training(
        asked["model"],
        plan,
        settings,
        output,
        config=kept_config(ctx, output / PLAN),
        force=asked["force"],
        resume_from=asked["resume_from"],
        ignore_forecast=asked["ignore_forecast"],
    ) as training:
        yield training


def _rehearse(ctx: click.Context, plan: Plan, settings: TrainSettings) -> None:
    """Print the contract of a run that is not made; raise if it would not fit."""
    from spectrum_ft.tuning.contracts import refuse_if_too_large
    from spectrum_ft.tuning.preparing import prepare

    asked = ctx.params
    prepared = prepare(asked["model"], plan, settings, ignore_forecast=True)
    _warn_of_idle_options(ctx, prepared.plan)
    if asked["as_json"]:
        sys.stdout.write(to_json(prepared.contract))
    else:
        show_contract(prepared)
    if not asked["ignore_forecast"]:
        refuse_if_too_large(prepared.contract)


def _train(ctx: click.Context, training: "Training", output: Path) -> TrainRun | int:
    """The record of the finished run, or the exit code of one that was interrupted."""
    from spectrum_ft.tuning.training import Stopped

    talk: Talk = ctx.obj
    say_contract(training.prepared, training.notes, talk)
    _warn_of_idle_options(ctx, training.prepared.plan)
    if training.resumed_from is not None:
        done = int(training.resumed_from.name.rpartition("-")[2])
        talk.say(f"Going on after step {done:,} of {training.contract.steps:,}.")
    try:
        with Stopping() as stopping, watching(training.contract.steps, stopping, talk) as watch:

            def note(step: TrainStep) -> None:
                stopping.arm()
                watch(step)

            return training.run(note, stopping.asked)
    except Stopped as stop:
        assert stopping.signal is not None
        print(
            f"Interrupted after step {stop.step:,}. {_how_to_go_on(ctx)}",
            file=sys.stderr,
            flush=True,
        )
        return 128 + stopping.signal
    finally:
        talk.kept = _kept(ctx, output)  # for a run that was interrupted without a stop


def _kept(ctx: click.Context, output: Path) -> str:
    """What is safe of the run in `output` whatever happens, and how to go on."""
    if not any((output / CHECKPOINTS).glob("step-*")):
        return "There is no checkpoint yet; the same command begins again."
    return f"The checkpoints so far are kept. {_how_to_go_on(ctx)}"


def _how_to_go_on(ctx: click.Context) -> str:
    once = [f"--{name.replace('_', '-')}" for name in ("force", "resume_from") if ctx.params[name]]
    without = f" without {' and '.join(once)}" if once else ""
    return f"The same command{without} goes on from there."


def _warn_of_idle_options(ctx: click.Context, plan: Plan) -> None:
    """Say which rates were given for what this plan does not have."""
    talk: Talk = ctx.obj
    idle = [] if plan.train else ["lr", "weight_decay"]
    idle += [] if plan.lora else ["lora_lr"]
    for name in idle:
        if given(ctx, name) == 2:
            what = "carries an adapter" if name == "lora_lr" else "trains in full"
            talk.say(f"Warning: --{name.replace('_', '-')} has no effect: nothing {what}.")
