"""A finished run, shown: its figures, its course, what moved, the same in every medium."""

import io
import math
import random
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
from rich.console import Console

from made_runs import write_run
from program import assert_explained, run_spectrum
from spectrum_ft.environment import current_environment
from spectrum_ft.record_files import to_json
from spectrum_ft.records.forecasts import Forecast
from spectrum_ft.records.plans import LoraSettings, PlanPolicy
from spectrum_ft.records.training import DataSummary, TrainRun, TrainSettings, TrainStep
from spectrum_ft.tuning.runs.metrics import Metrics
from spectrum_ft.tuning.runs.run_folder import read_run
from spectrum_ft_reports.drawing.files import picture_bytes
from spectrum_ft_reports.pages.masthead import Source
from spectrum_ft_reports.parts.series import evenly_chosen, moving_mean, ranges, smoothing_window
from spectrum_ft_reports.runs.grid import grid_of
from spectrum_ft_reports.runs.markdown import run_markdown
from spectrum_ft_reports.runs.movement import movement
from spectrum_ft_reports.runs.page import run_page
from spectrum_ft_reports.runs.pictures import PICTURES, draw, draw_all, pictures_of
from spectrum_ft_reports.runs.stretches import stretches
from spectrum_ft_reports.runs.terminal import print_run
from spectrum_ft_reports.runs.views import RunView, run_view
from train_program import Spectrum

Approved = Callable[[str, str], str]

SOURCE = Source(name="runs/hybrid", digest="e" * 64)
NOTHING = Metrics(steps=(), evaluations=(), fault="is not beside the record")
HOSTILE = "</script><img src=x onerror=alert(1)>\x1b[2J\u202e[red]"
KINDS = ("self_attn.q_proj", "mlp.down_proj")


def a_course(
    steps: int, *, every: int | None = None, full: bool = True, adapters: bool = True
) -> Metrics:
    """A run whose loss falls from about 3 to about 1, half a second and 1,000 tokens a step.

    Each evaluation takes 7 seconds; after the middle of the run its loss rises.
    """
    noise = random.Random(3)
    made: list[TrainStep] = []
    evaluations: list[TrainStep] = []
    for step in range(1, steps + 1):
        done, seconds = step / steps, 0.5 * step + 7.0 * len(evaluations)
        loss = 1.0 + 2.0 * math.exp(-6.0 * done)
        made.append(
            TrainStep(
                step=step,
                epoch=3.0 * done,
                loss=loss * math.exp(noise.gauss(0.0, 0.1)),
                lr=2e-5 * (1.0 - done) if full else None,
                lora_lr=2e-4 * (1.0 - done) if adapters else None,
                tokens=1000 * step,
                seconds=seconds,
                memory_bytes=min(1400, 900 + 10 * step) * 2**20,
            )
        )
        if every and step % every == 0:
            held_out = loss + max(0.0, done - 0.5)
            evaluations.append(
                TrainStep(step=step, epoch=3.0 * done, eval_loss=held_out, seconds=seconds + 7.0)
            )
    return Metrics(steps=tuple(made), evaluations=tuple(evaluations), fault=None)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> TrainRun:
    """A record of ten steps that says no more than it must."""
    folder = tmp_path_factory.mktemp("plain")
    run = read_run(write_run(folder / "run", folder))
    return replace(run, environment=current_environment("cuda:0 NVIDIA H100"))


