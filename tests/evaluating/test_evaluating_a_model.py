"""Evaluating a real, tiny model: every figure against another way to compute it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from chat_data import write_jsonl
from spectrum_ft.errors import DataError
from spectrum_ft.evaluating.examinations import check_evaluation
from spectrum_ft.evaluating.generating import generate
from spectrum_ft.evaluating.measuring import evaluate_model
from spectrum_ft.records.evaluations import EvalSettings, EvalSettingsError, Evaluation
from spectrum_ft.tuning.opening import Opened, open_model
from tiny_models import write_messages, write_tiny_llama


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """A Llama of random weights, large enough that its likeliest tokens are not all alike."""
    folder = tmp_path_factory.mktemp("evaluated")
    write_tiny_llama(folder / "model", seed=3)
    model = open_model(str(folder / "model"), device="cpu")
    with torch.no_grad():
        for parameter in model.model.parameters():
            parameter.mul_(3.0)
    return model


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Conversations with one of a few answers each."""
    return str(write_messages(tmp_path / "test.jsonl", 9))


@pytest.fixture
def plain(tmp_path: Path) -> str:
    rows = [
        {"prompt": f"{'card ' * n}lost?\nIntent:", "completion": f" {answer}"}
        for n, answer in enumerate(["fox", "dog", "fox jumps", "lazy dog", "dog"], start=1)
    ]
    return str(write_jsonl(tmp_path / "plain.jsonl", rows))


def evaluate(opened: Opened, **settings: Any) -> Evaluation:
    asked = EvalSettings(**settings)
    return evaluate_model(opened.model, opened.tokenizer, asked, source="tiny")


def test_the_loss_is_that_of_every_answer_scored_on_its_own(opened: Opened, data: str) -> None:
    found = evaluate(opened, data=data, metrics=("loss",), batch_size=4)
    exam = check_evaluation(opened.tokenizer, found.settings)
    total, tokens = 0.0, 0
    for outcome, example in zip(found.outcomes, exam.learned, strict=True):
        assert example is not None
        with torch.no_grad():
            logits = opened.model(input_ids=torch.tensor([example.ids])).logits[0, :-1].double()
        labels = torch.tensor(example.labels[1:])
        loss = functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum").item()
        assert outcome.loss == pytest.approx(loss, rel=1e-5)
        assert outcome.tokens == int((labels != -100).sum())
        total, tokens = total + loss, tokens + outcome.tokens
    assert found.loss == pytest.approx(total / tokens, rel=1e-5)


def test_batched_answers_are_those_of_one_prompt_at_a_time(opened: Opened, data: str) -> None:
    together = evaluate(opened, data=data, metrics=("exact-match",), max_new_tokens=6)
    alone = evaluate(opened, data=data, metrics=("exact-match",), max_new_tokens=6, batch_size=1)
    assert [o.answer for o in together.outcomes] == [o.answer for o in alone.outcomes]
    assert len({o.answer for o in together.outcomes}) > 1


