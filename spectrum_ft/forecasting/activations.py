"""What a block keeps for its backward pass, as autograd keeps it in transformers' models.

Letters: N tokens (batch x length), T tokens in a row, h the hidden state's extent, i an MLP's inner
extent, q, k, v the extents of queries, keys and values (heads x head size), r an adapter's rank,
c the bytes of a number in matrix products: 4, or 2 for bfloat16.

A tensor is kept where a product's other factor needs a gradient, so what a block keeps depends on
what in it trains, and on whether anything below does (`flows`). Below the lowest trained matrix
nothing is kept. The formulas were read off autograd's saved tensors, and a test compares them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from spectrum_ft.forecasting.architecture import Block, Matrix, Mlp
from spectrum_ft.forecasting.keeping import FLOAT32
from spectrum_ft.records.plans import LoraSettings

_HEAD_SIZE = 64
"""Entries of an attention head, at the least: only the softmax's sums, 4 bytes a head, need it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One forward pass: what goes through the model, in which numbers, and what trains."""

    tokens: int
    """N."""
    length: int
    """T."""
    compute_bytes: int
    """c."""
    autocast: bool
    """Whether products are computed in c bytes although some weights are float32."""
    rounds_trained: bool
    """Whether the weights that train in full are among those: each pass needs rounded copies."""
    wide_stream: bool
    """Whether the residual stream is float32 beside them, as embeddings that train make it."""
    padded: bool
    """Whether rows are filled up, so that the attention has a mask and keeps repeated heads."""
    on_gpu: bool
    """Whether it runs on a GPU, where dropout keeps its mask in one byte instead of four."""
    train: frozenset[str]
    """Tensors that train in full."""
    adapted: frozenset[str]
    """Matrices that carry an adapter."""
    lora: LoraSettings | None
    """The adapters."""


def kept_by_block(block: Block, flows: bool, run: Pass, hidden: int) -> tuple[int, bool]:
    """The bytes that `block` keeps, and whether its output needs a gradient.

    `flows` says whether its input does.
    """
    into = [m for m in block.attention if m.flow == "attention_in"]
    out = [m for m in block.attention if m.flow == "attention_out"]
    first, after_attention, last = _norm_places(block.norms)
    kept, normed = _norms(first, flows, run, hidden)
    kept += _inputs(into, hidden, normed, _norm_is_wide(first, run), run)
    attends = normed or _any_moves(into, run)
    if attends:
        kept += _attention(into, out, block, run)
    elif out and _any_trains(out, run):
        kept += run.tokens * run.compute_bytes * out[0].inner  # else shared with the attention's
    for matrix in out:
        shared = attends and _adapters_share(run)
        kept += _adapter(matrix, 0 if shared else matrix.inner, attends, run)
        kept += _rounded_copy(matrix, attends, run)
    flows = flows or attends or _any_moves(out, run)
    more, normed = _norms(after_attention, flows, run, hidden)
    kept += more
    for mlp in block.mlps:
        more, moves = _mlp(mlp, normed, _norm_is_wide(after_attention, run), run, hidden)
        kept += more
        flows = flows or moves
    more, flows = _norms(last, flows, run, hidden)
    return kept + more, flows


def work_of_block(block: Block, run: Pass, hidden: int) -> int:
    """What a block needs for a moment: three tensors (N, i) in c bytes and three (N, h) in float32.

    Those are the gradients of an MLP's two factors and of their product, and a norm's.
    """
    widest = max(
        (mlp.tokens * max(m.inner for m in mlp.matrices) for mlp in block.mlps), default=hidden
    )
    return run.tokens * 3 * (run.compute_bytes * widest + FLOAT32 * hidden)


Names = Sequence[str]


def _norm_places(names: Names) -> tuple[Names, Names, Names]:
    """Norms before the attention, between it and the MLP, and after: 1 + 1 (Llama), 1 + 2 + 1."""
    return (names[:1], names[1:3], names[3:]) if len(names) >= 4 else (names[:1], names[1:], ())


def _norms(names: Names, flows: bool, run: Pass, hidden: int) -> tuple[int, bool]:
    """RMS norms keep their input (N, h) and a root (N, 1) in float32.

    A trained one keeps its result as well, in the type of the stream.
    """
    kept, stream_bytes = 0, FLOAT32 if run.wide_stream else run.compute_bytes
    for name in names:
        trains = name in run.train
        kept += run.tokens * (flows * FLOAT32 * (hidden + 1) + trains * stream_bytes * hidden)
        flows = flows or trains
    return kept, flows


def _norm_is_wide(names: Names, run: Pass) -> bool:
    """Whether a norm's result is float32 beside c bytes: each product then has its own copy."""
    return run.rounds_trained and (run.wide_stream or not run.train.isdisjoint(names))


