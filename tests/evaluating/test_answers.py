"""Answers: what counts as the same, and what is taken out of a text."""

import re

import pytest

from spectrum_ft.evaluating.answers import extracted, normalised
from spectrum_ft.records.evaluations import EvalSettings, EvalSettingsError

GSM8K = re.compile(r"#### (-?\$?[0-9.,]+)")


@pytest.mark.parametrize(
    "text",
    [
        "card arrival",
        "  Card\n\tARRIVAL. ",
        "\u201ccard arrival\u201d",
        "'card arrival.'",
        "\uff43ard arrival",  # full width
    ],
)
def test_case_space_quotation_marks_and_full_stops_do_not_count(text: str) -> None:
    assert normalised(text) == "card arrival"


@pytest.mark.parametrize("text", ["card-arrival", "card arrivals", "reverted_card_payment?", ""])
def test_everything_else_counts(text: str) -> None:
    assert normalised(text) != "card arrival"
    assert normalised("reverted_card_payment?").endswith("?")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Half of 4 is 2.\n#### 2", "2"),
        ("#### 3 was wrong, so #### 72", "72"),
        ("#### 1,000,000", "1000000"),
        ("#### 1,000.50.", "1000.5"),
        ("#### $70000", "70000"),
        ("#### 5.00", "5"),
        ("#### -3", "-3"),
        ("the answer is 72", None),
        ("", None),
    ],
)
def test_the_last_match_of_a_pattern_is_the_answer(text: str, answer: str | None) -> None:
    assert extracted(text, GSM8K) == answer


def test_an_optional_group_that_took_no_part_is_no_answer() -> None:
    assert extracted("x", re.compile(r"x(y)?")) is None


@pytest.mark.parametrize("pattern", ["(", "no group", "[a"])
def test_a_pattern_that_is_none_is_refused(pattern: str) -> None:
    with pytest.raises(EvalSettingsError, match="pattern"):
        EvalSettings(data="x.jsonl", answer_pattern=pattern)
