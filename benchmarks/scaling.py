"""Measure what a matrix costs by its size and by the number of workers, and predict large scans."""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil
from processes import machine
from scaling_models import MODELS, Prediction, machines, predict

from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.checkpoints.weight_files import LocalFile
from spectrum_ft.scanning.estimating.costs import Speeds
from spectrum_ft.scanning.estimating.measuring_speed import (
    SHAPES,
    Shape,
    Timings,
    measure,
    measure_reading,
    speeds_from,
)
from spectrum_ft.spectra.solvers import CpuSolver

NEW_FILE = click.Path(dir_okay=False, path_type=Path)

OTHER_SHAPES: tuple[Shape, ...] = (
    *((768, 768), (576, 1536), (1536, 1536), (3072, 3072), (1536, 7168), (2048, 7168)),
    *((4096, 14336), (1024, 8192), (8192, 8192), (8192, 28672)),
)
"""Shapes that the model was not fitted to: those of SmolLM2, Llama-3 and DeepSeek-V3 among them."""

ONCE_FROM = 8192
"""Matrices of this smaller extent take half a minute and more."""

SPEEDUP_SHAPES: tuple[Shape, ...] = ((512, 512), (1024, 1024), (2048, 2048), (4096, 4096))


def measure_shapes(shapes: Sequence[Shape], workers: int, rounds: int) -> dict[Shape, float]:
    """Processor seconds that a matrix of each shape takes one of `workers`, all being at work.

    The least of several rounds: processor time leaves out other programs, but not what they do to
    caches and memory. The largest are measured once.
    """
    found: dict[Shape, float] = {}
    for turn in range(1, rounds + 1):
        counted = [shape for shape in shapes if turn == 1 or shape[0] < ONCE_FROM]
        click.echo(f"{len(counted)} shapes, {workers} workers, round {turn} of {rounds}", err=True)
        timings = measure(
            CpuSolver(),
            workers,
            counted,
            known={},
            seconds=math.inf,
            memory_bytes=0.75 * psutil.virtual_memory().available,
            clock=time.thread_time,
        )
        found |= {shape: min(took, found.get(shape, took)) for shape, took in timings.items()}
    return found


def fit(timings: Timings, reading: tuple[float, dict[str, float]]) -> Speeds:
    """The model that the forecast of a scan would have, from the shapes that it measures."""
    return speeds_from({shape: timings[shape] for shape in SHAPES if shape in timings}, *reading)


def modelled(shape: Shape, speeds: Speeds) -> tuple[float, float]:
    """Seconds of the Gram matrix and of its eigenvalues."""
    p, q = shape
    return speeds.gram.at(p) * p * p * q, speeds.eigenvalues.at(p) * p**3


def residuals(timings: Timings, speeds: Speeds) -> list[dict[str, Any]]:
    """What was measured, beside what the model says."""
    rows = []
    for (p, q), seconds in sorted(timings.items()):
        gram, eigenvalues = modelled((p, q), speeds)
        rows.append(
            {
                "shape": [p, q],
                "fitted": (p, q) in SHAPES,
                "seconds": seconds,
                "gram_seconds": gram,
                "eigenvalues_seconds": eigenvalues,
                "model_over_measured": (gram + eigenvalues) / seconds,
            }
        )
    return rows


def speedups(counts: Sequence[int], largest: int, rounds: int) -> list[dict[str, Any]]:
    """Matrices a second by number of workers, and what a worker keeps of its speed."""
    shapes = [shape for shape in SPEEDUP_SHAPES if shape[0] <= largest]
    found = {workers: measure_shapes(shapes, workers, rounds) for workers in counts}
    return [
        {
            "workers": workers,
            "shape": list(shape),
            "matrices_per_second": workers / seconds,
            "efficiency": found[1][shape] / seconds,
        }
        for workers, timings in found.items()
        for shape, seconds in timings.items()
    ]


def worker_counts(most: int) -> list[int]:
    """1, 2, 4 ... and `most`."""
    return sorted({*(2**k for k in range(most.bit_length()) if 2**k <= most), most})


