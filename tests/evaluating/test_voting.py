"""Votes: stopping early never changes who wins."""

from hypothesis import given, settings
from hypothesis import strategies as st

from spectrum_ft.evaluating.voting import is_settled, winner

ANSWERS = st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=12)


@given(answers=ANSWERS)
@settings(derandomize=True, max_examples=500, deadline=None)
def test_the_winner_once_settled_is_the_winner_of_all_votes(answers: list[str | None]) -> None:
    asked = next(k for k in range(1, len(answers) + 1) if is_settled(answers[:k], len(answers)))
    assert winner(answers[:asked]) == winner(answers)


@given(answers=ANSWERS)
@settings(derandomize=True, max_examples=300, deadline=None)
def test_a_vote_goes_on_as_long_as_the_rest_could_change_it(answers: list[str | None]) -> None:
    votes = len(answers) + 2
    if is_settled(answers, votes):
        return
    # Some way to go on ends with another winner than another way does.
    ends = {
        winner([*answers, x, y]) for x in ("a", "b", "c", "new") for y in ("a", "b", "c", "new")
    }
    assert len(ends) > 1


def test_ties_go_to_the_answer_seen_first_and_no_answer_never_wins() -> None:
    assert winner(["b", "a", "a", "b"]) == "b"
    assert winner([None, None, "a"]) == "a"
    assert winner([None]) is None
    assert is_settled(["a", "a"], 3)
    assert is_settled(["a", "a"], 4)  # at best a tie, and `a` was first
    assert not is_settled(["a"], 3)
