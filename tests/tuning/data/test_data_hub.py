"""Data sets from a Hub on this machine, from the cache, and from a Hub that does not answer."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from spectrum_ft.tuning.data.hub import is_data_set_id

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LINES = b'{"question": "q", "answer": "a", "id": 1}\n{"question": "r", "answer": null}\n'
FILES = {"acme/chats": {"train.jsonl": LINES}, "acme/code": {"code.py": b"raise SystemExit"}}

# huggingface_hub reads its settings when it is imported, so each reading is a process of its own.
READ = """
import json, sys
from spectrum_ft.errors import DataError
from spectrum_ft.tuning.data.files import read_rows
try:
    rows = read_rows(sys.argv[1], {"question": "prompt", "answer": "completion"})
except DataError as error:
    print(json.dumps({"message": error.message, "hint": error.hint}))
else:
    print(json.dumps({"rows": [[r.place, r.values] for r in rows.entries],
                      "digest": rows.digest, "unused": rows.unused, "source": rows.source}))
"""


class Answer(BaseHTTPRequestHandler):
    """The few answers of the Hub that `datasets` needs for a repository of plain files."""

    def do_HEAD(self) -> None:
        parts = self.path.partition("?")[0].strip("/").split("/")
        is_api = parts[:2] == ["api", "datasets"]
        owner_and_name = parts[2:4] if is_api else parts[1:3]
        rest = parts[4:] if is_api else parts[3:]
        files = FILES.get("/".join(owner_and_name))
        if files is None:
            return self._send(404, {"X-Error-Code": "RepoNotFound"})
        if not is_api:
            _, _, *names = rest  # resolve, revision
            return self._serve(files.get("/".join(names)))
        if rest[:1] == ["tree"]:
            found = [
                {"type": "file", "path": name, "size": len(data), "oid": "a" * 40}
                for name, data in files.items()
            ]
            return self._send(200, {"Content-Type": "application/json"}, json.dumps(found).encode())
        described: dict[str, Any] = {
            "id": "/".join(owner_and_name),
            "sha": COMMIT,
            "siblings": [{"rfilename": name} for name in files],
        }
        return self._send(200, {"Content-Type": "application/json"}, json.dumps(described).encode())

    do_GET = do_HEAD

    def _serve(self, data: bytes | None) -> None:
        if data is None:
            return self._send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        return self._send(200, {"ETag": f'"{"b" * 40}"', "X-Repo-Commit": COMMIT}, data)

    def _send(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a test's output is its own."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def read(data_set: str, home: Path, **settings: str) -> dict[str, Any]:
    """What reading `data_set` returns or raises; it must say nothing else."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-c", READ, data_set],
        env=kept | {"HF_HOME": str(home), "NO_PROXY": "*"} | settings,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stderr == ""
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_data_set_is_read_once_and_then_from_the_cache(tmp_path: Path, endpoint: str) -> None:
    found = read("acme/chats@v1", tmp_path, HF_ENDPOINT=endpoint)
    assert found["rows"] == [
        ["acme/chats@v1, row 1", {"prompt": "q", "completion": "a"}],
        ["acme/chats@v1, row 2", {"prompt": "r"}],
    ]
    assert found["unused"] == ["id"]
    assert found["digest"]
    again = read("acme/chats", tmp_path, HF_ENDPOINT=endpoint)
    offline = read("acme/chats", tmp_path, HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="1")
    assert offline == again
    assert again["digest"] == found["digest"]


@pytest.mark.parametrize(
    ("data_set", "words"),
    [
        ("acme/none", "neither a file here nor a data set that the Hub lets us have"),
        ("acme/chats:other", "cannot load its split train: BuilderConfig 'other' not found"),
        ("acme/code", "cannot load its split train"),
    ],
)
def test_what_the_hub_does_not_have_is_refused_in_a_line(
    tmp_path: Path, endpoint: str, data_set: str, words: str
) -> None:
    answer = read(data_set, tmp_path, HF_ENDPOINT=endpoint)
    assert answer["message"].startswith(data_set)
    assert words in answer["message"]
    assert answer["hint"]


def test_a_hub_that_does_not_answer_is_given_up_within_seconds(tmp_path: Path) -> None:
    start = time.monotonic()
    answer = read("acme/chats", tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert "no such file, and the Hub cannot be reached" in answer["message"]
    assert "HF_HUB_OFFLINE=1" in answer["hint"]
    assert time.monotonic() - start < 15  # datasets alone takes 23 s
    offline = read("acme/chats", tmp_path, HF_HUB_OFFLINE="1")
    assert "`datasets` cannot load its split train" in offline["message"]


@pytest.mark.parametrize("text", ["a/b", "HuggingFaceH4/ultra_chat.200k", "a/b:c-d@refs/pr/1"])
def test_ids_of_data_sets_are_told_from_paths(text: str) -> None:
    assert is_data_set_id(text)
    for path in (f"./{text}", f"/{text}", f"~/{text}", "name", "a/b/c", "a\\b/c", "a/b:", "a/b@"):
        assert not is_data_set_id(path)
