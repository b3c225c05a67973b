"""What a run records of the weights that it moved."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from spectrum_ft.record_files import to_json, to_record
from spectrum_ft.records.plans import Plan
from spectrum_ft.records.training import RUN_SCHEMA, TrainRun, TrainSettings
from spectrum_ft.tuning.training import train
from tiny_models import plan_of, write_messages, write_tiny

pytestmark = [
    # PEFT and TRL use what transformers is about to rename.
    pytest.mark.filterwarnings("ignore:.gradient_checkpointing. is deprecated"),
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning"),
]

DOWN = "model.layers.1.mlp.down_proj.weight"
QUERY = "model.layers.0.self_attn.q_proj.weight"
EMBEDDINGS = "model.embed_tokens.weight"


def trained(folder: Path, plan: Plan) -> TrainRun:
    write_tiny(folder / "model", "llama")
    write_messages(folder / "data.jsonl", 8)
    settings = TrainSettings(
        data=str(folder / "data.jsonl"), lr=1e-2, lora_lr=0.1, batch_size=4, max_steps=2
    )
    return train(str(folder / "model"), plan, settings, folder / "run")


def test_the_record_tells_how_much_of_each_tensor_moved(tmp_path: Path) -> None:
    run = trained(tmp_path, plan_of(DOWN, QUERY, EMBEDDINGS))
    assert run.moved_tensors.keys() == {DOWN, QUERY, EMBEDDINGS}
    before = load_file(tmp_path / "model" / "model.safetensors")
    after = load_file(tmp_path / "run" / "result" / "trained.safetensors")
    counts = {name: int((after[name] != before[name]).sum()) for name in after}
    for name, share in run.moved_tensors.items():
        assert share == counts[name] / after[name].numel()
    # The total is that of all weights, not the mean of the shares.
    assert run.moved == sum(counts.values()) / sum(tensor.numel() for tensor in after.values())
    # Rows of tokens that the data do not use stay where they were.
    assert run.moved_tensors[EMBEDDINGS] < 1.0


def test_a_run_of_adapters_alone_tells_the_total_only(tmp_path: Path) -> None:
    run = trained(tmp_path, plan_of(adapted=[DOWN, QUERY]))
    assert run.moved_tensors == {}
    assert 0.0 < run.moved <= 1.0
    older = json.loads(to_json(run))
    del older["moved_tensors"]  # a record written before it was known
    assert to_record(older, TrainRun, RUN_SCHEMA, "run.json") == run
