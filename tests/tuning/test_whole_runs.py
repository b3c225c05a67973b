"""A run as a whole, in this process: where it ends, and what interrupts it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from spectrum_ft.errors import CheckpointError, DataError, OutputError, PlanError, TrainError
from spectrum_ft.records.plans import Plan
from spectrum_ft.records.training import TrainRun, TrainSettings, TrainStep
from spectrum_ft.tuning.merges.merging import merge
from spectrum_ft.tuning.preparing import prepare
from spectrum_ft.tuning.training import Stopped, prepare_training, train
from tiny_models import plan_of, write_messages, write_tiny, write_tiny_llama, write_tiny_mixtral

DOWN = "model.layers.3.mlp.down_proj.weight"

pytestmark = [
    # PEFT and TRL use what transformers is about to rename.
    pytest.mark.filterwarnings("ignore:.gradient_checkpointing. is deprecated"),
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny model with data."""
    write_tiny_llama(tmp_path / "model")
    write_messages(tmp_path / "data.jsonl", 16)
    write_messages(tmp_path / "eval.jsonl", 5)
    return tmp_path


def settings(folder: Path, **changed: Any) -> TrainSettings:
    usual: dict[str, Any] = {"lr": 1e-2, "batch_size": 4, "save_every": 1, "keep": 50}
    return TrainSettings(data=str(folder / "data.jsonl"), **(usual | changed))


def run_of(folder: Path, output: str, plan: Plan | None = None, **changed: Any) -> TrainRun:
    given = settings(folder, **changed)
    return train(str(folder / "model"), plan or plan_of(DOWN), given, folder / output)


def result(folder: Path, output: str) -> bytes:
    return (folder / output / "result" / "trained.safetensors").read_bytes()


def lines(folder: Path, output: str) -> list[tuple[int, float | None, float | None]]:
    text = (folder / output / "metrics.jsonl").read_text().splitlines()
    tables = [json.loads(line) for line in text]
    return [(table["step"], table["loss"], table["eval_loss"]) for table in tables]


def forget_the_end(folder: Path, output: str) -> None:
    """Make of a finished run one that was killed between its last checkpoint and its record."""
    (folder / output / "run.json").unlink()


@pytest.mark.parametrize(
    "changed",
    [
        {"max_steps": 6, "scheduler": "constant"},
        {"epochs": 0.5},
        {"epochs": 2.0, "eval_data": "eval.jsonl"},
        {"max_steps": 40, "eval_data": "eval.jsonl", "eval_every": 1, "patience": 2, "lr": 1.0},
    ],
    ids=["steps", "half-an-epoch", "epochs", "patience"],
)
def test_a_run_that_had_done_all_its_steps_does_no_more(
    folder: Path, changed: dict[str, Any]
) -> None:
    if "eval_data" in changed:
        changed = changed | {"eval_data": str(folder / changed["eval_data"])}
    first = run_of(folder, "run", **changed)
    before, told = result(folder, "run"), lines(folder, "run")
    forget_the_end(folder, "run")
    second = run_of(folder, "run", **changed)
    assert second.steps == first.steps
    assert result(folder, "run") == before
    assert [line for line in lines(folder, "run") if line[1] is not None] == [
        line for line in told if line[1] is not None
    ]


def test_stopping_adds_no_evaluation_and_changes_nothing(folder: Path) -> None:
    changed: dict[str, Any] = {"epochs": 2.0, "keep_best": True}
    changed["eval_data"] = str(folder / "eval.jsonl")
    run_of(folder, "undisturbed", **changed)
    for _ in range(8):
        given = settings(folder, **changed)
        with prepare_training(
            str(folder / "model"), plan_of(DOWN), given, folder / "stopped"
        ) as training:
            try:
                training.run(should_stop=lambda: True)
                break
            except Stopped:
                continue
    assert lines(folder, "stopped") == lines(folder, "undisturbed")
    assert result(folder, "stopped") == result(folder, "undisturbed")


def test_a_run_is_not_deleted_and_resumed_at_once(folder: Path) -> None:
    run_of(folder, "run", max_steps=2)
    given = settings(folder, max_steps=2)
    with (
        pytest.raises(TrainError, match="--force deletes the run"),
        prepare_training(
            str(folder / "model"), plan_of(DOWN), given, folder / "run", force=True, resume_from=1
        ),
    ):
        pass
    assert (folder / "run" / "run.json").exists()


def test_other_names_for_the_same_things_are_no_other_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_of(folder, "run", max_steps=3)
    forget_the_end(folder, "run")
    monkeypatch.chdir(folder)
    given = settings(Path("."), max_steps=3)
    assert train("./model", plan_of(DOWN), given, Path("run")).steps == 3


