"""What autograd itself keeps for the backward pass of a small model: the oracle of the forecast."""

from collections import defaultdict
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from spectrum_ft.checkpoints.naming import place_tensors
from spectrum_ft.forecasting.activations import Pass, kept_by_block
from spectrum_ft.forecasting.architecture import architecture_of
from spectrum_ft.records.plans import LoraSettings

SIZES = {
    "hidden_size": 256,
    "intermediate_size": 640,
    "vocab_size": 1000,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 3,
    "tie_word_embeddings": False,
}
ROWS, LENGTH = 2, 128


def build(family: str, **others: Any) -> Any:
    """A small random model of `family` (`Llama`), ready to train, with flash-like attention."""
    import torch
    import transformers

    torch.manual_seed(0)
    name = {"Gemma3": "Gemma3Text"}.get(family, family)
    config = getattr(transformers, f"{name}Config")(**{**SIZES, **others})
    config._attn_implementation = "sdpa"
    return getattr(transformers, f"{family}ForCausalLM")(config).train()


def kept_by_autograd(model: Any, *, autocast: bool, padded: bool) -> int:
    """The bytes of all distinct tensors that the blocks save in one forward pass of 2 x 128."""
    import torch

    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    alive: list[Any] = []  # so that no address is used twice
    found: dict[int, dict[int, int]] = defaultdict(dict)
    block = [-1]

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own and block[0] >= 0:
            alive.append(tensor)
            found[storage.data_ptr()][block[0]] = storage.nbytes()
        return tensor

    def enter(index: int) -> Any:
        return lambda *_: block.__setitem__(0, index)

    for index, layer in enumerate(model.model.layers):
        layer.register_forward_pre_hook(enter(index))
        layer.register_forward_hook(enter(-1))
    tokens = torch.randint(0, 100, (ROWS, LENGTH))
    mask = torch.ones_like(tokens)
    mask[1:, LENGTH // 2 :] = 0
    rounding = torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), rounding:
        model.model(input_ids=tokens, attention_mask=mask if padded else None, use_cache=False)
    return sum(max(sizes.values()) for sizes in found.values())


def kept_by_forecast(model: Any, lora: LoraSettings | None, *, autocast: bool, padded: bool) -> int:
    """What the forecast says of the same pass, from names, shapes and what requires a gradient."""
    shapes: Mapping[str, tuple[int, ...]] = {
        name.replace(".base_layer", ""): tuple(tensor.shape)
        for name, tensor in model.state_dict().items()
        if "lora_" not in name
    }
    architecture = architecture_of(shapes, place_tensors(list(shapes)))
    moving = [name for name, tensor in model.named_parameters() if tensor.requires_grad]
    train = frozenset(n.replace(".base_layer", "") for n in moving if "lora_" not in n)
    adapted = frozenset(n.split(".lora_")[0] + ".weight" for n in moving if "lora_" in n)
    flows = not train.isdisjoint(architecture.before)
    run = Pass(
        tokens=ROWS * LENGTH,
        length=LENGTH,
        compute_bytes=2 if autocast else 4,
        autocast=autocast,
        rounds_trained=autocast,
        wide_stream=autocast and flows,
        padded=padded,
        on_gpu=False,
        train=train,
        adapted=adapted,
        lora=lora,
    )
    total = 0
    for block in architecture.blocks:
        kept, flows = kept_by_block(block, flows, run, architecture.hidden)
        total += kept
    return total
