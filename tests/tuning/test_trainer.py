"""Training a plan: against a loop written by hand, with and without every option, and its stops."""

import inspect
import json
import math
import pickletools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from trl import SFTTrainer

from spectrum_ft.errors import PlanError, SpectrumError, TrainError
from spectrum_ft.records.plans import Plan
from spectrum_ft.records.training import TrainRun, TrainSettings, TrainStep
from spectrum_ft.tuning.applying import Applied, apply_plan
from spectrum_ft.tuning.bases import open_base
from spectrum_ft.tuning.data.packing import pack
from spectrum_ft.tuning.loading import load_for_training
from spectrum_ft.tuning.optimizing import ANYWHERE
from spectrum_ft.tuning.runs.progress import Meter, Progress
from spectrum_ft.tuning.runs.run_checkpoints import RunCheckpoints
from spectrum_ft.tuning.runs.step_folders import step_folder, verify_step
from spectrum_ft.tuning.trainer import SelectiveTrainer
from spectrum_ft.tuning.training import Stopped, prepare_training
from tiny_models import plan_of, tiny_tokenizer, write_messages, write_tiny, write_tiny_llama

pytestmark = [
    # PEFT asks transformers by a name that transformers means to drop.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning"),
    # transformers' option has a new name, and TRL and we know it by the old one.
    pytest.mark.filterwarnings("ignore:.gradient_checkpointing. is deprecated:FutureWarning"),
]

CPU = torch.device("cpu")
DOWN = "model.layers.2.mlp.down_proj.weight"
QUERY = "model.layers.3.self_attn.q_proj.weight"
GATE = "model.layers.2.mlp.gate_proj.weight"
UP = "model.layers.3.mlp.up_proj.weight"
PLANS = {
    "trained": plan_of(DOWN, QUERY),
    "adapters": plan_of(adapted=[GATE, UP]),
    "both": plan_of(DOWN, QUERY, adapted=[GATE, UP]),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny matrices are slower on many threads, unpacking 4 bits above all."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny Llama of four blocks, and 24 conversations."""
    write_tiny_llama(tmp_path / "model")
    write_messages(tmp_path / "data.jsonl", 24)
    return tmp_path


def settings(**changed: Any) -> TrainSettings:
    """Four steps at a constant rate, float32 all through."""
    made: dict[str, Any] = {
        "data": "data.jsonl",
        "lr": 1e-3,
        "lora_lr": 1e-3,
        "batch_size": 2,
        "max_steps": 4,
        "scheduler": "constant",
        "warmup": 0.0,
        "dtype": "float32",
        "device": "cpu",
    }
    return TrainSettings(**{**made, **changed})


def train(
    folder: Path,
    plan: Plan,
    output: str = "run",
    *,
    watch: Callable[[TrainStep], None] = lambda step: None,
    should_stop: Callable[[], bool] = lambda: False,
    **changed: Any,
) -> TrainRun:
    """A whole run of the model and data in `folder`."""
    chosen = settings(data=str(folder / "data.jsonl"), **changed)
    with prepare_training(str(folder / "model"), plan, chosen, folder / output) as training:
        return training.run(watch, should_stop)


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in metrics(run) if line["loss"] is not None]


