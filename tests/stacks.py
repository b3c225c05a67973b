"""Scan reports of models that store all experts of a block in one tensor, made by hand."""

from collections.abc import Sequence
from dataclasses import replace

from scans import matrix, scan_of
from spectrum_ft.records.scans import Flag, ScannedMatrix, ScanReport, SkippedTensor


def stack(
    name: str,
    scores: Sequence[float | None],
    *,
    extents: tuple[int, int] = (64, 64),
    flags: Sequence[Flag] = (),
) -> list[ScannedMatrix]:
    """A scored slice for each score, of a tensor of that many experts."""
    shape = (len(scores), *extents)
    return [
        replace(matrix(name, score, flags=flags), shape=shape, expert=expert)
        for expert, score in enumerate(scores)
    ]


def report_of(
    matrices: Sequence[ScannedMatrix],
    *,
    skipped: Sequence[SkippedTensor] = (),
    others: Sequence[str] = (),
) -> ScanReport:
    """`scan_of` where slices keep their experts, with `skipped` tensors besides `others`."""
    report = scan_of(matrices, others=[*others, *(tensor.name for tensor in skipped)])
    kept = zip(report.matrices, matrices, strict=True)
    own = {tensor.name for tensor in skipped}
    return replace(
        report,
        matrices=tuple(
            replace(placed, expert=given.expert) if len(given.shape) > 2 else placed
            for placed, given in kept
        ),
        skipped=(*(tensor for tensor in report.skipped if tensor.name not in own), *skipped),
    )


def stacked_mixture(layers: int = 4, experts: int = 4) -> ScanReport:
    """Blocks as gpt-oss stores them: attention, router, and two stacks with their biases.

    The two stacks rank opposite ways: by mean, `gate_up_proj` rises with the layer, `down_proj`
    falls.
    """
    matrices: list[ScannedMatrix] = []
    biases: list[SkippedTensor] = []
    for layer in range(layers):
        stem = f"model.layers.{layer}"
        rising = [layer + 0.25 * expert for expert in range(experts)]
        matrices += [
            matrix(f"{stem}.self_attn.q_proj.weight", float(layer)),
            *stack(f"{stem}.mlp.experts.down_proj", [-s for s in rising], extents=(96, 64)),
            *stack(f"{stem}.mlp.experts.gate_up_proj", rising, extents=(64, 192)),
            matrix(f"{stem}.mlp.router.weight", 1.0, shape=(experts, 64), flags=["thin"]),
        ]
        biases.append(
            SkippedTensor(
                name=f"{stem}.mlp.experts.down_proj_bias",
                shape=(experts, 64),
                reason="outside the blocks (bias)",
            )
        )
    return report_of(matrices, skipped=biases, others=["model.embed_tokens.weight"])