def test_greedy_answers_are_the_likeliest_tokens_one_by_one(opened: Opened) -> None:
    prompts = [[5, 9, 40, 7], [30, 31], [200, 100, 50, 25, 12, 6]]
    found = dict(
        generate(opened.model, opened.tokenizer, prompts, max_new_tokens=5, ends=[2], batch_size=3)
    )
    for place, prompt in enumerate(prompts):
        ids = list(prompt)
        with torch.no_grad():
            for _ in range(5):
                ids.append(int(opened.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        expected = ids[len(prompt) :]
        assert found[place] == (expected[: expected.index(2)] if 2 in expected else expected)


def test_only_the_first_line_counts_where_no_expected_answer_has_a_second(
    opened: Opened, plain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened.tokenizer, "decode", lambda ids, **_: " fox\nIntent: dog")
    found = evaluate(opened, data=plain, metrics=("exact-match",), max_new_tokens=1)
    assert [o.answer for o in found.outcomes] == ["fox"] * 5
    two_lines = rows(tmp_path, {"prompt": "a:", "completion": " fox\nIntent: dog"})
    found = evaluate(opened, data=two_lines, metrics=("exact-match",), max_new_tokens=1)
    assert found.exact_match == 1.0


def test_generation_settings_of_the_checkpoint_play_no_part(opened: Opened, data: str) -> None:
    before = evaluate(opened, data=data, metrics=("exact-match",), max_new_tokens=4)
    config = opened.model.generation_config
    config.repetition_penalty, config.do_sample, config.temperature = 5.0, True, 3.0
    try:
        after = evaluate(opened, data=data, metrics=("exact-match",), max_new_tokens=4)
    finally:
        config.repetition_penalty, config.do_sample, config.temperature = 1.0, False, 1.0
    assert after.outcomes == before.outcomes


@pytest.mark.parametrize("which", ["data", "plain"])
def test_choices_are_scored_as_whole_texts_are(
    opened: Opened, which: str, request: pytest.FixtureRequest
) -> None:
    source = request.getfixturevalue(which)
    found = evaluate(opened, data=source, metrics=("choice",))
    exam = check_evaluation(opened.tokenizer, found.settings)
    right = 0
    for outcome, options in zip(found.outcomes, exam.options, strict=True):
        scores = []
        for option in options:
            with torch.no_grad():
                logits = opened.model(input_ids=torch.tensor([option.ids])).logits[0, :-1].double()
            labels = torch.tensor(option.labels[1:])
            scores.append(
                -functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum").item()
            )
        best = exam.choices[scores.index(max(scores))].strip()
        assert outcome.choice == best
        right += best == outcome.expected
    assert found.choice_accuracy == right / len(found.outcomes)
    assert found.samples is None or found.samples == 0


def test_the_general_text_is_read_in_windows(opened: Opened, data: str, tmp_path: Path) -> None:
    text = tmp_path / "general.txt"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 30)
    found = evaluate(opened, data=data, metrics=("loss",), general=str(text), max_length=64)
    ids = opened.tokenizer(text.read_text(), add_special_tokens=False)["input_ids"]
    total, tokens = 0.0, 0
    for start in range(0, len(ids), 64):
        part = torch.tensor([ids[start : start + 64]])
        with torch.no_grad():
            logits = opened.model(input_ids=part).logits[0, :-1].double()
        total += functional.cross_entropy(logits, part[0, 1:], reduction="sum").item()
        tokens += part.shape[1] - 1
    assert found.general_loss == pytest.approx(total / tokens, rel=1e-5)


def test_votes_stop_once_they_are_settled_and_repeat_with_their_seed(
    opened: Opened, data: str
) -> None:
    settings = {"data": data, "metrics": ("exact-match",), "votes": 5, "max_new_tokens": 2}
    state = torch.random.get_rng_state()
    first = evaluate(opened, **settings, seed=1, temperature=0.1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert first.outcomes == evaluate(opened, **settings, seed=1, temperature=0.1).outcomes
    assert first.samples is not None
    assert 3.0 <= first.samples < 5.0  # at this temperature most answers agree
    hot = evaluate(opened, **settings, seed=1, temperature=50.0)
    assert [o.answer for o in hot.outcomes] != [o.answer for o in first.outcomes]


def test_solved_examples_stand_in_front_and_change_with_the_seed(
    opened: Opened, data: str, tmp_path: Path
) -> None:
    examples = str(write_messages(tmp_path / "train.jsonl", 12))
    settings = EvalSettings(data=data, few_shot=2, examples=examples)
    exam = check_evaluation(opened.tokenizer, settings)
    text = opened.tokenizer.decode(exam.prompts[0])
    assert text.count("<|im_start|>assistant") == 3
    assert text.endswith("<|im_start|>assistant\n")
    assert check_evaluation(opened.tokenizer, settings).prompts == exam.prompts
    others = check_evaluation(opened.tokenizer, replace(settings, seed=1))
    assert others.prompts != exam.prompts
    # The loss is that of the answer behind its examples.
    assert exam.learned[0] is not None
    assert exam.learned[0].ids[: len(exam.prompts[0])] == exam.prompts[0]


def test_a_question_is_never_among_its_own_examples(opened: Opened, tmp_path: Path) -> None:
    same = str(
        write_jsonl(
            tmp_path / "a.jsonl",
            [{"prompt": f"question {n}:", "completion": f" {n}"} for n in range(4)],
        )
    )
    exam = check_evaluation(opened.tokenizer, EvalSettings(data=same, few_shot=3, examples=same))
    for n, prompt in enumerate(exam.prompts):
        assert opened.tokenizer.decode(prompt).count(f"question {n}:") == 1


def test_a_limit_takes_the_first_questions(opened: Opened, data: str) -> None:
    found = evaluate(opened, data=data, metrics=("loss",), limit=2)
    assert [o.place for o in found.outcomes] == ["test.jsonl, line 1", "test.jsonl, line 2"]


def test_the_model_is_left_as_it_was(opened: Opened, data: str) -> None:
    opened.model.train()
    evaluate(opened, data=data, max_new_tokens=2)
    assert all(module.training for module in opened.model.modules())
    opened.model.eval()


def rows(tmp_path: Path, *lines: object) -> str:
    path = tmp_path / "bad.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": "only a text"}, "no question with an answer"),
        ({"prompt": " ", "completion": "x"}, "no question with an answer"),
        ({"messages": [{"role": "assistant", "content": "hi"}]}, "nothing to learn"),
        ({"messages": [{"role": "user", "content": "hi"}]}, "nothing to learn"),
    ],
)
def test_rows_without_a_question_are_refused(
    opened: Opened, tmp_path: Path, row: object, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        check_evaluation(opened.tokenizer, EvalSettings(data=rows(tmp_path, row)))


def test_text_without_questions_still_has_a_loss(opened: Opened, tmp_path: Path) -> None:
    source = rows(tmp_path, {"text": "the quick brown fox"}, {"text": "the lazy dog"})
    assert evaluate(opened, data=source, metrics=("loss",)).loss is not None


def test_what_cannot_be_asked_is_refused_with_its_place(
    opened: Opened, data: str, tmp_path: Path
) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"answer_pattern": "#### ([0-9]+)"}, "line 1: the pattern finds no answer"),
        ({"few_shot": 30, "examples": data}, "too few to draw 30"),
        ({"general": str(tmp_path / "none.txt")}, "cannot be read"),
        ({"max_new_tokens": 600}, "the model has 512 positions"),
    ]
    for settings, said in cases:
        with pytest.raises(DataError, match=said):
            evaluate(opened, data=data, **settings)
    for content, said in (
        (b"\xff\xfe", "not text in UTF-8"),
        (b"a", "too short"),
        (b"\0a b", "not text"),
    ):
        (tmp_path / "general.txt").write_bytes(content)
        with pytest.raises(DataError, match=said):
            evaluate(opened, data=data, general=str(tmp_path / "general.txt"))
    one = rows(tmp_path, {"prompt": "a", "completion": " b"})
    with pytest.raises(DataError, match="1 different answers to choose from"):
        evaluate(opened, data=one, metrics=("choice",))


@pytest.mark.parametrize(
    "settings",
    [
        {"limit": 0},
        {"votes": 0},
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"metrics": ()},
        {"metrics": ("bleu",)},
        {"few_shot": 2},
        {"votes": 3, "metrics": ("loss",)},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(EvalSettingsError):
        EvalSettings(data="x.jsonl", **settings)
