"""A Hub on this machine: a real HTTP server that answers as the real one does, and fetches."""

import hashlib
import json
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

COMMIT = "0123456789abcdef0123456789abcdef01234567"
INDEX = "model.safetensors.index.json"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")

# huggingface_hub reads its settings when it is imported, so each fetch is a process of its own.
FETCH = """
import json, sys
from spectrum_ft.checkpoints.hub import fetch_from_hub
from spectrum_ft.errors import CheckpointError
try:
    found = fetch_from_hub(sys.argv[1])
except CheckpointError as error:
    print(json.dumps({"message": error.message, "hint": error.hint}))
else:
    print(json.dumps({"repo_id": found.repo_id, "revision": found.revision,
                      "folder": str(found.folder), "from_cache": found.from_cache}))
"""


def index_of(*shards: str) -> bytes:
    names = {f"model.layers.{i}.mlp.up_proj.weight": shard for i, shard in enumerate(shards)}
    return json.dumps({"metadata": {"total_size": 2048}, "weight_map": names}).encode()


def shard(layer: int) -> bytes:
    weight = np.full((16, 16), layer, dtype=np.float32)
    return bytes(save({f"model.layers.{layer}.mlp.up_proj.weight": weight}))


WANTED = {"config.json": b"{}", INDEX: index_of(*SHARDS), SHARDS[0]: shard(0), SHARDS[1]: shard(1)}
DECOYS = {
    "pytorch_model.bin": b"\x80",
    "modeling_evil.py": b"raise SystemExit",
    "tokenizer.json": b"{}",
    "original/consolidated.00.pth": b"\x80",
    "consolidated.safetensors": b"",
}
REPOSITORIES: Mapping[str, Mapping[str, bytes]] = {
    "acme/tiny": WANTED | DECOYS,
    "acme/gated": WANTED,
    "acme/single": {"model.safetensors": shard(0), "model.fp16.safetensors": b"", **DECOYS},
    "acme/ggml": {"README.md": b"#", "tiny.gguf": b"GGUF"},
    "acme/quants": {f"tiny.{kind}.gguf": b"GGUF" for kind in ("Q4", "Q5", "Q6", "Q8")},
    "acme/pickled": {"config.json": b"{}", "pytorch_model.bin": b"\x80"},
    "acme/readme": {"README\x1b[2J.md": b"#", "sub/model.safetensors": shard(0)},
    "acme/escaping": {"config.json": b"{}", INDEX: index_of("../../x.safetensors")},
    "acme/lacking": {"config.json": b"{}", INDEX: index_of(*SHARDS), SHARDS[0]: shard(0)},
    "acme/torn": {"config.json": b"{}", "model.safetensors": shard(0)},
}


