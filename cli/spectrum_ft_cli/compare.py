"""`spectrum compare`: hold plans against each other on the user's own data."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spectrum_ft.comparing.arms import parse_arms
from spectrum_ft.record_files import to_json
from spectrum_ft.records.comparisons import Comparison
from spectrum_ft_cli.commands import Command, option
from spectrum_ft_cli.compare_options import as_compare_settings, compare_options
from spectrum_ft_cli.compare_progress import following
from spectrum_ft_cli.libraries import quiet_libraries
from spectrum_ft_cli.output import check_folder
from spectrum_ft_cli.scan import run_scan
from spectrum_ft_cli.stopping import Stopping
from spectrum_ft_cli.talk import Talk
from spectrum_ft_cli.values import listed

if TYPE_CHECKING:
    from spectrum_ft.comparing.preparing import PreparedComparison

GATE_FAILED = 3


@click.command("compare", cls=Command)
@click.argument("model")
@compare_options
@option(
    "-o",
    "--output",
    group="Output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep the comparison in this folder; one that is there goes on.",
)
@option("--force", group="Output", is_flag=True, help="Delete an earlier comparison there.")
@option("--json", "as_json", group="Output", is_flag=True, help="Print the record as JSON.")
@click.pass_context
def command(ctx: click.Context, /, **_: Any) -> int | None:
    """Compare ways to train a model on your data.

    Every arm is trained on the same data in the same order, as often as there are seeds, each time
    in a process of its own, and asked the same questions. What is finished is kept: the same
    command goes on where it stopped, and with more arms or seeds it makes only those.

    \b
    Example:
      spectrum compare ./model --data train.jsonl --eval test.jsonl \\
          --arms base,spectrum-25,qlora,hybrid-25,random-25 -o comparison
    """
    talk: Talk = ctx.obj
    asked = ctx.params
    output: Path | None = asked["output"]
    if asked["steps"] is not None and asked["minutes"] is not None:
        raise click.UsageError("--steps and --minutes both set the length; give one of them.")
    if output is None and not asked["dry_run"]:
        raise click.UsageError("Missing option '-o': the folder to keep the comparison in.")
    if output is not None:
        check_folder(output, model=asked["model"], what="the comparison")
    arms = parse_arms(listed(asked["arms"]))
    settings = as_compare_settings(asked, tuple(arm.name for arm in arms if arm.trains))
    report = run_scan(asked["model"], talk)
    with quiet_libraries(talk):
        from spectrum_ft.comparing.preparing import prepare_comparison

        prepared = prepare_comparison(
            asked["model"], arms, settings, report, ignore_forecast=asked["ignore_forecast"]
        )
    _show_arms(prepared, talk, on_stdout=asked["dry_run"])
    if output is None or asked["dry_run"]:
        return None
    if asked["require_not_worse"] and not prepared.asked:
        raise click.UsageError(
            "--require-not-worse asks nothing: no candidate is held against anything."
        )
    talk.kept = "Every finished trial is kept; the same command goes on from there."
    comparison = _compare(ctx, prepared, output)
    if isinstance(comparison, int):
        return comparison
    return _finish(ctx, comparison, output)


def _show_arms(prepared: "PreparedComparison", talk: Talk, *, on_stdout: bool) -> None:
    """Say, or print, what each arm is going to do."""
    from spectrum_ft_reports.comparisons.progress import arm_lines

    for line in arm_lines(prepared):
        if on_stdout:
            print(line)
        else:
            talk.say(line)


def _compare(ctx: click.Context, prepared: "PreparedComparison", output: Path) -> Comparison | int:
    """The record of the comparison, or the exit code of one that was interrupted."""
    from spectrum_ft.comparing.comparing import open_comparing
    from spectrum_ft.comparing.processes import ComparisonStopped

    talk: Talk = ctx.obj
    asked = ctx.params
    with open_comparing(
        prepared, output, keep_weights=asked["keep_weights"], force=asked["force"]
    ) as comparing:
        try:
            with Stopping() as stopping, following(talk) as watch:
                stopping.arm()
                return comparing.run(watch, stopping.asked)
        except ComparisonStopped:
            assert stopping.signal is not None
            print(f"Interrupted. {talk.kept}", file=sys.stderr, flush=True)
            return 128 + stopping.signal


def _finish(ctx: click.Context, comparison: Comparison, output: Path) -> int | None:
    """Show the comparison and draw its pictures; the exit code of the gate, if that failed."""
    from spectrum_ft.comparing.contrasts import decisive
    from spectrum_ft_cli.showing.comparisons import draw_pictures, show_comparison

    talk: Talk = ctx.obj
    pictures = draw_pictures(comparison, output)
    if ctx.params["as_json"]:
        sys.stdout.write(to_json(comparison))
    else:
        show_comparison(comparison, str(output))
    talk.say(f"Wrote {output / 'comparison.json'} and {', '.join(p.name for p in pictures)}.")
    worse = [c for c in decisive(comparison.contrasts) if c.finding == "worse"]
    if ctx.params["require_not_worse"] and worse:
        first = worse[0]
        talk.say(f"Gate: {first.asked.arm} is worse than {first.asked.against} in {first.metric}.")
        return GATE_FAILED
    return None
