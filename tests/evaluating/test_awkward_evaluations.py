"""Evaluations at the edges: odd tokenizers, long texts, large seeds, models fresh from training."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from chat_data import write_jsonl
from spectrum_ft.errors import DataError
from spectrum_ft.evaluating.choosing import choice_scores
from spectrum_ft.evaluating.examinations import check_evaluation
from spectrum_ft.evaluating.likelihood import losses
from spectrum_ft.evaluating.measuring import evaluate, evaluate_model
from spectrum_ft.records.evaluations import EvalSettings, Evaluation
from spectrum_ft.records.plans import Plan
from spectrum_ft.records.training import TrainSettings
from spectrum_ft.tuning.data.labelling import Labelled
from spectrum_ft.tuning.opening import Opened, open_model
from spectrum_ft.tuning.training import train
from tiny_models import plan_of, tiny_tokenizer, write_messages, write_tiny, write_tiny_llama

pytestmark = [
    # PEFT and TRL use what transformers is about to rename.
    pytest.mark.filterwarnings("ignore:.gradient_checkpointing. is deprecated"),
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning"),
]

DOWN = "model.layers.3.mlp.down_proj.weight"
UP = "model.layers.2.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    folder = tmp_path_factory.mktemp("awkward")
    write_tiny_llama(folder / "model", seed=3)
    return open_model(str(folder / "model"), device="cpu")


@pytest.fixture(scope="module")
def with_positions(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """A GPT-2, whose 128 positions are learned: there is no 129th."""
    folder = tmp_path_factory.mktemp("positions")
    write_tiny(folder / "model", "gpt2")
    return open_model(str(folder / "model"), device="cpu")


@pytest.fixture
def data(tmp_path: Path) -> str:
    return str(write_messages(tmp_path / "test.jsonl", 9))


def examine(opened: Opened, **settings: Any) -> Evaluation:
    asked = EvalSettings(**settings)
    return evaluate_model(opened.model, opened.tokenizer, asked, source="tiny")


@pytest.mark.parametrize(
    "plan",
    [
        plan_of(DOWN),
        plan_of(DOWN, adapted=[UP], base="nf4", dropout=0.2),
        plan_of(adapted=[UP, DOWN], base="nf4"),
    ],
    ids=["spectrum", "hybrid", "qlora"],
)
def test_the_loss_of_a_run_is_the_held_out_loss_that_training_told(
    plan: Plan, tmp_path: Path
) -> None:
    write_tiny_llama(tmp_path / "model", hidden=128)
    write_messages(tmp_path / "data.jsonl", 16)
    held_out = str(write_messages(tmp_path / "eval.jsonl", 5))
    given = TrainSettings(
        data=str(tmp_path / "data.jsonl"),
        eval_data=held_out,
        lr=1e-2,
        lora_lr=1e-2,
        batch_size=4,
        max_steps=4,
        device="cpu",
        dtype="float32",
    )
    run = train(str(tmp_path / "model"), plan, given, tmp_path / "run")
    assert run.eval_loss is not None
    asked = EvalSettings(data=held_out, metrics=("loss",), device="cpu")
    found = evaluate(str(tmp_path / "run"), asked)
    base = evaluate(str(tmp_path / "model"), asked)
    assert found.loss == pytest.approx(run.eval_loss, rel=1e-4)  # in other batches
    assert base.loss is not None
    assert abs(base.loss - run.eval_loss) > 1e-2


def test_a_model_fresh_from_training_is_evaluated_like_any_other(opened: Opened, data: str) -> None:
    settings: dict[str, Any] = {"data": data, "metrics": ("loss", "exact-match", "choice")}
    before = examine(opened, **settings, max_new_tokens=3)
    model = opened.model
    model.config.use_cache = False
    model.activation_checkpointing_enable()
    model.train()
    try:
        after = examine(opened, **settings, max_new_tokens=3)
        assert model.training
        assert not model.config.use_cache
    finally:
        model.config.use_cache = True
        model.activation_checkpointing_disable()
        model.eval()
    assert after.outcomes == before.outcomes


@pytest.mark.parametrize("special", [True, False])
def test_an_answer_ends_at_its_turns_marker_though_it_is_not_the_end_of_text(
    special: bool, data: str
) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = "<|endoftext|>"
    turn_end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    if not special:
        tokenizer.add_tokens(["<|stop|>"])
        turn_end = tokenizer.convert_tokens_to_ids("<|stop|>")
        tokenizer.chat_template = tokenizer.chat_template.replace("<|im_end|>", "<|stop|>")
    assert turn_end not in tokenizer.all_special_ids
    exam = check_evaluation(tokenizer, EvalSettings(data=data))
    assert set(exam.ends) == {tokenizer.eos_token_id, turn_end}


def test_a_mark_that_the_answer_itself_ends_with_does_not_end_it(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["<|label|>"])
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] }}:{{ m['content'] }}{% endfor %}"
    )
    tokenizer.chat_template += "{% if add_generation_prompt %}assistant:{% endif %}"
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "a <|label|>"}]
    source = str(write_jsonl(tmp_path / "one.jsonl", [{"messages": turns}]))
    exam = check_evaluation(tokenizer, EvalSettings(data=source))
    assert exam.ends == (tokenizer.eos_token_id,)


def test_a_tokenizer_without_end_and_padding_will_do_for_conversations(
    opened: Opened, data: str
) -> None:
    expected = examine(opened, data=data, max_new_tokens=3)
    bare = tiny_tokenizer()
    bare.eos_token = bare.pad_token = None
    found = evaluate_model(
        opened.model, bare, EvalSettings(data=data, max_new_tokens=3), source="tiny"
    )
    assert [o.loss for o in found.outcomes] == [o.loss for o in expected.outcomes]


@pytest.mark.parametrize("seed", [2**32 - 1, 10**30])
def test_a_large_seed_is_a_seed(opened: Opened, data: str, seed: int) -> None:
    settings: dict[str, Any] = {"data": data, "metrics": ("exact-match",), "votes": 2}
    first = examine(opened, **settings, seed=seed, max_new_tokens=2, limit=3)
    again = examine(opened, **settings, seed=seed, max_new_tokens=2, limit=3)
    assert first.outcomes == again.outcomes


def test_the_loss_alone_is_taken_behind_solved_examples_too(opened: Opened, data: str) -> None:
    alone = examine(opened, data=data, metrics=("loss",))
    shown = examine(opened, data=data, metrics=("loss",), few_shot=2, examples=data)
    both = examine(opened, data=data, few_shot=2, examples=data, max_new_tokens=2)
    assert shown.loss == both.loss
    assert shown.loss != alone.loss


def test_examples_that_come_up_often_leave_as_many_in_front(opened: Opened, tmp_path: Path) -> None:
    rows = [{"prompt": "again?", "completion": " yes"}] * 20
    rows += [{"prompt": f"question {n}?", "completion": f" {n}"} for n in range(3)]
    source = str(write_jsonl(tmp_path / "often.jsonl", rows))
    for seed in range(5):
        settings = EvalSettings(data=source, few_shot=2, examples=source, seed=seed)
        exam = check_evaluation(opened.tokenizer, settings)
        texts = [opened.tokenizer.decode(prompt) for prompt in exam.prompts]
        assert {text.count("?") for text in texts} == {3}
        assert texts[0].count("again?") == 1


def test_a_choice_is_held_against_the_answer_that_the_pattern_takes_out(
    opened: Opened, tmp_path: Path
) -> None:
    rows = [{"prompt": f"q{n}?", "completion": f" so\n#### {n % 3},000"} for n in range(6)]
    source = str(write_jsonl(tmp_path / "numbers.jsonl", rows))
    pattern = "#### ([0-9,]+)"
    found = examine(opened, data=source, metrics=("choice",), answer_pattern=pattern)
    assert {o.choice for o in found.outcomes} <= {"0000", "1000", "2000"}
    assert [o.choice_correct for o in found.outcomes] == [
        o.choice == o.expected for o in found.outcomes
    ]
    assert found.choice_accuracy
    assert found.samples is None


def test_choices_score_the_same_however_many_are_taken_at_once(opened: Opened, data: str) -> None:
    exam = check_evaluation(opened.tokenizer, EvalSettings(data=data, metrics=("choice",)))
    options = next(iter(exam.options))
    assert len(options) > 4
    together = choice_scores(opened.model, options, len(options))
    for size in (1, 2, 3):
        assert choice_scores(opened.model, options, size) == pytest.approx(together, rel=1e-5)


def test_texts_of_which_much_is_learned_are_taken_fewer_at_once(opened: Opened) -> None:
    sizes: list[int] = []
    hook = opened.model.register_forward_pre_hook(
        lambda module, args, kwargs: sizes.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    ids = [5 + n % 200 for n in range(500)]
    examples = [Labelled(ids, [-100, *ids[1:]])] * 6
    try:
        found = list(losses(opened.model, examples, batch_size=6, pad_token_id=0))
    finally:
        hook.remove()
    assert sizes == [4, 2]  # 4 x 499 learned tokens, and not 5
    assert [i for i, _, _ in found] == list(range(6))
    assert {count for _, _, count in found} == {499}
    assert [loss for _, loss, _ in found] == pytest.approx([found[0][1]] * 6, rel=1e-5)


def test_texts_longer_than_the_model_has_positions_are_refused_before_it_computes(
    with_positions: Opened, data: str, tmp_path: Path
) -> None:
    rows = [{"prompt": "q", "completion": " fox card" * 80}, {"prompt": "p", "completion": " dog"}]
    long = str(write_jsonl(tmp_path / "long.jsonl", rows))
    general = tmp_path / "general.txt"
    general.write_text("the quick brown fox jumps over the lazy dog\n" * 40)
    for settings in (
        {"data": long, "metrics": ("loss",)},
        {"data": long, "metrics": ("choice",)},
        {"data": data, "metrics": ("loss",), "general": str(general)},
    ):
        with pytest.raises(DataError, match="the model has 128 positions"):
            examine(with_positions, **settings)
    found = examine(
        with_positions, data=long, metrics=("loss",), general=str(general), max_length=128
    )
    assert found.loss is not None
    assert found.general_loss is not None


def test_an_expected_answer_of_signs_that_do_not_count_is_refused(
    opened: Opened, tmp_path: Path
) -> None:
    rows = [{"prompt": "a", "completion": "..."}, {"prompt": "b", "completion": "x"}]
    source = str(write_jsonl(tmp_path / "dots.jsonl", rows))
    with pytest.raises(DataError, match="line 1: nothing is left of the expected answer"):
        check_evaluation(opened.tokenizer, EvalSettings(data=source))


@pytest.fixture
def odd_texts(tmp_path: Path) -> list[str]:
    (tmp_path / "blank.txt").write_text(" \n\n \t\n")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "folder.txt").mkdir()
    os.mkfifo(tmp_path / "pipe.txt")
    names = ("blank.txt", "empty.txt", "folder.txt", "pipe.txt", "nul\0.txt", "new\nline\x1b.txt")
    return [str(tmp_path / name) for name in names]


def test_a_general_text_that_is_none_is_refused_in_one_line(
    opened: Opened, data: str, odd_texts: list[str]
) -> None:
    for source in odd_texts:
        settings = EvalSettings(data=data, metrics=("loss",), general=source)
        with pytest.raises(DataError) as refused:
            check_evaluation(opened.tokenizer, settings)
        assert refused.value.message.isprintable()


def test_questions_asked_again_are_answered_again(opened: Opened, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "lost card"}, {"role": "assistant", "content": "fox"}]
    path = tmp_path / "twice.jsonl"
    path.write_text((json.dumps({"messages": turns}) + "\n") * 3)
    settings = EvalSettings(data=str(path), max_new_tokens=4)
    found = evaluate_model(opened.model, opened.tokenizer, settings, source="tiny")
    one = evaluate_model(
        opened.model, opened.tokenizer, replace(settings, limit=1, batch_size=500), source="tiny"
    )
    assert {o.answer for o in found.outcomes} == {one.outcomes[0].answer}
    losses_found = torch.tensor([o.loss for o in found.outcomes])
    assert torch.allclose(losses_found, torch.tensor(one.outcomes[0].loss), rtol=1e-5)
