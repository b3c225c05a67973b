"""Measure `spectrum scan` against its peer: whole processes on one machine, taking turns."""

import hashlib
import json
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from processes import machine, summarize
from scan_sides import (
    Run,
    demo_model,
    make_llama_layer,
    memory_bound,
    scan_ours,
    scan_peer,
    worst_difference,
)

EXISTING_FOLDER = click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path)
EXISTING_FILE = click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path)
NEW_FILE = click.Path(dir_okay=False, path_type=Path)
ROWS = {
    "wall_seconds": ("whole process, s", 2),
    "cpu_seconds": ("processor time, s", 2),
    "scan_seconds": ("scan alone, s", 2),
    "peak_mb": ("peak memory, MB", 0),
}


def take_turns(
    ours: Callable[[], Run], peer: Callable[[], Run], *, runs: int, warm_up: bool
) -> list[tuple[Run, Run]]:
    """`runs` counted pairs of runs, ours and the peer's in turn; a first pair warms caches."""
    pairs: list[tuple[Run, Run]] = []
    for turn in range(0 if warm_up else 1, runs + 1):
        pair = (ours(), peer())
        worst_difference(*pair)  # stop now if the sides did not do the same work
        label = f"run {turn}" if turn else "warm-up"
        walls = " and ".join(f"{run.cost.wall_seconds:.2f} s" for run in pair)
        click.echo(f"{label}: {walls}", err=True)
        if turn:
            pairs.append(pair)
    return pairs


def make_record(pairs: list[tuple[Run, Run]], bound: dict[str, float]) -> dict[str, Any]:
    """Everything that was measured, ready for JSON."""
    ours, peer = (
        {field: summarize([getattr(run.cost, field) for run in runs]) for field in ROWS}
        for runs in zip(*pairs, strict=True)
    )
    return {
        "matrices": len(pairs[0][0].snr),
        "runs": len(pairs),
        "ours": ours,
        "peer": peer,
        "peer_over_ours": {field: peer[field]["median"] / ours[field]["median"] for field in ROWS},
        "memory_bound": bound,
        "worst_snr_difference": max(worst_difference(*pair) for pair in pairs),
    }


def show(record: dict[str, Any]) -> None:
    """Print a record for people."""
    click.echo(
        f"\n{record['model']}: {record['matrices']} matrices; median (min-max) of {record['runs']}"
    )
    click.echo(f"{'':20}{'spectrum scan':>24}{record['peer_name']:>24}")
    for field, (label, decimals) in ROWS.items():
        cells = [spread(record[side][field], decimals) for side in ("ours", "peer")]
        ratio = record["peer_over_ours"][field]
        verdict = f"{1 / ratio:.2f} of it" if field == "peak_mb" else f"{ratio:.1f} times less"
        click.echo(f"{label:20}{cells[0]:>24}{cells[1]:>24}   {verdict}")
    rates = [
        record["matrices"] / record[side]["wall_seconds"]["median"] for side in ("ours", "peer")
    ]
    click.echo(f"{'matrices/s':20}{rates[0]:24.3g}{rates[1]:24.3g}")
    show_bound(record["ours"]["peak_mb"]["max"], record["memory_bound"])
    click.echo(f"worst relative difference of snr: {record['worst_snr_difference']:.1e}")
    facts = record["machine"]
    click.echo(f"{facts['cpu']}, {facts['cores']} cores, load at start {facts['load_at_start']}")
    click.echo(", ".join(f"{name} {number}" for name, number in facts["versions"].items()))


def show_bound(peak_mb: float, bound: dict[str, float]) -> None:
    """Print our peak beside what it may be, and where that comes from."""
    parts = (
        f"imports {bound['imports_mb']:,.0f} + {bound['workers']} workers x 3 x "
        f"largest matrix {bound['matrix_mb']:,.1f} + 100"
    )
    click.echo(f"\npeak {peak_mb:,.0f} MB; bound {bound['bound_mb']:,.0f} MB = {parts}")


def spread(figure: dict[str, float], decimals: int) -> str:
    """`median (min-max)`."""
    middle, low, high = (f"{figure[key]:,.{decimals}f}" for key in ("median", "min", "max"))
    return f"{middle} ({low}-{high})"


def find_model(model: Path | None, layer: str | None, scratch: str) -> tuple[str, str]:
    """What to call the model in a record, and its folder; `scratch` is for a random layer."""
    if layer:
        return f"one layer of {layer}, random", make_llama_layer(scratch)
    if model:
        return "a folder of one's own", str(model)
    return "SmolLM2-135M in float32", demo_model()


@click.command()
@click.option("--reference", type=EXISTING_FILE, help="The published spectrum.py, run unmodified.")
@click.option("--model", type=EXISTING_FOLDER, help="A Llama folder. [default: SmolLM2-135M]")
@click.option("--layer", type=click.Choice(["llama-3-8b"]), help="A random layer of that size.")
@click.option("-n", "--runs", type=click.IntRange(min=1), help="[default: 5; 1 with --layer]")
@click.option("--record", "target", type=NEW_FILE, help="Write the figures to this new JSON file.")
def main(
    reference: Path | None,
    model: Path | None,
    layer: str | None,
    runs: int | None,
    target: Path | None,
) -> None:
    """Measure `spectrum scan` against its peer."""
    if model and layer:
        raise click.UsageError("--model and --layer exclude each other")
    if target and target.exists():
        raise click.UsageError(f"{target} exists")
    digest = hashlib.sha256(reference.read_bytes()).hexdigest() if reference else None
    facts = {
        "benchmark": "scan",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "peer_name": "reference" if reference else "svdvals",
        "peer_sha256": digest,
    }
    with tempfile.TemporaryDirectory() as scratch:
        label, folder = find_model(model, layer, scratch)
        bound = memory_bound(folder)
        pairs = take_turns(
            lambda: scan_ours(folder),
            lambda: scan_peer(folder, reference),
            runs=runs or (1 if layer else 5),
            warm_up=not layer,
        )
    record = {**facts, "model": label, **make_record(pairs, bound)}
    show(record)
    if target:
        target.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
