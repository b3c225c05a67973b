"""A model's architecture, as far as memory depends on it, from names and shapes alone.

The hidden state has h entries a token. A matrix of a block reads it or writes it; the other extent
is the matrix's own, its `inner`. In that way it does not matter which way round it is stored.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from spectrum_ft.checkpoints.naming import Place
from spectrum_ft.errors import PlanError

Flow = Literal["attention_in", "attention_out", "gate", "up", "gate_up", "down"]
"""Where a matrix stands in its block. `gate_up`: gate and up in one."""

Shapes = Mapping[str, Sequence[int]]

_FLOWS: Mapping[str, Flow] = {
    **dict.fromkeys(("gate_proj", "w1", "ffn_gate", "ffn_gate_exps", "ffn_gate_shexp"), "gate"),
    **dict.fromkeys(("up_proj", "w3", "ffn_up", "ffn_up_exps", "ffn_up_shexp"), "up"),
    **dict.fromkeys(("gate_up_proj", "input_linear"), "gate_up"),  # `input_linear`: Granite
    **dict.fromkeys(("down_proj", "w2", "output_linear"), "down"),
    **dict.fromkeys(("ffn_down", "ffn_down_exps", "ffn_down_shexp"), "down"),
}
"""The words of gated MLPs, whose parts no shape tells apart."""

_ATTENTION = re.compile(r"attn|attention")
_WRITES = frozenset(
    {"o_proj", "out_proj", "attn_output", "attn_out", "c_proj", "dense", "proj", "wo"}
)
"""What the matrix that leaves an attention is called, where it is as wide as it is long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """One matrix of a block, or all its experts' matrices of one kind."""

    names: tuple[str, ...]
    """Its tensors."""
    flow: Flow
    """Where it stands in its block."""
    inner: int
    """The extent that is not the hidden state's; for `gate_up` that of both together."""
    size: int
    """Its weights, all experts' together."""
    steps: int = 1
    """How many results of the activation after it are kept; GPT-2 spells its own out in five."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mlp:
    """A feed-forward part: the MLP of a block, its experts, or the experts that all tokens take."""

    matrices: tuple[Matrix, ...]
    """Its matrices."""
    tokens: int
    """How many times each token passes: 1, or the number of experts it is sent to."""
    routed: bool
    """Whether a router sends each token to some of many experts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block, in the order of the computation."""

    attention: tuple[Matrix, ...]
    """The matrices into and out of the attention."""
    mlps: tuple[Mlp, ...]
    """The feed-forward parts."""
    norms: tuple[str, ...]
    """Norms of the hidden state, in order."""
    head_norms: tuple[str, ...]
    """Norms of queries and keys."""
    tensors: frozenset[str]
    """Every tensor of the block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """What a forecast needs to know about a model."""

    hidden: int
    """Entries of the hidden state, h."""
    vocabulary: int
    """Rows of the head, or of the embeddings where it is tied to them."""
    tied: bool
    """Whether the head shares its weights with the embeddings."""
    blocks: tuple[Block, ...]
    """The blocks, in the order in which a token passes through them."""
    before: frozenset[str]
    """Tensors outside the blocks, below them: embeddings and whatever has no known place."""
    final_norms: frozenset[str]
    """Norms outside the blocks."""