def result(run: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = load_file(run / "result" / "trained.safetensors")
    return tensors


def some_rows(lengths: tuple[int, ...], *, learned_from: float = 0.5) -> Dataset:
    """Random tokens; what comes before that share of each row is not learned."""
    chance = torch.Generator().manual_seed(0)
    ids = [torch.randint(3, 300, (n,), generator=chance).tolist() for n in lengths]
    labels = [
        [-100] * int(learned_from * len(row)) + row[int(learned_from * len(row)) :] for row in ids
    ]
    return Dataset.from_dict({"input_ids": ids, "labels": labels})


def apply_to(model: Path, plan: Plan, dtype: torch.dtype = torch.float32) -> Applied:
    loaded = load_for_training(open_base(str(model)), plan, dtype=dtype, device=CPU)
    return apply_plan(loaded.model, plan)


def trainer_of(
    applied: Applied,
    chosen: TrainSettings,
    dataset: Dataset,
    folder: Path,
    eval_dataset: Dataset | None = None,
) -> tuple[SelectiveTrainer, list[TrainStep]]:
    """The trainer without what surrounds it in a run, and the list that its steps go to."""
    steps: list[TrainStep] = []
    trainer = SelectiveTrainer(
        applied,
        chosen,
        tokenizer=tiny_tokenizer(),
        dataset=dataset,
        eval_dataset=eval_dataset,
        checkpoints=RunCheckpoints(folder / "checkpoints", run_id="0" * 16, keep=2),
        meter=Meter(Progress(), CPU),
        watch=steps.append,
        should_stop=lambda: False,
    )
    return trainer, steps


# What is overridden, with the parameters that the overriding methods were written for.
OVERRIDDEN = {
    "create_optimizer": ["self", "model=None"],
    "_prepare_for_training": ["self", "max_steps", "train_dataloader", "resume_from_checkpoint"],
    "compute_loss": ["self", "model", "inputs", "return_outputs=False", "num_items_in_batch=None"],
    "training_step": ["self", "*args", "**kwargs"],
    "_get_grad_norm": ["self", "model", "grad_norm=None"],
    "evaluate": ["self", "eval_dataset=None", "ignore_keys=None", "metric_key_prefix='eval'"],
    "_save_checkpoint": ["self", "model", "trial"],
    "_load_from_checkpoint": ["self", "resume_from_checkpoint", "model=None"],
    "_load_optimizer_and_scheduler": ["self", "checkpoint"],
    "_load_rng_state": ["self", "checkpoint"],
    "_send_telemetry": ["self"],
}
# What is called that is not documented as anybody's to call.
CALLED = {
    "get_optimizer_cls_and_kwargs": ["args", "model=None"],
    "compute_loss_context_manager": ["self"],
    "_prepare_inputs": ["self", "inputs"],
    "log": ["self", "logs", "start_time=None"],
}


@pytest.mark.parametrize("name", [*OVERRIDDEN, *CALLED])
def test_methods_that_are_overridden_or_called_are_as_they_were(name: str) -> None:
    method = getattr(SFTTrainer, name, None)
    assert method is not None, f"transformers or TRL dropped {name}"
    found = []
    for parameter in inspect.signature(method).parameters.values():
        bare = parameter.replace(annotation=inspect.Parameter.empty)
        found.append(str(bare))
    wanted = {**OVERRIDDEN, **CALLED}[name]
    assert found == wanted, f"transformers or TRL changed {name}: look at trainer.py's use of it"


def test_the_list_of_overridden_methods_is_complete() -> None:
    own = {
        name
        for name, value in vars(SelectiveTrainer).items()
        if inspect.isfunction(value) and hasattr(SFTTrainer, name)
    }
    assert own - {"__init__"} == set(OVERRIDDEN)


def test_the_trainers_own_names_hide_none_of_its_bases() -> None:
    own = {n for n, v in vars(SelectiveTrainer).items() if inspect.isfunction(v)} - {"__init__"}
    hidden = {n for n in own - set(OVERRIDDEN) if hasattr(SFTTrainer, n)}
    assert not hidden


def test_what_the_gradient_norm_is_asked_for_comes_before_the_optimizers_step() -> None:
    source = inspect.getsource(SFTTrainer._run_epoch)
    order = [source.index(f"{name}(") for name in ("_get_grad_norm", "on_pre_optimizer_step")]
    order += [source.index("optimizer.step("), source.index("on_optimizer_step(")]
    assert order == sorted(order), "transformers changed the order of a step"


def by_hand(applied: Applied, rows: Dataset, *, steps: int, rate: float) -> list[float]:
    """The losses of AdamW on all rows at once, as torch's tutorial writes it."""
    parameters = [p for p in applied.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    applied.model.train()
    found = []
    for _ in range(steps):
        total, count = torch.zeros(()), 0
        for row in rows:
            ids, labels = torch.tensor([row["input_ids"]]), torch.tensor(row["labels"])
            logits = applied.model(input_ids=ids, use_cache=False).logits[0]
            total = total + functional.cross_entropy(logits[:-1], labels[1:], reduction="sum")
            count += int((labels[1:] != -100).sum())
        loss = total / count
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        found.append(loss.item())
    return found


ROWS = some_rows((9, 14, 5, 11))


@pytest.mark.parametrize("name", PLANS)
def test_a_run_is_what_a_loop_by_hand_does(name: str, folder: Path) -> None:
    plan = PLANS[name]
    hand = apply_to(folder / "model", plan)
    wanted = by_hand(hand, ROWS, steps=4, rate=1e-3)
    applied = apply_to(folder / "model", plan)
    # All rows in one batch, so that their order is of no account.
    trainer, steps = trainer_of(applied, settings(batch_size=4), ROWS, folder)
    trainer.train()
    assert [step.loss for step in steps] == pytest.approx(wanted, rel=1e-5)
    assert wanted[-1] < wanted[0]
    for key, value in {**hand.trained, **hand.adapters}.items():
        ours = {**applied.trained, **applied.adapters}[key]
        # Adam's first steps are of the size of the rate whatever the gradient's.
        torch.testing.assert_close(ours, value, rtol=0, atol=2e-5)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2", "cohere", "granite"])
@pytest.mark.parametrize("length", [12, 600])
def test_the_loss_is_right_whichever_head_computes_it(
    kind: str, length: int, tmp_path: Path
) -> None:
    # Above 2,048 learned positions TRL's head takes over from ours.
    longest = "n_positions" if kind == "gpt2" else "max_position_embeddings"
    changed: dict[str, Any] = {longest: 600}
    write_tiny(tmp_path / "model", kind, **changed)
    rows = some_rows((length,) * 8)
    norm = "transformer.ln_f.weight" if kind == "gpt2" else "model.norm.weight"
    expected = by_hand(apply_to(tmp_path / "model", plan_of(norm)), rows, steps=1, rate=1e-3)
    applied = apply_to(tmp_path / "model", plan_of(norm))
    trainer, steps = trainer_of(applied, settings(batch_size=8, max_steps=1), rows, tmp_path)
    trainer.train()
    assert steps[0].loss == pytest.approx(expected[0], rel=1e-6)


def test_a_model_with_experts_is_trained_with_its_balancing_loss(tmp_path: Path) -> None:
    # The share of it that the model's config names, on all positions, as in pre-training.
    write_tiny(tmp_path / "model", "mixtral", router_aux_loss_coef=0.1)
    rows = some_rows((12,) * 8)
    plain = apply_to(tmp_path / "model", plan_of("model.norm.weight"))
    ids = torch.tensor([row["input_ids"] for row in rows])
    with torch.no_grad():
        balance = plain.model(input_ids=ids, output_router_logits=True).aux_loss.item()
    expected = by_hand(plain, rows, steps=1, rate=1e-3)[0] + 0.1 * balance
    applied = apply_to(tmp_path / "model", plan_of("model.norm.weight"))
    trainer, steps = trainer_of(applied, settings(batch_size=8, max_steps=1), rows, tmp_path)
    trainer.train()
    assert steps[0].loss == pytest.approx(expected, rel=1e-6)
    assert balance > 1.0


class Watched:
    """What happens in each block during training steps."""

    def __init__(self, applied: Applied) -> None:
        self.calls = [0] * 4
        self.differentiated = [False] * 4
        for index, block in enumerate(applied.base.model.layers):
            # What is computed again is a block's inside without its hooks, and only until the last
            # tensor needed is there: its first module is sure to be seen.
            block.input_layernorm.register_forward_pre_hook(self._count(index))
            block.register_forward_hook(self._look(index))

    def _count(self, index: int) -> Callable[[Any, Any], None]:
        def note(module: Any, given: Any) -> None:
            self.calls[index] += 1

        return note

    def _look(self, index: int) -> Callable[[Any, Any, Any], None]:
        def note(module: Any, given: Any, made: Any) -> None:
            self.differentiated[index] |= bool(made.requires_grad)

        return note


@pytest.mark.parametrize("keeping", ["as-is", "nf4"])
@pytest.mark.parametrize("name", PLANS)
def test_nothing_below_the_lowest_trained_block_is_differentiated_or_recomputed(
    name: str, keeping: Any, folder: Path
) -> None:
    plan = plan_of(
        *PLANS[name].train,
        adapted=PLANS[name].lora.matrices if PLANS[name].lora else (),  # type: ignore[union-attr]
        base=keeping,
    )
    found = {}
    for checkpointing in (False, True):
        applied = apply_to(folder / "model", plan)
        chosen = settings(grad_checkpointing=checkpointing, max_steps=3)
        trainer, steps = trainer_of(applied, chosen, ROWS, folder)
        watched = Watched(applied)
        trainer.train()
        again = 2 if checkpointing else 1
        assert watched.differentiated == [False, False, True, True]
        assert watched.calls == [3, 3, 3 * again, 3 * again]
        found[checkpointing] = [step.loss for step in steps]
    assert found[True] == pytest.approx(found[False], rel=1e-6)


def test_trained_embeddings_are_reached_through_all_blocks(folder: Path) -> None:
    applied = apply_to(folder / "model", plan_of("model.embed_tokens.weight", DOWN))
    trainer, _ = trainer_of(applied, settings(grad_checkpointing=True, max_steps=1), ROWS, folder)
    watched = Watched(applied)
    trainer.train()
    assert watched.differentiated == [True] * 4
    assert watched.calls == [2] * 4


@pytest.mark.parametrize("learned_from", [0.5, 0.0])
def test_packed_rows_have_the_loss_of_the_examples_in_them(
    learned_from: float, folder: Path
) -> None:
    rows = some_rows((9, 14, 5, 11, 7, 13), learned_from=learned_from)
    first = {}
    for packing in (False, True):
        applied = apply_to(folder / "model", plan_of(DOWN))
        chosen = settings(batch_size=6, max_steps=1, packing=packing)
        dataset = pack(rows, 32) if packing else rows
        assert len(dataset) == (2 if packing else 6)
        trainer, steps = trainer_of(applied, chosen, dataset, folder)
        trainer.train()
        first[packing] = (steps[0].loss, steps[0].grad_norm, steps[0].tokens)
    assert first[True][0] == pytest.approx(first[False][0], rel=1e-6)
    assert first[True][1] == pytest.approx(first[False][1], rel=1e-4)
    assert first[True][2] == first[False][2] == 59


def test_two_small_batches_are_one_large_one(folder: Path) -> None:
    rows = some_rows((9, 14, 5, 11, 7, 13, 6, 12))
    found = []
    for size, accumulated in ((4, 1), (2, 2), (1, 4)):
        applied = apply_to(folder / "model", plan_of(DOWN))
        chosen = settings(batch_size=size, grad_accum=accumulated)
        trainer, steps = trainer_of(applied, chosen, rows, folder)
        trainer.train()
        found.append([step.loss for step in steps])
    # Every token counts the same, however rows of unequal length are dealt out.
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    assert found[2] == pytest.approx(found[0], rel=1e-5)


@pytest.mark.parametrize(
    ("changed", "steps"),
    [
        ({"epochs": 1.0, "batch_size": 5}, 5),
        ({"epochs": 1.5, "batch_size": 5, "grad_accum": 2}, 5),
        ({"epochs": 0.1, "batch_size": 2}, 2),
        ({"epochs": 2.0, "batch_size": 50}, 2),
    ],
)
def test_a_run_takes_the_steps_that_its_contract_says(
    changed: dict[str, Any], steps: int, folder: Path
) -> None:
    run = train(folder, plan_of(DOWN), max_steps=None, **changed)
    assert run.steps == run.contract.steps == steps == len(losses(folder / "run"))


def test_adagrad_does_not_round_at_random(folder: Path) -> None:
    with pytest.raises(TrainError, match="adagrad keeps its state"):
        train(folder, plan_of(DOWN), optimizer="adagrad", precision="stochastic", dtype="bfloat16")


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        *((name, "master") for name in ANYWHERE),
        *((name, "stochastic") for name in ANYWHERE if name != "adagrad"),
    ],
)
def test_every_optimizer_trains_a_plan(name: str, precision: Any, folder: Path) -> None:
    kept = {"precision": precision}
    if precision == "stochastic":
        kept["dtype"] = "bfloat16"
    run = train(folder, PLANS["both"], optimizer=name, lr=1e-2, max_steps=2, save_every=1, **kept)
    assert run.moved > 0.1
    assert all(math.isfinite(loss) for loss in losses(folder / "run"))


