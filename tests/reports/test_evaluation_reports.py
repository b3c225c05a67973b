"""An evaluation, shown: its figures, its questions, and the same of both in every medium."""

import io
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from spectrum_ft.environment import current_environment
from spectrum_ft.records.evaluations import EvalSettings, Evaluation, Outcome
from spectrum_ft.records.training import DataSummary
from spectrum_ft_reports.evaluations.markdown import evaluation_markdown
from spectrum_ft_reports.evaluations.page import evaluation_page
from spectrum_ft_reports.evaluations.questions import MOST_QUESTIONS
from spectrum_ft_reports.evaluations.terminal import print_evaluation
from spectrum_ft_reports.evaluations.views import evaluation_view
from spectrum_ft_reports.pages.masthead import Source

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


SOURCE = Source(name="eval.json", digest="e" * 64)


def measured(evaluation: Evaluation) -> dict[str, tuple[str, str, str]]:
    rows = evaluation_view(evaluation).metrics
    return {row.name: (row.value, row.interval, row.of) for row in rows}


def told(evaluation: Evaluation) -> dict[str, str]:
    return dict(evaluation_view(evaluation).facts)


def test_a_share_comes_with_wilsons_interval() -> None:
    # By hand, z = 1.96: (0.645 + 0.0096 -+ 1.96 sqrt(0.645 * 0.355 / 200 + 2.4e-5)) / 1.0192.
    row = ("64.5 %", "57.7 to 70.8 %", "129 of 200 questions")
    assert measured(EVALUATION)["exact match"] == row
    assert measured(EVALUATION)["choice"] == row
    said = "129 of 200 questions were answered as expected: 64.5 %, with a 95 % interval of"
    assert evaluation_view(EVALUATION).verdict == f"{said} 57.7 to 70.8 %."
    one = replace(EVALUATION, outcomes=EVALUATION.outcomes[:1], exact_match=0.0)
    assert measured(one)["exact match"] == ("0.0 %", "0.0 to 79.3 %", "0 of 1 question")


BARE = replace(
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


def test_what_was_not_measured_is_not_said() -> None:
    view = evaluation_view(BARE)
    assert measured(BARE) == {"loss": ("0.5123", "-", "2 tokens of answers")}
    assert view.verdict == "The loss on the expected answers is 0.5123 nats a token."
    assert list(told(BARE)) == ["model", "data", "time", "memory"]
    assert told(BARE)["time"] == "1 min 23 s, on cuda:0 NVIDIA H100"
    assert view.blank == {"answer", "correct", "choice", "choice_correct", "samples"}
    assert view.questions[0].loss == "0.5000"  # 1 nat over 2 tokens


def test_a_harness_that_ran_alone_still_makes_a_report() -> None:
    alone = replace(BARE, loss=None, outcomes=(), tasks={"hellaswag acc": 0.5})
    view = evaluation_view(alone)
    assert measured(alone) == {"hellaswag acc": ("0.5", "-", "lm-evaluation-harness")}
    assert view.figures == ()
    assert "hellaswag acc" in evaluation_page(alone, source=SOURCE)
    assert "hellaswag acc" in evaluation_markdown(view)


def test_three_wrong_answers_are_shown_and_an_empty_one_is_called_so() -> None:
    wrong = evaluation_view(EVALUATION).wrong
    assert len(wrong) == 3
    said = '"lost_or_stolen_card", expected "card_arrival"'
    assert wrong[0] == ("test.jsonl, line 1", said)
    for answer in (None, ""):
        silent = replace(EVALUATION.outcomes[0], answer=answer)
        view = evaluation_view(replace(EVALUATION, outcomes=(silent,)))
        assert view.wrong[0].text == 'no answer, expected "card_arrival"'
        assert view.questions[0].answer == "no answer"


def test_wrong_choices_are_shown_where_nothing_was_generated() -> None:
    outcome = replace(EVALUATION.outcomes[0], answer=None, correct=None)
    chosen = replace(EVALUATION, outcomes=(outcome,), exact_match=None)
    view = evaluation_view(chosen)
    assert '"lost_or_stolen_card"' in view.wrong[0].text
    assert "decided as expected, by likelihood" in view.verdict
    assert {"answer", "correct"} <= view.blank


def test_few_questions_and_cut_examples_are_cautions() -> None:
    assert evaluation_view(EVALUATION).cautions == (
        "The loss was taken on 12 examples cut at 1,024 tokens.",
    )
    few = replace(EVALUATION, outcomes=EVALUATION.outcomes[:5])
    assert evaluation_view(few).cautions[0].startswith("5 questions only")


def test_of_very_many_questions_all_wrong_ones_are_listed_and_the_rest_is_counted() -> None:
    outcomes = tuple(an_outcome(number, right=number % 100 != 0) for number in range(1, 20_001))
    many = replace(EVALUATION, outcomes=outcomes)
    view = evaluation_view(many)
    assert len(view.questions) == MOST_QUESTIONS
    assert sum(row.correct == "wrong" for row in view.questions) == 200
    places = [int(row.place.rpartition(" ")[2]) for row in view.questions]
    assert places == sorted(places)
    assert view.unlisted.startswith("1,000 of 20,000 questions are listed")
    page = evaluation_page(many, source=SOURCE)
    assert view.unlisted in page
    assert len(page) < 500_000
    assert not evaluation_view(EVALUATION).unlisted


def test_every_medium_says_the_same_figures() -> None:
    view = evaluation_view(EVALUATION)
    media = (
        evaluation_page(EVALUATION, source=SOURCE),
        evaluation_markdown(view).replace("\\", ""),
        rendered(120),
    )
    for text in media:
        for row in view.metrics:
            assert row.value in text
            assert row.interval in text
        assert "12,345 tokens generated" in text


def hostile() -> Evaluation:
    outcome = replace(EVALUATION.outcomes[0], place=HOSTILE, expected=HOSTILE, answer=HOSTILE)
    return replace(
        EVALUATION,
        source=HOSTILE,
        settings=replace(
            EVALUATION.settings,
            examples=HOSTILE,
            general=HOSTILE,
            answer_pattern=r"(</script><img src=x>)",
        ),
        data=replace(EVALUATION.data, source=HOSTILE, shape=HOSTILE),
        tasks={HOSTILE: 1.0},
        outcomes=(outcome,),
        environment=replace(EVALUATION.environment, device=HOSTILE),
        command=HOSTILE,
    )


def test_what_strangers_wrote_in_data_and_answers_is_spelled_out() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=80, no_color=True)
    print_evaluation(console, evaluation_view(hostile()))
    shown = stream.getvalue()
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "[red]" in shown


