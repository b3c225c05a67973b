"""Measure `spectrum train` under its presets against TRL with PEFT, in processes of their own."""

import csv
import json
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, median
from typing import Any

import click
from processes import machine
from scan_sides import demo_model
from train_sides import Task, Trained, run_python_quietly, train_ours, train_peer, write_data

ARMS = (
    *("full", "spectrum:25", "spectrum-nf4:25", "hybrid:25", "spectrum-qlora:25", "lora", "qlora"),
    *("qlora-paper", "reference:25", "random:25", "top-layers:25"),
)
PEERS = {"TRL + PEFT QLoRA": True, "TRL + PEFT LoRA": False}
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
NEW_FILE = click.Path(dir_okay=False, path_type=Path)


def read_messages(path: Path, count: int) -> list[dict[str, str]]:
    """`count` rows of a CSV file with the columns `text` and `category`, evenly spread."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [rows[i * len(rows) // count] for i in range(count)]


def middle(runs: list[Trained]) -> dict[str, Any]:
    """The median of each figure over `runs`, and the losses, which repeat."""
    table = asdict(runs[0])
    for name in ("step_seconds", "peak_mb", "increment_mb"):
        values = [getattr(run, name) for run in runs]
        table[name] = None if values[0] is None else median(values)
    return table | {"last_loss": mean(runs[0].losses[-3:]), "runs": len(runs)}


def show(record: dict[str, Any]) -> None:
    """Print a record for people."""
    sides = record["sides"]
    click.echo(
        f"\n{'':18}{'s/step':>8}{'steps/s against':>18}{'loss':>16}{'memory':>9}{'forecast':>10}"
        f"{'off by':>8}{'result':>8}"
    )
    click.echo(
        f"{'':26}{'QLoRA':>9}{'LoRA':>9}{'first -> last':>16}{'MB':>9}{'MB':>10}{'':>8}{'MB':>8}"
    )
    peers = [sides[name]["step_seconds"] for name in PEERS if name in sides]
    for name, side in sides.items():
        ratios = "".join(f"{peer / side['step_seconds']:9.2f}" for peer in peers)
        losses = f"{side['losses'][0]:.3f} -> {side['last_loss']:.3f}"
        line = f"{name:18}{side['step_seconds']:8.2f}{ratios}{losses:>16}"
        if side["increment_mb"] is not None:
            line += f"{side['increment_mb']:9,.0f}"
            if side["forecast_mb"]:
                off = side["forecast_mb"] / side["increment_mb"] - 1
                line += f"{side['forecast_mb']:10,.0f}{off:+8.1%}"
            else:
                line += f"{'':18}"
            line += f"{side['result_mb']:8.1f}"
        click.echo(line)
    facts = record["machine"]
    click.echo(f"\n{facts['cpu']}, {facts['cores']} cores, load at start {facts['load_at_start']}")
    click.echo(", ".join(f"{name} {number}" for name, number in facts["versions"].items()))


@click.command()
@click.option("--data", type=EXISTING_FILE, required=True, help="CSV with text and category.")
@click.option(
    "--arms", default=",".join(ARMS), show_default=True, help="Presets, PRESET[:PERCENT]."
)
@click.option("--steps", type=click.IntRange(min=5), default=10, show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--max-length", type=click.IntRange(min=8), default=128, show_default=True)
@click.option("--lr", type=float, default=1e-4, show_default=True, help="Of what trains in full.")
@click.option("-n", "--runs", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--tight", is_flag=True, help="Measure memory rather than time, see the README.")
@click.option("--no-peers", is_flag=True, help="Ours only.")
@click.option("--record", "target", type=NEW_FILE, help="Write the figures to this new JSON file.")
def main(
    data: Path,
    arms: str,
    steps: int,
    batch_size: int,
    max_length: int,
    lr: float,
    runs: int,
    tight: bool,
    no_peers: bool,
    target: Path | None,
) -> None:
    """Measure `spectrum train` under its presets against TRL with PEFT."""
    if target and target.exists():
        raise click.UsageError(f"{target} exists")
    facts = machine()
    found: dict[str, list[Trained]] = {}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        write_data(scratch / "train.jsonl", read_messages(data, steps * batch_size))
        folder, scan = demo_model(), scratch / "scan.json"
        run_python_quietly("scan", folder, "-o", str(scan))
        task = Task(
            folder=folder,
            scan=scan,
            scratch=scratch,
            steps=steps,
            batch_size=batch_size,
            max_length=max_length,
            tight=tight,
        )
        for turn in range(runs):
            for peer, four_bit in ({} if no_peers else PEERS).items():
                found.setdefault(peer, []).append(train_peer(task, four_bit=four_bit))
                click.echo(f"{turn + 1}: {peer}: {found[peer][-1].step_seconds:.2f} s", err=True)
            for arm in arms.split(","):
                round_of = Task(**{**asdict(task), "scratch": scratch / str(turn)})
                round_of.scratch.mkdir(exist_ok=True)
                (round_of.scratch / "train.jsonl").write_bytes(
                    (scratch / "train.jsonl").read_bytes()
                )
                found.setdefault(arm, []).append(train_ours(round_of, arm, lr))
                click.echo(f"{turn + 1}: {arm}: {found[arm][-1].step_seconds:.2f} s", err=True)
    record = {
        "benchmark": "train",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": facts,
        "model": "SmolLM2-135M in float32",
        "steps": steps,
        "batch_size": batch_size,
        "max_length": max_length,
        "lr": lr,
        "lora_lr": 2e-4,
        "tight": tight,
        "sides": {name: middle(runs) for name, runs in found.items()},
    }
    show(record)
    if target:
        target.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