def _attention(into: Sequence[Matrix], out: Sequence[Matrix], block: Block, run: Pass) -> int:
    """Queries, keys, values and the result, all in c bytes; no T x T scores (flash attention).

    With a mask each head has its own keys and values, and each block its copy of the mask as
    numbers, (N / T, 1, T, T).
    """
    width = out[0].inner if out else max((m.inner for m in into), default=0)  # q
    entered = 3 * width if run.padded else sum(m.inner for m in into)
    kept = run.tokens * run.compute_bytes * (entered + width)
    kept += run.tokens * FLOAT32 * max(1, width // _HEAD_SIZE)  # the softmax's sums
    if run.padded:
        kept += run.tokens * run.compute_bytes * run.length
    if block.head_norms:  # norms of queries and keys, like those of the hidden state
        trains = not run.train.isdisjoint(block.head_norms)
        number_bytes = FLOAT32 + trains * run.compute_bytes
        kept += run.tokens * number_bytes * sum(m.inner for m in into[:2])
    return kept


def _mlp(mlp: Mlp, flows: bool, wide: bool, run: Pass, hidden: int) -> tuple[int, bool]:
    """down(act(gate) * up), or down(act(up)): kept are the two factors and act's input."""
    # Experts' products are no part of autocast: they run in the type of the weights.
    unrounded = mlp.routed and run.rounds_trained and _any_trains(mlp.matrices, run)
    each = mlp.tokens * run.tokens * (FLOAT32 if unrounded else run.compute_bytes)
    by_flow = {m.flow: m for m in mlp.matrices}
    entering = [m for m in mlp.matrices if m.flow != "down"]
    if mlp.routed:
        kept = _any_trains(entering, run) * each * hidden
    else:
        kept = _inputs(entering, hidden, flows, wide, run)
    gate, up = by_flow.get("gate"), by_flow.get("up")
    moves = flows or _any_moves(entering, run)
    inner = 0
    if both := by_flow.get("gate_up"):
        inner = both.inner // 2
        kept += moves * each * 3 * inner  # (N, 2i), and act(gate) (N, i)
    elif gate and up:
        inner = up.inner
        gate_moves, up_moves = flows or _moves(gate, run), flows or _moves(up, run)
        kept += each * inner * (2 * gate_moves + up_moves)  # gate and up; act(gate)
    elif entering:
        inner = entering[0].inner
        kept += moves * each * sum(m.inner * m.steps for m in entering)
    if down := by_flow.get("down"):
        kept += _trains(down, run) * each * inner  # the product, or act(up)
        kept += _adapter(down, inner, moves, run)
        kept += 0 if mlp.routed else _rounded_copy(down, moves, run)
        moves = moves or _moves(down, run)
    if mlp.routed and moves:
        kept += each * hidden  # each expert's output, for the router's weights
    return kept, moves


def _inputs(matrices: Sequence[Matrix], width: int, flows: bool, wide: bool, run: Pass) -> int:
    """What matrices that share an input keep of it: once if any trains, and once an adapter.

    `flows` says whether the input needs a gradient, `wide` whether it has to be rounded for each.
    """
    times = sum(_trains(m, run) for m in matrices)
    shared = _adapters_share(run) and any(_is_adapted(m, run) for m in matrices)
    copies = times if wide else min(times + shared, 1)
    kept = copies * run.tokens * run.compute_bytes * width
    for matrix in matrices:
        kept += _rounded_copy(matrix, flows, run)
        kept += _adapter(matrix, 0 if shared else width, flows, run)
    return kept


def _adapters_share(run: Pass) -> bool:
    """Whether adapters keep the very input of their matrix: no dropout and no rounding between."""
    return run.lora is not None and not run.lora.dropout and not run.autocast


def _adapter(matrix: Matrix, width: int, flows: bool, run: Pass) -> int:
    """An adapter's input (N, width) after dropout, the dropout's mask, and its r-wide middle."""
    if not _is_adapted(matrix, run):
        return 0
    assert run.lora is not None
    mask = (1 if run.on_gpu else FLOAT32) if run.lora.dropout and flows else 0
    numbers = run.compute_bytes * (width + run.lora.r) + mask * width
    copies = run.autocast * run.compute_bytes * run.lora.r * (width + matrix.inner)
    return run.tokens * numbers + copies


def _rounded_copy(matrix: Matrix, flows: bool, run: Pass) -> int:
    """A float32 matrix that trains beside a 16-bit base is multiplied as a copy in c bytes.

    It is kept for its input's gradient only.
    """
    return run.rounds_trained * flows * _trains(matrix, run) * run.compute_bytes * matrix.size


def _trains(matrix: Matrix, run: Pass) -> bool:
    return not run.train.isdisjoint(matrix.names)


def _is_adapted(matrix: Matrix, run: Pass) -> bool:
    return not run.adapted.isdisjoint(matrix.names)


def _moves(matrix: Matrix, run: Pass) -> bool:
    return _trains(matrix, run) or _is_adapted(matrix, run)


def _any_trains(matrices: Sequence[Matrix], run: Pass) -> bool:
    return any(_trains(matrix, run) for matrix in matrices)


def _any_moves(matrices: Sequence[Matrix], run: Pass) -> bool:
    return any(_moves(matrix, run) for matrix in matrices)