def test_frozen_and_packed_weights_keep_every_bit_and_masters_stay_float32(folder: Path) -> None:
    plan = plan_of(DOWN, QUERY, adapted=[GATE, UP], base="nf4")
    applied = apply_to(folder / "model", plan, torch.bfloat16)
    moving = {id(p) for p in (*applied.trained.values(), *applied.adapters.values())}

    def frozen() -> dict[str, Tensor]:
        named = applied.model.named_parameters()
        return {name: p.detach().clone() for name, p in named if id(p) not in moving}

    before = frozen()
    chosen = settings(dtype="bfloat16", max_steps=2)
    trainer, _ = trainer_of(applied, chosen, ROWS, folder)
    trainer.train()
    after = frozen()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert {p.dtype for p in applied.trained.values()} == {torch.float32}
    assert {p.dtype for p in applied.adapters.values()} == {torch.float32}


@pytest.mark.parametrize("keeping", ["as-is", "nf4", "int8"])
@pytest.mark.parametrize("precision", ["master", "stochastic", "as-is"])
def test_a_bfloat16_model_trains_on_a_cpu(precision: Any, keeping: Any, folder: Path) -> None:
    plan = plan_of(DOWN, QUERY, adapted=[GATE], base=keeping)
    run = train(folder, plan, dtype="bfloat16", precision=precision, eval_data=None)
    assert run.moved > 0.1
    assert all(math.isfinite(loss) for loss in losses(folder / "run"))


