"""Fetching from a Hub: what is asked for, what is kept, and what is said when it fails."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local_hub import COMMIT, INDEX, SHARDS, WANTED, Hub
from spectrum_ft.checkpoints.hub import is_hub_id


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(tmp_path / "huggingface")
    yield hub
    hub.stop()


@pytest.mark.parametrize(
    "text", ["gpt2", "acme/tiny", "acme/tiny-1.5B_x@v1.0", "acme/tiny@refs/pr/3", f"a/b@{COMMIT}"]
)
def test_ids_of_the_hub_are_told(text: str) -> None:
    assert is_hub_id(text)


@pytest.mark.parametrize(
    "text",
    ["", ".", "./a", "../a", "/a/b", "~/a", "a/b/c", "a\\b", "C:/a", "a b", "a/.b", "-a", "a/../b"],
)
def test_paths_are_not_taken_for_ids(text: str) -> None:
    assert not is_hub_id(text)


@pytest.mark.parametrize("text", ["a/b@", "a/b@..", "a/b\n", "model.safetensors", "m/tiny.gguf"])
def test_nor_are_other_names(text: str) -> None:
    assert not is_hub_id(text)


def test_only_what_a_scan_needs_is_downloaded_and_pinned(hub: Hub) -> None:
    found = hub.fetch("acme/tiny@v1")
    assert (found["repo_id"], found["revision"], found["from_cache"]) == (
        "acme/tiny",
        COMMIT,
        False,
    )
    folder = Path(found["folder"])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == WANTED
    assert [line for line in hub.log if "/api/models" in line] == [
        "GET /api/models/acme/tiny/revision/v1"
    ]
    shards_and_index = {f"{COMMIT}/{name}" for name in (INDEX, *SHARDS)}
    assert hub.requested() == {"v1/config.json"} | shards_and_index


def test_a_second_fetch_downloads_nothing(hub: Hub) -> None:
    first = hub.fetch("acme/tiny")
    hub.log.clear()
    assert hub.fetch("acme/tiny") == first
    assert hub.requested() == {"main/config.json"}
    assert not [line for line in hub.log if line.startswith("GET") and "/resolve/" in line]


@pytest.mark.parametrize(
    ("repo_id", "names"),
    [("acme/single", ["model.safetensors"]), ("acme/ggml", ["tiny.gguf"])],
)
def test_the_weights_may_be_one_file(hub: Hub, repo_id: str, names: list[str]) -> None:
    folder = Path(hub.fetch(repo_id)["folder"])
    assert [path.name for path in folder.iterdir()] == names
    assert hub.fetch(f"{repo_id}@{COMMIT}", HF_HUB_OFFLINE="1")["folder"] == str(folder)


@pytest.mark.parametrize(
    ("hub_id", "message", "hint"),
    [
        ("acme/gone", "has no such model", "check the spelling"),
        ("acme/private", "or it is private", "`hf auth login` or set HF_TOKEN"),
        ("acme/token", "does not accept your access token", "unset HF_TOKEN"),
        ("acme/portal", "cannot be reached (Expecting value", "a local folder"),
        ("acme/gated", "accepted its terms", "`hf auth login` or set HF_TOKEN"),
        ("acme/tiny@v9", "no branch, tag or commit v9", "leave @v9 out"),
        ("acme/down", "out of order (it answered 503)", "a local folder"),
        ("acme/pickled", "only pickled weights (pytorch_model.bin)", "--allow-pickle"),
        ("acme/quants", "4 .gguf files", "`hf download acme/quants FILE`"),
        ("acme/readme", r"(it has README\x1b[2J.md)", "a whole model"),
        ("acme/escaping", "names shards that it lacks: ../../x.safetensors", ""),
        ("acme/lacking", f"names shards that it lacks: {SHARDS[1]}", ""),
        ("acme--tiny", "not an id of a model on the Hub", ""),
    ],
)
def test_a_refusal_says_what_and_what_to_do(hub: Hub, hub_id: str, message: str, hint: str) -> None:
    told = hub.fetch(hub_id)
    assert told["message"].startswith(hub_id.split("@")[0])
    assert message in told["message"]
    assert hint in (told["hint"] or "")
    assert len(told["message"]) <= 300
    assert not [line for line in hub.requested() if "x.safetensors" in line]


def test_a_download_that_breaks_off_is_told(hub: Hub) -> None:
    told = hub.fetch("acme/torn")  # five seconds: huggingface_hub tries again a few times
    assert told["message"].startswith("acme/torn: the download broke off (")
    assert "run the same command again" in told["hint"]


@pytest.mark.parametrize("offline", [{}, {"HF_HUB_OFFLINE": "1"}, {"TRANSFORMERS_OFFLINE": "1"}])
def test_without_the_hub_the_cache_is_used(hub: Hub, offline: dict[str, str]) -> None:
    first = hub.fetch("acme/tiny@v1")
    hub.stop()
    hub.log.clear()
    assert hub.fetch("acme/tiny@v1", **offline) == first | {"from_cache": True}
    assert hub.log == []
    told = hub.fetch("acme/tiny", **offline)  # nobody has said yet what main is
    why = "offline mode is on" if offline else "cannot be reached ([Errno 111] Connection refused)"
    assert told["message"].startswith("acme/tiny: ")
    assert why in told["message"]
    assert told["message"].endswith("and it is not in the local cache")
    assert "local folder" in told["hint"]
    assert ("unset HF_HUB_OFFLINE" in told["hint"]) == bool(offline)


def test_half_a_model_in_the_cache_is_not_used(hub: Hub) -> None:
    folder = Path(hub.fetch("acme/tiny")["folder"])
    (folder / SHARDS[0]).unlink()
    assert (
        "only part of it is in the local" in hub.fetch("acme/tiny", HF_HUB_OFFLINE="1")["message"]
    )
