"""What is said of a training run: its course, its contract and its record."""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from rich.console import Console

from spectrum_ft.environment import current_environment
from spectrum_ft.records.forecasts import Forecast
from spectrum_ft.records.plans import LoraSettings, Plan, PlanModel, PlanPolicy
from spectrum_ft.records.training import Contract, DataSummary, TrainRun, TrainSettings, TrainStep
from spectrum_ft_reports.parts.sparklines import curve
from spectrum_ft_reports.parts.terminal import print_facts
from spectrum_ft_reports.runs.contracts import contract_facts, precision_warning
from spectrum_ft_reports.runs.course import Course
from spectrum_ft_reports.runs.live import course_view, evaluation_line, step_line
from spectrum_ft_reports.runs.terminal import live_course, print_run
from spectrum_ft_reports.runs.views import run_view

Approved = Callable[[str, str], str]

SETTINGS = TrainSettings(data="train.jsonl", grad_accum=2, eval_data="test.jsonl")

FORECAST = Forecast(
    device="cuda",
    moment="backward",
    weights_bytes=300 * 2**20,
    gradients_bytes=0,
    optimizer_bytes=200 * 2**20,
    activations_bytes=2**30,
    buffers_bytes=0,
    total_bytes=1524 * 2**20,
)

CONTRACT = Contract(
    source="HuggingFaceTB/SmolLM2-135M",
    device="cuda:0 NVIDIA H100",
    dtype="bfloat16",
    precision="master",
    trained_tensors=53,
    trained=28_311_552,
    adapters=157,
    adapter_weights=3_600_000,
    quantized=77_856_768,
    frozen=28_346_688,
    total=134_515_008,
    base="nf4",
    lowest_layer=7,
    layers=30,
    steps=1125,
    forecast=FORECAST,
    available_bytes=79 * 2**30,
)

DATA = DataSummary(
    source="train.jsonl",
    digest="d" * 64,
    shape="conversations in `messages`",
    rows=9003,
    kept=9000,
    truncated=412,
    dropped=3,
    tokens=1_204_331,
    learned_tokens=90_417,
    longest=3011,
    last_answer_only=0,
)
HELD_OUT = replace(DATA, rows=500, kept=500, truncated=0, dropped=0, last_answer_only=500)

RUN = TrainRun(
    source=CONTRACT.source,
    base_folder="model",
    plan=Plan(
        model=PlanModel(source=CONTRACT.source, fingerprint=None),
        train=("model.layers.7.mlp.up_proj.weight",),
        lora=LoraSettings(
            matrices=("model.layers.8.mlp.up_proj.weight",), r=16, alpha=32.0, dropout=0.0
        ),
        base="nf4",
        policy=PlanPolicy(name="hybrid", share=0.25, score="snr"),
    ),
    settings=replace(SETTINGS, keep_best=True),
    contract=CONTRACT,
    data=DATA,
    eval_data=HELD_OUT,
    quantized=(),
    adapted={},
    steps=1125,
    result_step=900,
    first_loss=2.34567,
    last_loss=0.98765,
    eval_loss=1.01,
    moved=0.99871,
    seconds=725.2,
    tokens=2_408_662,
    peak_memory_bytes=1500 * 2**20,
    imported_memory_bytes=2**20,
    result_bytes=120 * 2**20,
    environment=current_environment("cuda"),
    command="spectrum train",
)


def a_step(number: int, loss: float, *, lora_lr: float | None = 2e-4) -> TrainStep:
    """Step `number` of a run that takes 2 s and 500 tokens a step."""
    return TrainStep(
        step=number,
        epoch=number / 100,
        loss=loss,
        grad_norm=1.0,
        lr=2e-5,
        lora_lr=lora_lr,
        tokens=500 * number,
        seconds=2.0 * number,
        memory_bytes=3 * 2**29,
    )


def an_evaluation(after: int, loss: float) -> TrainStep:
    return TrainStep(step=after, epoch=after / 100, eval_loss=loss)


def a_course(losses: Sequence[float], *, first: int = 1, steps: int = 100) -> Course:
    course = Course(steps)
    for number, loss in enumerate(losses, first):
        course.add(a_step(number, loss))
    return course


def test_a_course_tells_means_rates_and_what_is_left() -> None:
    course = a_course([float(loss) for loss in range(1, 41)])
    assert course.done == 40
    assert course.mean_loss == pytest.approx(30.5, rel=1e-12)  # of 21 to 40
    assert course.tokens_per_second == pytest.approx(250.0, rel=1e-12)
    assert course.seconds_left == pytest.approx(120.0, rel=1e-12)


def test_rates_of_a_resumed_run_are_those_of_its_own_steps() -> None:
    course = Course(100)
    course.add(a_step(60, 1.0))  # after 120 s in an earlier process
    assert course.tokens_per_second is None
    assert course.seconds_left is None
    course.add(replace(a_step(61, 1.0), seconds=121.0))
    assert course.tokens_per_second == pytest.approx(500.0, rel=1e-12)
    assert course.seconds_left == pytest.approx(39.0, rel=1e-12)


def test_a_clock_that_stands_still_divides_nothing() -> None:
    course = Course(10)
    for number in (1, 2):
        course.add(replace(a_step(number, 1.0), seconds=1.0))
    assert course.tokens_per_second is None
    assert "tokens/s" not in step_line(course)


