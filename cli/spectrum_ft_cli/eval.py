"""`spectrum eval`: measure a model or a run on held-out data."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from spectrum_ft.record_files import to_json
from spectrum_ft.records.evaluations import EvalSettings, Evaluation
from spectrum_ft_cli.commands import Command, option
from spectrum_ft_cli.eval_options import as_eval_settings, eval_options, idle_options
from spectrum_ft_cli.eval_progress import counting
from spectrum_ft_cli.libraries import quiet_libraries
from spectrum_ft_cli.output import check_output, emit, output_options
from spectrum_ft_cli.talk import Talk
from spectrum_ft_cli.values import each_once


@click.command("eval", cls=Command)
@click.argument("model", metavar="MODEL|RUN")
@eval_options
@option(
    "--tasks",
    group="Questions",
    multiple=True,
    metavar="LIST",
    help="Run these tasks of lm-evaluation-harness as well, by its own package, e.g. hellaswag.",
)
@option(
    "--tasks-from",
    group="Questions",
    type=click.Path(exists=True, file_okay=False),
    help="A folder of task files of your own, in the harness's format; they may hold code.",
)
@output_options("the record")
@click.pass_context
def command(ctx: click.Context, /, **_: Any) -> None:
    """Measure a model or a run on held-out data.

    MODEL is what `spectrum train` takes, RUN the folder of a finished `spectrum train -o`: its
    model is put together in memory as it trained, packed weights and adapters included.

    \b
    Example:
      spectrum eval ./run --data test.jsonl -o eval.json
      spectrum eval ./model --data test.jsonl --few-shot 5 --examples train.jsonl
    """
    talk: Talk = ctx.obj
    asked = ctx.params
    output: Path | None = asked["output"]
    settings = as_eval_settings(asked)
    check_output(output, force=asked["force"], source=asked["model"])
    for idle in idle_options(ctx, settings):
        talk.say(f"Warning: {idle}.")
    with quiet_libraries(talk):
        evaluation = _evaluate(asked, settings, talk)
    if output is not None:
        emit(to_json(evaluation), output, force=asked["force"])
        talk.say(f"Wrote {output}.")
    if asked["as_json"]:
        sys.stdout.write(to_json(evaluation))
        return
    from spectrum_ft_cli.showing.evaluations import show_evaluation

    show_evaluation(evaluation)


def _evaluate(asked: dict[str, Any], settings: EvalSettings, talk: Talk) -> Evaluation:
    """The record; whatever can be refused is so before the model's weights are read."""
    from spectrum_ft.evaluating.examinations import check_evaluation
    from spectrum_ft.evaluating.harness import check_tasks, run_tasks
    from spectrum_ft.evaluating.measuring import examine
    from spectrum_ft.tuning.opening import open_model, open_tokenizer

    source, tasks, folder = asked["model"], each_once(asked["tasks"]), asked["tasks_from"]
    if tasks:
        check_tasks(tasks, folder=folder)
    exam = check_evaluation(open_tokenizer(source), settings)
    talk.say("Loading the model ...")
    opened = open_model(source, device=settings.device, dtype=settings.dtype)
    rows = f"{len(exam.places):,} question{'' if len(exam.places) == 1 else 's'}"
    with counting(f"Evaluating on {rows}", talk) as watch:
        evaluation = examine(opened.model, opened.tokenizer, exam, source=source, watch=watch)
    if not tasks:
        return evaluation
    talk.say(f"Running {', '.join(tasks)} ...")
    found = run_tasks(
        opened.model,
        opened.tokenizer,
        tasks,
        limit=settings.limit,
        batch_size=settings.batch_size,
        seed=settings.seed,
        folder=folder,
    )
    return replace(evaluation, tasks=found)