def etag_of(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """One answer: whole, or the part that was asked for, on a connection that stays open."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def send(
        self,
        status: int,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        length: int | None = None,
    ) -> None:
        """An answer whose Content-Length is that of `body` unless `length` says otherwise."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def send_file(self, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """`body`, or the part of it that was asked for."""
        headers = {"ETag": f'"{etag_of(body)}"', **(headers or {})}
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked is None:
            return self.send(200, headers, body)
        first, last = int(asked[1]), min(int(asked[2]), len(body) - 1)
        if first > last:
            return self.send(416, {"Content-Range": f"bytes */{len(body)}"})
        part = {"Content-Range": f"bytes {first}-{last}/{len(body)}"}
        return self.send(206, part | headers, body[first : last + 1])

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a test's output is its own."""


Fault = Callable[[Handler, bytes], None]
"""An answer to a request for the file with these bytes that is not as it should be."""


class Server(ThreadingHTTPServer):
    """A server that takes it quietly when a client hangs up."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class FileAnswer(Handler):
    """A file of a `FileServer`, or the next of its faults."""

    def __init__(self, owner: "FileServer", *args: Any) -> None:
        self.owner = owner
        super().__init__(*args)

    def do_GET(self) -> None:
        self.owner.requests.append(dict(self.headers.items()))
        self.owner.ports.add(self.client_address[1])
        body = self.owner.files.get(self.path.partition("?")[0])
        if self.owner.faults:
            return self.owner.faults.pop(0)(self, body or b"")
        return self.send(404) if body is None else self.send_file(body)


class FileServer:
    """A host that has files by their path and knows nothing of repositories."""

    def __init__(self, files: Mapping[str, bytes], secured: ssl.SSLContext | None = None) -> None:
        self.files = dict(files)
        self.faults: list[Fault] = []
        self.requests: list[dict[str, str]] = []
        self.ports: set[int] = set()
        self.server = Server(("127.0.0.1", 0), partial(FileAnswer, self))
        if secured:
            self.server.socket = secured.wrap_socket(self.server.socket, server_side=True)
        self.thread = Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        scheme = "https" if secured else "http"
        self.endpoint = f"{scheme}://127.0.0.1:{self.server.server_port}"

    def stop(self) -> None:
        """No more answers; connections to the port are refused from now on."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@contextmanager
def in_reach(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """huggingface_hub in this process set up as by HF_ENDPOINT, without a proxy, not offline."""
    from huggingface_hub import close_session, constants

    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "*")
    close_session()
    try:
        yield
    finally:
        close_session()


class Answer(Handler):
    """The few answers of the Hub that a download needs, each request noted in `log`."""

    def __init__(self, hub: "Hub", *args: Any) -> None:
        self.hub = hub
        super().__init__(*args)

    def do_HEAD(self) -> None:
        self.hub.log.append(f"{self.command} {self.path}")
        self.hub.tokens.append(self.headers.get("Authorization"))
        api, _, rest = self.path.partition("/api/models/")
        if rest:
            return self._describe(*rest.split("/revision/"))
        repo_id, _, rest = api.strip("/").partition("/resolve/")
        if rest:
            return self._serve(repo_id, *rest.split("/", 1))
        return self.send(404)

    do_GET = do_HEAD

    def _describe(self, repo_id: str, revision: str) -> None:
        if repo_id == "acme/down":
            return self.send(503)
        if repo_id == "acme/private":  # the Hub's word for it, to those who are not logged in
            return self.send(401, {"X-Error-Code": "RepoNotFound"})
        if repo_id == "acme/token":
            return self.send(
                401, {"X-Error-Message": "Invalid credentials in Authorization header"}
            )
        if repo_id == "acme/portal":  # what a hotel's network answers to everything
            return self.send(200, {"Content-Type": "text/html"}, b"<html>")
        if repo_id not in self.hub.repositories:
            return self.send(404, {"X-Error-Code": "RepoNotFound"})
        if revision not in {"main", "v1", COMMIT}:
            return self.send(404, {"X-Error-Code": "RevisionNotFound"})
        files = [{"rfilename": name} for name in self.hub.repositories[repo_id]]
        described = {"id": repo_id, "sha": COMMIT, "siblings": files}
        return self.send(200, {"Content-Type": "application/json"}, json.dumps(described).encode())

    def _serve(self, repo_id: str, revision: str, name: str) -> None:
        if repo_id == "acme/gated":
            return self.send(403, {"X-Error-Code": "GatedRepo"})
        body = self.hub.repositories[repo_id][name]
        headers = {"ETag": f'"{etag_of(body)}"', "X-Repo-Commit": COMMIT}
        if self.hub.store and name.endswith(".safetensors"):  # as the Hub does with large files
            path = f"/{repo_id}/{name}"
            self.hub.store.files[path] = body
            linked = {"X-Linked-Etag": headers["ETag"], "X-Linked-Size": str(len(body))}
            location = {"Location": f"{self.hub.store.endpoint}{path}?signature=1"}
            return self.send(302, {"ETag": 'W/"of-this-page"', **linked, **location}, b"Found.")
        if repo_id == "acme/torn" and name != "config.json" and self.command == "GET":
            self.close_connection = True
            return self.send(200, headers, body[:100], length=len(body))
        return self.send_file(body, headers)


class Hub:
    """A server, a cache that starts empty, and what was asked of the server."""

    def __init__(self, home: Path) -> None:
        self.repositories = dict(REPOSITORIES)
        self.store: FileServer | None = None
        """Where large files are, if not here."""
        self.log: list[str] = []
        self.tokens: list[str | None] = []
        self.home = home
        self.server = Server(("127.0.0.1", 0), partial(Answer, self))
        self.thread = Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def stop(self) -> None:
        """No more answers; connections to the port are refused from now on."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def fetch(self, hub_id: str, **settings: str) -> dict[str, Any]:
        """What `fetch_from_hub` returns or raises, as a mapping; it must print nothing."""
        return self.run(FETCH, hub_id, **settings)

    def run(self, code: str, *arguments: str, **settings: str) -> dict[str, Any]:
        """The mapping that `code` prints as JSON in a process of its own that uses this Hub."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_"))}
        own = {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(self.home), "NO_PROXY": "*"}
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=Path(__file__).parents[1],
            env=kept | own | settings,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def requested(self) -> set[str]:
        """The files that were asked for, as `revision/name`."""
        paths = (line.split()[1] for line in self.log if "/resolve/" in line)
        return {path.partition("/resolve/")[2] for path in paths}
