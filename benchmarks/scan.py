"""Measure `spectrum scan` against its peers: whole processes on one machine, taking turns."""

import json
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
from processes import machine, summarize
from scan_peers import find_peers
from scan_sides import (
    LAYERS,
    Run,
    demo_model,
    make_llama_layer,
    memory_bound,
    scan_ours,
    worst_difference,
)

EXISTING_FOLDER = click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path)
EXISTING_FILE = click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path)
NEW_FILE = click.Path(dir_okay=False, path_type=Path)
OURS = "spectrum scan"
ROWS = {
    "wall_seconds": ("whole process, s", 2),
    "cpu_seconds": ("processor time, s", 2),
    "scan_seconds": ("scan alone, s", 2),
    "peak_mb": ("peak memory, MB", 0),
}
DEMO = "SmolLM2-135M in float32"
BARS = {
    DEMO: ("wall_seconds", 5),
    "llama-3-8b": ("scan_seconds", 15),
    "square-4096": ("scan_seconds", 6),
}
"""How many times less than the reference a model should take, of which row."""

QUIET_LOAD = 0.5
"""The most load at the start at which a ratio of times means something."""


def take_turns(
    sides: Mapping[str, Callable[[], Run]], *, runs: int, warm_up: bool
) -> list[dict[str, Run]]:
    """`runs` counted rounds, a run of each side in turn; a first round warms caches."""
    rounds: list[dict[str, Run]] = []
    for turn in range(0 if warm_up else 1, runs + 1):
        label = f"run {turn}" if turn else "warm-up"
        done: dict[str, Run] = {}
        for name, side in sides.items():
            done[name] = side()
            click.echo(f"{label}: {name} {done[name].cost.wall_seconds:.2f} s", err=True)
            worst_difference(done[OURS], done[name])  # stop now if it did other work
        if turn:
            rounds.append(done)
    return rounds


def make_record(rounds: list[dict[str, Run]]) -> dict[str, Any]:
    """Everything that was measured, ready for JSON."""
    sides = {
        name: {row: summarize([getattr(done[name].cost, row) for done in rounds]) for row in ROWS}
        for name in rounds[0]
    }
    ours = sides[OURS]
    peers = [name for name in sides if name != OURS]
    return {
        "matrices": len(rounds[0][OURS].snr),
        "runs": len(rounds),
        "sides": sides,
        "peer_over_ours": {
            peer: {row: sides[peer][row]["median"] / ours[row]["median"] for row in ROWS}
            for peer in peers
        },
        "worst_snr_difference": {
            peer: max(worst_difference(done[OURS], done[peer]) for done in rounds) for peer in peers
        },
    }


def show(record: dict[str, Any]) -> None:
    """Print a record for people."""
    sides, ratios = record["sides"], record["peer_over_ours"]
    click.echo(
        f"\n{record['model']}: {record['matrices']} matrices; median (min-max) of {record['runs']}"
    )
    click.echo(f"{'':18}" + "".join(f"{name:>24}{'':8}" for name in sides))
    for row, (label, decimals) in ROWS.items():
        cells = ""
        for name, side in sides.items():
            ratio = f"  x{ratios[name][row]:.2f}" if name in ratios else ""
            cells += f"{spread(side[row], decimals):>24}{ratio:8}"
        click.echo(f"{label:18}{cells}".rstrip())
    rates = [record["matrices"] / side["scan_seconds"]["median"] for side in sides.values()]
    click.echo(f"{'matrices/s, alone':18}" + "".join(f"{rate:24.3g}{'':8}" for rate in rates))
    show_bar(record)
    show_bound(sides[OURS]["peak_mb"]["max"], record["memory_bound"])
    for peer, difference in record["worst_snr_difference"].items():
        click.echo(f"worst relative difference of snr from {peer}: {difference:.1e}")
    facts = record["machine"]
    click.echo(f"{facts['cpu']}, {facts['cores']} cores, load at start {facts['load_at_start']}")
    click.echo(", ".join(f"{name} {number}" for name, number in facts["versions"].items()))


def show_bar(record: dict[str, Any]) -> None:
    """Print whether the reference was beaten by as much as it should."""
    row, times = BARS.get(record["model"], ("", 0))
    ratio = record["peer_over_ours"].get("reference", {}).get(row)
    if ratio is not None:
        verdict = "met" if ratio >= times else "missed"
        if record["machine"]["load_at_start"] > QUIET_LOAD:
            verdict = "cannot be told on a busy machine"
        click.echo(f"\nbar: x{times} of {ROWS[row][0].partition(',')[0]}: {verdict}, x{ratio:.2f}")


def show_bound(peak_mb: float, bound: dict[str, float]) -> None:
    """Print our peak beside what it may be, and where that comes from."""
    parts = (
        f"imports {bound['imports_mb']:,.0f} + {bound['workers']} workers x 3 x "
        f"largest matrix {bound['matrix_mb']:,.1f} + 100"
    )
    click.echo(f"\npeak {peak_mb:,.0f} MB; bound {bound['bound_mb']:,.0f} MB = {parts}")


def spread(figure: dict[str, float], decimals: int) -> str:
    """`median (min-max)`, or the only figure."""
    middle, low, high = (f"{figure[key]:,.{decimals}f}" for key in ("median", "min", "max"))
    return middle if low == high else f"{middle} ({low}-{high})"


def find_model(model: Path | None, layer: str | None, scratch: str) -> tuple[str, str]:
    """What to call the model in a record, and its folder; `scratch` is for a random layer."""
    if layer:
        return layer, make_llama_layer(scratch, layer)
    if model:
        return "a folder of one's own", str(model)
    return DEMO, demo_model()


@click.command()
@click.option("--reference", type=EXISTING_FILE, help="The published spectrum.py, run unmodified.")
@click.option(
    "--packages",
    type=EXISTING_FOLDER,
    help="A folder of `pip install --target` with what the peers import.",
)
@click.option("--model", type=EXISTING_FOLDER, help="A Llama folder. [default: SmolLM2-135M]")
@click.option("--layer", type=click.Choice(list(LAYERS)), help="A random layer of that size.")
@click.option("-n", "--runs", type=click.IntRange(min=1), help="[default: 5; 1 with --layer]")
@click.option("--record", "target", type=NEW_FILE, help="Write the figures to this new JSON file.")
def main(
    reference: Path | None,
    packages: Path | None,
    model: Path | None,
    layer: str | None,
    runs: int | None,
    target: Path | None,
) -> None:
    """Measure `spectrum scan` against its peers."""
    if model and layer:
        raise click.UsageError("--model and --layer exclude each other")
    if target and target.exists():
        raise click.UsageError(f"{target} exists")
    facts = machine()
    peers = find_peers(reference, packages)
    with tempfile.TemporaryDirectory() as scratch:
        label, folder = find_model(model, layer, scratch)
        bound = memory_bound(folder)
        sides = {OURS: partial(scan_ours, folder)}
        sides |= {peer.name: partial(peer.scan, folder) for peer in peers}
        rounds = take_turns(sides, runs=runs or (1 if layer else 5), warm_up=not layer)
    record = {
        "benchmark": "scan",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": facts,
        "peers": {peer.name: dict(peer.identity) for peer in peers},
        "model": label,
        "memory_bound": bound,
        **make_record(rounds),
    }
    show(record)
    if target:
        target.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
