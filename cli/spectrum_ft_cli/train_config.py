"""Options that exclude each other, wherever they were given, and what a run keeps of them all."""

from pathlib import Path

import click
import yaml
from click.core import ParameterSource

from spectrum_ft.record_files import STDIN
from spectrum_ft_cli.commands import effective_options

_OF_THE_CALL = {"output", "force", "json", "dry-run", "resume-from", "ignore-forecast"}
"""Options of one call: what they said is not part of the run's configuration."""

_RANKS = {ParameterSource.COMMANDLINE: 2, ParameterSource.DEFAULT_MAP: 1}


def settle(ctx: click.Context) -> None:
    """Take out of the parameters of `ctx` what is overruled by what excludes it.

    The command line overrules the configuration file; a usage error where both were given in the
    same place, and where nothing says what trains.
    """
    _exclude(ctx, ("epochs",), ("max_steps",), "--epochs and --max-steps both set the length")
    _exclude(ctx, ("plan",), ("preset", "share"), "--plan and --preset both say what trains")
    if ctx.params["force"] and ctx.params["resume_from"] is not None:
        raise click.UsageError(
            "--force deletes the run that --resume-from would go on from; give one of them."
        )
    if all(ctx.params[name] is None for name in ("plan", "preset", "share")):
        raise click.UsageError("Say what trains: --plan FILE, or --preset NAME with --top 25%.")


def given(ctx: click.Context, *names: str) -> int:
    """How strongly one of these parameters was asked for: 2 by the command line, 1 by a file."""
    asked = [name for name in names if ctx.params[name] is not None]
    return max((_rank(ctx.get_parameter_source(name)) for name in asked), default=0)


def kept_config(ctx: click.Context, plan_file: Path) -> str:
    """The options in force as `--config` reads them, for a run to keep: another run can be made
    of them, but they neither replace nor resume this one."""
    table = yaml.safe_load(effective_options(ctx))
    kept = {
        name: value
        for name, value in table.items()
        if value is not None and name not in _OF_THE_CALL
    }
    if kept.get("plan") == STDIN:
        kept["plan"] = str(plan_file)
    return yaml.safe_dump(kept, sort_keys=True)


def _rank(source: ParameterSource | None) -> int:
    return _RANKS.get(source, 0) if source is not None else 0


def _exclude(ctx: click.Context, one: tuple[str, ...], other: tuple[str, ...], what: str) -> None:
    asked, also_asked = given(ctx, *one), given(ctx, *other)
    if asked and asked == also_asked:
        raise click.UsageError(f"{what}; give one of them.")
    overruled = one if asked < also_asked else other if asked else ()
    for name in overruled:
        ctx.params[name] = None
