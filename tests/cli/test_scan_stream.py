"""`spectrum scan --stream` in a process of its own, against a Hub on this machine."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_hub import COMMIT, Hub
from making import write_llama
from program import assert_explained, run_spectrum


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(tmp_path / "huggingface")
    write_llama(tmp_path / "model", layers=3, shards=2)
    folder = tmp_path / "model"
    hub.repositories["acme/llama"] = {path.name: path.read_bytes() for path in folder.iterdir()}
    yield hub
    hub.stop()


def run_online(hub: Hub, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    reach = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(hub.home), "HF_HUB_OFFLINE": "0"}
    return run_spectrum(*arguments, env=reach)


def test_a_streamed_scan_is_that_of_the_files_and_keeps_nothing_of_them(
    hub: Hub, tmp_path: Path
) -> None:
    output = tmp_path / "streamed.json"
    done = run_online(hub, "scan", "acme/llama", "--stream", "--no-cache", "-o", output)
    assert done.returncode == 0, done.stderr
    streamed = json.loads(output.read_text())
    local = json.loads(run_spectrum("scan", tmp_path / "model", "--no-cache", "--json").stdout)
    for field in ("matrices", "skipped", "environment"):
        assert streamed[field] == local[field]
    assert streamed["model"]["fingerprint"] == local["model"]["fingerprint"]
    assert streamed["model"]["revision"] == COMMIT
    kept = [Path(at) / name for at, _, names in os.walk(hub.home) for name in names]
    assert not [path for path in kept if path.stat().st_size > 1000]


def test_estimating_a_streamed_scan_says_that_the_network_decides(hub: Hub) -> None:
    done = run_online(hub, "scan", "acme/llama", "--stream", "--estimate")
    assert done.returncode == 0, done.stderr
    assert "network" in done.stdout


def test_only_models_on_the_hub_are_streamed(tmp_path: Path) -> None:
    write_llama(tmp_path / "model", layers=1)
    done = run_spectrum("scan", tmp_path / "model", "--stream")
    assert_explained(done, "only models on the Hub are streamed")


def test_offline_is_told_as_such(hub: Hub) -> None:
    done = run_spectrum("scan", "acme/llama", "--stream", env={"HF_HUB_OFFLINE": "1"})
    assert_explained(done, "acme/llama")
    assert "offline" in done.stderr.lower()