def test_rates_rise_and_fall_in_both_groups(folder: Path) -> None:
    train(folder, PLANS["both"], lr=1e-3, lora_lr=1e-2, warmup=0.5, scheduler="linear", max_steps=4)
    lines = metrics(folder / "run")
    # A warm-up of two steps, then down to 0 in two: the rates that the steps were taken at.
    assert [line["lr"] for line in lines] == pytest.approx([0.0, 5e-4, 1e-3, 5e-4])
    assert [line["lora_lr"] for line in lines] == pytest.approx([0.0, 5e-3, 1e-2, 5e-3])


def test_a_run_of_one_step_with_the_default_schedule_trains(folder: Path) -> None:
    default = TrainSettings(data="")
    run = train(
        folder,
        plan_of(DOWN),
        max_steps=1,
        warmup=default.warmup,
        scheduler=default.scheduler,
    )
    assert run.moved > 0.5


def test_what_is_unfrozen_before_the_trainer_is_built_stops_it(folder: Path) -> None:
    applied = apply_to(folder / "model", plan_of(DOWN))
    applied.model.get_parameter(QUERY).requires_grad_(True)
    with pytest.raises(PlanError, match="would train as well"):
        trainer_of(applied, settings(), ROWS, folder)


def test_what_is_unfrozen_before_training_begins_stops_it(folder: Path) -> None:
    applied = apply_to(folder / "model", plan_of(DOWN))
    trainer, steps = trainer_of(applied, settings(), ROWS, folder)
    applied.model.get_parameter(QUERY).requires_grad_(True)
    with pytest.raises(PlanError, match="would train as well"):
        trainer.train()
    assert steps == []


