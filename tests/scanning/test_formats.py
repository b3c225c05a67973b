"""Scans of checkpoints that are not plain matrices: stacks of experts and quantized weights."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from making import raw_safetensors, tensor_info, write_llama
from oracles import published_snr, singular_values
from packed_checkpoints import (
    eight_bit_tensors,
    float8_tensors,
    four_bit_tensors,
    is_linear,
    random_matrix,
    recognised,
    write_4_bit_llama,
    write_float8_llama,
)
from spectrum_ft.checkpoints.checkpoint import (
    content_digest,
    fingerprint,
    open_checkpoint,
    read_bytes,
    read_tensor,
)
from spectrum_ft.checkpoints.dequantizing import unreadable_reason
from spectrum_ft.errors import CheckpointError
from spectrum_ft.planning.making import make_plan
from spectrum_ft.records.scans import ScannedMatrix, ScanReport
from spectrum_ft.scanning.jobs import prepare_scan
from spectrum_ft.scanning.scans import scan
from spectrum_ft.spectra.store import SpectraStore

Floats = NDArray[np.floating[Any]]

EXPERTS, LAYERS = 64, 4


def fresh_scan(folder: Path) -> ScanReport:
    return scan(str(folder), store=SpectraStore(None))


def stacks() -> dict[str, Floats]:
    """The experts of a mixture, each kind of a layer in one tensor."""
    chance = np.random.default_rng(3)
    shapes = {"gate_up_proj": (EXPERTS, 48, 64), "down_proj": (EXPERTS, 32, 48)}
    tensors: dict[str, Floats] = {}
    for layer in range(LAYERS):
        for kind, shape in shapes.items():
            noise = chance.standard_normal(shape).astype(np.float32)
            strength = chance.uniform(5.0, 30.0, (EXPERTS, 1, 1)).astype(np.float32)
            left = chance.standard_normal((EXPERTS, shape[1], 1)).astype(np.float32)
            right = chance.standard_normal((EXPERTS, 1, shape[2])).astype(np.float32)
            planted = strength * left * right / np.sqrt(shape[1] * shape[2])
            tensors[f"model.layers.{layer}.mlp.experts.{kind}"] = 0.02 * (noise + planted)
        gate = chance.standard_normal((EXPERTS, 48)).astype(np.float32)
        tensors[f"model.layers.{layer}.mlp.gate.weight"] = gate
    return tensors


def test_every_expert_of_a_stack_is_scored_as_if_it_stood_alone(tmp_path: Path) -> None:
    tensors = stacks()
    save_file(tensors, tmp_path / "model.safetensors")
    report = fresh_scan(tmp_path)
    experts = [matrix for matrix in report.matrices if matrix.expert is not None]
    assert Counter(m.name for m in experts) == {n: EXPERTS for n in tensors if "experts" in n}
    assert [(m.layer, m.expert) for m in experts[:EXPERTS]] == [(0, e) for e in range(EXPERTS)]
    for matrix in experts:
        assert matrix.expert is not None
        values = tensors[matrix.name][matrix.expert]
        assert matrix.shape == tensors[matrix.name].shape
        assert matrix.extents == values.shape
        truth = published_snr(singular_values(values), values.shape)
        assert matrix.scores["snr"] == pytest.approx(truth, rel=1e-4)
    assert report.model.parameters == sum(value.size for value in tensors.values())


def test_a_stack_and_the_same_experts_one_by_one_score_the_same(tmp_path: Path) -> None:
    (tmp_path / "stacked").mkdir()
    (tmp_path / "single").mkdir()
    stacked = {name: value for name, value in stacks().items() if "down_proj" in name}
    single = {
        name.replace("experts.", f"experts.{expert}.") + ".weight": value[expert]
        for name, value in stacked.items()
        for expert in range(EXPERTS)
    }
    save_file(stacked, tmp_path / "stacked" / "model.safetensors")
    save_file(single, tmp_path / "single" / "model.safetensors")

    def scores(folder: Path) -> dict[tuple[int | None, int | None], dict[str, float | None]]:
        return {(m.layer, m.expert): m.scores for m in fresh_scan(folder).matrices}

    assert scores(tmp_path / "stacked") == scores(tmp_path / "single")


def test_a_stack_is_planned_as_one(tmp_path: Path) -> None:
    save_file(stacks(), tmp_path / "model.safetensors")
    plan = make_plan(fresh_scan(tmp_path)).plan
    chosen = [name for name in plan.train if "experts" in name]
    assert len(chosen) == len(set(chosen)) == 2  # a quarter of four layers, in each kind
    assert plan.counts is not None
    assert plan.counts.train >= EXPERTS * (48 * 64 + 32 * 48)


def test_one_dead_expert_is_skipped_by_its_number_and_the_rest_are_scored(tmp_path: Path) -> None:
    tensors = stacks()
    name = "model.layers.2.mlp.experts.down_proj"
    tensors[name][7] = 0.0
    tensors[name][9, 3, 3] = np.nan
    save_file(tensors, tmp_path / "model.safetensors")
    report = fresh_scan(tmp_path)
    dead = [(t.expert, t.reason) for t in report.skipped if t.name == name]
    assert dead == [(7, "all weights are zero"), (9, "holds NaN or infinite weights")]
    assert sum(matrix.name == name for matrix in report.matrices) == EXPERTS - 2
    assert name not in make_plan(report).plan.train


def test_a_stack_of_convolution_kernels_is_no_stack_of_matrices(tmp_path: Path) -> None:
    write_llama(tmp_path, layers=1, overrides={
        "model.layers.0.linear_attn.conv1d.weight": np.ones((512, 1, 4), np.float32),
    })  # fmt: skip
    (skipped,) = (t for t in fresh_scan(tmp_path).skipped if "conv1d" in t.name)
    assert skipped.reason == "a stack of 1 x 4 kernels"


@pytest.mark.parametrize(
    ("write", "off"),
    [(write_float8_llama, 0.12), (write_4_bit_llama, 0.3)],
    ids=["FP8 in blocks", "NF4, doubly quantized"],
)
def test_a_quantized_model_scores_as_its_own_values_and_near_the_original(
    tmp_path: Path, write: Callable[[Path], dict[str, Floats]], off: float
) -> None:
    original = write(tmp_path)
    report = fresh_scan(tmp_path)
    unpacked = {e.name: read_tensor(e) for e in open_checkpoint(str(tmp_path)).entries}
    assert len(report.matrices) == sum(map(is_linear, original))
    for matrix in report.matrices:
        assert matrix.shape == original[matrix.name].shape
        found = unpacked[matrix.name]
        truth = published_snr(singular_values(found), matrix.shape)
        assert matrix.scores["snr"] == pytest.approx(truth, rel=1e-4)
        # Weyl: no singular value moves by more than the norm of what quantizing changed.
        moved = singular_values(found) - singular_values(original[matrix.name])
        error = np.linalg.norm(found - original[matrix.name], 2)
        assert np.abs(moved).max() <= error * (1 + 1e-6)
        # `snr` itself jumps where a value passes the edge, so its bound is one that was measured.
        before = published_snr(singular_values(original[matrix.name]), matrix.shape)
        assert matrix.scores["snr"] == pytest.approx(before, rel=off)


@pytest.mark.parametrize("write", [write_float8_llama, write_4_bit_llama])
def test_a_plan_from_a_quantized_model_is_one_for_the_original(
    tmp_path: Path, write: Callable[[Path], dict[str, Floats]]
) -> None:
    write(tmp_path / "packed")
    write_llama(tmp_path / "original", layers=4, hidden=256)
    plan = make_plan(fresh_scan(tmp_path / "packed")).plan
    assert plan.model.fingerprint == fingerprint(
        open_checkpoint(str(tmp_path / "original")).entries
    )
    assert plan.counts == make_plan(fresh_scan(tmp_path / "original")).plan.counts


def test_another_scale_is_another_content(tmp_path: Path) -> None:
    write_float8_llama(tmp_path, layers=1)
    before = fresh_scan(tmp_path).matrices[0]
    entries = open_checkpoint(str(tmp_path)).entries
    (entry,) = (entry for entry in entries if entry.name == before.name)
    (scale,) = entry.companions
    path = tmp_path / "model.safetensors"
    content = bytearray(path.read_bytes())
    values = np.frombuffer(content[scale.offset : scale.offset + scale.num_bytes], "<f4") * 2
    content[scale.offset : scale.offset + scale.num_bytes] = values.astype("<f4").tobytes()
    path.write_bytes(content)
    after = next(m for m in fresh_scan(tmp_path).matrices if m.name == before.name)
    assert after.digest != before.digest
    assert after.spectrum is not None
    assert before.spectrum is not None
    assert after.spectrum.max == pytest.approx(2 * before.spectrum.max, rel=1e-6)


def test_records_of_slices_are_told_apart(tmp_path: Path) -> None:
    save_file(stacks(), tmp_path / "model.safetensors")
    first: ScannedMatrix = fresh_scan(tmp_path).matrices[0]
    assert replace(first, expert=1) != first
    assert first.extents == (first.shape[-2], first.shape[-1])


@pytest.mark.parametrize("packing", ["FP8", "NF4", "int8"])
def test_the_same_bytes_of_a_scale_in_another_type_are_another_content(
    tmp_path: Path, packing: str
) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    weight = random_matrix(128, 128)
    tensors, scale = {
        "FP8": (float8_tensors(name, weight), f"{name}_scale_inv"),
        "NF4": (four_bit_tensors(name, weight, nested=False), f"{name}.absmax"),
        "int8": (eight_bit_tensors(name.removesuffix(".weight"), weight), f"{name[:-6]}SCB"),
    }[packing]
    bits = tensors[scale].to(torch.bfloat16)
    digests = set()
    for dtype in (torch.bfloat16, torch.float16):
        entries = recognised(tmp_path / str(dtype), {**tensors, scale: bits.view(dtype)})
        if entries[name].packing is None or unreadable_reason(entries[name]) is not None:
            continue  # this scheme takes no such scale
        digests.add(content_digest(read_bytes(entries[name]), entries[name]))
    assert len(digests) in (0, 2)


def test_a_single_file_is_read_by_the_config_beside_it(tmp_path: Path) -> None:
    write_float8_llama(tmp_path, layers=1, hidden=192, block=(96, 96))
    folder = fresh_scan(tmp_path)
    assert folder.matrices
    single = fresh_scan(tmp_path / "model.safetensors")
    assert [m.scores for m in single.matrices] == [m.scores for m in folder.matrices]
    (tmp_path / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"without its config\.json") as caught:
        fresh_scan(tmp_path / "model.safetensors")
    assert caught.value.hint == "scan the model that it was made from"


def test_scales_of_activations_are_no_part_of_the_model(tmp_path: Path) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    tensors = float8_tensors(name, random_matrix(128, 128))
    more = {name.replace("weight", "input_scale"): torch.ones(1)}
    assert set(recognised(tmp_path, {**tensors, **more})) == {name}


def test_a_tensor_of_a_million_slices_is_no_mixture(tmp_path: Path) -> None:
    name = "model.layers.0.mlp.experts.down_proj"
    start = raw_safetensors({name: tensor_info("F16", (1_000_000, 16, 16))})
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write(start)
        file.truncate(len(start) + 2 * 256_000_000)
    with pytest.raises(CheckpointError, match="a stack of 1,000,000 matrices"):
        prepare_scan(open_checkpoint(str(tmp_path)))


def test_a_damaged_config_matters_only_where_weights_are_quantized(tmp_path: Path) -> None:
    write_llama(tmp_path / "plain", layers=1)
    write_float8_llama(tmp_path / "packed", layers=1)
    for folder in (tmp_path / "plain", tmp_path / "packed"):
        (folder / "config.json").write_text("{")
    assert fresh_scan(tmp_path / "plain").matrices
    with pytest.raises(CheckpointError, match="not JSON"):
        fresh_scan(tmp_path / "packed")
