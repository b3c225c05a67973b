"""Measure `spectrum scan` on the GPUs here against the CPU: whole processes, within 9 minutes.

The model is made on the spot: layers of Llama-3-8B's size in bfloat16, noise with some directions
above it. A scan takes the same time for each layer, so that the time for the whole model follows
from a scan of one layer and a scan of a few.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from processes import Cost, machine, run_child, run_python, summarize

NEW_FILE = click.Path(dir_okay=False, path_type=Path)
SIZES = {"llama-3-8b": (4096, 1024, 14336), "tiny": (256, 64, 896)}
"""Hidden size, that of keys and values, that of the MLP."""

LAYERS_OF_8B = 32
MATRICES_OF_A_LAYER = 7
SCORES = ("snr", "snr_mp")
TOLERANCE = 1e-4
"""How far a score may be from the CPU's, relatively."""

# Programs of the children. The last line that each prints is JSON.
MAKE_LAYERS = """
import json, os, sys, torch
from safetensors.torch import save_file
folder, layers, hidden, narrow, wide = sys.argv[1], *map(int, sys.argv[2:])
shapes = {
    "self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (narrow, hidden),
    "self_attn.v_proj": (narrow, hidden), "self_attn.o_proj": (hidden, hidden),
    "mlp.gate_proj": (wide, hidden), "mlp.up_proj": (wide, hidden),
    "mlp.down_proj": (hidden, wide),
}
torch.manual_seed(0)
for layer in range(layers):
    tensors = {}
    for kind, (m, n) in shapes.items():
        weight = torch.randn(m, n)
        spikes = torch.linspace(3.0, 1.0, 32) * (m**0.5 + n**0.5)
        left, right = torch.randn(m, 32) / m**0.5, torch.randn(32, n) / n**0.5
        weight.addmm_(left * spikes, right).mul_(0.02)
        tensors[f"model.layers.{layer}.{kind}.weight"] = weight.to(torch.bfloat16)
    save_file(tensors, f"{folder}/layer-{layer}.safetensors")
for name, count in ("one", 1), ("all", layers):
    os.mkdir(f"{folder}/{name}")
    config = {"model_type": "llama", "hidden_size": hidden, "num_hidden_layers": count}
    with open(f"{folder}/{name}/config.json", "w") as file:
        json.dump(config, file)
    places = {}
    for layer in range(count):
        shard = f"model-{layer + 1:05}-of-{count:05}.safetensors"
        os.link(f"{folder}/layer-{layer}.safetensors", f"{folder}/{name}/{shard}")
        places |= {f"model.layers.{layer}.{kind}.weight": shard for kind in shapes}
    with open(f"{folder}/{name}/model.safetensors.index.json", "w") as file:
        json.dump({"weight_map": places}, file)
print(json.dumps(sorted({tuple(sorted(shape)) for shape in shapes.values()})))
"""
GPUS = """
import json
from spectrum_ft.scanning.devices import solvers_for
print(json.dumps([solver.device for solver in solvers_for("auto") if solver.device != "cpu"]))
"""
BY_SHAPE = """
import json, math, sys, time, torch
from spectrum_ft.spectra.torch_solver import TorchSolver
device = torch.device(sys.argv[1])
solver, found = TorchSolver(sys.argv[1]), {}
def seconds(work):
    best = math.inf
    for _ in range(4):
        if device.type == "cuda":
            torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return best
for m, n in json.loads(sys.argv[2]):
    matrix = torch.randn(m, n)
    there = matrix.to(device)
    gram = there @ there.mT
    double = gram.double()
    array = matrix.numpy()
    found[f"{m} x {n}"] = {
        "whole": seconds(lambda: solver.solve([array.copy], "gram32")),
        "copy": seconds(lambda: matrix.to(device)),
        "product": seconds(lambda: there @ there.mT),
        "eigenvalues": seconds(lambda: torch.linalg.eigvalsh(double)),
        "eigenvalues in float32": seconds(lambda: torch.linalg.eigvalsh(gram)),
    }
print(json.dumps(found))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One scan."""

    cost: Cost
    """What it took."""
    report: dict[str, Any]
    """What it found."""
    gpu_mb: float | None
    """Most GPU memory in use at a time beyond what was before, over all GPUs; None without."""


def scan(model: Path, device: str) -> Run:
    """A run of `spectrum scan` on `device` with nothing to reuse; `ClickException` if it fails."""
    spectrum = str(Path(sys.executable).with_name("spectrum"))
    command = [spectrum, "scan", str(model), "--device", device, "--json", "-q"]
    with tempfile.TemporaryDirectory() as empty, gpu_memory() as used:
        cost, output = run_child(command, SPECTRUM_FT_CACHE=empty, **visible(device))
    report = json.loads(output)
    cost = replace(cost, scan_seconds=report["seconds"])
    return Run(cost=cost, report=report, gpu_mb=max(used) - used[0] if used else None)