def test_evaluating_changes_nothing_that_comes_after_it(tmp_path: Path) -> None:
    write_tiny_llama(tmp_path / "model", dropout=0.1)
    write_messages(tmp_path / "data.jsonl", 24)
    plan = plan_of(DOWN, adapted=[UP], dropout=0.1)
    train(tmp_path, plan, "without", max_steps=6)
    run = train(
        tmp_path, plan, "with", max_steps=6, eval_data=str(tmp_path / "data.jsonl"), eval_every=1
    )
    assert losses(tmp_path / "with") == losses(tmp_path / "without")
    assert result(tmp_path / "with")[DOWN].equal(result(tmp_path / "without")[DOWN])
    evaluated = [line for line in metrics(tmp_path / "with") if line["eval_loss"] is not None]
    assert [line["step"] for line in evaluated] == [1, 2, 3, 4, 5, 6]
    assert run.eval_loss == evaluated[-1]["eval_loss"]


def write_chats(path: Path, answer: str, count: int = 8) -> str:
    """Conversations that all end with `answer`."""
    lines = []
    for i in range(count):
        asked = {"role": "user", "content": f"card {i}"}
        lines.append(json.dumps({"messages": [asked, {"role": "assistant", "content": answer}]}))
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def overfit(folder: Path, output: str, **changed: Any) -> TrainRun:
    """A run that learns one answer and so forgets the held-out one, ever more."""
    write_chats(folder / "data.jsonl", "fox fox fox")
    held_out = write_chats(folder / "held-out.jsonl", "dog lazy payment")
    plan = plan_of(DOWN, "model.norm.weight", "model.embed_tokens.weight")
    return train(folder, plan, output, eval_data=held_out, eval_every=1, lr=2e-2, **changed)


