"""The program `spectrum`: its commands, and how a run of it ends."""

import gc
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from spectrum_ft import __version__
from spectrum_ft.errors import SpectrumError
from spectrum_ft_cli.talk import Talk

# Each command's module is imported when it runs, so that `--help` stays light.
COMMANDS = {
    "scan": "Score every matrix of a model.",
    "plan": "Choose what to train from a scan.",
    "train": "Train what a plan says.",
    "merge": "Write the model that a run made.",
    "eval": "Measure a model or a run on held-out data.",
    "compare": "Compare ways to train a model on your data.",
    "diff": "Show how two scans or two models differ.",
    "report": "Show any record again, or write it as a page or a picture.",
    "demo": "Scan a small real model, train what matters most, merge it, and compare.",
    "cache": "Look after the store of spectra.",
}


class Terminated(BaseException):
    """The process was asked to stop (SIGTERM)."""


class LazyGroup(click.Group):
    """A group whose commands are imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, from the module named after it."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"spectrum_ft_cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that `args` begin with; a near miss is answered with the nearest."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(name, COMMANDS, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            ctx.fail(f"No such command {name!a}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="spectrum")
def cli() -> None:
    """Full-fine-tuning quality without full-fine-tuning memory.

    Scores every weight matrix of a language model from its singular values, reading the files as a
    stream, and plans which ones to train.

    \b
    Example:
      spectrum scan ./model -o scan.json
      spectrum plan scan.json --top 25% -o plan.yaml
    """


def _terminate(number: int, frame: object) -> NoReturn:
    raise Terminated


def _replace_closed_streams() -> None:
    """Give a process that was started with a closed stream (`>&-`) somewhere to write to."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the program; its exit code.

    0 done, 1 an error that was explained, 2 a command line that makes no sense, 130 interrupted,
    143 terminated.
    """
    signal.signal(signal.SIGTERM, _terminate)
    _replace_closed_streams()
    talk = Talk()
    try:
        outcome: Any = cli.main(
            args=arguments, prog_name="spectrum", standalone_mode=False, obj=talk
        )
        sys.stdout.flush()
        return outcome if isinstance(outcome, int) else 0
    except SpectrumError as error:
        talk.show_error(error)
        return 1
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        talk.show_interrupted()
        return 130
    except Terminated:
        talk.show_interrupted()
        return 143
    except BrokenPipeError:
        # The reader has gone (`| head`); point the stream elsewhere, or Python complains at exit.
        _discard_output()
        return 0
    except OSError as fault:
        _discard_output()
        talk.show_error(SpectrumError(f"the result cannot be written ({fault.strerror})"))
        return 1


def main() -> NoReturn:
    """The entry point: run, and leave."""
    # Records are many small objects without cycles: looking through them for some at Python's
    # usual pace took a sixth of the time of a large report.
    gc.set_threshold(50_000, 20, 20)
    code = run()
    if code in (130, 143):
        # Matrices still being computed are not worth waiting for; all finished ones are kept.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
