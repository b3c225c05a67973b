"""The same number reads the same in the terminal, on the page and in Markdown, as in the JSON."""

import json
import math
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from page_records import KINDS
from shown_media import MEDIA, Shown, figures_of, show
from spectrum_ft.strict_yaml import parse_yaml

ShownOf = Callable[[str], Shown]


@pytest.fixture(scope="module")
def shown_of(records: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> ShownOf:
    """What is shown of the record with this name."""

    @cache
    def shown(name: str) -> Shown:
        return show(records[name], tmp_path_factory.mktemp(name))

    return shown


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("medium", ["terminal", "markdown"])
def test_every_number_of_the_smaller_reports_stands_on_the_page(
    shown_of: ShownOf, name: str, medium: str
) -> None:
    shown = shown_of(name)
    figures = figures_of(shown.in_medium(medium))
    assert len(figures) >= 8
    # The page draws a plan's memory to scale: its total has no share of itself.
    assert figures - figures_of(shown.page) == set()


@pytest.mark.parametrize("medium", MEDIA)
@pytest.mark.parametrize("name", KINDS)
def test_the_numbers_are_those_of_the_record_rounded(
    shown_of: ShownOf, records: dict[str, Path], name: str, medium: str
) -> None:
    expected = list(FIGURES[name](record_in(records[name])))
    assert len(expected) >= 8
    text = shown_of(name).in_medium(medium)
    missing = [figure for figure in expected if not stands_in(figure, text)]
    assert missing == []


def record_in(path: Path) -> Any:
    """The record as any other program would read it."""
    if path.suffix == ".yaml":
        return parse_yaml(path.read_bytes())
    return json.loads((path / "run.json" if path.is_dir() else path).read_text("utf-8"))


def stands_in(figure: str, text: str) -> bool:
    """Whether `figure` stands in `text`, not as a part of a longer number."""
    return re.search(rf"(?<![\d.,]){re.escape(figure)}(?!\d|[.,]\d)", text) is not None


def digits(value: float, number: int) -> str:
    """`value` with this many significant digits, zeros at the end included."""
    if value == 0:
        return f"{value:.{number - 1}f}"
    whole = math.floor(math.log10(abs(float(f"{value:.{number - 1}e}"))))
    return f"{value:.{max(number - 1 - whole, 0)}f}"


def many(value: float) -> str:
    """A number of weights."""
    for step, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= step:
            return f"{value / step:.1f} {letter}"
    return f"{value}"


def memory(value: float) -> str:
    """An amount of memory."""
    return f"{value / 1024**3:.2f} GiB" if value >= 1024**3 else f"{value / 1024**2:.0f} MiB"


def duration(value: float) -> str:
    """A time of less than an hour."""
    whole = round(value)
    return f"{value:.1f} s" if value < 60 else f"{whole // 60} min {whole % 60} s"


def figures_of_a_scan(scan: Any) -> Iterator[str]:
    """Medians and sizes of its kinds, and what it counted."""
    kinds: dict[str, list[Any]] = {}
    for matrix in scan["matrices"]:
        kinds.setdefault(matrix["kind"], []).append(matrix)
    for matrices in kinds.values():
        yield digits(median(matrix["scores"]["snr"] for matrix in matrices), 3)
        yield many(sum(math.prod(matrix["shape"]) for matrix in matrices))
    yield f"{len(scan['matrices'])} matrices"
    yield many(scan["model"]["parameters"])
    yield f"{scan['model']['layers']} layers"
    yield f"{sum(len(tensor['shape']) == 1 for tensor in scan['skipped'])} × vector"


def figures_of_a_mixture(scan: Any) -> Iterator[str]:
    """What is counted of it: its kinds are units of several matrices."""
    yield f"{len(scan['matrices'])} matrices"
    yield many(scan["model"]["parameters"])
    yield f"{scan['model']['layers']} layers"
    for kind in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"):
        scores = [m["scores"]["snr"] for m in scan["matrices"] if m["kind"] == kind]
        yield digits(median(scores), 3)
    experts = [m for m in scan["matrices"] if m["expert"] is not None]
    down = [math.prod(m["shape"]) for m in experts if m["name"].endswith("down_proj.weight")]
    yield many(sum(down))


def figures_of_an_import(table: Any) -> Iterator[str]:
    """The medians of its kinds."""
    kinds: dict[str, list[float]] = {}
    for entry in table.values():
        kinds.setdefault(entry["type"], []).append(entry["snr"])
    yield f"{len(table)} matrices"
    for scores in kinds.values():
        yield digits(median(scores), 3)


def figures_of_a_plan(plan: Any) -> Iterator[str]:
    """What it counts, and its adapters."""
    counts, lora = plan["counts"], plan["lora"]
    yield many(counts["train"])
    yield many(counts["total"])
    yield f"{100 * counts['train'] / counts['total']:.1f} %"
    yield many(counts["lora"])
    yield f"rank {lora['r']}"
    yield f"alpha {lora['alpha']:g}"
    yield f"{100 * plan['policy']['share']:g} %"
    yield f"{len(lora['matrices'])} matrices"


def figures_of_a_run(done: Any) -> Iterator[str]:
    """Its losses, its cost, and what moved."""
    yield digits(done["first_loss"], 4)
    yield digits(done["last_loss"], 4)
    yield digits(done["eval_loss"], 4)
    yield f"{100 * done['moved']:.1f} %"
    yield f"{100 * done['contract']['trained'] / done['contract']['total']:.1f} %"
    yield duration(done["seconds"])
    yield f"{done['tokens'] / done['seconds']:,.0f} tokens/s"
    yield memory(done["peak_memory_bytes"])
    yield memory(done["peak_memory_bytes"] - done["imported_memory_bytes"])
    yield memory(done["result_bytes"])
    yield f"{done['steps']} steps"
    yield f"{done['contract']['adapters']} matrices"


def figures_of_an_evaluation(found: Any) -> Iterator[str]:
    """Its metrics, the interval of Wilson (1927), and its cost."""
    share, number = found["exact_match"], len(found["outcomes"])
    z = 1.959964
    centre = (share + z * z / (2 * number)) / (1 + z * z / number)
    half = z * math.sqrt(share * (1 - share) / number + (z / (2 * number)) ** 2)
    half /= 1 + z * z / number
    yield f"{100 * share:.1f} %"
    yield f"{100 * (centre - half):.1f} to {100 * (centre + half):.1f} %"
    yield digits(found["loss"], 4)
    yield digits(found["general_loss"], 4)
    yield f"{sum(outcome['correct'] for outcome in found['outcomes'])} of {number}"
    yield duration(found["seconds"])
    yield f"{found['generated_tokens']:,}"
    yield memory(found["peak_memory_bytes"])


def figures_of_a_comparison(made: Any) -> Iterator[str]:
    """Each arm's accuracy and loss with its interval, what it cost, and every answer."""
    for arm in made["arms"]:
        accuracy, loss = arm["accuracy"], arm["loss"]
        yield f"{100 * accuracy['mean']:.1f}"
        yield f"{100 * accuracy['low']:.1f}–{100 * accuracy['high']:.1f}"
        yield digits(loss["mean"], 4)
        if arm["seconds"] is not None:
            yield duration(arm["seconds"])
            yield memory(arm["peak_memory_bytes"])
    for contrast in made["contrasts"]:
        if contrast["metric"] == "accuracy":
            yield f"{100 * contrast['difference']:+.1f}"
            yield f"{100 * contrast['low']:+.1f} to {100 * contrast['high']:+.1f}"
        else:
            yield f"{contrast['difference']:+.4f}"


def figures_of_a_diff(found: Any) -> Iterator[str]:
    """What was counted, each kind's correlation, each matrix's scores and change."""
    yield f"{found['changed']} changed"
    yield f"{found['identical']} identical"
    yield digits(found["overlap"]["jaccard"], 3)
    for kind in found["kinds"]:
        yield f"{kind['changed']}/{kind['matrices']}"
        if kind["correlation"] < 1:
            yield digits(kind["correlation"], 3)
        yield f"{digits(kind['median_a'], 3)} → {digits(kind['median_b'], 3)}"
    for matrix in found["matrices"]:
        yield f"{digits(matrix['score_a'], 3)} → {digits(matrix['score_b'], 3)}"
        if matrix["score_change"]:
            yield f"{100 * matrix['score_change']:+#.3g} %"


def figures_of_a_forecast(told: Any) -> Iterator[str]:
    """Its time, its memory, and what both are spent on."""
    parts = [told[f"{part}_seconds"] for part in ("reading", "gram", "eigenvalues", "again")]
    yield duration(told["seconds"])
    yield memory(told["memory_bytes"])
    yield memory(told["read_bytes"])
    for part in parts:
        yield f"{100 * part / sum(parts):.0f} %"
    for kind in told["kinds"]:
        yield " x ".join(map(str, kind["largest"]))
    yield many(told["model"]["parameters"])
    yield told["measured"]


FIGURES: dict[str, Callable[[Any], Iterator[str]]] = {
    "scan": figures_of_a_scan,
    "mixture": figures_of_a_mixture,
    "published": figures_of_an_import,
    "plan": figures_of_a_plan,
    "run": figures_of_a_run,
    "evaluation": figures_of_an_evaluation,
    "comparison": figures_of_a_comparison,
    "diff": figures_of_a_diff,
    "forecast": figures_of_a_forecast,
}
