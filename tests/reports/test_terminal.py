"""Whole terminal reports against golden files, at several widths and without Unicode."""

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from hostile import NAMES, assert_plain_text
from scans import matrix, one_kind, scan_of
from spectrum_ft.environment import current_environment
from spectrum_ft.memory import TrainingShape, forecast
from spectrum_ft.planning.making import PlanRequest, make_plan
from spectrum_ft.records.scans import ModelInfo, ScanReport
from spectrum_ft_reports.scans.terminal import print_scan
from spectrum_ft_reports.scans.views import scan_view
from stacks import stacked_mixture

Approved = Callable[[str, str], str]


def small_scan() -> ScanReport:
    """Two kinds of twelve layers with a hole, a saturated and a thin matrix, and skips."""
    rising = [0.1 * layer for layer in range(12)]
    matrices = one_kind(rising) + one_kind([*reversed(rising)], "self_attn.q_proj")
    matrices[5] = matrix(matrices[5].name, None, flags=["saturated"])
    matrices.append(matrix("model.layers.0.mlp.router.weight", 0.5, shape=(8, 64), flags=["thin"]))
    report = scan_of(
        [m for m in matrices if ".layers.3.mlp.up" not in m.name],
        vectors=[f"model.layers.{layer}.input_layernorm.weight" for layer in range(12)],
        others=["model.embed_tokens.weight", "lm_head.weight"],
    )
    model = ModelInfo(
        source="~/models/small",
        revision=None,
        fingerprint="f" * 64,
        parameters=223_232,
        layers=12,
    )
    return replace(report, model=model)


def hostile_scan() -> ScanReport:
    """Four layers of kinds with names that nobody would want to see obeyed."""
    return scan_of(
        [
            matrix(f"model.layers.{layer}.{name}.weight", float(layer))
            for name in (*NAMES, "\u5c42" * 30)
            for layer in range(4)
        ],
        vectors=[f"{name}.bias" for name in NAMES],
    )


def test_the_largest_floats_are_bars_as_well() -> None:
    text = rendered(scan_of(one_kind([1e308, -1e308, 1.0, 1e308, 1e308])), 80)
    assert "█▁▅██" in text


def deep_scan() -> ScanReport:
    """Eighty layers, more than there is room for."""
    return scan_of(one_kind([((7 * layer) % 80) / 80 for layer in range(80)], "mlp.down_proj"))


def mixture_scan() -> ScanReport:
    """Four layers with an attention matrix and two experts of Mixtral's kind each."""
    matrices = []
    for layer in range(4):
        stem = f"model.layers.{layer}"
        matrices += one_kind([float(layer)])
        matrices[-1] = replace(matrices[-1], name=f"{stem}.self_attn.q_proj.weight")
        matrices += [
            matrix(f"{stem}.mlp.experts.{expert}.{part}.weight", layer + 0.5 * expert)
            for expert in range(2)
            for part in ("w1", "w2", "w3")
        ]
    return scan_of(matrices, others=["model.embed_tokens.weight"])


def rendered(
    report: ScanReport,
    width: int,
    *,
    encoding: str = "utf-8",
    matrices: bool = False,
    request: PlanRequest | None = None,
    shape: TrainingShape | None = None,
) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    console = Console(file=file, width=width, highlight=False, no_color=True)
    planned = make_plan(report, request)
    memory = (forecast(planned.plan, report.shapes, shape), shape) if shape else None
    view = scan_view(report, planned, memory=memory, with_matrices=matrices)
    print_scan(console, view)
    file.flush()
    lines = raw.getvalue().decode(encoding).splitlines()
    assert max(map(len, lines)) <= width
    return "\n".join(line.rstrip() for line in lines) + "\n"


CASES = {
    "scan-20": lambda: rendered(small_scan(), 20),
    "scan-40-matrices": lambda: rendered(small_scan(), 40, matrices=True),
    "scan-60-names": lambda: rendered(hostile_scan(), 60),
    "scan-80-names-ascii": lambda: rendered(hostile_scan(), 80, encoding="ascii", matrices=True),
    "scan-60": lambda: rendered(small_scan(), 60),
    "scan-80": lambda: rendered(small_scan(), 80),
    "scan-120": lambda: rendered(small_scan(), 120),
    "scan-80-ascii": lambda: rendered(small_scan(), 80, encoding="ascii"),
    "scan-80-matrices": lambda: rendered(small_scan(), 80, matrices=True),
    "scan-80-deep": lambda: rendered(deep_scan(), 80),
    "plan-80-reference": lambda: rendered(
        small_scan(), 80, request=PlanRequest(preset="reference", share=0.5)
    ),
    "plan-80-hybrid": lambda: rendered(
        small_scan(),
        80,
        request=PlanRequest(preset="hybrid"),
        shape=TrainingShape(),
        matrices=True,
    ),
    "plan-80-qlora": lambda: rendered(
        mixture_scan(),
        80,
        request=PlanRequest(preset="qlora-paper"),
        shape=TrainingShape(batch_size=1, device="cpu"),
    ),
    "plan-80-experts": lambda: rendered(mixture_scan(), 80),
    "plan-80-stacked": lambda: rendered(
        stacked_mixture(), 80, request=PlanRequest(preset="hybrid"), shape=TrainingShape()
    ),
    "scan-80-stacked-matrices": lambda: rendered(
        stacked_mixture(experts=2), 80, matrices=True, request=PlanRequest(share=0.5)
    ),
    "plan-80-nf4": lambda: rendered(
        small_scan(),
        80,
        request=PlanRequest(preset="spectrum-nf4", share=0.1, train_roles=("head", "norm")),
    ),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_report_reads_as_it_was_approved(name: str, approved: Approved) -> None:
    text = CASES[name]()
    assert text == approved(name, text)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", [1, 7, 13, 20, 33, 47, 60, 71, 80, 120, 200])
def test_no_width_is_too_small_and_no_name_is_obeyed(width: int, encoding: str) -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, highlight=False, no_color=True)
    report = hostile_scan()
    print_scan(console, scan_view(report, make_plan(report), with_matrices=True))
    file.flush()
    assert isinstance(file.buffer, io.BytesIO)
    text = file.buffer.getvalue().decode(encoding)
    assert_plain_text(text)
    assert max(cell_len(line) for line in text.splitlines()) <= max(width, 2)  # a wide sign is two


def test_the_name_of_a_device_is_no_command_to_a_terminal() -> None:
    environment = current_environment("\x1b[31mcuda")
    assert_plain_text(rendered(replace(small_scan(), environment=environment), 80))


def test_colour_marks_what_trains_and_a_pipe_gets_none() -> None:
    view = scan_view(small_scan(), make_plan(small_scan()))
    coloured, plain = io.StringIO(), io.StringIO()
    print_scan(Console(file=coloured, width=80, force_terminal=True), view)
    print_scan(Console(file=plain, width=80), view)
    assert "\x1b[1;32m" in coloured.getvalue()
    assert "\x1b" not in plain.getvalue()


def test_a_scan_that_nothing_can_be_planned_from_is_shown_all_the_same() -> None:
    report = scan_of(one_kind([1.0, 2.0]))
    console = Console(file=io.StringIO(), width=80)
    print_scan(console, scan_view(report, None, with_matrices=True))
    assert isinstance(console.file, io.StringIO)
    assert "mlp.up_proj" in console.file.getvalue()