def visible(device: str) -> dict[str, str]:
    """The environment that shows a child the GPUs that this process may use, unless for the CPU."""
    if device == "cpu":
        return {}
    # CUDA stops at the first that is not there.
    some = ",".join(map(str, range(16)))
    return {"CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", some)}


@contextmanager
def gpu_memory() -> Iterator[list[float]]:
    """A list that holds, at the end, the memory in use on all GPUs over time, in 10^6 bytes."""
    used: list[float] = []
    command = ["nvidia-smi", "--query-gpu=index,memory.used", "--format=csv,noheader,nounits"]
    with tempfile.TemporaryFile("w+") as said:
        try:
            watch = subprocess.Popen([*command, "-lms", "200"], stdout=said, text=True)
        except FileNotFoundError:
            yield used
            return
        try:
            yield used
        finally:
            watch.terminate()
            watch.wait()
            said.seek(0)
            lines = re.findall(r"^(\d+), (\d+)$", said.read(), flags=re.MULTILINE)
    for index, mebibytes in lines:
        if index == lines[0][0]:
            used.append(0.0)
        used[-1] += float(mebibytes) * 2**20 / 1e6


def worst_difference(ours: Run, other: Run) -> float:
    """The largest relative difference of a score; `ClickException` if a matrix lacks one."""
    sides = [{m["name"]: m["scores"] for m in run.report["matrices"]} for run in (ours, other)]
    if sides[0].keys() != sides[1].keys():
        raise click.ClickException(f"other matrices: {sorted(sides[0].keys() ^ sides[1].keys())}")
    worst = 0.0
    for name, scores in sides[0].items():
        for score in SCORES:
            one, two = scores[score], sides[1][name][score]
            if not one or not two:
                raise click.ClickException(f"{name}: {score} {one} against {two}")
            worst = max(worst, abs(one - two) / abs(two))
    return worst


def measure(folder: Path, device: str, *, layers: int, runs: int) -> dict[str, Any]:
    """What scans on `device` and on the CPU take, and how far their scores are apart."""
    one, several = folder / "one", folder / "all"
    on_cpu = scan(one, "cpu")
    click.echo(f"cpu, 1 layer: {on_cpu.cost.wall_seconds:.1f} s", err=True)
    of_one: list[Run] = []
    of_all: list[Run] = []
    for turn in range(runs + 1):  # the first warms the libraries' files
        pair = scan(one, device), scan(several, device)
        walls = " and ".join(f"{run.cost.wall_seconds:.1f} s" for run in pair)
        label = f"run {turn}" if turn else "warm-up"
        click.echo(f"{label}: {device}, 1 and {layers} layers: {walls}", err=True)
        if turn:
            of_one.append(pair[0])
            of_all.append(pair[1])
    gpu_mb = [run.gpu_mb for run in of_all if run.gpu_mb is not None]
    return {
        "cpu": {"one_layer": figures([on_cpu])},
        "device": {"one_layer": figures(of_one), "all_layers": figures(of_all)},
        "gpu_peak_mb": max(gpu_mb) if gpu_mb else None,
        "fallbacks": sum("fallback" in m["flags"] for m in of_all[-1].report["matrices"]),
        "worst_difference": max(worst_difference(run, on_cpu) for run in of_one),
    }


def figures(runs: list[Run]) -> dict[str, dict[str, float]]:
    """Median and range of what some runs took."""
    rows = ("wall_seconds", "cpu_seconds", "scan_seconds", "peak_mb")
    return {row: summarize([getattr(run.cost, row) for run in runs]) for row in rows}


def conclude(found: dict[str, Any], layers: int) -> dict[str, float] | None:
    """Rates and what a model of 32 such layers would take.

    On the device a layer takes what `layers` of them take more than one does, so that loading the
    libraries does not count as work on a layer; None if that is too little to tell.
    """
    device, cpu = found["device"], found["cpu"]["one_layer"]
    first = device["one_layer"]["wall_seconds"]["median"]
    layer = (device["all_layers"]["wall_seconds"]["median"] - first) / (layers - 1)
    if layer <= 0.0:
        return None
    cpu_layer = cpu["scan_seconds"]["median"]
    cpu_start = cpu["wall_seconds"]["median"] - cpu_layer
    return {
        "matrices_per_second": MATRICES_OF_A_LAYER / layer,
        "cpu_matrices_per_second": MATRICES_OF_A_LAYER / cpu_layer,
        "times_the_cpu": cpu_layer / layer,
        "model_seconds": first + (LAYERS_OF_8B - 1) * layer,
        "cpu_model_seconds": cpu_start + LAYERS_OF_8B * cpu_layer,
    }