def a_run(plain: TrainRun, metrics: Metrics, **changes: Any) -> TrainRun:
    """The record of a hybrid run of 24 layers that went as `metrics` tell."""
    steps, last = metrics.steps, metrics.steps[-1]
    losses = [step.loss or 0.0 for step in steps]
    tail = losses[-max(1, len(losses) // 10) :]
    data = DataSummary(
        source="data/train.jsonl",
        digest="d" * 64,
        shape="conversations in `messages`",
        rows=9003,
        kept=9000,
        truncated=412,
        dropped=3,
        tokens=1_204_331,
        learned_tokens=90_417,
        longest=3011,
    )
    run = replace(
        plain,
        settings=TrainSettings(
            data="data/train.jsonl",
            eval_data="data/test set.jsonl",
            columns={"question": "prompt"},
            lr=1e-4,
            grad_accum=2,
            report_to=("tensorboard",),
        ),
        contract=replace(
            plain.contract,
            device="cuda:0 NVIDIA H100",
            dtype="bfloat16",
            trained_tensors=8,
            trained=25_000_000,
            adapters=16,
            adapter_weights=800_000,
            quantized=50_000_000,
            frozen=25_000_000,
            total=100_000_000,
            base="nf4",
            layers=24,
            steps=len(steps),
            forecast=Forecast(
                device="cuda",
                moment="backward",
                weights_bytes=300 * 2**20,
                gradients_bytes=0,
                optimizer_bytes=200 * 2**20,
                activations_bytes=2**30,
                buffers_bytes=0,
                total_bytes=1524 * 2**20,
            ),
            available_bytes=79 * 2**30,
        ),
        plan=replace(
            plain.plan,
            lora=LoraSettings(matrices=(), r=16, alpha=32.0, dropout=0.0),
            policy=PlanPolicy(name="hybrid", share=0.25, score="snr"),
        ),
        data=data,
        eval_data=replace(data, source="data/test set.jsonl", rows=500, kept=500),
        steps=len(steps),
        result_step=len(steps),
        first_loss=losses[0],
        last_loss=sum(tail) / len(tail),
        eval_loss=metrics.evaluations[-1].eval_loss if metrics.evaluations else None,
        moved=0.975,
        moved_tensors=moved(24),
        seconds=last.seconds or 0.0,
        tokens=last.tokens or 0,
        peak_memory_bytes=1400 * 2**20,
        imported_memory_bytes=0,
        command="spectrum train someone/tiny --plan plan.yaml --data data/train.jsonl -o runs/h",
    )
    return replace(run, **changes)


def moved(layers: int) -> dict[str, float]:
    """Every third layer of two kinds: 0.9 at the bottom, and more further up."""
    return {
        f"model.layers.{layer}.{kind}.weight": 0.9 + 0.1 * layer / layers
        for kind in KINDS
        for layer in range(0, layers, 3)
    }


def a_page(run: TrainRun, metrics: Metrics) -> str:
    return run_page(run, metrics, source=SOURCE, folder="runs/hybrid")


def test_a_moving_mean_is_that_of_its_neighbours_and_keeps_a_straight_line() -> None:
    values = np.asarray([5.0, 1.0, 3.0, 2.0, 4.0])
    # By hand: the first alone; (5+1+3)/3, (1+3+2)/3, (3+2+4)/3; the last with the one before it.
    expected = [5.0, 3.0, 2.0, 3.0, 3.0]
    assert moving_mean(values, 3, np.arange(5)) == pytest.approx(expected, rel=1e-12)
    line = np.arange(100.0)
    inside = np.arange(90)
    assert moving_mean(line, 11, inside) == pytest.approx(line[:90], rel=1e-12)
    assert moving_mean(values, 1, np.arange(5)) == pytest.approx(values, rel=1e-12)


def test_one_huge_loss_does_not_swallow_those_after_it() -> None:
    values = np.ones(200)
    values[3] = 1e30
    assert moving_mean(values, 9, np.asarray([150]))[0] == 1.0


def test_windows_are_odd_and_few_steps_are_not_smoothed() -> None:
    assert [smoothing_window(count) for count in (1, 19, 20, 100, 1125)] == [1, 1, 3, 5, 57]


def test_thinning_keeps_both_ends_and_every_peak() -> None:
    assert list(evenly_chosen(5, 9)) == [0, 1, 2, 3, 4]
    chosen = evenly_chosen(100_000, 400)
    assert (len(chosen), chosen[0], chosen[-1]) == (400, 0, 99_999)
    values = np.zeros(10_000)
    values[1234], values[4321] = 7.0, -3.0
    places, low, high = ranges(values, 50)
    assert len(places) == 50
    assert (low.min(), high.max()) == (-3.0, 7.0)


def test_stretches_leave_out_what_evaluations_take() -> None:
    found = stretches(a_course(40, every=10), 4)
    assert [(one.first, one.last) for one in found] == [(1, 10), (11, 20), (21, 30), (31, 40)]
    # 1,000 tokens in half a second; with the evaluations it would be 833.
    assert [one.tokens_per_second for one in found] == pytest.approx([2000.0] * 4, rel=1e-12)
    losses = [step.loss or 0.0 for step in a_course(40).steps[10:20]]
    assert found[1].loss == pytest.approx(sum(losses) / 10, rel=1e-12)
    assert all(one.eval_loss is not None for one in found)


def test_stretches_of_fewer_steps_than_lines_are_single_steps() -> None:
    found = stretches(a_course(3), 12)
    assert [(one.first, one.last) for one in found] == [(1, 1), (2, 2), (3, 3)]
    assert [one.tokens_per_second is None for one in found] == [True, False, False]
    assert stretches(NOTHING, 12) == ()


def test_a_clock_that_goes_back_gives_no_rate_and_no_other_error() -> None:
    course = a_course(30)
    steps = [replace(s, seconds=100.0 - s.step if s.step > 15 else s.seconds) for s in course.steps]
    found = stretches(replace(course, steps=tuple(steps)), 3)
    assert [one.tokens_per_second is None for one in found] == [False, False, True]


def test_lacking_figures_are_gaps(plain: TrainRun) -> None:
    bare = [replace(s, tokens=None, seconds=None, memory_bytes=None) for s in a_course(30).steps]
    metrics = Metrics(steps=tuple(bare), evaluations=(), fault=None)
    run = a_run(plain, a_course(30))
    assert pictures_of(run, metrics) == ("loss", "learning-rate", "moved")
    assert {"speed", "memory"} <= run_view(run, None, metrics).blank
    assert "<svg" in a_page(run, metrics)


def test_movement_is_told_by_kind_and_layer(plain: TrainRun) -> None:
    extra = {"model.embed_tokens.weight": 0.25, "model.layers.3.self_attn.q_proj.bias": 2.0}
    run = replace(plain, moved_tensors=moved(24) | extra)
    kinds = {kind.kind: kind for kind in movement(run)}
    assert list(kinds) == sorted(kinds)
    query = kinds["self_attn.q_proj"]
    # Layers 0, 3, ..., 21: on average 10.5.
    assert query.tensors == 8
    assert query.mean == pytest.approx(0.9 + 0.1 * 10.5 / 24, rel=1e-12)
    assert (query.lowest, query.highest) == pytest.approx((0.9, 0.9 + 0.1 * 21 / 24), rel=1e-12)
    assert list(query.by_layer) == list(range(0, 24, 3))
    assert kinds["model.embed_tokens"].by_layer == {}
    assert kinds["self_attn.q_proj bias"].highest == 1.0  # a share, whatever a record says


def test_a_layer_number_that_makes_no_sense_draws_no_grid(plain: TrainRun) -> None:
    names = [f"model.layers.{layer}.mlp.up_proj.weight" for layer in (0, 1, 999_999_999)]
    run = replace(plain, moved_tensors=dict.fromkeys(names, 1.0))
    assert grid_of(run).kinds == ()
    assert "mlp.up_proj" in a_page(run, NOTHING)


def test_many_layers_share_columns(plain: TrainRun) -> None:
    run = replace(plain, moved_tensors=moved(1_000))
    assert grid_of(run).joined == 8
    assert len(a_page(run, NOTHING)) < 100_000


def view_of(plain: TrainRun, metrics: Metrics, **changes: Any) -> RunView:
    return run_view(a_run(plain, metrics, **changes), "runs/hybrid", metrics)


def test_the_verdict_says_which_way_the_loss_went(plain: TrainRun) -> None:
    course = a_course(40, every=10)
    view = view_of(plain, course, first_loss=3.0, last_loss=1.0, eval_loss=1.5)
    assert view.verdict == (
        "The training loss fell from 3.000 to 1.000 over 40 steps; the held-out loss of the "
        "result is 1.500."
    )
    assert "rose from 3.000 to 3.500" in view_of(plain, course, last_loss=3.5, first_loss=3).verdict
    level = view_of(plain, course, last_loss=3.0, first_loss=3.0, eval_loss=None)
    assert level.verdict == "The training loss stayed at 3.000 over 40 steps."


def test_what_weakens_a_run_is_said(plain: TrainRun) -> None:
    course = a_course(40, every=10)
    assert view_of(plain, course).cautions == (
        "The held-out loss was lowest after step 20, 1.100, and is 1.505 in the end; --keep-best "
        "keeps the best checkpoint.",
    )
    kept = replace(a_run(plain, course).settings, keep_best=True)
    assert view_of(plain, course, settings=kept).cautions == ()
    few = replace(a_run(plain, course).data, kept=12)
    assert "is that of 12 examples" in view_of(plain, a_course(40), eval_data=few).cautions[0]
    without = view_of(plain, a_course(40), eval_data=None, eval_loss=None, moved=0.2)
    assert without.cautions[0].startswith("There were no held-out data")
    assert without.cautions[1] == "Only 20.0 % of the weights that train have moved."
    much = view_of(plain, a_course(40), peak_memory_bytes=3 * 2**30)
    assert much.cautions == ("Training took 3.00 GiB where 1.49 GiB was forecast.",)
    lost = run_view(a_run(plain, course), None, NOTHING)
    assert lost.cautions == (
        "The course of the run is not shown: metrics.jsonl is not beside the record.",
    )


def test_only_settings_that_differ_are_listed_by_the_options_that_set_them(
    plain: TrainRun,
) -> None:
    rows = view_of(plain, a_course(40)).settings
    assert [tuple(row) for row in rows] == [
        ("--column", "question=prompt", "none"),
        ("--lr", "0.0001", "2e-05"),
        ("--grad-accum", "2", "1"),
        ("--report-to", "tensorboard", "none"),
    ]


def test_next_commands_take_names_as_a_shell_does(plain: TrainRun) -> None:
    run = a_run(plain, a_course(40))
    assert run_view(run, "my run").commands == (
        "spectrum eval 'my run' --data 'data/test set.jsonl'",
        "spectrum merge 'my run' -o 'my run-merged'",
    )
    evil = replace(run, settings=replace(run.settings, eval_data="$(id); rm -rf ~"))
    assert run_view(evil, "-run/").commands == (
        "spectrum eval ./-run/ --data '$(id); rm -rf ~'",
        "spectrum merge ./-run/ -o ./-run-merged",
    )
    assert run_view(run).commands == ()


def test_the_merge_of_a_run_lies_beside_it_however_it_is_named(
    plain: TrainRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my run" / "inside").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "my run")
    beside = {
        **{".": "../my run-merged", "./": "../my run-merged", "..": "", "inside": "inside-merged"},
        **{"inside/": "inside-merged", "inside/..": "../my run-merged", "/": "merged"},
        **{"../my run/.": "../my run-merged", "inside/.": "inside-merged"},
    }
    beside[".."] = f"../../{tmp_path.name}-merged"
    for folder, expected in beside.items():
        program, _, named, _, merged = shlex.split(run_view(plain, folder).commands[1])
        assert (program, named) == ("spectrum", folder)
        assert (tmp_path / "my run" / merged).resolve() == Path(expected).resolve(), folder


def test_every_medium_says_the_same_figures(plain: TrainRun) -> None:
    metrics = a_course(500, every=100)
    run = a_run(plain, metrics)
    view = run_view(run, "runs/hybrid", metrics)
    page, markdown = a_page(run, metrics), run_markdown(view).replace("\\", "")
    for row in view.course:
        for figure in (row.steps, row.loss, row.held_out, row.lr, row.speed, row.memory):
            assert figure in page
            assert figure in markdown
    for kind in view.moved:
        assert kind.mean in page
        assert kind.mean in markdown
    plain_page = page.replace("&#39;", "'")
    for fact in view.facts:
        assert fact.text in plain_page
        assert fact.text in markdown
        assert fact.text in on_terminal(view, 200)


def test_a_page_names_each_picture_and_fetches_nothing(plain: TrainRun) -> None:
    metrics = a_course(500, every=100)
    page = a_page(a_run(plain, metrics), metrics)
    assert page.count("<svg") == len(PICTURES)
    for name in PICTURES:
        assert f'<title id="{name}-title"' in page
    assert not re.search(r"""(src|href)=["'](?!#)|url\((?!#)|@import""", page)


def test_a_stranger_s_text_stays_text_everywhere(plain: TrainRun) -> None:
    base = a_run(plain, a_course(40))
    names = [HOSTILE, *(f"model.layers.{layer}.{HOSTILE}.weight" for layer in range(4))]
    run = replace(
        base,
        source=HOSTILE,
        command=HOSTILE,
        settings=replace(base.settings, columns={HOSTILE: "prompt"}, eval_data=HOSTILE),
        contract=replace(base.contract, source=HOSTILE, device=HOSTILE),
        plan=replace(base.plan, policy=replace(base.plan.policy, name=HOSTILE)),
        data=replace(base.data, source=HOSTILE, shape=HOSTILE, digest=HOSTILE),
        moved_tensors=dict.fromkeys(names, 0.5),
    )
    page = a_page(run, replace(NOTHING, fault=HOSTILE))
    markdown = run_markdown(run_view(run, HOSTILE, NOTHING))
    assert "<img" not in page
    assert page.count("</script>") == 2  # our own two
    assert "<img" not in re.sub(r"```sh\n.*?\n```", "", markdown, flags=re.DOTALL)
    terminal = on_terminal(run_view(run, HOSTILE, NOTHING), 80)
    for text in (page, markdown, terminal):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "[red]" in terminal
    figure = draw_all(run, NOTHING, title=HOSTILE, verdict="x")
    ElementTree.fromstring(picture_bytes(figure, ".svg"))


@pytest.mark.parametrize("steps", [1, 2, 3, 19, 20])
def test_short_runs_are_drawn_as_far_as_there_is_anything_to_draw(
    steps: int, plain: TrainRun
) -> None:
    metrics = a_course(steps, adapters=False)
    run = a_run(plain, metrics)
    shown = pictures_of(run, metrics)
    assert shown == (("moved",) if steps == 1 else PICTURES if steps > 2 else shown)
    assert picture_bytes(draw_all(run, metrics, title="a", verdict="b"), ".png")[:4] == b"\x89PNG"
    assert len(run_view(run, None, metrics).course) == min(steps, 12)


def test_two_hundred_thousand_steps_stay_a_small_page(plain: TrainRun) -> None:
    metrics = a_course(200_000, every=500)
    page = a_page(a_run(plain, metrics), metrics)
    assert len(page) < 250_000


def test_losses_far_out_and_equal_ones_are_drawn(plain: TrainRun) -> None:
    course = a_course(60, every=20)
    for loss in (0.0, -1.0, 2.0, 3e38):
        steps = tuple(replace(step, loss=loss) for step in course.steps)
        spiked = (*course.steps[:30], replace(course.steps[30], loss=loss), *course.steps[31:])
        for changed in (steps, spiked):
            metrics = replace(course, steps=changed)
            picture_bytes(draw(a_run(plain, metrics), metrics, "loss"), ".svg")


def test_a_learning_rate_that_is_always_zero_is_drawn(plain: TrainRun) -> None:
    steps = tuple(replace(step, lr=0.0, lora_lr=0.0) for step in a_course(30).steps)
    metrics = Metrics(steps=steps, evaluations=(), fault=None)
    picture_bytes(draw(a_run(plain, metrics), metrics, "learning-rate"), ".svg")


def test_a_run_of_adapters_alone_tells_of_no_moved_weights(plain: TrainRun) -> None:
    metrics = a_course(40, full=False)
    base = a_run(plain, metrics, moved_tensors={})
    run = replace(base, contract=replace(base.contract, trained=0, trained_tensors=0))
    assert pictures_of(run, metrics) == ("loss", "throughput", "memory", "learning-rate")
    page = a_page(run, metrics)
    assert "adapters&#39; products" in page
    assert "What moved" not in page


def test_the_same_run_gives_the_same_bytes(plain: TrainRun) -> None:
    metrics = a_course(200, every=50)
    run = a_run(plain, metrics)
    assert a_page(run, metrics) == a_page(run, metrics)
    for suffix in (".png", ".svg"):
        one, other = (
            picture_bytes(draw_all(run, metrics, title="a", verdict="b"), suffix) for _ in range(2)
        )
        assert one == other


def on_terminal(view: RunView, width: int, *, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    print_run(Console(file=file, width=width, highlight=False, no_color=True), view)
    file.flush()
    lines = raw.getvalue().decode(encoding).splitlines()
    assert max(map(len, lines)) <= width
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


@pytest.mark.parametrize(
    ("name", "width", "encoding"),
    [
        ("run-60", 60, "utf-8"),
        ("run-80", 80, "utf-8"),
        ("run-80-ascii", 80, "ascii"),
        ("run-120", 120, "utf-8"),
    ],
)
def test_a_run_reads_on_a_terminal_as_it_was_approved(
    name: str, width: int, encoding: str, plain: TrainRun, approved: Approved
) -> None:
    text = on_terminal(view_of(plain, a_course(500, every=100)), width, encoding=encoding)
    assert text == approved(name, text)


def test_a_run_reads_in_markdown_as_it_was_approved(plain: TrainRun, approved: Approved) -> None:
    text = run_markdown(view_of(plain, a_course(500, every=100)))
    assert text == approved("run-markdown", text)


def test_colour_changes_no_letter(plain: TrainRun) -> None:
    view = view_of(plain, a_course(500, every=100))
    stream = io.StringIO()
    console = Console(
        file=stream, width=80, highlight=False, force_terminal=True, color_system="standard"
    )
    print_run(console, view)
    assert "\x1b[1m" in stream.getvalue()
    uncoloured = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert [line.rstrip() for line in uncoloured.splitlines()] == on_terminal(view, 80).splitlines()


@pytest.fixture
def kept(plain: TrainRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, in which lies that of a run: its record, and its metrics beside it."""
    monkeypatch.chdir(tmp_path)
    metrics = a_course(60, every=20)
    run = a_run(plain, metrics)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "run.json").write_text(to_json(run), "utf-8")
    lines = [msgspec.json.encode(step) for step in (*metrics.steps, *metrics.evaluations)]
    (tmp_path / "kept" / "metrics.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return tmp_path


def test_the_folder_and_its_record_are_written_as_every_kind_of_file(
    kept: Path, spectrum: Spectrum
) -> None:
    for ending, begins in (
        (".html", b"<!doc"),
        (".md", b"###"),
        (".png", b"\x89P"),
        (".svg", b"<?"),
    ):
        done = spectrum("report", "kept", "-o", f"x{ending}")
        assert done.returncode == 0, done.stderr
        assert (kept / f"x{ending}").read_bytes().startswith(begins)
    assert "The course of the run is" not in (kept / "x.html").read_text("utf-8")
    told = spectrum("report", "kept")
    assert told.stdout == spectrum("report", "kept/run.json").stdout
    assert "▁" in told.stdout


def test_metrics_that_are_gone_or_damaged_are_a_note_on_the_page(
    kept: Path, spectrum: Spectrum
) -> None:
    metrics = kept / "kept" / "metrics.jsonl"

    def page() -> str:
        spectrum("report", "kept", "-o", "x.html", "--force")
        return (kept / "x.html").read_text("utf-8")

    metrics.write_bytes(metrics.read_bytes()[:-30] + b"\x00")
    assert "metrics.jsonl has lines that cannot be used: 1 of 63" in page()
    metrics.unlink()
    assert "is not shown: metrics.jsonl is not beside the record" in page()
    record = (kept / "kept" / "run.json").read_bytes()
    piped = run_spectrum("report", "-", stdin=record, cwd=kept)
    assert piped.returncode == 0, piped.stderr
    assert "did not come by standard input" in re.sub(r"\s+", " ", piped.stdout)


def test_a_picture_of_nothing_is_refused(kept: Path, spectrum: Spectrum) -> None:
    run = read_run(kept / "kept")
    (kept / "bare.json").write_text(to_json(replace(run, moved_tensors={})), "utf-8")
    done = spectrum("report", "bare.json", "-o", "x.png")
    assert_explained(done, "there is nothing to draw: metrics.jsonl is not beside the record")
    assert not (kept / "x.png").exists()


def test_a_report_of_a_run_loads_no_torch_and_on_a_terminal_nothing_that_draws(kept: Path) -> None:
    code = (
        "import sys\n"
        "from spectrum_ft_cli.main import run\n"
        "assert run(['report', 'kept']) == 0\n"
        "heavy = {'torch', 'matplotlib', 'jinja2'} & set(sys.modules)\n"
        "assert run(['report', 'kept', '-o', 'y.html']) == 0\n"
        "heavy |= {'torch', 'transformers'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=kept
    )
    assert done.returncode == 0, done.stderr