def evaluations(run: Path) -> list[float]:
    return [line["eval_loss"] for line in metrics(run) if line["eval_loss"] is not None]


def test_patience_ends_a_run_that_gets_worse(folder: Path) -> None:
    run = overfit(folder, "run", patience=3, max_steps=20)
    found = evaluations(folder / "run")
    best = found.index(min(found))
    assert run.steps == len(found) == best + 1 + 3 < 20
    # Without --keep-best the last step is the result.
    assert run.result_step == run.steps
    assert run.eval_loss == found[-1]


def test_the_best_step_is_kept_and_is_the_result(folder: Path) -> None:
    run = overfit(folder, "run", keep_best=True, save_every=1, keep=1, max_steps=8)
    found = evaluations(folder / "run")
    best = found.index(min(found)) + 1
    assert 1 <= best < 8
    assert run.steps == 8
    assert run.result_step == best
    assert run.eval_loss == min(found)
    kept = load_file(step_folder(folder / "run" / "checkpoints", best) / "trained.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in result(folder / "run").items())
    # An undisturbed run of that many steps has the same weights.
    overfit(folder, "short", max_steps=best)
    assert all(torch.equal(kept[name], value) for name, value in result(folder / "short").items())


def test_a_loss_that_becomes_infinite_stops_before_it_is_learned(folder: Path) -> None:
    # After a step at this rate their product is beyond float32's largest number.
    plan = plan_of("model.norm.weight", "model.embed_tokens.weight")
    with pytest.raises(TrainError, match="not finite at step 2"):
        train(folder, plan, lr=1e30, save_every=1)
    run = folder / "run"
    run_id = json.loads((run / "start.json").read_text())["run_id"]
    (kept,) = (run / "checkpoints").iterdir()
    verify_step(kept, run_id)
    assert kept == step_folder(run / "checkpoints", 1)
    tensors = load_file(kept / "trained.safetensors")
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert not (run / "run.json").exists()
    assert len(losses(run)) == 1


def damage_embedding(model: Path, word: str) -> None:
    """Make the embedding of the token that `word` begins with infinite."""
    tensors = load_file(model / "model.safetensors")
    token = tiny_tokenizer().encode(word, add_special_tokens=False)[0]
    tensors["model.embed_tokens.weight"][token] = torch.inf
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})