def test_the_best_evaluation_is_remembered() -> None:
    course = a_course([1.0])
    for after, loss in ((10, 2.0), (20, 1.5), (30, 1.75)):
        course.add(an_evaluation(after, loss))
    line = "held-out loss 1.750 after step 30, best 1.500 after step 20"
    assert evaluation_line(course) == line
    course.add(an_evaluation(40, 1.25))
    assert evaluation_line(course) == "held-out loss 1.250 after step 40, the best so far"


def test_a_step_is_one_line() -> None:
    course = a_course([2.5, 2.25])
    line = "step 2/100  loss 2.250  lr 2.00e-05 and 2.00e-04 (adapters)  250 tokens/s  1.50 GiB"
    assert step_line(course) == line
    course.add(a_step(3, 1e30, lora_lr=None))
    assert step_line(course).startswith("step 3/100  loss 1.000e+30  lr 2.00e-05  ")
    course.add(replace(a_step(4, 1.0), lr=None))
    assert "lr 2.00e-04 (adapters)" in step_line(course)


def test_many_losses_are_joined_before_they_are_drawn() -> None:
    cells = curve([float(i % 1000) for i in range(100_000)])
    assert 200 <= len(cells) <= 400
    assert curve([]) == ()
    heights = [cell.height for cell in curve([3.0, 1.0, 2.0])]
    assert heights == [1.0, 0.0, 0.5]
    assert [cell.height for cell in curve([2.0, 2.0])] == [0.5, 0.5]


def test_only_16_bit_weights_kept_as_they_are_raise_a_warning() -> None:
    assert precision_warning(CONTRACT) is None
    as_is = replace(CONTRACT, precision="as-is")
    assert "--precision master" in (precision_warning(as_is) or "")
    assert precision_warning(replace(as_is, dtype="float32")) is None
    assert precision_warning(replace(as_is, trained=0)) is None


def texts(contract: Contract) -> dict[str, str]:
    return dict(contract_facts(contract, SETTINGS, DATA, None))


def test_a_contract_says_where_the_backward_pass_ends() -> None:
    assert "skipped: 7 of 30 = 23.3 %" in texts(CONTRACT)["backward"]
    assert "no block is skipped" in texts(replace(CONTRACT, lowest_layer=0))["backward"]
    assert texts(replace(CONTRACT, lowest_layer=None))["backward"].endswith("whole model")


def test_a_contract_says_what_it_takes_and_whether_that_is_there() -> None:
    assert texts(CONTRACT)["memory"] == "1.49 GiB forecast, 79.00 GiB available"
    short = replace(CONTRACT, available_bytes=2**30)
    assert texts(short)["memory"].endswith("it does not fit")
    assert "cannot be told" in texts(replace(CONTRACT, forecast=None))["memory"]


def test_a_plan_of_adapters_only_says_so() -> None:
    told = texts(replace(CONTRACT, trained=0, trained_tensors=0, frozen=56_658_240))
    assert told["trains"] == "adapters only"
    contract = replace(CONTRACT, trained=0)
    view = run_view(replace(RUN, contract=contract))
    assert view.title.endswith("hybrid: adapters on 157 matrices")
    assert dict(view.facts)["moved"].endswith("of the adapters' products")


def test_a_run_that_stopped_early_says_so() -> None:
    view = run_view(replace(RUN, steps=300))
    assert "300 of 1,125 steps, then no better held-out loss" in dict(view.facts)["loss"]


def test_what_strangers_wrote_is_spelled_out() -> None:
    hostile = "evil\x1b[2J\u202e[red]"
    contract = replace(CONTRACT, source=hostile, device=hostile)
    policy = PlanPolicy(name=hostile, share=None, score=None)
    run = replace(RUN, source=hostile, contract=contract, plan=replace(RUN.plan, policy=policy))
    data = replace(DATA, shape=hostile)
    stream = io.StringIO()
    console = Console(file=stream, width=80, no_color=True)
    print_facts(console, contract_facts(contract, SETTINGS, data, None))
    print_run(console, run_view(run, folder=hostile))
    shown = stream.getvalue()
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "[red]" in shown


def rendered(width: int, *, encoding: str = "utf-8") -> str:
    """The contract, the record and a course as a console writes them."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    console = Console(file=file, width=width, highlight=False, no_color=True)
    print_facts(console, contract_facts(CONTRACT, SETTINGS, DATA, HELD_OUT))
    console.print()
    print_run(console, run_view(RUN, "runs/hybrid"))
    console.print()
    course = a_course([3.0 - 0.04 * i + 0.3 * (i % 3) for i in range(60)])
    course.add(an_evaluation(50, 1.5))
    course.add(an_evaluation(60, 1.625))
    for view in (
        course_view(Course(100), elapsed=3.0, stopping=False),
        course_view(course, elapsed=125.0, stopping=True),
    ):
        console.print(live_course(console, view))
        console.print()
    file.flush()
    lines = raw.getvalue().decode(encoding).splitlines()
    assert max(map(len, lines)) <= width
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


CASES = {
    "train-40": lambda: rendered(40),
    "train-80": lambda: rendered(80),
    "train-80-ascii": lambda: rendered(80, encoding="ascii"),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_run_reads_as_it_was_approved(name: str, approved: Approved) -> None:
    text = CASES[name]()
    assert text == approved(name, text)