def show(record: dict[str, Any]) -> None:
    """Print a record for people."""
    concluded, device = record["concluded"], record["device"]
    click.echo(f"\n{record['size']}: {record['layers']} layers of {MATRICES_OF_A_LAYER} matrices")
    if not record["measured_gpu"]:
        click.echo("NO GPU WAS MEASURED: none can be used here, so both sides ran on the CPU.")
    click.echo(f"{'':34}{record['measured']:>28}{'cpu':>12}")
    one, several, cpu = device["one_layer"], device["all_layers"], record["cpu"]["one_layer"]
    for row, label in (("wall_seconds", "whole process, s"), ("peak_mb", "host memory, MB")):
        for layers, side, other in ((1, one, cpu), (record["layers"], several, None)):
            beside = f"{other[row]['median']:12.1f}" if other else f"{'':>12}"
            click.echo(f"{f'{label}, layers: {layers}':34}{side[row]['median']:28.1f}{beside}")
    if concluded is None:
        click.echo("too short to tell what a layer takes: pass more --layers")
    else:
        click.echo(
            f"{'matrices/s':34}{concluded['matrices_per_second']:28.3g}"
            f"{concluded['cpu_matrices_per_second']:12.3g}   {concluded['times_the_cpu']:.1f} times"
        )
        label = f"{LAYERS_OF_8B * MATRICES_OF_A_LAYER} matrices, s (predicted)"
        seconds = concluded["model_seconds"], concluded["cpu_model_seconds"]
        click.echo(f"{label:34}{seconds[0]:28.1f}{seconds[1]:12.0f}")
    if record["gpu_peak_mb"] is not None:
        click.echo(f"{'peak GPU memory, MB':34}{record['gpu_peak_mb']:28.0f}")
    if record["fallbacks"]:
        click.echo(f"{record['fallbacks']} matrices found no room on the GPU and ran on the CPU")
    click.echo(
        f"worst relative difference of {' and '.join(SCORES)}: {record['worst_difference']:.1e} "
        f"(allowed {TOLERANCE:.0e})"
    )
    for shape, parts in record["by_shape"].items():
        told = ", ".join(f"{part} {1e3 * seconds:.1f}" for part, seconds in parts.items())
        click.echo(f"{shape:>14}, ms: {told}")
    facts = record["machine"]
    click.echo(f"{facts['cpu']}, {facts['cores']} cores, load at start {facts['load_at_start']}")
    click.echo(", ".join(f"{name} {number}" for name, number in facts["versions"].items()))


@click.command()
@click.option(
    "--size", type=click.Choice(list(SIZES)), default="llama-3-8b", show_default=True,
    help="The size of a layer; `tiny` is for trying this out.",
)  # fmt: skip
@click.option(
    "--layers", type=click.IntRange(min=2), default=7, show_default=True,
    help="How many to make; one takes 436 MB at full size.",
)  # fmt: skip
@click.option("-n", "--runs", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--record", "target", type=NEW_FILE, help="Write the figures to this new JSON file.")
def main(size: str, layers: int, runs: int, target: Path | None) -> None:
    """Measure `spectrum scan` on the GPUs here against the CPU."""
    if target and target.exists():
        raise click.UsageError(f"{target} exists")
    facts, gpus = machine(), run_python(GPUS, **visible("cuda"))[1]
    if not gpus and size != "tiny":
        raise click.UsageError("no GPU can be used here; --size tiny tries this out on the CPU")
    device = "cuda" if gpus else "cpu"
    with tempfile.TemporaryDirectory() as scratch:
        numbers = (str(number) for number in (layers, *SIZES[size]))
        shapes = run_python(MAKE_LAYERS, scratch, *numbers)[1]
        found = measure(Path(scratch), device, layers=layers, runs=runs)
    first = "cuda:0" if gpus else "cpu"
    by_shape = run_python(BY_SHAPE, first, json.dumps(shapes), **visible(device))[1]
    record = {
        "benchmark": "scan_gpu",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": facts,
        "measured_gpu": bool(gpus),
        "measured": f"{len(gpus)} x {gpus[0]}" if gpus else "cpu",
        "size": size,
        "layers": layers,
        "runs": runs,
        **found,
        "concluded": conclude(found, layers),
        "by_shape": by_shape,
    }
    show(record)
    if target:
        target.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    if record["worst_difference"] > TOLERANCE:
        raise click.ClickException("the scores differ by more than allowed")


if __name__ == "__main__":
    main()
