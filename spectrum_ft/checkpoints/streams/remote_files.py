"""Files on the Hub that are read where they are: parts of weights, and small files whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectrum_ft.checkpoints.hub_errors import out_of_reach, refused
from spectrum_ft.checkpoints.streams.http_ranges import Pin, read_part, read_start, read_whole

CACHE_UNUSED = "a stream does not use what is"
"""What `out_of_reach` is to say of the local cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file of one commit of a repository on the Hub.

    It holds no connection and no token: another process that it is sent to, on this machine or
    another, uses the token of its own environment.
    """

    repo_id: str
    """The repository."""
    commit: str
    """The commit: 40 hex digits."""
    path: str
    """Its name in the repository."""
    pin: Pin
    """Its ETag and size when its header was read."""

    @property
    def name(self) -> str:
        """Its address in huggingface_hub's notation: `hf://owner/name@commit/path`."""
        return _name(self.repo_id, self.commit, self.path)

    def read_range(self, offset: int, num_bytes: int) -> NDArray[np.uint8]:
        """`num_bytes` bytes from `offset` on; see `WeightFile`. Safe to call from many threads."""
        with _in_words(self.repo_id, self.commit):
            url = _url(self.repo_id, self.commit, self.path)
            return read_part(url, offset, num_bytes, self.pin, name=self.name)


def open_remote(repo_id: str, commit: str, path: str, start_bytes: int) -> tuple[RemoteFile, bytes]:
    """A file on the Hub, pinned to what it is now, and its first `start_bytes` bytes."""
    with _in_words(repo_id, commit):
        url, name = _url(repo_id, commit, path), _name(repo_id, commit, path)
        start, pin = read_start(url, start_bytes, name=name)
    return RemoteFile(repo_id=repo_id, commit=commit, path=path, pin=pin), start


def read_remote(repo_id: str, commit: str, path: str, max_bytes: int) -> bytes:
    """A small file on the Hub, whole; `CheckpointError` if it is larger than `max_bytes`."""
    with _in_words(repo_id, commit):
        url, name = _url(repo_id, commit, path), _name(repo_id, commit, path)
        return read_whole(url, max_bytes, name=name)


def _name(repo_id: str, commit: str, path: str) -> str:
    return f"hf://{repo_id}@{commit}/{path}"


def _url(repo_id: str, commit: str, path: str) -> str:
    from huggingface_hub import hf_hub_url

    return hf_hub_url(repo_id, path, revision=commit)


@contextmanager
def _in_words(repo_id: str, commit: str) -> Iterator[None]:
    """`CheckpointError` instead of huggingface_hub's own errors."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        yield
    except HfHubHTTPError as error:
        raise refused(repo_id, commit, error) from error
    except OfflineModeIsEnabled as error:
        raise out_of_reach(repo_id, commit, error, CACHE_UNUSED) from error
