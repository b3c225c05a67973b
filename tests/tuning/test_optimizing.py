"""Optimizers: which of them, on which groups, at which rates."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

from spectrum_ft.errors import TrainError
from spectrum_ft.records.training import TrainSettings
from spectrum_ft.tuning.applying import Applied, apply_plan
from spectrum_ft.tuning.optimizing import ANYWHERE, ON_CUDA, check_optimizer, parameter_groups
from spectrum_ft.tuning.runs.state_files import read_state, write_state
from tiny_models import plan_of, tiny_config

# PEFT asks transformers by a name that transformers means to drop.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")

DOWN = "model.layers.1.mlp.down_proj.weight"
QUERY = "model.layers.1.self_attn.q_proj.weight"


def applied_to(*train: str, adapted: tuple[str, ...] = ()) -> Applied:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(tiny_config("llama"))
    return apply_plan(model, plan_of(*train, adapted=adapted))


def settings(**changed: Any) -> TrainSettings:
    return TrainSettings(data="data.jsonl", **changed)


def test_what_trains_and_adapters_are_groups_with_rates_of_their_own() -> None:
    applied = applied_to(DOWN, "model.norm.weight", adapted=(QUERY,))
    trained, adapters = parameter_groups(applied, settings(lr=1e-5, lora_lr=3e-4, weight_decay=0.1))
    assert [id(p) for p in trained["params"]] == [id(p) for p in applied.trained.values()]
    assert [id(p) for p in adapters["params"]] == [id(p) for p in applied.adapters.values()]
    assert (trained["lr"], trained["weight_decay"]) == (1e-5, 0.1)
    assert (adapters["lr"], adapters["weight_decay"]) == (3e-4, 0.0)


def test_groups_together_are_the_trainable_set_and_each_parameter_is_in_one() -> None:
    applied = applied_to(DOWN, "lm_head.weight", adapted=(QUERY,))
    listed = [id(p) for group in parameter_groups(applied, settings()) for p in group["params"]]
    wanted = {id(p) for p in applied.model.parameters() if p.requires_grad}
    assert len(listed) == len(set(listed))
    assert set(listed) == wanted


def test_empty_groups_are_left_out() -> None:
    (only,) = parameter_groups(applied_to(DOWN), settings(lr=1e-5))
    assert only["lr"] == 1e-5
    (only,) = parameter_groups(applied_to(adapted=(QUERY,)), settings(lora_lr=3e-4))
    assert only["lr"] == 3e-4


@pytest.mark.parametrize("name", ON_CUDA)
def test_optimizers_of_bitsandbytes_need_a_gpu(name: str) -> None:
    check_optimizer(name, "cuda")
    with pytest.raises(TrainError, match="needs a CUDA GPU") as caught:
        check_optimizer(name, "cpu")
    assert "adamw_torch" in str(caught.value.hint)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(
    "name",
    ["galore_adamw", "apollo_adamw", "lomo", "adamw_layerwise", "", "ADAMW_TORCH", "x" * 999],
)
def test_optimizers_that_choose_for_themselves_are_refused(name: str, device: str) -> None:
    with pytest.raises(TrainError, match="not one that can train a plan") as caught:
        check_optimizer(name, device)
    assert len(caught.value.message) < 200


def test_a_strangers_name_is_quoted_safely() -> None:
    with pytest.raises(TrainError) as caught:
        check_optimizer("a\n\x1b[31mb", "cpu")
    assert caught.value.message.isprintable()


def test_every_name_is_one_that_transformers_knows() -> None:
    from transformers.training_args import OptimizerNames

    known = {name.value for name in OptimizerNames}
    assert {*ANYWHERE, *ON_CUDA} <= known


def make(name: str, applied: Applied, folder: Path) -> Any:
    """The optimizer as a Trainer makes it, over the plan's groups."""
    arguments = TrainingArguments(
        output_dir=str(folder), optim=name, use_cpu=True, bf16=False, learning_rate=1e-3
    )
    kind, options = Trainer.get_optimizer_cls_and_kwargs(arguments, applied.model)
    return kind(parameter_groups(applied, settings(lr=1e-3, lora_lr=1e-2)), **options)


def step(applied: Applied, optimizer: Any, seed: int) -> None:
    tokens = torch.randint(3, 300, (2, 8), generator=torch.Generator().manual_seed(seed))
    applied.model(input_ids=tokens, labels=tokens).loss.backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("name", ANYWHERE)
def test_every_optimizer_goes_on_from_its_kept_state_bit_for_bit(name: str, tmp_path: Path) -> None:
    applied = applied_to(DOWN, "model.norm.weight", adapted=(QUERY,))
    optimizer = make(name, applied, tmp_path)
    parameters = [*applied.trained.values(), *applied.adapters.values()]
    before = [p.detach().clone() for p in parameters]
    step(applied, optimizer, 0)
    moved = [not torch.equal(a, b) for a, b in zip(before, parameters, strict=True)]
    assert moved[:2] == [True, True]
    write_state(tmp_path, "optimizer", optimizer.state_dict())
    kept = [p.detach().clone() for p in parameters]
    step(applied, optimizer, 1)
    undisturbed = [p.detach().clone() for p in parameters]

    with torch.no_grad():
        for parameter, value in zip(parameters, kept, strict=True):
            parameter.copy_(value)
    other = make(name, applied, tmp_path)
    other.load_state_dict(read_state(tmp_path, "optimizer"))
    step(applied, other, 1)
    for value, parameter in zip(undisturbed, parameters, strict=True):
        assert torch.equal(value, parameter)
