"""Records of scans as large as models get, with spectra as weights have them: noise and a tail."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from spectrum_ft.checkpoints.naming import place_tensors
from spectrum_ft.environment import current_environment
from spectrum_ft.records.scans import ModelInfo, ScannedMatrix, ScanReport, SkippedTensor
from spectrum_ft.spectra.measuring import Measurement, measure
from spectrum_ft.spectra.solvers import METHODS, Values

DRAWN = 300
"""Spectra drawn for each shape; a matrix has one of them, at a scale of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The shape of a model."""

    source: str
    """What the record says was scanned."""
    layers: int
    """Blocks."""
    kinds: Mapping[str, tuple[int, int]]
    """Rows and columns of each kind of matrix in a block."""
    experts: int = 0
    """Experts in each block; a kind with `{}` in it has a matrix for each."""
    vocabulary: tuple[int, int] = (128_256, 8_192)
    """Rows and columns of the embeddings."""


SIZES = {
    "70B": Size(
        source="made/llama-70b",
        layers=80,
        kinds={
            "self_attn.q_proj": (8192, 8192),
            "self_attn.k_proj": (1024, 8192),
            "self_attn.v_proj": (1024, 8192),
            "self_attn.o_proj": (8192, 8192),
            "mlp.gate_proj": (28672, 8192),
            "mlp.up_proj": (28672, 8192),
            "mlp.down_proj": (8192, 28672),
        },
    ),
    "mixture": Size(
        source="made/deepseek-v2",
        layers=60,
        experts=160,
        kinds={
            "mlp.experts.{}.gate_proj": (1536, 5120),
            "mlp.experts.{}.up_proj": (1536, 5120),
            "mlp.experts.{}.down_proj": (5120, 1536),
        },
        vocabulary=(102_400, 5_120),
    ),
}
"""560 matrices of a dense model, 28,800 of a mixture of experts."""


def large_scan(size: Size, seed: int = 0) -> ScanReport:
    """The record of a scan of a model of this size; nothing is computed from weights."""
    chance = np.random.default_rng(seed)
    drawn = {
        shape: [_measured(chance, shape) for _ in range(DRAWN)]
        for shape in dict.fromkeys(size.kinds.values())
    }
    shapes = dict(_tensors(size))
    places = place_tensors([*shapes, "model.embed_tokens.weight"])
    matrices: list[ScannedMatrix] = []
    for name, shape in shapes.items():
        found = drawn[shape][int(chance.integers(DRAWN))]
        place = places[name]
        depth = (place.layer or 0) / size.layers
        matrices.append(
            _scaled(
                ScannedMatrix(
                    name=name,
                    kind=place.kind,
                    layer=place.layer,
                    expert=place.expert,
                    shape=shape,
                    dtype="bfloat16",
                    scores=found.scores,
                    spectrum=found.summary,
                    edge=found.edge,
                    signal_rank=found.signal_rank,
                    digest=f"{len(matrices):064x}",
                    flags=found.flags,
                ),
                float(np.exp(0.6 * depth + chance.normal(0.0, 0.2))),
            )
        )
    weights = sum(rows * columns for rows, columns in shapes.values())
    return ScanReport(
        model=ModelInfo(
            source=size.source,
            revision=None,
            fingerprint="f" * 64,
            parameters=weights + size.vocabulary[0] * size.vocabulary[1],
            layers=size.layers,
        ),
        score="snr",
        matrices=tuple(matrices),
        skipped=tuple(_skipped(size)),
        environment=current_environment("cpu"),
        seconds=7_800.0,
        command=f"spectrum scan {size.source} -o scan.json",
    )


def _tensors(size: Size) -> Iterator[tuple[str, tuple[int, int]]]:
    for layer in range(size.layers):
        for kind, shape in size.kinds.items():
            for expert in range(size.experts) if "{}" in kind else (0,):
                yield f"model.layers.{layer}.{kind.format(expert)}.weight", shape


def _skipped(size: Size) -> Iterator[SkippedTensor]:
    yield SkippedTensor(
        name="model.embed_tokens.weight",
        shape=size.vocabulary,
        reason="outside the blocks (embedding)",
    )
    for layer in range(size.layers):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield SkippedTensor(
                name=f"model.layers.{layer}.{norm}.weight",
                shape=(size.vocabulary[1],),
                reason="vector",
            )


def _measured(chance: np.random.Generator, shape: tuple[int, int]) -> Measurement:
    """What a matrix of this shape might show: a broad bulk, as trained weights have, and a tail."""
    count = min(shape)
    # The law of Marchenko and Pastur for a square matrix, whose density of values is a half circle.
    grid = np.linspace(0.0, 2.0, 20_001)[1:-1]
    density = np.sqrt(4.0 - grid**2)
    places = np.cumsum(density) / density.sum()
    values: Values = 0.02 * max(shape) ** 0.5 * np.interp(chance.uniform(size=count), places, grid)
    tail = chance.choice(count, int(count * chance.uniform(0.02, 0.2)), replace=False)
    values[tail] *= 1.5 + chance.pareto(2.5, len(tail))
    return measure(np.sort(values)[::-1].astype(np.float64), shape, METHODS[0])


def _scaled(matrix: ScannedMatrix, factor: float) -> ScannedMatrix:
    """What `matrix` would show if its weights were `factor` times what they are."""
    summary = matrix.spectrum
    assert summary is not None
    assert matrix.edge is not None
    assert matrix.scores["snr"] is not None
    # The published score divides by the largest singular value; the others are free of scale.
    scores = matrix.scores | {"snr": matrix.scores["snr"] / factor}
    moved = {
        name: factor * getattr(summary, name)
        for name in ("max", "min", "q25", "median", "q75", "sum", "error")
    }
    return replace(
        matrix,
        scores=scores,
        spectrum=replace(summary, **moved),
        edge=factor * matrix.edge,
    )