def test_what_the_disk_has_no_room_for_is_refused_before_training(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spectrum_ft.tuning.runs.room.free_bytes", lambda path: 2**20)
    with pytest.raises(OutputError, match="bytes there, 1,048,576 are free"):
        run_of(folder, "run", max_steps=2)
    assert not (folder / "run" / "metrics.jsonl").exists()


def test_rows_beyond_a_table_of_positions_are_refused(tmp_path: Path) -> None:
    write_tiny(tmp_path / "model", "gpt2")
    long = {"messages": [{"role": "user", "content": "card " * 900}]}
    long["messages"].append({"role": "assistant", "content": "lost"})
    (tmp_path / "data.jsonl").write_text(json.dumps(long) + "\n")
    given = TrainSettings(data=str(tmp_path / "data.jsonl"), train_on="everything")
    plan = plan_of("transformer.h.1.mlp.c_fc.weight")
    with pytest.raises(DataError, match="positions") as caught:
        prepare(str(tmp_path / "model"), plan, given)
    assert "--max-length" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["model.norm.weight", "model.embed_tokens.weight"])
def test_adapters_fit_matrices_of_blocks_only(folder: Path, name: str) -> None:
    with pytest.raises(PlanError, match="no adapter fits"):
        prepare(str(folder / "model"), plan_of(DOWN, adapted=(name,)), settings(folder))


def test_some_adapters_of_a_model_with_fused_experts_are_those_of_the_plan(
    tmp_path: Path,
) -> None:
    write_tiny_mixtral(tmp_path / "model")
    write_messages(tmp_path / "data.jsonl", 8)
    adapted = ("model.layers.1.self_attn.q_proj.weight", "model.layers.3.self_attn.o_proj.weight")
    plan = plan_of("model.layers.2.self_attn.v_proj.weight", adapted=adapted, base="nf4")
    run = run_of(tmp_path, "run", plan, max_steps=2)
    assert set(run.adapted) == set(adapted)


def test_a_damaged_best_checkpoint_is_no_result(folder: Path) -> None:
    def answered(name: str, answer: str) -> str:
        turns = [{"role": "user", "content": "card"}, {"role": "assistant", "content": answer}]
        (folder / name).write_text((json.dumps({"messages": turns}) + "\n") * 8)
        return str(folder / name)

    # It learns one answer and forgets the held-out one, so that an early step is the best.
    answered("data.jsonl", "fox fox fox")
    held_out = answered("eval.jsonl", "dog lazy payment")
    plan = plan_of(DOWN, "model.norm.weight", "model.embed_tokens.weight")
    given = settings(folder, lr=2e-2, max_steps=8, eval_data=held_out, eval_every=1, keep_best=True)
    with prepare_training(str(folder / "model"), plan, given, folder / "run") as training:

        def damage(step: TrainStep) -> None:
            for file in (folder / "run" / "checkpoints").glob("step-*/trained.safetensors"):
                file.write_bytes(file.read_bytes()[:-1] + b"\x7f")

        with pytest.raises(CheckpointError, match=r"trained\.safetensors"):
            training.run(damage)
    assert not (folder / "run" / "run.json").exists()


def test_a_changed_chat_template_makes_another_run(folder: Path) -> None:
    run_of(folder, "run", max_steps=2)
    forget_the_end(folder, "run")
    template = folder / "model" / "chat_template.jinja"
    template.write_text(template.read_text().replace("user", "User").replace("\n", " "))
    with pytest.raises(TrainError, match="data_digest differs"):
        run_of(folder, "run", max_steps=2)


def test_experts_that_are_fused_on_load_come_back_under_their_own_names(tmp_path: Path) -> None:
    write_tiny_mixtral(tmp_path / "model")
    write_messages(tmp_path / "data.jsonl", 8)
    experts = "model.layers.1.block_sparse_moe.experts"
    names = [f"{experts}.{e}.{w}.weight" for e in range(4) for w in ("w1", "w3")]
    run = run_of(tmp_path, "run", plan_of(*names), max_steps=2)
    assert run.moved > 0.9
    merge(tmp_path / "run", tmp_path / "merged")
    before = load_file(tmp_path / "model" / "model.safetensors")
    after = load_file(tmp_path / "merged" / "model.safetensors")
    assert before.keys() == after.keys()
    assert {name for name in before if not torch.equal(before[name], after[name])} == set(names)
    model, found = AutoModelForCausalLM.from_pretrained(
        tmp_path / "merged", output_loading_info=True
    )
    assert not found["missing_keys"]
    assert not found["unexpected_keys"]
    fused = dict(model.named_parameters())["model.layers.1.mlp.experts.gate_up_proj"]
    gate, up = fused[2].chunk(2)
    assert torch.equal(gate, after[f"{experts}.2.w1.weight"])
    assert torch.equal(up, after[f"{experts}.2.w3.weight"])


def test_several_processes_at_once_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainError, match="several processes"):
        prepare(str(folder / "model"), plan_of(DOWN), settings(folder))
