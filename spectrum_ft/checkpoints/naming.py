"""Where each tensor of a model sits, read from the whole list of names and nothing else.

No table of model families: what counts is which numbers repeat a block, and exact words.

- A *stack* is a list of blocks: a named list (`model.layers`) whose numbered members hold
  modules. Where members hold a weight themselves (`merger.mlp.0.weight`) it is a plain
  sequence, and the number stays in the kind. The outermost stack of a name gives the layer.
- The *lead* stack is the language model's own: the nearest in the module tree to a token
  embedding, then the one with most tensors. Its kinds are bare: `self_attn.q_proj`.
- Other stacks' kinds carry a label: the shortest part of their path, from where it leaves the
  lead's, that no other stack shares. Beside `model.language_model.layers`, the tensor
  `model.visual.blocks.0.attn.qkv` is a `visual.attn.qkv`. No two stacks share a kind.
- An encoder and a decoder side by side (one path but for that word) are both labelled, since
  neither is *the* language model: `encoder.fc1`, `decoder.fc1`.

Names are a model author's text: any string will do, and the cost grows with their length.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain, count, takewhile
from typing import Literal, NamedTuple

Role = Literal["block", "embedding", "head", "norm", "bias", "other"]

# `gamma` and `beta` are what the first BERT checkpoints call a norm's weight and bias.
_IS_BIAS = {"weight": False, "gamma": False, "bias": True, "beta": True}
# `layrnorm` is how CLIP's published checkpoints spell it.
_NORM = {"norm", "norms", "ln", "layernorm", "rmsnorm", "batchnorm", "groupnorm", "layrnorm"}
_EMBEDDING = {"embed", "embedding", "embeddings", "embd", "emb", "wte", "wpe"}
_NOT_A_TABLE = {"patch", "proj", "projection", "projector"}
_NOT_TOKENS = {"class", "cls", "pos", "position", "positions", "positional", "wpe"}
_HEAD = {"head", "heads", "output", "outputs", "score", "classifier", "decoder"}
_UNEMBEDDING = {"out", "output", "head"}  # GPT-NeoX: `embed_out`
_COUNTERPART = {"encoder": "decoder", "decoder": "encoder", "enc": "dec", "dec": "enc"}

# Far deeper than real names. Those beyond are left whole: the work stays linear in their length.
_MAX_DEPTH = 64
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^A-Z_]+")
_INDEX = re.compile(r"[0-9]{1,9}")
_EXPERTS = re.compile(r"(?:^|_)experts?(?:_|\Z)")  # as a whole word
_EXPERT_INDEX = re.compile(r"(?:experts?_)?([0-9]{1,9})")  # Switch: `experts.expert_3.wi`


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What one tensor is to its model."""

    kind: str
    """Its role in a block, `self_attn.q_proj`; outside the blocks its module's name, `lm_head`."""
    layer: int | None
    """Block index within its stack, from 0; None outside the blocks."""
    expert: int | None
    """Expert index within the block, from 0; None if it belongs to no one numbered expert."""
    role: Role
    """`block` for what a block holds besides norms and biases, matrix or not: names do not say.
    `embedding` and `head` are the language model's, never those of another tower."""


class _Site(NamedTuple):
    """A name taken apart: `stack` is the path of its list of blocks, `kind` yet without label."""

    stack: str | None
    layer: int | None
    expert: int | None
    kind: str
    is_bias: bool


def place_tensors(names: Collection[str]) -> dict[str, Place]:
    """Each name's place, in the order of `names`.

    Pass every name of the model, not a selection: kinds depend on the whole list. A weight and
    its bias share a kind and differ in role.
    """
    return dict(_placed(tuple(names)))


@lru_cache(maxsize=2)  # a scan, its plan and their report ask for the same model one by one
def _placed(names: tuple[str, ...]) -> dict[str, Place]:
    stacks = _find_stacks(names)
    sites = {name: _locate(_split(name), stacks) for name in names}
    lead = _pick_lead(sites.values())
    labels = _label_stacks(sites.values(), lead)
    others = labels.keys() - {lead, _counterpart(lead, labels)}
    towers = {_branch(stack.split("."), lead) for stack in others}
    places = {}
    for name, site in sites.items():
        role = _role(site)
        if role in ("embedding", "head") and _branch(_split(site.kind), lead) in towers:
            role = "other"
        kind = site.kind if site.stack is None else labels[site.stack] + site.kind
        places[name] = Place(kind=kind, layer=site.layer, expert=site.expert, role=role)
    return places


def reference_kind(module_name: str) -> str:
    """What follows the first all-digit component, else the name: the published script's kind."""
    parts = module_name.split(".")
    number = next((i for i, part in enumerate(parts) if part.isdigit()), -1)
    return ".".join(parts[number + 1 :])


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """A sort key under which `layers.2` comes before `layers.10`: a total order of strings."""
    chunks = re.split("([0-9]+)", name)  # text, digits, text, ...
    chunks[1::2] = (digits.lstrip("0") for digits in chunks[1::2])
    # Digit runs by length, then as text: `int` refuses more than 4,300 digits.
    return (*((len(c) if i % 2 else 0, c) for i, c in enumerate(chunks)), (-1, name))


def _split(name: str) -> list[str]:
    parts = name.split(".", _MAX_DEPTH)
    return parts if len(parts) <= _MAX_DEPTH else [name]


def _prefixes(parts: list[str]) -> list[str]:
    """The paths from the root to `parts`: `["", "model", "model.layers"]`."""
    return ["", *accumulate(parts, "{}.{}".format)]


def _own_words(path: str) -> set[str]:
    """The lower-case words of the last component that is no number: `LayerNorm1`, `q_norm`."""
    own = next((part for part in reversed(_split(path)) if not part.isdigit()), "")
    return {word.strip("0123456789").lower() for word in _WORD.findall(own)}


