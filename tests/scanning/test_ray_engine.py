"""Scans on a real Ray cluster of two nodes."""

import json
import os
import pickle
import signal
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from making import raw_safetensors, tensor_info, write_llama
from program import PROGRAM, assert_explained, run_spectrum
from ray_cluster import kill_a_worker, seen_working, two_nodes
from spectrum_ft.checkpoints.checkpoint import open_checkpoint
from spectrum_ft.errors import CheckpointError
from spectrum_ft.scanning.compute import Compute
from spectrum_ft.scanning.jobs import prepare_scan
from spectrum_ft.scanning.ray_engine import _solve

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="needs pip install ray"),
    pytest.mark.xdist_group("ray"),  # one cluster, whose workers one test kills
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with two_nodes() as found:
        yield found


def comparable(report: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(report.read_text())
    return {key: value for key, value in record.items() if key not in ("seconds", "command")}


def test_a_scan_on_ray_is_the_local_one_cold_and_resumed(address: str, tmp_path: Path) -> None:
    write_llama(tmp_path / "model", layers=3)
    cluster = {"RAY_ADDRESS": address, "PYTHONWARNINGS": "default"}
    other = {"SPECTRUM_FT_CACHE": str(tmp_path / "other")}
    local = run_spectrum("scan", "model", "-o", "local.json", cwd=tmp_path, env=other)
    assert local.returncode == 0, local.stderr
    for name, said in (("cold", ""), ("resumed", " 21 of them were known from earlier scans.")):
        done = run_spectrum(
            "scan", "model", "--engine", "ray", "-o", f"{name}.json", cwd=tmp_path, env=cluster
        )
        assert done.returncode == 0, done.stderr
        assert f"Scanned 21 matrices.{said}\n" in done.stderr
        assert comparable(tmp_path / f"{name}.json") == comparable(tmp_path / "local.json")


def test_a_worker_that_is_killed_half_way_costs_nothing(address: str, tmp_path: Path) -> None:
    write_llama(tmp_path / "model", layers=3, hidden=768)
    cluster = {"RAY_ADDRESS": address, "PYTHONWARNINGS": "default"}
    other = {"SPECTRUM_FT_CACHE": str(tmp_path / "other")}
    local = run_spectrum("scan", "model", "-o", "local.json", cwd=tmp_path, env=other)
    assert local.returncode == 0, local.stderr
    process = start(tmp_path, cluster)
    assert kill_a_worker("_solve")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert comparable(tmp_path / "ray.json") == comparable(tmp_path / "local.json")


def start(folder: Path, env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [PROGRAM, "scan", "model", "--engine", "ray", "-o", "ray.json"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **env},
    )


def test_a_gpu_is_refused_on_ray(address: str, tmp_path: Path) -> None:
    write_llama(tmp_path / "model", layers=1)
    done = run_spectrum(
        "scan", "model", "--engine", "ray", "--device", "cuda", cwd=tmp_path,
        env={"RAY_ADDRESS": address},
    )  # fmt: skip
    assert_explained(done, "the Ray engine computes on processors, not on cuda")


def test_a_cluster_that_is_not_there_is_named(tmp_path: Path) -> None:
    write_llama(tmp_path / "model", layers=1)
    done = run_spectrum(
        "scan", "model", "--engine", "ray", cwd=tmp_path,
        env={"RAY_ADDRESS": "127.0.0.1:1", "PYTHONWARNINGS": "default"},
    )  # fmt: skip
    assert_explained(done, "no connection to the Ray cluster at 127.0.0.1:1")


def test_a_matrix_that_no_node_has_memory_for_is_refused(address: str, tmp_path: Path) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    start = raw_safetensors({name: tensor_info("F32", (40_000, 40_000))})
    with (tmp_path / "model.safetensors").open("wb") as file:  # 6 GB, and all of it a hole
        file.write(start)
        file.truncate(len(start) + 4 * 40_000**2)
    done = run_spectrum(
        "scan", tmp_path / "model.safetensors", "--engine", "ray",
        env={"RAY_ADDRESS": address, "PYTHONWARNINGS": "default"},
    )  # fmt: skip
    assert_explained(done, "no node of the Ray cluster has more than 4 GiB to lend")


def test_what_a_node_finds_wrong_is_told_as_in_a_local_scan(tmp_path: Path) -> None:
    write_llama(tmp_path, layers=1)
    target = prepare_scan(open_checkpoint(str(tmp_path))).targets[0]
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError) as caught:
        _solve(target, "snr", frozenset(), Compute(), str(tmp_path))
    sent = pickle.loads(pickle.dumps(caught.value))
    assert (sent.message, sent.hint) == (caught.value.message, caught.value.hint)
    assert sent.hint == "scan it when nothing writes to it"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_scan_on_ray_keeps_its_work_and_says_so(
    address: str, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    write_llama(tmp_path / "model", layers=6, hidden=1024)
    process = start(tmp_path, {"RAY_ADDRESS": address, "PYTHONWARNINGS": "default"})
    assert seen_working("_solve")
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert said.splitlines()[-1].startswith("Interrupted. The matrices scored so far are kept")
    assert "***" not in said