def architecture_of(shapes: Shapes, places: Mapping[str, Place]) -> Architecture:
    """The architecture that these tensors make up; `PlanError` where there are no blocks.

    What shapes do not tell is assumed: a token is sent to 2 of up to 8 experts (Mixtral), to 8 of
    more (Qwen-MoE, DeepSeek-V3).
    """
    tables = [shapes[n] for n, p in places.items() if p.role == "embedding" and len(shapes[n]) == 2]
    heads = [shapes[n] for n, p in places.items() if p.role == "head" and len(shapes[n]) == 2]
    hidden = max(tables, key=max)[1] if tables else _common_extent(shapes, places)
    by_block: dict[tuple[str, int], list[str]] = defaultdict(list)
    for name, place in places.items():
        if place.layer is not None:
            by_block[name.split(f".{place.layer}.", 1)[0], place.layer].append(name)
    if not by_block:
        raise PlanError(
            "no blocks were found in this model, so its memory cannot be forecast",
            "give a share instead of --vram",
        )
    order = {stack: i for i, (stack, _) in enumerate(by_block)}
    keys = sorted(by_block, key=lambda key: (order[key[0]], key[1]))
    outside = {name: place for name, place in places.items() if place.layer is None}
    final_norms = frozenset(name for name, place in outside.items() if place.role == "norm")
    return Architecture(
        hidden=hidden,
        vocabulary=max((max(shape) for shape in heads or tables), default=0),
        tied=not heads,
        blocks=tuple(_block(by_block[key], shapes, places, hidden) for key in keys),
        before=frozenset(n for n, p in outside.items() if p.role in ("embedding", "other")),
        final_norms=final_norms,
    )


def _common_extent(shapes: Shapes, places: Mapping[str, Place]) -> int:
    extents = Counter(
        extent
        for name, shape in shapes.items()
        if places[name].role == "block" and len(shape) == 2
        for extent in shape
    )
    return max(extents, key=lambda extent: extents[extent], default=1)


def _block(names: Sequence[str], shapes: Shapes, places: Mapping[str, Place], hidden: int) -> Block:
    parts: dict[str, list[str]] = defaultdict(list)  # by kind: the experts of a kind together
    for name in names:
        if places[name].role == "block" and len(shapes[name]) in (2, 3):
            parts[places[name].kind].append(name)
    attention: list[Matrix] = []
    mlps: dict[str, list[Matrix]] = defaultdict(list)
    num_experts: Counter[str] = Counter()
    for kind, members in parts.items():
        matrix = _matrix(kind, members, shapes, hidden)
        if matrix.flow in ("attention_in", "attention_out"):
            attention.append(matrix)
            continue
        stem = kind.rpartition(".")[0]
        mlps[stem].append(matrix)
        shape = shapes[members[0]]
        experts = shape[0] if len(shape) == 3 else len(members)
        if len(shape) == 3 or places[members[0]].expert is not None:
            num_experts[stem] = max(num_experts[stem], experts)
    norms = [n for n in names if places[n].role == "norm" and len(shapes[n]) == 1]
    return Block(
        attention=tuple(attention),
        mlps=tuple(
            Mlp(
                matrices=tuple(matrices),
                tokens=_experts_per_token(num_experts[stem]),
                routed=num_experts[stem] > 0,
            )
            for stem, matrices in mlps.items()
        ),
        norms=tuple(n for n in norms if shapes[n][0] == hidden),
        head_norms=tuple(n for n in norms if shapes[n][0] != hidden),
        tensors=frozenset(names),
    )


def _experts_per_token(num_experts: int) -> int:
    if num_experts == 0:
        return 1
    return min(num_experts, 2 if num_experts <= 8 else 8)


def _matrix(kind: str, names: Sequence[str], shapes: Shapes, hidden: int) -> Matrix:
    *copies, rows, columns = shapes[names[0]]
    reads = columns == hidden
    inner = rows if reads else columns
    size = rows * columns * (copies[0] if copies else 1) * len(names)
    return Matrix(
        names=tuple(names),
        flow=_flow(kind, (rows, columns), hidden),
        inner=inner,
        size=size,
        steps=5 if kind.rpartition(".")[2] == "c_fc" else 1,
    )


def _flow(kind: str, shape: tuple[int, int], hidden: int) -> Flow:
    last = kind.rpartition(".")[2]
    if last in _FLOWS:
        return _FLOWS[last]
    writes = last in _WRITES
    if _ATTENTION.search(kind):
        return "attention_out" if writes else "attention_in"
    rows, columns = shape
    # `c_proj` and `dense` also leave plain MLPs, but BERT's `intermediate.dense` enters one.
    narrows = rows == hidden != columns if last != "c_proj" else True
    return "down" if narrows and last != "c_fc" else "up"