def reading_speeds(workers: int) -> tuple[float, dict[str, float]]:
    """Seconds to copy and hash a byte, and to decode a weight of bfloat16."""
    shape = (2048, 2048)
    entry = TensorEntry(
        name="weight",
        shape=shape,
        dtype="bfloat16",
        file=LocalFile(path=Path("model.safetensors")),
        offset=0,
        num_bytes=2 * shape[0] * shape[1],
    )
    byte_seconds, decoding = measure_reading(
        [entry], workers, memory_bytes=2**30, clock=time.thread_time
    )
    # Not measured: a table of 256 values and its scales take about twice a shift.
    return byte_seconds, {**decoding, "F8_E4M3": 2.0 * decoding["bfloat16"]}


def show(record: dict[str, Any]) -> None:
    """Print a record for people."""
    click.echo("\none of all workers at work, seconds a matrix")
    click.echo(f"{'shape':>14}{'measured':>10}{'model':>10}{'Gram':>9}{'eigenv.':>9}{'ratio':>7}")
    for row in record["sizes"]:
        p, q = row["shape"]
        gram, eigenvalues = row["gram_seconds"], row["eigenvalues_seconds"]
        click.echo(
            f"{p:>6} x {q:<5}{row['seconds']:>10.4f}{gram + eigenvalues:>10.4f}"
            f"{gram:>9.4f}{eigenvalues:>9.4f}{row['model_over_measured']:>7.2f}"
            f"{'  fitted' if row['fitted'] else ''}"
        )
    click.echo(f"\n{'workers':>8}{'size':>7}{'matrices/s':>12}{'efficiency':>12}")
    for row in record["workers"]:
        rate, kept = row["matrices_per_second"], row["efficiency"]
        click.echo(f"{row['workers']:>8}{row['shape'][0]:>7}{rate:>12.3g}{kept:>12.2f}")
    click.echo("\npredictions, not measured; see docs/scaling.md for what they assume")
    for row in record["predictions"]:
        click.echo(
            f"{row['model']:24}{row['machine']:>10}{duration(row['seconds']):>12}  "
            f"bound by {row['bound']:10}{row['worker_gib']:>7.1f} GiB the largest,"
            f"{row['total_gib']:>8.0f} GiB in all"
        )
    facts = record["machine"]
    click.echo(f"\n{facts['cpu']}, {facts['cores']} cores, load at start {facts['load_at_start']}")


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.4 h`, `5.1 d`."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2.0 * size:
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds:.2g} s"


@click.command()
@click.option("--largest", type=click.IntRange(min=512), default=8192, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--record", "target", type=NEW_FILE, help="Write the figures to this new JSON file.")
def main(largest: int, rounds: int, target: Path | None) -> None:
    """Measure what a matrix costs by its size and by the number of workers."""
    if target and target.exists():
        raise click.UsageError(f"{target} exists")
    facts = machine()
    workers = CpuSolver().workers
    shapes = sorted(shape for shape in {*SHAPES, *OTHER_SHAPES} if shape[0] <= largest)
    timings = measure_shapes(shapes, workers, rounds)
    speeds = fit(timings, reading_speeds(workers))
    by_workers = speedups(worker_counts(workers), min(largest, 4096), rounds)
    kept = [row["efficiency"] for row in by_workers if row["workers"] == workers]
    efficiency = min(1.0, float(np.median(kept)))
    predictions: list[Prediction] = [
        predict(model, computer) for model in MODELS for computer in machines(speeds, efficiency)
    ]
    record = {
        "benchmark": "scaling",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": facts,
        "rounds": rounds,
        "byte_seconds": speeds.byte_seconds,
        "decode_seconds": dict(speeds.decode_seconds),
        "sizes": residuals(timings, speeds),
        "workers": by_workers,
        "efficiency": efficiency,
        "predictions": [asdict(prediction) for prediction in predictions],
    }
    show(record)
    if target:
        target.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