def _list_positions(parts: list[str]) -> Iterator[int]:
    """Where `parts` has the number of a list's member that may be a block, outermost first.

    A number at the very front belongs to an unnamed wrapper (`0.auto_model.encoder...`).
    """
    for i in range(1, len(parts) - 1):
        if parts[i].isdigit() and _INDEX.fullmatch(parts[i]) and not _EXPERTS.search(parts[i - 1]):
            yield i


def _find_stacks(names: Iterable[str]) -> set[str]:
    """The paths of all lists whose members hold modules and no weight or bias of their own."""
    hold_modules, hold_weights = set[str](), set[str]()
    for parts in map(_split, names):
        for i in _list_positions(parts):
            if i + 2 < len(parts):
                hold_modules.add(".".join(parts[:i]))
            elif parts[-1] in ("weight", "bias"):
                hold_weights.add(".".join(parts[:i]))
    return hold_modules - hold_weights


def _locate(parts: list[str], stacks: set[str]) -> _Site:
    block = next((i for i in _list_positions(parts) if ".".join(parts[:i]) in stacks), -1)
    module, is_bias = _drop_parameter(parts[block + 1 :])
    if block < 0:
        return _Site(None, None, None, ".".join(module), is_bias)
    module, expert = _take_expert(module)
    stack, layer = ".".join(parts[:block]), int(parts[block])
    return _Site(stack, layer, expert, ".".join(module), is_bias)


def _drop_parameter(parts: list[str]) -> tuple[list[str], bool]:
    """The module's components, and whether the parameter is a bias.

    A parameter with a name of its own keeps it: `experts.gate_up_proj`, `gate_up_proj_bias`.
    """
    if len(parts) > 1 and parts[-1] in _IS_BIAS:
        return parts[:-1], _IS_BIAS[parts[-1]]
    return parts, parts[-1].split("_")[-1] == "bias"


def _take_expert(module: list[str]) -> tuple[list[str], int | None]:
    """The module without its expert's number, and that number: `experts.3.w1` -> `experts.w1`."""
    for i in range(1, len(module)):
        if (match := _EXPERT_INDEX.fullmatch(module[i])) and _EXPERTS.search(module[i - 1]):
            return module[:i] + module[i + 1 :], int(match[1])
    return module, None


def _pick_lead(sites: Collection[_Site]) -> str:
    """The language model's own stack; of an encoder and a decoder, one of the two."""
    sizes = Counter(site.stack for site in sites if site.stack is not None)
    steps = _steps_to_tokens(sites)

    def rank(stack: str) -> tuple[int, int, tuple[tuple[int, str], ...]]:
        up = enumerate(reversed(_prefixes(stack.split("."))))
        distance = min((i + steps[path] for i, path in up if path in steps), default=0)
        return distance, -sizes[stack], natural_key(stack)

    return min(sizes, key=rank, default="")


def _steps_to_tokens(sites: Iterable[_Site]) -> dict[str, int]:
    """For each path above a token embedding, the steps down to the module that holds one."""
    steps: dict[str, int] = {}
    for site in sites:
        is_table = site.stack is None and _role(site) == "embedding"
        if is_table and not _own_words(site.kind) & _NOT_TOKENS:
            for i, path in enumerate(reversed(_prefixes(_split(site.kind)[:-1]))):
                steps[path] = min(i, steps.get(path, i))
    return steps


def _label_stacks(sites: Iterable[_Site], lead: str) -> dict[str, str]:
    """What goes before each stack's kinds: nothing for a lead with no counterpart."""
    kinds: dict[str, set[str]] = {}
    for site in sites:
        if site.stack is not None:
            kinds.setdefault(site.stack, set()).add(site.kind)
    shares = Counter(path for stack in kinds for path in _prefixes(stack.split(".")))
    labels: dict[str, str] = {}
    taken = set[str]()
    for stack in sorted(kinds, key=lambda stack: (stack != lead, natural_key(stack))):
        other = lead if stack != lead else _counterpart(stack, kinds)
        short = _short_label(stack, other, shares) if other is not None else ""
        # The longer ways are for lists that nest or imitate each other.
        ways = chain((short, f"{stack}."), (f"{stack}#{n}." for n in count(2)))
        label = next(way for way in ways if taken.isdisjoint(way + kind for kind in kinds[stack]))
        labels[stack] = label
        taken.update(label + kind for kind in kinds[stack])
    return labels


def _short_label(stack: str, other: str, shares: Counter[str]) -> str:
    parts = stack.split(".")
    start = _branch(parts, other).count(".")
    own = (end for end, path in enumerate(_prefixes(parts)) if end > start and shares[path] == 1)
    return ".".join(parts[start : next(own, None)]) + "."


def _counterpart(stack: str, stacks: Collection[str]) -> str | None:
    """The decoder beside an encoder, or the reverse; None where `stacks` has no such one."""
    other = ".".join(_COUNTERPART.get(part, part) for part in stack.split("."))
    return other if other != stack and other in stacks else None


def _branch(parts: list[str], path: str) -> str:
    """The path of `parts` up to the step at which it leaves `path`."""
    pairs = zip(parts, path.split("."), strict=False)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return ".".join(parts[: shared + 1])


def _role(site: _Site) -> Role:
    words = _own_words(site.kind)
    if site.is_bias:
        return "bias"
    if words & _NORM:
        return "norm"
    if site.stack is not None:
        return "block"
    if words == {"shared"} or (words & _EMBEDDING and not words & _NOT_A_TABLE):
        return "head" if words & _UNEMBEDDING else "embedding"
    return "head" if words & _HEAD else "other"
