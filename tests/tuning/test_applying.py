"""A plan on a loaded model: what trains is what the plan says, and nothing else moves."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from spectrum_ft.errors import PlanError
from spectrum_ft.records.plans import Plan
from spectrum_ft.tuning.applying import Applied, apply_plan, prove_plan
from spectrum_ft.tuning.bases import open_base
from spectrum_ft.tuning.loading import load_for_training
from tiny_models import plan_of, tiny_config, tiny_tokenizer, write_tiny, write_tiny_llama

pytestmark = [
    # PEFT asks transformers by a name that transformers means to drop.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning"),
    # TRL sets transformers' option by the name that it means to drop.
    pytest.mark.filterwarnings("ignore:.gradient_checkpointing. is deprecated:FutureWarning"),
]

DOWN = "model.layers.1.mlp.down_proj.weight"
QUERY = "model.layers.0.self_attn.q_proj.weight"
GATE = "model.layers.1.mlp.gate_proj.weight"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny matrices are slower on many threads, unpacking 4 bits above all."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def fresh(kind: str, **changed: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(tiny_config(kind, **changed))


def tokens() -> Tensor:
    return torch.randint(3, 300, (2, 12), generator=torch.Generator().manual_seed(1))


def trainable(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def quant_tensors(state: Any) -> Iterator[Tensor]:
    """What bitsandbytes keeps beside packed values: scales and code books, nested ones too."""
    for value in (state.absmax, state.code, state.offset):
        if isinstance(value, Tensor):
            yield value
    if state.state2 is not None:
        yield from quant_tensors(state.state2)


def digests(model: nn.Module) -> dict[str, str]:
    """A digest of every parameter and buffer, and of what its packing consists of."""
    found = {}
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers()]
    for name, tensor in named:
        digest = hashlib.sha256()
        state = getattr(tensor, "quant_state", None)
        for part in (tensor, *(() if state is None else quant_tensors(state))):
            digest.update(
                part.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            )
        found[name] = digest.hexdigest()
    return found


def step_by_hand(applied: Applied) -> None:
    """One step of gradient descent, as the textbook writes it."""
    applied.model.train()
    applied.model(input_ids=tokens(), labels=tokens()).loss.backward()
    with torch.no_grad():
        for parameter in applied.model.parameters():
            if parameter.requires_grad:
                parameter -= 0.1 * parameter.grad
                parameter.grad = None


def test_what_trains_is_the_plan_by_identity() -> None:
    model = fresh("llama")
    applied = apply_plan(model, plan_of(DOWN, QUERY, "model.norm.weight"))
    assert applied.model is applied.base is model
    assert trainable(model) == {DOWN, QUERY, "model.norm.weight"} == set(applied.trained)
    assert all(model.get_parameter(name) is p for name, p in applied.trained.items())
    assert applied.adapters == {}
    assert applied.lowest_layer == 0


def test_the_lowest_layer_is_that_of_trained_tensors_and_adapters() -> None:
    assert apply_plan(fresh("llama"), plan_of(DOWN)).lowest_layer == 1
    assert apply_plan(fresh("llama"), plan_of(DOWN, adapted=[QUERY])).lowest_layer == 0
    assert apply_plan(fresh("llama"), plan_of("model.embed_tokens.weight")).lowest_layer is None


def test_a_tied_head_reaches_the_embeddings_below_all_blocks() -> None:
    plan = plan_of(DOWN, "lm_head.weight")
    assert apply_plan(fresh("llama"), plan).lowest_layer == 1
    # Tied, the head's weights are also the embeddings', whose gradient crosses every block.
    assert apply_plan(fresh("llama-tied"), plan).lowest_layer is None


@pytest.mark.parametrize("name", ["lm_head.weight", "model.embed_tokens.weight"])
def test_tied_weights_train_as_one_whichever_name_the_plan_has(name: str) -> None:
    model = fresh("llama-tied")
    applied = apply_plan(model, plan_of(name))
    (parameter,) = applied.trained.values()
    assert parameter is model.lm_head.weight is model.model.embed_tokens.weight
    assert [*applied.trained_tensors()] == [name]
    step_by_hand(applied)
    assert torch.equal(applied.trained_tensors()[name], model.lm_head.weight.detach())


def test_both_names_of_tied_weights_are_still_one_parameter() -> None:
    names = ("lm_head.weight", "model.embed_tokens.weight")
    applied = apply_plan(fresh("llama-tied"), plan_of(*names))
    assert len(applied.trained) == 1
    assert set(applied.trained_tensors()) == set(names)


def test_fused_experts_train_together_and_come_back_as_the_checkpoint_has_them() -> None:
    prefix = "model.layers.1.block_sparse_moe.experts"
    parts = [f"{prefix}.{i}.{part}.weight" for i in range(4) for part in ("w1", "w3")]
    applied = apply_plan(fresh("mixtral"), plan_of(*parts))
    assert trainable(applied.model) == {"model.layers.1.mlp.experts.gate_up_proj"}
    tensors = applied.trained_tensors()
    assert set(tensors) == set(parts)
    assert all(tensor.shape == (96, 64) for tensor in tensors.values())


def test_an_adapter_on_a_fused_expert_is_refused() -> None:
    parts = [f"model.layers.1.block_sparse_moe.experts.{i}.w2.weight" for i in range(4)]
    with pytest.raises(PlanError, match="no adapter fits"):
        apply_plan(fresh("mixtral"), plan_of(adapted=parts))


def test_adapters_sit_exactly_on_the_planned_matrices() -> None:
    # Of twelve layers, "layers.1." is a part of "layers.11."'s name and the other way round.
    model = fresh("llama", num_hidden_layers=12)
    wanted = [
        *(f"model.layers.{i}.self_attn.q_proj.weight" for i in (0, 1, 11)),
        *(f"model.layers.{i}.mlp.up_proj.weight" for i in (1, 10)),
    ]
    applied = apply_plan(model, plan_of(adapted=wanted))
    modules = {name.split(".lora_")[0] for name in trainable(applied.model)}
    assert modules == {f"base_model.model.{name.removesuffix('.weight')}" for name in wanted}
    assert applied.adapted == {name: name.removesuffix(".weight") for name in wanted}
    assert len(applied.adapters) == 2 * len(wanted)


def test_more_adapters_than_peft_lists_by_name_sit_where_they_should() -> None:
    # From 20 names on PEFT looks for a shorter list of suffixes that matches the same modules.
    model = fresh("llama", num_hidden_layers=8)
    kinds = ("self_attn.q_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj")
    wanted = [f"model.layers.{i}.{kind}.weight" for i in range(8) for kind in kinds][:-1]
    applied = apply_plan(model, plan_of(adapted=wanted))
    modules = {name.split(".lora_")[0] for name in trainable(applied.model)}
    assert modules == {f"base_model.model.{name.removesuffix('.weight')}" for name in wanted}


def test_a_matrix_whose_name_ends_like_a_planned_one_gets_no_adapter() -> None:
    model = fresh("llama")
    # A second tower under a longer name, as models of images and text have one.
    model.tower = nn.ModuleDict({"model": fresh("llama").model})
    applied = apply_plan(model, plan_of(DOWN, adapted=[GATE]))
    modules = {name.split(".lora_")[0] for name in applied.adapters}
    assert modules == {"base_model.model." + GATE.removesuffix(".weight")}


@pytest.mark.parametrize(
    "name", ["model.norm.weight", "model.layers.0.input_layernorm.weight", "nothing.weight"]
)
def test_what_cannot_carry_an_adapter_is_refused(name: str) -> None:
    with pytest.raises(PlanError):
        apply_plan(fresh("llama"), plan_of(DOWN, adapted=[name]))


def test_a_bias_carries_no_adapter() -> None:
    with pytest.raises(PlanError, match="no adapter fits"):
        apply_plan(fresh("gpt2"), plan_of(adapted=["transformer.h.0.mlp.c_fc.bias"]))


# PEFT finds out by itself that the matrices are transposed, and says so.
@pytest.mark.filterwarnings("ignore:fan_in_fan_out:UserWarning")
def test_adapters_work_on_transposed_matrices() -> None:
    names = ["transformer.h.0.mlp.c_fc.weight", "transformer.h.1.attn.c_attn.weight"]
    applied = apply_plan(fresh("gpt2"), plan_of(adapted=names))
    before = digests(applied.model)
    step_by_hand(applied)
    after = digests(applied.model)
    assert {n for n in before if before[n] != after[n]} == {
        n for n in applied.adapters if "lora_B" in n
    }


def test_a_matrix_may_not_train_and_carry_an_adapter() -> None:
    with pytest.raises(PlanError):
        apply_plan(fresh("llama"), plan_of(GATE, adapted=[GATE]))


def test_adapters_start_from_the_seed_and_leave_other_randomness_alone() -> None:
    def first_values(seed: int) -> Tensor:
        applied = apply_plan(fresh("llama"), plan_of(adapted=[GATE]), seed=seed)
        return next(p for n, p in applied.adapters.items() if "lora_A" in n).detach()

    state = torch.random.get_rng_state()
    assert torch.equal(first_values(3), first_values(3))
    assert not torch.equal(first_values(3), first_values(4))
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("precision", ["master", "as-is", "stochastic"])
def test_masters_are_float32_and_nothing_else_is(precision: Any) -> None:
    model = fresh("llama").to(torch.bfloat16)
    before = digests(model)
    applied = apply_plan(model, plan_of(DOWN, adapted=[GATE]), precision=precision)
    expected = torch.float32 if precision == "master" else torch.bfloat16
    assert model.get_parameter(DOWN).dtype == expected
    assert {p.dtype for p in applied.adapters.values()} == {torch.float32}
    after = {
        name.removeprefix("base_model.model.").replace(".base_layer", ""): digest
        for name, digest in digests(applied.model).items()
    }
    untouched = set(before) - {DOWN}
    assert all(before[name] == after[name] for name in untouched)


PLANS = {
    "trained": plan_of(DOWN, QUERY),
    "adapters": plan_of(adapted=[QUERY, GATE]),
    "both": plan_of(DOWN, adapted=[QUERY, GATE]),
    "norm and head": plan_of("model.norm.weight", "lm_head.weight"),
    "nf4": plan_of(DOWN, QUERY, base="nf4"),
    "nf4, both": plan_of(DOWN, adapted=[QUERY, GATE], base="nf4"),
    "nf4, adapters": plan_of(adapted=[QUERY, GATE], base="nf4"),
    "int8, both": plan_of(DOWN, adapted=[QUERY, GATE], base="int8"),
}


@pytest.mark.parametrize("name", PLANS)
def test_a_step_by_hand_moves_what_trains_and_no_bit_of_anything_else(
    name: str, tmp_path: Path
) -> None:
    base = open_base(str(write_tiny(tmp_path / "model", "llama")))
    plan = PLANS[name]
    loaded = load_for_training(base, plan, dtype=torch.float32, device=torch.device("cpu"))
    applied = apply_plan(loaded.model, plan)
    before = digests(applied.model)
    step_by_hand(applied)
    after = digests(applied.model)
    prefix = "base_model.model." if plan.lora else ""
    # An adapter's A has no gradient while its B is still zero.
    moving = {prefix + n for n in applied.trained} | {n for n in applied.adapters if "lora_B" in n}
    assert {name for name in before if before[name] != after[name]} == moving
    packed = [p for p in applied.model.parameters() if hasattr(p, "quant_state")]
    assert bool(packed) == (plan.base == "nf4")
    prove_plan(applied)


def test_what_is_unfrozen_behind_the_plans_back_is_noticed() -> None:
    applied = apply_plan(fresh("llama"), plan_of(DOWN))
    applied.model.get_parameter(QUERY).requires_grad_(True)
    with pytest.raises(PlanError, match=r"q_proj.weight would train as well"):
        prove_plan(applied)


def test_what_is_frozen_behind_the_plans_back_is_noticed() -> None:
    applied = apply_plan(fresh("llama"), plan_of(DOWN, QUERY))
    applied.model.get_parameter(QUERY).requires_grad_(False)
    with pytest.raises(PlanError, match=r"q_proj.weight would not train"):
        prove_plan(applied)


def test_a_parameter_that_was_exchanged_is_noticed() -> None:
    applied = apply_plan(fresh("llama"), plan_of(DOWN))
    mlp = applied.model.model.layers[1].mlp
    mlp.down_proj.weight = nn.Parameter(mlp.down_proj.weight.detach().clone())
    with pytest.raises(PlanError, match="not the plan's"):
        prove_plan(applied)


def test_an_adapter_frozen_or_added_later_is_noticed() -> None:
    applied = apply_plan(fresh("llama"), plan_of(adapted=[GATE]))
    first = next(iter(applied.adapters.values()))
    first.requires_grad_(False)
    with pytest.raises(PlanError, match="would not train"):
        prove_plan(applied)
    first.requires_grad_(True)
    prove_plan(applied)
    applied.model.add_adapter("second", LoraConfig(target_modules=["q_proj"], r=2))
    applied.model.set_adapter("second")
    with pytest.raises(PlanError, match="would train as well"):
        prove_plan(applied)


def test_packed_weights_cannot_train(tmp_path: Path) -> None:
    base = open_base(str(write_tiny(tmp_path / "model", "llama")))
    loaded = load_for_training(
        base, plan_of(DOWN, base="nf4"), dtype=torch.float32, device=torch.device("cpu")
    )
    with pytest.raises(PlanError, match="4 or 8 bits") as caught:
        apply_plan(loaded.model, plan_of(QUERY))
    assert "load_for_training" in str(caught.value.hint)


def test_a_plan_that_trains_nothing_is_refused() -> None:
    with pytest.raises(PlanError, match="trains nothing"):
        apply_plan(fresh("llama"), plan_of())


def test_a_refused_plan_names_what_it_lacks() -> None:
    with pytest.raises(PlanError, match="1 of the plan's names"):
        apply_plan(fresh("llama"), plan_of(DOWN, "model.layers.7.mlp.down_proj.weight"))


@pytest.mark.parametrize("kind", ["llama", "mixtral"])
def test_trained_tensors_go_back_into_another_model(kind: str) -> None:
    names: tuple[str, ...] = (QUERY, "model.norm.weight")
    if kind == "mixtral":
        names = tuple(f"model.layers.1.block_sparse_moe.experts.{i}.w2.weight" for i in range(4))
    first, second = (apply_plan(fresh(kind), plan_of(*names)) for _ in range(2))
    step_by_hand(first)
    before = digests(second.model)
    second.load_trained(first.trained_tensors())
    assert digests(second.model) == digests(first.model) != before


def test_tensors_of_another_plan_are_not_taken() -> None:
    applied = apply_plan(fresh("llama"), plan_of(DOWN, QUERY))
    tensors = applied.trained_tensors()
    with pytest.raises(PlanError, match="not the trained tensors"):
        applied.load_trained({DOWN: tensors[DOWN]})
    with pytest.raises(PlanError, match="not the trained tensors"):
        applied.load_trained({**tensors, GATE: tensors[DOWN]})


def test_a_bare_loop_lowers_the_loss() -> None:
    applied = apply_plan(fresh("llama"), plan_of(DOWN, "lm_head.weight", adapted=[QUERY]))
    optimizer = torch.optim.AdamW(
        [p for p in applied.model.parameters() if p.requires_grad], lr=1e-2
    )
    losses = []
    for _ in range(12):
        loss = applied.model(input_ids=tokens(), labels=tokens()).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def plain_trl(plan: Plan, folder: Path, base: str) -> Applied:
    """As the documentation shows it to somebody who keeps to a script of their own."""
    from trl import SFTConfig, SFTTrainer

    opened = open_base(base)
    loaded = load_for_training(opened, plan, dtype=torch.float32, device=torch.device("cpu"))
    applied = apply_plan(loaded.model, plan)
    trainer = SFTTrainer(
        model=applied.model,
        args=SFTConfig(
            output_dir=str(folder),
            max_steps=3,
            learning_rate=1e-2,
            per_device_train_batch_size=2,
            use_cpu=True,
            bf16=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            # TRL turns it on otherwise.
            activation_checkpointing=False,
        ),
        train_dataset=Dataset.from_dict({"text": ["the quick brown fox", "over the lazy dog"] * 4}),
        processing_class=tiny_tokenizer(),
    )
    prove_plan(applied)
    trainer.train()
    return applied


@pytest.mark.parametrize("adapted", [[], ["model.layers.1.self_attn.q_proj.weight"]])
def test_a_plain_trl_script_trains_the_plan(adapted: list[str], tmp_path: Path) -> None:
    model = write_tiny_llama(tmp_path / "model", layers=2)
    plan = plan_of(DOWN, adapted=adapted)
    applied = plain_trl(plan, tmp_path / "run", str(model))
    prove_plan(applied)
    before = AutoModelForCausalLM.from_pretrained(model)
    moved = {
        name
        for name, parameter in before.named_parameters()
        if name in dict(applied.base.named_parameters())
        and not torch.equal(parameter, applied.base.get_parameter(name))
    }
    assert moved == {DOWN}
