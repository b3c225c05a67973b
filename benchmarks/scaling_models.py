"""Matrices of large models, and machines that nobody measured: what scans of them would take."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from spectrum_ft.checkpoints.tensors import TensorEntry
from spectrum_ft.checkpoints.weight_files import LocalFile
from spectrum_ft.scanning.estimating.costs import KEEPING_SECONDS, Cost, Curve, Speeds
from spectrum_ft.scanning.estimating.schedules import Task, makespan
from spectrum_ft.scanning.needs import bytes_needed
from spectrum_ft.spectra.solvers import METHODS

Shapes = Mapping[tuple[int, int], int]
"""How many matrices of each shape a model has in its blocks."""

MODELS: dict[str, tuple[Shapes, str]] = {}
"""Each model's matrices, and how they are stored."""


def _llama(layers: int, hidden: int, inner: int, kv: int = 1024) -> Shapes:
    return {
        (hidden, hidden): 2 * layers,
        (kv, hidden): 2 * layers,
        (inner, hidden): 2 * layers,
        (hidden, inner): layers,
    }


def _deepseek_v3() -> Shapes:
    """61 blocks with latent attention, 3 of them dense, 58 with 256 experts and one for all."""
    blocks, dense, hidden = 61, 3, 7168
    mixed = blocks - dense
    return {
        (1536, hidden): blocks,
        (24576, 1536): blocks,
        (576, hidden): blocks,
        (32768, 512): blocks,
        (hidden, 16384): blocks,
        (18432, hidden): 2 * dense,
        (hidden, 18432): dense,
        (256, hidden): mixed,
        (2048, hidden): 2 * 257 * mixed,
        (hidden, 2048): 257 * mixed,
    }


MODELS["8B (Llama-3-8B)"] = (_llama(32, 4096, 14336), "bfloat16")
MODELS["70B (Llama-3-70B)"] = (_llama(80, 8192, 28672), "bfloat16")
MODELS["405B (Llama-3.1-405B)"] = (_llama(126, 16384, 53248), "bfloat16")
MODELS["671B MoE (DeepSeek-V3)"] = (_deepseek_v3(), "F8_E4M3")

_BYTES = {"bfloat16": 2, "F8_E4M3": 1}

H100_GRAM_SECONDS = 2.0 / 40e12
"""An operation of p^2 q: a whole product, 2 p^2 q, at 40 of the 67 TFLOP/s of float32, no TF32."""

H100_EIGENVALUES_SECONDS = 4e-12
"""An operation of p^3: 0.27 s at 4096, as cuSOLVER's syevd without vectors might take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine, or several, that a scan is predicted for."""

    name: str
    """What it is."""
    workers: int
    """Matrices at a time."""
    speeds: Speeds
    """How fast each worker is."""
    gigabytes_per_second: float
    """How fast the weights come, for all workers together."""
    reads_beside: bool = False
    """Whether reading does not keep those waiting who compute."""


def machines(measured: Speeds, efficiency: float) -> Iterator[Machine]:
    """The machines of the predictions, from the `measured` speed of one of two workers here.

    `efficiency` is what a worker keeps of its speed where there are twice as many.
    """
    many = _slowed(measured, efficiency)
    yield Machine(name="2 cores", workers=2, speeds=measured, gigabytes_per_second=2.0)
    yield Machine(name="64 cores", workers=64, speeds=many, gigabytes_per_second=5.0)
    yield Machine(
        name="one H100",
        workers=1,
        speeds=replace(
            measured,
            gram=Curve(assumed=((1, H100_GRAM_SECONDS),)),
            eigenvalues=Curve(assumed=((1, H100_EIGENVALUES_SECONDS),)),
        ),
        gigabytes_per_second=5.0,
        reads_beside=True,
    )
    yield Machine(name="16 nodes", workers=16 * 64, speeds=many, gigabytes_per_second=10.0)


def _slowed(speeds: Speeds, efficiency: float) -> Speeds:
    def slowed(curve: Curve) -> Curve:
        return replace(curve, measured={p: s / efficiency for p, s in curve.measured.items()})

    return replace(speeds, gram=slowed(speeds.gram), eigenvalues=slowed(speeds.eigenvalues))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the scan of a model on a machine would take; computed, not measured."""

    model: str
    """The model."""
    machine: str
    """The machine."""
    seconds: float
    """How long."""
    bound: str
    """What decides it: `computing` or `reading`."""
    worker_gib: float
    """The memory that the largest matrix takes."""
    total_gib: float
    """The memory that all workers take together, with the largest matrices at work."""


def predict(model: str, machine: Machine) -> Prediction:
    """The prediction for `model` on `machine`, with memory for all workers."""
    shapes, dtype = MODELS[model]
    entries = [(_entry(shape, dtype), count) for shape, count in shapes.items()]
    entries.sort(key=lambda item: -item[0].num_params)
    costs: list[tuple[Cost, int]] = [(machine.speeds.cost(e), count) for e, count in entries]
    tasks = (
        Task(cost.computing if machine.reads_beside else cost.total, 0)
        for cost, count in costs
        for _ in range(count)
    )
    computing = max(
        makespan(tasks, workers=machine.workers, memory_bytes=float("inf")),
        KEEPING_SECONDS * sum(shapes.values()),
    )
    stored = sum(entry.stored_bytes * count for entry, count in entries)
    reading = stored / (1e9 * machine.gigabytes_per_second)
    needs = sorted(
        (bytes_needed(e, METHODS[0]) for e, count in entries for _ in range(count)), reverse=True
    )
    return Prediction(
        model=model,
        machine=machine.name,
        seconds=max(computing, reading),
        bound="computing" if computing >= reading else "reading",
        worker_gib=needs[0] / 2**30,
        total_gib=sum(needs[: machine.workers]) / 2**30,
    )


def _entry(shape: tuple[int, int], dtype: str) -> TensorEntry:
    return TensorEntry(
        name="weight",
        shape=shape,
        dtype=dtype,
        file=LocalFile(path=Path("model.safetensors")),
        offset=0,
        num_bytes=shape[0] * shape[1] * _BYTES[dtype],
    )
