"""What is said of an evaluation."""

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from spectrum_ft.environment import current_environment
from spectrum_ft.records.evaluations import EvalSettings, Evaluation, Outcome
from spectrum_ft.records.training import DataSummary
from spectrum_ft_reports.evaluations.views import evaluation_facts
from spectrum_ft_reports.parts.terminal import print_facts

Approved = Callable[[str, str], str]

HOSTILE = "evil\x1b[2J\u202e[red]\n</script>"


def an_outcome(number: int, *, right: bool) -> Outcome:
    answer = "card_arrival" if right else "lost_or_stolen_card"
    return Outcome(
        place=f"test.jsonl, line {number}",
        expected="card_arrival",
        answer=answer,
        correct=right,
        samples=4,
        choice=answer,
        choice_correct=right,
        loss=2.5,
        tokens=5,
    )


EVALUATION = Evaluation(
    source="runs/banking/hybrid-25",
    settings=EvalSettings(
        data="data/test.jsonl",
        metrics=("loss", "exact-match", "choice"),
        few_shot=5,
        examples="data/banking/train.jsonl",
        votes=16,
        general="texts/public/general.txt",
        seed=3,
    ),
    data=DataSummary(
        source="data/banking/test.jsonl",
        digest="d" * 64,
        shape="conversations in `messages`",
        rows=200,
        kept=200,
        truncated=12,
        dropped=1,
        tokens=9000,
        learned_tokens=1000,
        longest=1500,
    ),
    loss=0.512345,
    exact_match=129 / 200,
    choice_accuracy=129 / 200,
    samples=4.25,
    general_loss=3.01234,
    tasks={"hellaswag acc_norm": 0.43123, "gsm8k exact_match (strict-match)": 0.05},
    outcomes=tuple(an_outcome(i, right=i > 71) for i in range(1, 201)),
    generated_tokens=12_345,
    seconds=83.0,
    peak_memory_bytes=3 * 2**29,
    environment=current_environment("cuda:0 NVIDIA H100"),
    command="spectrum eval",
)


def texts(evaluation: Evaluation) -> dict[str, str]:
    return dict(evaluation_facts(evaluation))


def test_a_share_comes_with_wilsons_interval() -> None:
    # By hand, z = 1.96: (0.645 + 0.0096 -+ 1.96 sqrt(0.645 * 0.355 / 200 + 2.4e-5)) / 1.0192.
    said = "64.5 % correct, 129 of 200; 95 % interval 57.7 to 70.8 %"
    assert texts(EVALUATION)["exact match"] == said
    assert texts(EVALUATION)["choice"] == said
    one = replace(EVALUATION, outcomes=EVALUATION.outcomes[:1], exact_match=0.0)
    assert texts(one)["exact match"] == "0.0 % correct, 0 of 1; 95 % interval 0.0 to 79.3 %"


def test_what_was_not_measured_is_not_said() -> None:
    bare = replace(
        EVALUATION,
        settings=EvalSettings(data="test.jsonl", metrics=("loss",)),
        exact_match=None,
        choice_accuracy=None,
        samples=None,
        general_loss=None,
        tasks={},
        outcomes=(Outcome(place="test.jsonl, line 1", expected="x", loss=1.0, tokens=2),),
        generated_tokens=0,
    )
    assert list(texts(bare)) == ["model", "data", "loss", "time", "memory"]
    assert texts(bare)["loss"] == "0.5123 a token, over 2 tokens of answers"
    assert texts(bare)["time"] == "1 min 23 s, on cuda:0 NVIDIA H100"


def test_three_wrong_answers_are_shown_and_an_empty_one_is_called_so() -> None:
    wrong = [fact.text for fact in evaluation_facts(EVALUATION) if fact.label == "wrong"]
    assert len(wrong) == 3
    assert wrong[0] == 'test.jsonl, line 1: "lost_or_stolen_card", expected "card_arrival"'
    for answer in (None, ""):
        silent = replace(EVALUATION.outcomes[0], answer=answer)
        shown = texts(replace(EVALUATION, outcomes=(silent,)))["wrong"]
        assert shown == 'test.jsonl, line 1: no answer, expected "card_arrival"'


def test_wrong_choices_are_shown_where_nothing_was_generated() -> None:
    outcome = replace(EVALUATION.outcomes[0], answer=None, correct=None)
    chosen = replace(EVALUATION, outcomes=(outcome,), exact_match=None)
    assert '"lost_or_stolen_card"' in texts(chosen)["wrong"]


def test_what_strangers_wrote_in_data_and_answers_is_spelled_out() -> None:
    outcome = replace(EVALUATION.outcomes[0], place=HOSTILE, expected=HOSTILE, answer=HOSTILE)
    hostile = replace(
        EVALUATION,
        source=HOSTILE,
        settings=replace(EVALUATION.settings, examples=HOSTILE, general=HOSTILE),
        data=replace(EVALUATION.data, source=HOSTILE, shape=HOSTILE),
        tasks={HOSTILE: 1.0},
        outcomes=(outcome,),
        environment=replace(EVALUATION.environment, device=HOSTILE),
    )
    stream = io.StringIO()
    print_facts(Console(file=stream, width=80, no_color=True), evaluation_facts(hostile))
    shown = stream.getvalue()
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "[red]" in shown


def rendered(width: int, *, encoding: str = "utf-8") -> str:
    """The evaluation as a console writes it."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    odd = replace(EVALUATION.outcomes[0], answer="où est ma carte → ?")
    evaluation = replace(EVALUATION, outcomes=(odd, *EVALUATION.outcomes[1:]))
    console = Console(file=file, width=width, highlight=False, no_color=True)
    print_facts(console, evaluation_facts(evaluation))
    file.flush()
    lines = raw.getvalue().decode(encoding).splitlines()
    assert max(map(len, lines)) <= width
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


CASES = {
    "eval-60": lambda: rendered(60),
    "eval-80": lambda: rendered(80),
    "eval-80-ascii": lambda: rendered(80, encoding="ascii"),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_an_evaluation_reads_as_it_was_approved(name: str, approved: Approved) -> None:
    text = CASES[name]()
    assert text == approved(name, text)
