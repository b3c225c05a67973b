"""Scan reports made by hand: scores chosen, shapes real, nothing computed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from spectrum_ft.checkpoints.naming import place_tensors
from spectrum_ft.records.scans import Flag, ModelInfo, ScannedMatrix, ScanReport, SkippedTensor


def matrix(
    name: str,
    snr: float | None,
    *,
    shape: tuple[int, int] = (64, 64),
    flags: Sequence[Flag] = (),
    others: Mapping[str, float | None] | None = None,
) -> ScannedMatrix:
    """A scored matrix without a spectrum; kind and layer are filled in by `scan_of`."""
    return ScannedMatrix(
        name=name,
        kind="",
        layer=None,
        expert=None,
        shape=shape,
        dtype="float32",
        scores={"snr": snr, **(others or {})},
        spectrum=None,
        edge=None,
        signal_rank=None,
        digest="0" * 64,
        flags=tuple(flags),
    )


def scan_of(
    matrices: Sequence[ScannedMatrix], vectors: Sequence[str] = (), others: Sequence[str] = ()
) -> ScanReport:
    """A report of these matrices, with skipped vectors of 64 and skipped 1000 x 64 matrices."""
    places = place_tensors([*(m.name for m in matrices), *vectors, *others])
    placed = [
        replace(m, kind=place.kind, layer=place.layer, expert=place.expert)
        for m in matrices
        for place in [places[m.name]]
    ]
    skipped = [SkippedTensor(name=name, shape=(64,), reason="vector") for name in vectors]
    skipped += [
        SkippedTensor(name=name, shape=(1000, 64), reason="outside the blocks") for name in others
    ]
    layers = len({place.layer for place in places.values()} - {None})
    return ScanReport(
        model=ModelInfo(
            source="made", revision=None, fingerprint="f" * 64, parameters=1, layers=layers
        ),
        score="snr",
        matrices=tuple(placed),
        skipped=tuple(skipped),
        environment=None,
        seconds=1.0,
        command="",
    )


def one_kind(scores: Sequence[float | None], kind: str = "mlp.up_proj") -> list[ScannedMatrix]:
    """One matrix a layer, with these scores."""
    return [matrix(f"model.layers.{i}.{kind}.weight", score) for i, score in enumerate(scores)]
