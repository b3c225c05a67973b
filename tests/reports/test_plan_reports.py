"""Reports of plans: on a terminal, as pages, Markdown and pictures; and where models come from."""

import io
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from making import write_llama
from program import assert_explained
from scans import matrix, one_kind, scan_of
from spectrum_ft.errors import RecordError
from spectrum_ft.memory import TrainingShape, forecast
from spectrum_ft.planning.making import PlanRequest, make_plan
from spectrum_ft.planning.plan_files import plan_to_yaml
from spectrum_ft.planning.presets import PRESETS
from spectrum_ft.record_files import to_json
from spectrum_ft.records.plans import Plan
from spectrum_ft.records.scans import ModelInfo, ScanReport
from spectrum_ft.treatments.choices import choice_again
from spectrum_ft.treatments.subjects import Subject, of_plan, of_scan
from spectrum_ft.treatments.treatments import lay_out
from spectrum_ft_cli.showing.given import Given
from spectrum_ft_cli.showing.plans import _MENDED, subject_of
from spectrum_ft_reports.drawing.files import picture_bytes
from spectrum_ft_reports.pages.masthead import Source
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.plans.markdown import plan_markdown
from spectrum_ft_reports.plans.page import plan_page
from spectrum_ft_reports.plans.pictures import draw_plan
from spectrum_ft_reports.plans.terminal import print_plan
from spectrum_ft_reports.plans.views import PlanView, plan_view
from stacks import stacked_mixture
from train_program import Spectrum

Approved = Callable[[str, str], str]

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "\x1b[2J\x9b31m",
    "[red]x[/]",
    "__proto__",
    "\u202eevil",
    "n" * 500,
    "{{ 7*7 }}",
    "|`b`[x](javascript:1)",
)


def small_scan() -> ScanReport:
    """Three kinds of twelve layers, norms, embeddings and a head."""
    rising = [0.1 * layer for layer in range(12)]
    matrices = [
        *one_kind(rising),
        *one_kind([*reversed(rising)], "self_attn.q_proj"),
        *one_kind([((5 * layer) % 12) / 3 + 0.1 for layer in range(12)], "mlp.down_proj"),
    ]
    report = scan_of(
        matrices,
        vectors=[f"model.layers.{layer}.input_layernorm.weight" for layer in range(12)],
        others=["model.embed_tokens.weight", "lm_head.weight"],
    )
    model = ModelInfo(
        source="~/models/small",
        revision=None,
        fingerprint="f" * 64,
        parameters=276_224,
        layers=12,
    )
    return replace(report, model=model)


def mixture_scan(layers: int = 6, experts: int = 4) -> ScanReport:
    """Blocks of an attention matrix, a router and experts in tensors of their own."""
    matrices = []
    for layer in range(layers):
        stem = f"model.layers.{layer}"
        matrices.append(matrix(f"{stem}.self_attn.q_proj.weight", float(layer)))
        matrices.append(matrix(f"{stem}.mlp.gate.weight", 1.0, shape=(experts, 64), flags=["thin"]))
        matrices += [
            matrix(f"{stem}.mlp.experts.{expert}.{part}.weight", layer + 0.5 * expert)
            for expert in range(experts)
            for part in ("w1", "w2", "w3")
        ]
    return scan_of(matrices, others=["model.embed_tokens.weight"])


def hostile_scan() -> ScanReport:
    names = [f"model.layers.{layer}.{kind}.weight" for kind in HOSTILE for layer in range(4)]
    report = scan_of(
        [matrix(name, float(place % 4)) for place, name in enumerate(names)],
        others=["</script><script>alert(1)</script>.embed_tokens.weight"],
    )
    return replace(report, model=replace(report.model, source="<b>x\x1b]0;y\x07"))


def imported_scan() -> ScanReport:
    """What an import is: no shapes and no fingerprint."""
    report = scan_of(one_kind([0.1 * layer for layer in range(8)]))
    return replace(
        report,
        matrices=tuple(replace(m, shape=(), dtype=None, digest=None) for m in report.matrices),
        model=replace(report.model, source="snr.json", fingerprint=None, parameters=None),
    )