def test_a_damaged_example_stops_the_run_with_its_weights_as_they_were(tmp_path: Path) -> None:
    write_tiny_llama(tmp_path / "model", tied=False)
    write_messages(tmp_path / "data.jsonl", 24)
    damage_embedding(tmp_path / "model", "~")
    chats = (tmp_path / "data.jsonl").read_text().splitlines()
    odd = {"role": "user", "content": "~ ~"}, {"role": "assistant", "content": "fox"}
    chats[5] = json.dumps({"messages": odd})
    (tmp_path / "data.jsonl").write_text("\n".join(chats) + "\n")
    with pytest.raises(TrainError, match="not finite"):
        train(tmp_path, plan_of(DOWN), max_steps=None, save_every=1, seed=1)
    found = losses(tmp_path / "run")
    assert found
    assert all(math.isfinite(loss) for loss in found)
    kept = step_folder(tmp_path / "run" / "checkpoints", len(found))
    assert all(t.isfinite().all() for t in load_file(kept / "trained.safetensors").values())


def test_a_held_out_loss_that_is_not_finite_is_an_error_in_words(tmp_path: Path) -> None:
    write_tiny_llama(tmp_path / "model", tied=False)
    write_messages(tmp_path / "data.jsonl", 24)
    damage_embedding(tmp_path / "model", "~")
    held_out = write_chats(tmp_path / "held-out.jsonl", "~ fox")
    with pytest.raises(SpectrumError, match="held-out loss"):
        train(tmp_path, plan_of(DOWN), eval_data=held_out, eval_every=1)


def test_16_bit_weights_that_do_not_move_are_noticed_at_the_first_step(folder: Path) -> None:
    with pytest.raises(TrainError, match="step 1 changed none of the weights"):
        train(folder, plan_of(DOWN), dtype="bfloat16", precision="as-is", lr=1e-12)
    assert not (folder / "run" / "run.json").exists()


def test_stochastic_rounding_that_has_moved_nothing_yet_is_no_reason_to_stop(folder: Path) -> None:
    # At the first of many warm-up steps hardly any weight is rounded away from where it was, and
    # that is as it should be: on average they move by what the rate says.
    run = train(
        folder,
        plan_of("model.layers.3.input_layernorm.weight"),
        dtype="bfloat16",
        precision="stochastic",
        lr=1e-4,
        scheduler="linear",
        warmup=0.9,
        max_steps=40,
    )
    assert run.moved > 0


def test_no_file_of_a_run_is_a_pickle(folder: Path) -> None:
    eval_data = str(folder / "data.jsonl")
    train(folder, PLANS["both"], save_every=2, eval_data=eval_data, eval_every=2, keep_best=True)
    files = [path for path in (folder / "run").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".jsonl", ".yaml", ".safetensors", ""}
    for path in files:
        data = path.read_bytes()
        assert not data.startswith(b"PK")  # torch.save writes zip files
        with pytest.raises((ValueError, IndexError)):
            list(pickletools.genops(data))


def test_a_run_prints_nothing_on_standard_output(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    train(folder, PLANS["both"])
    assert capfd.readouterr().out == ""


def test_a_run_that_was_stopped_early_ends_like_any_other(folder: Path) -> None:
    train(folder, plan_of(DOWN), "undisturbed")
    done: list[TrainStep] = []
    with pytest.raises(Stopped, match="stopped after step 2"):
        train(folder, plan_of(DOWN), watch=done.append, should_stop=lambda: len(done) >= 1)
    train(folder, plan_of(DOWN))
    assert losses(folder / "run") == losses(folder / "undisturbed")
    assert torch.equal(result(folder / "run")[DOWN], result(folder / "undisturbed")[DOWN])


class Killed(BaseException):
    """As if the process had been killed there."""


def test_a_run_killed_before_its_first_checkpoint_tells_of_each_step_once(folder: Path) -> None:
    def die(step: TrainStep) -> None:
        if step.step == 2:
            raise Killed

    with pytest.raises(Killed):
        train(folder, plan_of(DOWN), watch=die)
    with (folder / "run" / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 3, "ep')
    train(folder, plan_of(DOWN))
    assert [line["step"] for line in metrics(folder / "run")] == [1, 2, 3, 4]
