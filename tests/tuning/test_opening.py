"""A run opened again is the very model that trained: told by the held-out loss of its record."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from spectrum_ft.errors import CheckpointError, SpectrumError
from spectrum_ft.evaluating.measuring import evaluate_model
from spectrum_ft.records.evaluations import EvalSettings, Evaluation
from spectrum_ft.records.plans import Plan
from spectrum_ft.records.training import TrainRun, TrainSettings
from spectrum_ft.tuning.opening import is_run, open_model, open_tokenizer
from spectrum_ft.tuning.training import train
from tiny_models import plan_of, write_messages, write_tiny

pytestmark = [
    # PEFT and TRL use what transformers is about to rename.
    pytest.mark.filterwarnings("ignore:.gradient_checkpointing. is deprecated"),
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning"),
    pytest.mark.filterwarnings("ignore:fan_in_fan_out:UserWarning"),  # PEFT finds that out itself
]

DOWN = "model.layers.1.mlp.down_proj.weight"
QUERY = "model.layers.0.self_attn.q_proj.weight"
GATE = "model.layers.1.mlp.gate_proj.weight"
EMBEDDINGS = "model.embed_tokens.weight"
GPT2_UP = "transformer.h.1.mlp.c_fc.weight"
GPT2_QKV = "transformer.h.0.attn.c_attn.weight"
EXPERTS = tuple(
    f"model.layers.1.block_sparse_moe.experts.{i}.{w}.weight"
    for i in range(4)
    for w in ("w1", "w3")
)

CASES: dict[str, tuple[str, Plan]] = {
    "spectrum": ("llama", plan_of(DOWN, QUERY)),
    "lora": ("llama", plan_of(adapted=[GATE, QUERY])),
    "qlora": ("llama", plan_of(adapted=[DOWN, GATE, QUERY], base="nf4")),
    "hybrid": ("llama", plan_of(DOWN, adapted=[GATE, QUERY], base="nf4")),
    "int8": ("llama", plan_of(DOWN, adapted=[GATE], base="int8")),
    "tied": ("llama-tied", plan_of(EMBEDDINGS, DOWN, adapted=[QUERY], base="nf4")),
    "gpt2": ("gpt2", plan_of(GPT2_UP, adapted=[GPT2_QKV])),
    "experts": ("mixtral", plan_of(*EXPERTS)),
}


def run_of(folder: Path, kind: str, plan: Plan, dtype: str = "float32") -> TrainRun:
    """A run in `folder`/run on a tiny model, which moved far from its base."""
    write_tiny(folder / "model", kind)
    write_messages(folder / "data.jsonl", 16)
    write_messages(folder / "eval.jsonl", 6)
    settings = TrainSettings(
        data=str(folder / "data.jsonl"),
        eval_data=str(folder / "eval.jsonl"),
        lr=1e-2,
        lora_lr=0.1,
        batch_size=4,
        max_steps=6,
        dtype=dtype,  # type: ignore[arg-type]  # one of the two
    )
    return train(str(folder / "model"), plan, settings, folder / "run")


def measured(folder: Path, source: str) -> Evaluation:
    opened = open_model(str(folder / source), device="cpu")
    settings = EvalSettings(data=str(folder / "eval.jsonl"), metrics=("loss",))
    return evaluate_model(opened.model, opened.tokenizer, settings, source=source)


@pytest.mark.parametrize("case", CASES)
def test_an_opened_run_has_the_held_out_loss_of_its_record(case: str, tmp_path: Path) -> None:
    kind, plan = CASES[case]
    run = run_of(tmp_path, kind, plan)
    found = measured(tmp_path, "run")
    # The same weights and kernels in float32; rows are batched otherwise.
    assert found.loss == pytest.approx(run.eval_loss, rel=1e-5)
    assert found.loss != pytest.approx(measured(tmp_path, "model").loss, rel=1e-2)


def test_masters_beside_bfloat16_weights_are_kept_apart(tmp_path: Path) -> None:
    run = run_of(tmp_path, *CASES["hybrid"], dtype="bfloat16")
    opened = open_model(str(tmp_path / "run"), device="cpu")
    types = {name: p.dtype for name, p in opened.model.named_parameters()}
    assert types[f"base_model.model.{DOWN}"] == torch.float32
    assert types["base_model.model.model.norm.weight"] == torch.bfloat16
    # bfloat16 has three decimal digits, and batches are made otherwise.
    assert measured(tmp_path, "run").loss == pytest.approx(run.eval_loss, rel=5e-3)


def test_a_model_is_opened_as_it_stands(tmp_path: Path) -> None:
    write_tiny(tmp_path / "model", "llama")
    stored = load_file(tmp_path / "model" / "model.safetensors")
    opened = open_model(str(tmp_path / "model"), device="cpu")
    assert not opened.model.training
    assert all(torch.equal(p, stored[name]) for name, p in opened.model.named_parameters())
    assert open_model(str(tmp_path / "model"), device="cpu", dtype="bfloat16").model.dtype == (
        torch.bfloat16
    )
    assert not is_run(str(tmp_path / "model"))


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run, for tests that copy it."""
    folder = tmp_path_factory.mktemp("hybrid")
    run_of(folder, *CASES["hybrid"])
    return folder


@pytest.fixture
def copied(hybrid: Path, tmp_path: Path) -> Path:
    """A copy of it that stands on its own: its base too is the copy."""
    folder = tmp_path / "copy"
    shutil.copytree(hybrid, folder)
    record = folder / "run" / "run.json"
    table = json.loads(record.read_text())
    table["base_folder"] = str(folder / "model")
    record.write_text(json.dumps(table))
    return folder


def refusal(folder: Path) -> SpectrumError:
    with pytest.raises(SpectrumError) as caught:
        open_model(str(folder / "run"), device="cpu")
    return caught.value


def test_an_unfinished_run_is_refused(copied: Path) -> None:
    (copied / "run" / "run.json").unlink()
    assert is_run(str(copied / "run"))
    assert "no finished run" in refusal(copied).message
    with pytest.raises(CheckpointError, match="no finished run"):
        open_tokenizer(str(copied / "run"))


@pytest.mark.parametrize("name", ["trained.safetensors", "adapter_model.safetensors"])
def test_a_damaged_result_is_refused(copied: Path, name: str) -> None:
    file = copied / "run" / "result" / name
    file.write_bytes(file.read_bytes()[:-1] + b"\x7f")
    assert name in refusal(copied).message
    file.unlink()
    assert name in refusal(copied).message


def test_a_damaged_record_is_refused(copied: Path) -> None:
    record = copied / "run" / "run.json"
    record.write_bytes(record.read_bytes()[:200])
    assert "run.json" in refusal(copied).message


def test_a_base_with_other_values_is_refused(copied: Path) -> None:
    weights = copied / "model" / "model.safetensors"
    tensors = load_file(weights)
    tensors["model.norm.weight"] += 0.5
    save_file(tensors, weights, metadata={"format": "pt"})
    assert "not what the run started from" in refusal(copied).message


def test_a_base_that_is_gone_or_of_another_shape_is_refused(copied: Path) -> None:
    shutil.rmtree(copied / "model")
    assert "is not there" in refusal(copied).message
    write_tiny(copied / "model", "llama", hidden_size=32)
    (copied / "run" / "start.json").unlink()  # then shapes alone tell
    assert isinstance(refusal(copied), CheckpointError)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_refused(copied: Path) -> None:
    with pytest.raises(CheckpointError, match="no CUDA GPU"):
        open_model(str(copied / "model"), device="cuda")