def view_of(
    report: ScanReport,
    request: PlanRequest | None = None,
    *,
    plan: Plan | None = None,
    shape: TrainingShape | None = None,
) -> PlanView:
    plan = plan or replace(make_plan(report, request).plan, command="spectrum plan scan.json")
    subject = of_scan(report, "scan.json")
    return plan_view(plan, subject, shape or TrainingShape(), path="plan.yaml")


def printed(view: PlanView, width: int, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    print_plan(Console(file=file, width=width, highlight=False, no_color=True), view)
    file.flush()
    lines = raw.getvalue().decode(encoding).splitlines()
    assert max(map(len, lines)) <= width
    return "\n".join(line.rstrip() for line in lines) + "\n"


def hybrid() -> PlanView:
    return view_of(small_scan(), PlanRequest(preset="hybrid"))


def budgeted() -> PlanView:
    report = small_scan()
    plan = make_plan(report, PlanRequest(preset="spectrum-nf4")).plan
    policy = replace(plan.policy, vram_bytes=256 * 2**20)
    return view_of(report, plan=replace(plan, policy=policy))


def nameless() -> PlanView:
    plan = make_plan(small_scan(), PlanRequest(preset="hybrid")).plan
    lacking = "What the plan was made from is not on this machine. --scan SCAN|MODEL says it."
    return plan_view(plan, of_plan(plan, lacking), TrainingShape(), path="-")


CASES = {
    "plan-report-60": lambda: printed(hybrid(), 60),
    "plan-report-80": lambda: printed(hybrid(), 80),
    "plan-report-120": lambda: printed(hybrid(), 120),
    "plan-report-80-ascii": lambda: printed(hybrid(), 80, "ascii"),
    "plan-report-80-budget": lambda: printed(budgeted(), 80),
    "plan-report-80-alone": lambda: printed(nameless(), 80),
    "plan-report-80-import": lambda: printed(view_of(imported_scan()), 80),
    "plan-report-80-experts": lambda: printed(
        view_of(mixture_scan(), PlanRequest(preset="hybrid")), 80
    ),
    "plan-report-80-stacked": lambda: printed(
        view_of(stacked_mixture(), PlanRequest(preset="spectrum-nf4")), 80
    ),
    "plan-report-80-hostile": lambda: printed(view_of(hostile_scan()), 80),
    "plan-report-markdown": lambda: plan_markdown(hybrid(), "spectrum plan scan.json"),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_plans_report_reads_as_it_was_approved(name: str, approved: Approved) -> None:
    text = CASES[name]()
    assert text == approved(name, text)


@pytest.mark.parametrize("width", [1, 8, 20, 40])
def test_a_plan_is_shown_on_a_very_narrow_terminal(width: int) -> None:
    for view in (hybrid(), view_of(hostile_scan())):
        assert printed(view, width)


def test_colour_marks_what_trains_and_a_pipe_gets_none() -> None:
    coloured, plain = io.StringIO(), io.StringIO()
    print_plan(Console(file=coloured, width=80, force_terminal=True), hybrid())
    print_plan(Console(file=plain, width=80), hybrid())
    assert "\x1b[1;32m" in coloured.getvalue()
    assert "\x1b" not in plain.getvalue()


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_the_rows_add_up_to_what_the_plan_counts_whatever_the_preset(preset: str) -> None:
    for report in (small_scan(), mixture_scan(), stacked_mixture()):
        plan = make_plan(report, PlanRequest(preset=preset, share=None)).plan
        rows = lay_out(plan, of_scan(report, "scan.json"))
        units = [unit for row in rows for unit in row.units]
        named = [name for unit in units for name in unit.names]
        assert sorted(named) == sorted(report.shapes)
        assert plan.counts is not None
        assert sum(unit.trained_params for unit in units) == plan.counts.train
        assert sum(unit.num_params for unit in units) == plan.counts.total
        assert sum(unit.adapter_params for unit in units) == plan.counts.lora
        reached = {n for u in units if u.treatment in ("train", "adapter") for n in u.names}
        assert reached == set(plan.reached)


def test_what_is_shown_as_packed_is_what_the_forecast_packs() -> None:
    for report in (small_scan(), mixture_scan(), stacked_mixture()):
        plan = make_plan(report, PlanRequest(preset="spectrum-nf4")).plan
        rows = lay_out(plan, of_scan(report, "scan.json"))
        packed = sum(u.num_params for r in rows for u in r.units if u.treatment == "packed")
        shape = TrainingShape()
        whole = forecast(replace(plan, base="as-is"), report.shapes, shape).weights_bytes
        saved = whole - forecast(plan, report.shapes, shape).weights_bytes
        # 16 bits less the 4.127 of NF4 with its scales, and 1088 bytes of tables a matrix.
        matrices = sum(u.treatment == "packed" for r in rows for u in r.units)
        assert saved == pytest.approx(packed * (2 - 0.516) - 1088 * matrices, rel=0.01)


def test_experts_of_a_block_are_one_unit_and_never_packed() -> None:
    plan = make_plan(mixture_scan(), PlanRequest(preset="spectrum-nf4")).plan
    rows = {row.label: row for row in lay_out(plan, of_scan(mixture_scan(), "scan.json"))}
    assert rows["mlp.experts.w1+w3"].counts == {"train": 2, "frozen": 4}
    assert rows["self_attn.q_proj"].counts == {"train": 2, "packed": 4}


def test_a_plan_that_splits_experts_is_told_so() -> None:
    report = mixture_scan()
    plan = make_plan(report).plan
    left = [name for name in plan.train if ".experts.1.w2" not in name]
    view = view_of(report, plan=replace(plan, train=tuple(left)))
    assert any("splits them in layer" in caution for caution in view.cautions)
    assert view.grid.partly


def test_a_plan_that_was_edited_says_what_differs_from_its_policy() -> None:
    report = small_scan()
    plan = make_plan(report).plan
    assert not any("edited" in caution for caution in view_of(report, plan=plan).cautions)
    swapped = (*plan.train[1:], "model.layers.0.mlp.up_proj.weight")
    edited = replace(plan, train=swapped)
    choice = choice_again(edited, report)
    assert choice is not None
    assert choice.added == ("model.layers.0.mlp.up_proj.weight",)
    assert choice.removed == plan.train[:1]
    view = view_of(report, plan=edited)
    assert any(caution.startswith("2 matrices differ from") for caution in view.cautions)
    assert all(row.cut == "-" for row in view.kinds)


@pytest.mark.parametrize("preset", [name for name, preset in PRESETS.items() if preset.policy])
def test_the_choice_made_again_is_the_one_that_was_made(preset: str) -> None:
    for report in (small_scan(), mixture_scan(), stacked_mixture(layers=6)):
        request = PlanRequest(preset=preset, share=0.5, seed=3, exclude=("*layers.2.*",))
        choice = choice_again(make_plan(report, request).plan, report)
        assert choice is not None
        assert not choice.edited


def test_a_forecast_above_the_budget_says_so() -> None:
    report = small_scan()
    plan = make_plan(report).plan
    tight = replace(plan, policy=replace(plan.policy, vram_bytes=2**20))
    view = view_of(report, plan=tight)
    assert view.memory is not None
    assert not view.memory.fits
    assert view.memory.budget_at < 1.0
    assert any("above the 1 MiB" in caution for caution in view.cautions)


def test_the_parts_of_the_bar_are_the_forecast_end_to_end() -> None:
    report = small_scan()
    plan = make_plan(report, PlanRequest(preset="hybrid")).plan
    shape = TrainingShape(batch_size=1, max_length=64, device="cpu", gradient_checkpointing=True)
    view = view_of(report, plan=plan, shape=shape)
    foreseen = forecast(plan, report.shapes, shape)
    assert view.memory is not None
    assert view.memory.total == numbers.size(foreseen.total_bytes)
    for before, after in zip(view.memory.parts, view.memory.parts[1:], strict=False):
        assert after.start == pytest.approx(before.start + before.width, abs=1e-12)
    assert sum(part.width for part in view.memory.parts) == pytest.approx(1.0, abs=1e-12)
    told = "--batch-size 1 --max-length 64 --grad-checkpointing --device cpu"
    assert told in view.next_command


# Pages


class _Tags(HTMLParser):
    """The tags of a page, and whether they nest."""

    VOID = ("meta", "input", "use", "rect", "circle", "line")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.found.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def page_of(view: PlanView, plan: Plan) -> tuple[str, _Tags]:
    page = plan_page(plan, view, source=Source(name="plan.yaml", digest="d" * 64))
    tags = _Tags()
    tags.feed(page)
    assert tags.open == []
    return page, tags


def test_every_medium_has_the_same_figures() -> None:
    report = small_scan()
    plan = make_plan(report, PlanRequest(preset="hybrid")).plan
    view = view_of(report, plan=plan)
    _, tags = page_of(view, plan)
    assert view.memory is not None
    texts = ("".join(tags.text), printed(view, 400), plan_markdown(view, plan.command))
    wanted = [view.verdict, view.memory.total, *(part.size for part in view.memory.parts)]
    wanted += [text for row in view.kinds for text in (row.weights, row.trained, row.train)]
    for text in texts:
        joined = " ".join(text.replace("\\", "").split())
        assert all(figure in joined for figure in wanted)


def test_names_made_to_break_out_stay_text_on_the_page_and_in_markdown() -> None:
    report = hostile_scan()
    plan = make_plan(report, PlanRequest(preset="hybrid")).plan
    view = view_of(report, plan=plan)
    page, tags = page_of(view, plan)
    assert "img" not in tags.found
    assert page.count("<script>") == 2
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", page)
    assert "</script><img src=x onerror=alert(1)>" in "".join(tags.text)
    assert "{{ 7*7 }}" in "".join(tags.text)
    assert "<img" not in plan_markdown(view, plan.command)


def test_a_page_asks_for_nothing() -> None:
    report = small_scan()
    plan = make_plan(report).plan
    page, _ = page_of(view_of(report, plan=plan), plan)
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#)|url\(|@import""", page)


def test_a_plan_of_four_thousand_names_makes_a_page_of_bounded_size() -> None:
    names = [f"model.layers.{i}.self_attn.k{j}_proj.weight" for i in range(100) for j in range(40)]
    report = scan_of([matrix(name, float(place)) for place, name in enumerate(names)])
    plan = make_plan(report, PlanRequest(preset="lora")).plan
    assert len(plan.adapted) == 4000
    page, tags = page_of(view_of(report, plan=plan), plan)
    assert len(page) < 1_500_000
    assert "4,000 carry an adapter" in "".join(tags.text)


def test_layers_with_absurd_numbers_are_drawn_side_by_side() -> None:
    names = [f"model.layers.{layer}.mlp.up_proj.weight" for layer in (0, 1, 7, 999_999_999)]
    report = scan_of([matrix(name, float(place)) for place, name in enumerate(names)])
    view = view_of(report)
    assert view.grid.layers == (0, 1, 7, 999_999_999)
    assert printed(view, 60)


def test_more_kinds_and_layers_than_can_be_drawn_are_counted() -> None:
    many = [f"model.layers.0.kind_{i}.weight" for i in range(70)]
    deep = [f"model.layers.{i}.kind_0.weight" for i in range(1, 450)]
    report = scan_of([matrix(name, 1.0) for name in (*many, *deep)])
    view = view_of(report)
    assert view.grid.left_out == "Not drawn: 6 more kinds and 50 more layers."
    assert len(view.kinds) == 70


@pytest.mark.parametrize("make", [hybrid, budgeted, nameless, lambda: view_of(hostile_scan())])
def test_a_picture_is_drawn_and_is_the_same_each_time(make: Callable[[], PlanView]) -> None:
    one, other = (picture_bytes(draw_plan(make()), ".svg") for _ in range(2))
    assert one == other
    text = "".join(ElementTree.fromstring(one).itertext())
    assert make().figures[0].value in text


# Where the model comes from


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_model_that_a_plan_names_is_found_or_its_absence_is_told(
    here: Path, spectrum: Spectrum
) -> None:
    write_llama(here / "model", layers=4)
    made = spectrum("plan", "model", "--top", "50%", "-o", "plan.yaml", "-q")
    assert made.returncode == 0, made.stderr
    found = spectrum("report", "plan.yaml")
    assert "Memory:" in found.stdout
    assert "Note:" not in found.stdout
    (here / "model").rename(here / "moved")
    alone = spectrum("report", "plan.yaml")
    assert alone.returncode == 0
    assert "--scan SCAN|MODEL says what it is about" in " ".join(alone.stdout.split())
    assert "Memory:" not in alone.stdout
    given = spectrum("report", "plan.yaml", "--scan", "moved")
    assert "spectrum train moved --plan plan.yaml" in given.stdout
    write_llama(here / "model", layers=5)
    other = spectrum("report", "plan.yaml")
    assert "is not the model that this plan was made for" in " ".join(other.stdout.split())
    refused = spectrum("report", "plan.yaml", "--scan", "model")
    assert_explained(refused, "is about another model")


def test_names_that_the_model_lacks_are_refused_with_the_nearest(
    here: Path, spectrum: Spectrum
) -> None:
    report = small_scan()
    plan = make_plan(report).plan
    (here / "scan.json").write_text(to_json(report), "utf-8")
    edited = replace(plan, train=("model.layers.3.mlp.up_porj.weight", *plan.train))
    (here / "plan.yaml").write_text(plan_to_yaml(edited), "utf-8")
    done = spectrum("report", "plan.yaml", "--scan", "scan.json")
    assert_explained(done, "1 of the plan's names are not in this model")
    assert "did you mean model.layers.3.mlp.up_proj.weight" in done.stderr


def test_an_import_is_found_by_its_plan_and_has_no_weights_to_count(
    here: Path, spectrum: Spectrum
) -> None:
    names = [f"model.layers.{layer}.mlp.up_proj" for layer in range(8)]
    scores = {name: {"snr": 0.1 + i, "type": "up"} for i, name in enumerate(names)}
    (here / "snr.json").write_text(json.dumps(scores), "utf-8")
    asked = ("--preset", "reference", "--top", "50%", "-o", "plan.yaml", "-q")
    made = spectrum("plan", "snr.json", *asked)
    assert made.returncode == 0, made.stderr
    text = " ".join(spectrum("report", "plan.yaml").stdout.split())
    assert "Trains 4 of 8 matrices and the embeddings and head" in text
    assert "--scan MODEL reads them" in text
    assert "spectrum train MODEL --plan plan.yaml" in text


def test_what_lies_where_an_import_was_and_is_another_leaves_the_plan_alone(
    here: Path, spectrum: Spectrum
) -> None:
    scan = here / "snr.json"
    scan.write_text(to_json(imported_scan()), "utf-8")
    (here / "plan.yaml").write_text(plan_to_yaml(make_plan(imported_scan()).plan), "utf-8")
    assert "Note:" not in spectrum("report", "plan.yaml").stdout.replace("Note: An import", "")
    scan.write_text(to_json(small_scan()).replace("up_proj", "gate_proj"), "utf-8")
    done = spectrum("report", "plan.yaml")
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert "What lies at snr.json is not the model that this plan was made for" in text
    assert "Trains 2 tensors" in text
    refused = spectrum("report", "plan.yaml", "--scan", "snr.json")
    assert_explained(refused, "2 of the plan's names are not in this model")


def test_names_in_the_next_command_are_no_options_and_reach_the_shell_whole() -> None:
    plan = make_plan(small_scan()).plan
    for source, path, words in (
        ("--force", "-p.yaml", "./--force --plan ./-p.yaml"),
        ("~/my models/x", "a b.yaml", "~/'my models/x' --plan 'a b.yaml'"),
        ("a\nb", "\x1b.yaml", r"$'a\012b' --plan $'\033.yaml'"),
    ):
        named = replace(plan, model=replace(plan.model, source=source))
        view = plan_view(named, of_plan(named, "lost"), TrainingShape(), path=path)
        assert view.next_command.startswith(f"spectrum train {words} --data train.jsonl")


def test_the_command_of_a_plan_is_one_printable_line_in_markdown() -> None:
    text = plan_markdown(hybrid(), "spectrum plan\n```\x1b[2J\u202e\n# heading")
    assert "\n# heading" not in text
    assert all(line.isprintable() for line in text.splitlines())


@pytest.mark.parametrize(
    ("source", "told"),
    [
        *((name, "is not on this machine") for name in ("owner/none", "a--b", "~/none", "../x")),
        ("a\u202eb", "is not on this machine"),
        ("packaged:none", "(no packaged model is called none)"),
        ("/dev/zero", "(/dev/zero: not a weight file that can be read)"),
        ("", "(no model given)"),
    ],
)
def test_a_plans_source_of_any_kind_is_looked_for_and_never_fetched(source: str, told: str) -> None:
    plan = make_plan(small_scan()).plan
    for fingerprint in (plan.model.fingerprint, None):
        model = replace(plan.model, source=source, fingerprint=fingerprint)
        subject = subject_of(replace(plan, model=model), Given(path="plan.yaml"))
        assert subject.found is None
        assert told in subject.lacking


def test_what_is_there_and_cannot_be_read_is_not_called_missing(here: Path) -> None:
    plan = make_plan(small_scan()).plan
    (here / "empty").mkdir()
    (here / "torn").mkdir()
    (here / "torn" / "model.safetensors").write_bytes(b"\xff" * 4)
    (here / "scores.json").write_text("{", "utf-8")
    (here / "\x1b[2J").mkdir()
    for source, fingerprint in (
        *(("empty", "f" * 64), ("torn", "f" * 64), ("scores.json", None), ("\x1b[2J", None)),
    ):
        model = replace(plan.model, source=source, fingerprint=fingerprint)
        lacking = subject_of(replace(plan, model=model), Given(path="plan.yaml")).lacking
        assert lacking.startswith("What the plan was made from cannot be read (")
        assert ascii(source)[1:-1].replace("\\\\", "\\") in lacking
        assert lacking.endswith(_MENDED)
        assert lacking.isprintable()


def test_a_model_on_the_hub_that_is_not_here_is_not_downloaded(
    here: Path, spectrum: Spectrum
) -> None:
    (here / "plan.yaml").write_text(plan_to_yaml(make_plan(small_scan()).plan), "utf-8")
    done = spectrum("report", "plan.yaml", "--scan", "owner/none")
    assert_explained(done, "owner/none: not on this machine, and a report downloads nothing")


def test_a_plan_and_its_scan_cannot_both_be_standard_input() -> None:
    with pytest.raises(RecordError, match="is the plan and its scan at once"):
        subject_of(make_plan(small_scan()).plan, Given(path="-", scan="-"))


def test_a_plan_is_written_in_every_format(here: Path, spectrum: Spectrum) -> None:
    report = small_scan()
    (here / "scan.json").write_text(to_json(report), "utf-8")
    (here / "plan.yaml").write_text(plan_to_yaml(make_plan(report).plan), "utf-8")
    begins = {"x.html": b"<!doctype html>", "x.md": b"###", "x.png": b"\x89PNG", "x.svg": b"<?xml"}
    for name, begin in begins.items():
        done = spectrum("report", "plan.yaml", "--scan", "scan.json", "-o", name)
        assert done.returncode == 0, done.stderr
        assert (here / name).read_bytes().lstrip().startswith(begin)


def test_a_subject_knows_its_layers_and_whether_it_has_sizes() -> None:
    known = of_scan(small_scan(), "scan.json")
    assert isinstance(known, Subject)
    assert (known.layers, known.sized) == (12, True)
    assert not of_scan(imported_scan(), "snr.json").sized
