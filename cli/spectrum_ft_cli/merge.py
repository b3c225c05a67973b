"""`spectrum merge`: a finished run as a model that anything loads."""

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import get_args

import click

from spectrum_ft.errors import OutputError
from spectrum_ft.record_files import STDIN, to_json
from spectrum_ft.tuning.merges.merge_jobs import MergeDtype, MergeJob, Onto, prepare_merge
from spectrum_ft.tuning.merges.merging import MergedTensor, MergeReport, iter_merge, report_merge
from spectrum_ft_cli.commands import Command, option
from spectrum_ft_cli.talk import Talk


@click.command("merge", cls=Command)
@click.argument("run", type=click.Path(path_type=Path))
@option(
    "--onto",
    group="Weights",
    type=click.Choice(list(get_args(Onto))),
    default="base",
    show_default=True,
    help="What adapters are added to: the base's own values, or what 4 or 8 bits kept of them.",
)
@option(
    "--dtype",
    group="Weights",
    type=click.Choice(list(get_args(MergeDtype))),
    default="auto",
    show_default=True,
    help="The type of all weights; auto: what the base has for each.",
)
@option(
    "-o",
    "--output",
    group="Output",
    type=click.Path(path_type=Path),
    required=True,
    help="Write the model to this folder.",
)
@option("--force", group="Output", is_flag=True, help="Replace a model that is there.")
@option("--json", "as_json", group="Output", is_flag=True, help="Print the record as JSON.")
@click.pass_obj
def command(
    talk: Talk,
    run: Path,
    onto: Onto,
    dtype: MergeDtype,
    output: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Write the model that a run made.

    RUN is the folder of a finished `spectrum train -o`. The model's folder is a standard one, with
    tokenizer and model card, and appears whole or not at all.

    \b
    Example:
      spectrum merge ./run -o ./merged
    """
    if output.name == STDIN:
        raise OutputError(f"{output}: not a folder's name", "give the name of a new folder")
    job = prepare_merge(run, output, onto=onto, dtype=dtype, force=force)
    talk.kept = "Nothing was written."
    # Closed at once when it is interrupted, which removes what is half written.
    with closing(iter_merge(job)) as written:
        report = report_merge(job, _followed(written, job, talk))
    for note in report.notes:
        talk.say(f"Note: {note}")
    _say_done(report, talk)
    if as_json:
        sys.stdout.write(to_json(report))


def _followed(written: Iterator[MergedTensor], job: MergeJob, talk: Talk) -> list[MergedTensor]:
    """All of `written`, with a bar on a terminal and a line at the start elsewhere."""
    if not talk.console.is_terminal or talk.quiet:
        talk.say(f"Merging {len(job.sources):,} tensors, {job.num_bytes / 1e9:.2f} GB.")
        return list(written)
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("Merging"),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    merged = []
    with Progress(*columns, console=talk.console, transient=True, expand=True) as progress:
        task = progress.add_task("Merging", total=job.num_bytes)
        for tensor in written:
            merged.append(tensor)
            progress.update(task, advance=tensor.num_bytes)
    return merged


def _say_done(report: MergeReport, talk: Talk) -> None:
    parts = ", ".join(f"{count:,} {how}" for how, count in sorted(report.tensors.items()))
    files = f"{report.shards} file{'s' if report.shards > 1 else ''}"
    talk.say(
        f"Wrote {report.output}: {sum(report.tensors.values()):,} tensors ({parts}), "
        f"{report.weight_bytes / 1e9:.2f} GB in {files}."
    )
    talk.say("Load it with:")
    talk.say("  from transformers import AutoModelForCausalLM, AutoTokenizer")
    talk.say(f'  model = AutoModelForCausalLM.from_pretrained({report.output!a}, dtype="auto")')
    talk.say(f"  tokenizer = AutoTokenizer.from_pretrained({report.output!a})")
