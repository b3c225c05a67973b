"""Whether the machinery can tell: planted differences are found, equal recipes are not split."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from made_trials import arm, evaluation
from spectrum_ft.comparing.contrasts import contrasts
from spectrum_ft.comparing.tables import ArmTrials
from spectrum_ft.records.comparisons import Asked, Contrast

SEEDS, QUESTIONS, COMPARISONS = 3, 200, 1000
ASKED = Asked(question="Is a better than b?", arm="a", against="b")

Chance = np.random.Generator
Table = NDArray[np.bool_]


def with_seeds(spread: float) -> Callable[[Chance, NDArray[np.float64], float], Table]:
    """Draws of a recipe whose seeds give different models, by `spread` logits."""

    def draw(chance: Chance, easy: NDArray[np.float64], gain: float) -> Table:
        of_seed = chance.normal(0.0, spread, (SEEDS, 1))
        of_rest = chance.normal(0.0, 0.5, (SEEDS, QUESTIONS))
        chances = 1.0 / (1.0 + np.exp(-(easy + gain + of_seed + of_rest)))
        return chance.random((SEEDS, QUESTIONS)) < chances

    return draw


def without_seeds(chance: Chance, easy: NDArray[np.float64], gain: float) -> Table:
    """A recipe whose seeds all give the same model, another one for each arm by chance alone."""
    answers = easy + gain + chance.normal(0.0, 1.0, QUESTIONS) > 0.0
    return np.tile(answers, (SEEDS, 1))


def simulated(
    draw: Callable[[Chance, NDArray[np.float64], float], Table], gain: float = 0.0
) -> Iterator[Contrast]:
    """Comparisons of a recipe with another that is `gain` logits worse, or the same."""
    chance = np.random.default_rng(20261124)
    for _ in range(COMPARISONS):
        easy = chance.normal(0.3, 1.5, QUESTIONS)
        arms: dict[str, ArmTrials] = {
            name: arm(name, [evaluation(row.tolist()) for row in draw(chance, easy, worth)])
            for name, worth in (("a", gain), ("b", 0.0))
        }
        (contrast,) = contrasts(arms, [ASKED])
        yield contrast


# 5 % and twice the Monte-Carlo error of 1,000 comparisons, sqrt(0.05 x 0.95 / 1000) = 0.7 %.
MOST = 0.05 + 2 * (0.05 * 0.95 / COMPARISONS) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    "draw",
    [without_seeds, with_seeds(0.0), with_seeds(0.3), with_seeds(2.0)],
    ids=["same model", "no seed variance", "small", "large"],
)
def test_equal_recipes_are_seldom_called_different(
    draw: Callable[[Chance, NDArray[np.float64], float], Table],
) -> None:
    claimed = [c for c in simulated(draw) if c.finding in ("better", "worse")]
    assert len(claimed) / COMPARISONS <= MOST


def test_the_very_same_models_are_never_called_different() -> None:
    answers = [evaluation([True, False] * 50)] * SEEDS
    (contrast,) = contrasts({"a": arm("a", answers), "b": arm("b", answers)}, [ASKED])
    assert contrast.finding == "no difference shown"
    assert contrast.p == 1.0


@pytest.mark.slow
def test_a_large_planted_difference_is_nearly_always_found() -> None:
    found = [c.finding == "better" for c in simulated(with_seeds(0.1), gain=2.0)]
    assert np.mean(found) > 0.9
