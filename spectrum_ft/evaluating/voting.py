"""Majority votes over sampled answers, which stop once the rest could not change them."""

from collections import Counter
from collections.abc import Sequence


def winner(answers: Sequence[str | None]) -> str | None:
    """The most frequent answer, the first one seen among equals; None if there is none at all.

    A sample without an answer (None) has no vote.
    """
    votes = Counter(answer for answer in answers if answer is not None)
    return votes.most_common(1)[0][0] if votes else None


def is_settled(answers: Sequence[str | None], votes: int) -> bool:
    """Whether the winner of `votes` answers, of which these are the first, is known already.

    It is once the leader is ahead of the second by more than the answers to come, or by as many,
    if the leader was seen first: among equals that decides.
    """
    left = votes - len(answers)
    if left <= 0:
        return True
    counts = Counter(answer for answer in answers if answer is not None)
    ranked = counts.most_common(2)  # equal counts stay in the order in which they were seen
    if not ranked:
        return False
    leader, ahead = ranked[0]
    order = list(counts)
    rivals = [
        (count + left, order.index(answer)) for answer, count in counts.items() if answer != leader
    ]
    rivals.append((left, len(order)))  # an answer that was not seen yet
    return all((-ahead, order.index(leader)) < (-count, place) for count, place in rivals)