def test_a_stranger_s_markup_stays_text_on_the_page_and_in_markdown() -> None:
    page = evaluation_page(hostile(), source=SOURCE)
    assert page.count("</script>") == 2  # our own two
    assert "<img" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "<img" not in evaluation_markdown(evaluation_view(hostile()))
    assert "</script>" not in evaluation_markdown(evaluation_view(hostile())).split("```")[0]


def rendered(width: int, *, encoding: str = "utf-8") -> str:
    """The evaluation as a console writes it."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    odd = replace(EVALUATION.outcomes[0], answer="où est ma carte → ?")
    evaluation = replace(EVALUATION, outcomes=(odd, *EVALUATION.outcomes[1:]))
    console = Console(file=file, width=width, highlight=False, no_color=True)
    print_evaluation(console, evaluation_view(evaluation))
    file.flush()
    lines = raw.getvalue().decode(encoding).splitlines()
    assert max(map(len, lines)) <= width
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


def test_colour_adds_codes_and_changes_no_letter() -> None:
    stream = io.StringIO()
    console = Console(
        file=stream, width=80, highlight=False, force_terminal=True, color_system="standard"
    )
    print_evaluation(console, evaluation_view(EVALUATION))
    coloured = stream.getvalue()
    assert "\x1b[1m" in coloured
    plain = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    uncoloured = io.StringIO()
    console = Console(file=uncoloured, width=80, highlight=False, no_color=True)
    print_evaluation(console, evaluation_view(EVALUATION))
    assert plain == uncoloured.getvalue()


CASES = {
    "evaluation-60": lambda: rendered(60),
    "evaluation-80": lambda: rendered(80),
    "evaluation-80-ascii": lambda: rendered(80, encoding="ascii"),
    "evaluation-120": lambda: rendered(120),
    "evaluation-markdown": lambda: evaluation_markdown(evaluation_view(EVALUATION)),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_an_evaluation_reads_as_it_was_approved(name: str, approved: Approved) -> None:
    text = CASES[name]()
    assert text == approved(name, text)
