"""What a run is about to do, counted before anything is loaded."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from spectrum_ft.errors import PlanError, TrainError
from spectrum_ft.records.forecasts import Forecast
from spectrum_ft.records.plans import Plan
from spectrum_ft.records.training import Contract, TrainSettings
from spectrum_ft.tuning.applying import apply_plan
from spectrum_ft.tuning.bases import Base, open_base
from spectrum_ft.tuning.contracts import (
    check_names,
    make_contract,
    model_digest,
    planned_steps,
    refuse_if_too_large,
)
from spectrum_ft.tuning.loading import load_for_training, planned_quantized
from tiny_models import plan_of, write_tiny

# PEFT asks transformers by a name that transformers means to drop.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")

DOWN = "model.layers.1.mlp.down_proj.weight"
GATE = "model.layers.1.mlp.gate_proj.weight"
QUERY = "model.layers.0.self_attn.q_proj.weight"
EXPERTS = tuple(f"model.layers.1.block_sparse_moe.experts.{i}.w2.weight" for i in range(4))


def settings(**changed: Any) -> TrainSettings:
    return TrainSettings(**{"data": "data.jsonl", "dtype": "float32", **changed})


def contract_of(base: Base, plan: Plan) -> Contract:
    return make_contract(
        base,
        plan,
        settings(),
        quantized=planned_quantized(base, plan),
        steps=7,
        device="cpu",
        forecast=None,
        available_bytes=10**9,
    )


def forecast_of(total: int) -> Forecast:
    return Forecast(
        device="cpu",
        moment="backward",
        weights_bytes=total,
        gradients_bytes=0,
        optimizer_bytes=0,
        activations_bytes=0,
        buffers_bytes=0,
        total_bytes=total,
    )


@pytest.mark.parametrize(
    ("kind", "plan"),
    [
        ("llama", plan_of(DOWN, QUERY)),
        ("llama", plan_of(DOWN, "model.norm.weight", adapted=[QUERY, GATE], base="nf4")),
        ("llama", plan_of(adapted=[GATE], base="int8")),
        ("llama-tied", plan_of("model.embed_tokens.weight", DOWN)),
        ("mixtral", plan_of(*EXPERTS, base="nf4")),
        ("gpt2", plan_of("transformer.h.1.mlp.c_fc.weight", base="nf4")),
    ],
    ids=["full", "nf4 and adapters", "int8 and adapters", "tied", "experts", "gpt2"],
)
def test_the_contract_is_what_the_loaded_model_turns_out_to_be(
    kind: str, plan: Plan, tmp_path: Path
) -> None:
    base = open_base(str(write_tiny(tmp_path / "model", kind)))
    contract = contract_of(base, plan)
    loaded = load_for_training(base, plan, dtype=torch.float32, device=torch.device("cpu"))
    applied = apply_plan(loaded.model, plan)
    assert contract.trained_tensors == len(plan.train)
    assert contract.trained == sum(p.numel() for p in applied.trained.values())
    assert contract.adapters == len(applied.adapted)
    assert contract.adapter_weights == sum(p.numel() for p in applied.adapters.values())
    assert contract.lowest_layer == applied.lowest_layer
    sizes = {entry.name: entry.num_params for entry in base.checkpoint.entries}
    assert contract.quantized == sum(sizes[name] for name in loaded.quantized)
    assert contract.total == sum(sizes.values())
    assert contract.trained + contract.quantized + contract.frozen == contract.total
    assert (contract.layers, contract.steps, contract.base) == (2, 7, plan.base)


def test_names_that_are_not_in_the_folder_are_refused_before_loading(tmp_path: Path) -> None:
    base = open_base(str(write_tiny(tmp_path / "model", "llama")))
    check_names(base, plan_of(DOWN, adapted=[QUERY]))
    with pytest.raises(PlanError, match="1 of the plan's names") as caught:
        check_names(base, plan_of(DOWN[:-1]))
    assert DOWN in str(caught.value.hint)
    with pytest.raises(PlanError, match="2 of the plan's names") as caught:
        check_names(base, plan_of(DOWN, adapted=["9" * 200, "\x1b[31m"]))
    assert "another model" in str(caught.value.hint)
    assert caught.value.message.isprintable()


def test_a_plan_that_trains_nothing_is_refused(tmp_path: Path) -> None:
    base = open_base(str(write_tiny(tmp_path / "model", "llama")))
    with pytest.raises(PlanError, match="trains nothing"):
        check_names(base, plan_of())


def test_a_matrix_that_trains_and_carries_an_adapter_is_refused(tmp_path: Path) -> None:
    base = open_base(str(write_tiny(tmp_path / "model", "llama")))
    with pytest.raises(PlanError, match="to train in full and to carry an adapter"):
        check_names(base, plan_of(DOWN, GATE, adapted=[GATE]))


def test_what_does_not_fit_is_refused_and_what_just_fits_is_not(tmp_path: Path) -> None:
    contract = contract_of(open_base(str(write_tiny(tmp_path / "model", "llama"))), plan_of(DOWN))
    refuse_if_too_large(contract)
    there = replace(contract, available_bytes=3 * 2**30)
    refuse_if_too_large(replace(there, forecast=forecast_of(3 * 2**30)))
    with pytest.raises(TrainError, match=r"4,096 MiB on cpu, 3,072 MiB are free") as caught:
        refuse_if_too_large(replace(there, forecast=forecast_of(4 * 2**30)))
    assert "--ignore-forecast" in str(caught.value.hint)


def test_a_refusal_never_says_that_as_much_is_free_as_is_needed(tmp_path: Path) -> None:
    contract = contract_of(open_base(str(write_tiny(tmp_path / "model", "llama"))), plan_of(DOWN))
    close = replace(contract, available_bytes=2**30, forecast=forecast_of(2**30 + 1))
    with pytest.raises(TrainError) as caught:
        refuse_if_too_large(close)
    needed, free = re.findall(r"([0-9,]+) MiB", caught.value.message)
    assert needed != free


@pytest.mark.parametrize(
    ("rows", "changed", "steps"),
    [
        (48, {"batch_size": 4}, 12),
        (49, {"batch_size": 4}, 13),
        (49, {"batch_size": 4, "grad_accum": 2}, 7),
        (3, {"batch_size": 4, "grad_accum": 8}, 1),
        (48, {"batch_size": 4, "epochs": 0.1}, 2),
        (48, {"batch_size": 4, "epochs": 2.5}, 30),
        (48, {"batch_size": 4, "epochs": 3, "max_steps": 5}, 5),
        (48, {"batch_size": 4, "max_steps": 500}, 500),
    ],
)
def test_steps_are_counted_as_the_trainer_will(
    rows: int, changed: dict[str, Any], steps: int
) -> None:
    # Worked out by hand; tests/tuning/test_trainer.py holds a run to its contract.
    assert planned_steps(rows, settings(**changed)) == steps


def test_the_digest_tells_weights_names_and_types_apart(tmp_path: Path) -> None:
    one = model_digest(open_base(str(write_tiny(tmp_path / "one", "llama", seed=0))))
    assert one == model_digest(open_base(str(write_tiny(tmp_path / "same", "llama", seed=0))))
    others = [
        write_tiny(tmp_path / "seed", "llama", seed=1),
        write_tiny(tmp_path / "dtype", "llama", dtype=torch.bfloat16),
        write_tiny(tmp_path / "tied", "llama-tied"),
    ]
    digests = {model_digest(open_base(str(folder))) for folder in others}
    assert len(digests | {one}) == 4


@pytest.mark.parametrize("where", [0.0, 0.5, 1.0])
def test_the_digest_tells_weights_apart_that_differ_anywhere(where: float, tmp_path: Path) -> None:
    # 64 rows changed of 300: as after training a few tokens' embeddings, or one expert of many.
    folder = write_tiny(tmp_path / "model", "llama")
    before = model_digest(open_base(str(folder)))
    tensors = load_file(folder / "model.safetensors")
    embeddings = tensors["model.embed_tokens.weight"]
    first = math.floor(where * (len(embeddings) - 64))
    embeddings[first : first + 64] += 0.01
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert model_digest(open_base(str(folder))) != before
