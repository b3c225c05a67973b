"""Parts of a file by HTTP, each answer checked: the bytes that were asked for, of the same file.

Every read asks for the Hub's own address of the file. The Hub answers small files itself and
large ones with a redirect to a signed address elsewhere, good for an hour; beginning at the Hub
each time, no read meets an old one, and the Hub's ETag tells whether the file is still the same.
A server that sends the whole file instead is cut off, whatever its size.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from spectrum_ft.checkpoints.streams.http_answers import (
    Answer,
    Patience,
    TryAgain,
    answering,
    until_done,
)
from spectrum_ft.errors import CheckpointError

PATIENCE = Patience()

# 18 digits: more than any file has bytes, less than numpy cannot count.
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)
_ENDED_EARLY = "the connection ended early"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Which file it is, as far as headers say."""

    etag: str
    """Its entity tag without quotes: on the Hub, a digest of its content."""
    num_bytes: int
    """Its whole size."""


def read_start(
    url: str, num_bytes: int, *, name: str, patience: Patience = PATIENCE
) -> tuple[bytes, Pin]:
    """The first `num_bytes` bytes of the file at `url`, all if it is shorter; and which file it is.

    `name` is what messages call it. Raises `CheckpointError`, and from huggingface_hub
    `HfHubHTTPError` if the host refuses it and `OfflineModeIsEnabled`.
    """

    def attempt() -> tuple[bytes, Pin]:
        with answering(url, _range(0, num_bytes - 1), name, patience) as answer:
            first, last, size = _content_range(answer, name)
            pin = Pin(etag=_etag(answer, name), num_bytes=size)
            if (first, last) != (0, min(num_bytes, size) - 1):
                _refuse_range(name, 0, num_bytes - 1, answer)
            data = np.empty(last + 1, dtype=np.uint8)
            if sum(_fill(data, answer, name)) < len(data):
                raise TryAgain(_ENDED_EARLY)
            return data.tobytes(), pin

    return until_done(attempt, name, patience)


def read_part(
    url: str, offset: int, num_bytes: int, pin: Pin, *, name: str, patience: Patience = PATIENCE
) -> NDArray[np.uint8]:
    """`num_bytes` bytes from `offset` on, of the file at `url` that `pin` describes; writable, 1-D.

    Each chunk goes from its packet to its place in the result; a transfer that breaks off goes on
    where it stopped. Raises as `read_start`, and if the file is no longer the pinned one.
    """
    assert 0 <= offset <= offset + num_bytes <= pin.num_bytes, (offset, num_bytes, pin)
    try:
        data = np.empty(num_bytes, dtype=np.uint8)
    except MemoryError:
        raise CheckpointError(f"{name}: no memory for {num_bytes:,} bytes at once") from None
    done = 0

    def attempt() -> None:
        nonlocal done
        first, last = offset + done, offset + num_bytes - 1
        with answering(url, _range(first, last), name, patience) as answer:
            if answer.status == 416:
                _refuse_change(name, "it has become shorter")
            found = _content_range(answer, name)
            now = Pin(etag=_etag(answer, name), num_bytes=found[2])
            if now.num_bytes != pin.num_bytes:
                _refuse_change(name, f"{now.num_bytes:,} bytes instead of {pin.num_bytes:,}")
            if now.etag != pin.etag:
                _refuse_change(name, "its ETag is another")
            if found[:2] != (first, last):
                _refuse_range(name, first, last, answer)
            for count in _fill(data[done:], answer, name):
                done += count
        if done < num_bytes:
            raise TryAgain(_ENDED_EARLY)

    if num_bytes:
        until_done(attempt, name, patience)
    return data


def read_whole(url: str, max_bytes: int, *, name: str, patience: Patience = PATIENCE) -> bytes:
    """All of the file at `url`, refused above `max_bytes` bytes. Raises as `read_start`."""

    def attempt() -> bytes:
        with answering(url, {}, name, patience) as answer:
            if answer.status != 200:
                _refuse(
                    name, f"the server answered {answer.status} to a request for the whole file"
                )
            _check_plain(answer, name)
            length = answer.headers.get("Content-Length", "")
            stated = int(length) if re.fullmatch(r"\d{1,18}", length, re.ASCII) else None
            stated = answer.linked_bytes if stated is None else stated
            body = bytearray()
            for chunk in answer.chunks if (stated or 0) <= max_bytes else ():
                body += chunk
                if len(body) > max_bytes:
                    break
            if max(len(body), stated or 0) > max_bytes:
                _refuse(name, f"larger than {max_bytes:,} bytes")
            if stated is not None and len(body) != stated:
                raise TryAgain(_ENDED_EARLY)
            return bytes(body)

    return until_done(attempt, name, patience)


def _range(first: int, last: int) -> dict[str, str]:
    return {"Range": f"bytes={first}-{last}"}


def _content_range(answer: Answer, name: str) -> tuple[int, int, int]:
    """The first and last byte that the answer holds and the size of the whole file."""
    if answer.status == 200:
        _refuse(name, "the server sends the whole file instead of the part that was asked for")
    if answer.status == 416:
        raise CheckpointError(f"{name}: the file is empty", "choose another revision")
    _check_plain(answer, name)
    stated = answer.headers.get("Content-Range", "")
    match = _CONTENT_RANGE.fullmatch(stated)
    if match is None:
        _refuse(name, f"the server does not say which part it sends ({ascii(stated)[:60]})")
    first, last, size = (int(number) for number in match.groups())
    if not first <= last < size:
        _refuse(name, f"the server sends an impossible part ({stated})")
    if answer.linked_bytes not in (None, size):
        _refuse(name, f"{answer.linked_bytes:,} bytes by the Hub's word, but {size:,} where it is")
    return first, last, size


def _check_plain(answer: Answer, name: str) -> None:
    """Refuse what is packed: the bytes on the wire are then not those of the file."""
    packed = answer.headers.get("Content-Encoding", "identity")
    if packed.lower() != "identity":
        _refuse(name, f"the server sends it packed ({ascii(packed)[1:-1][:40]})")


def _etag(answer: Answer, name: str) -> str:
    if answer.etag is None:
        _refuse(name, "the server gives no ETag, so that a change would go unseen")
    return answer.etag


def _fill(data: NDArray[np.uint8], answer: Answer, name: str) -> Iterator[int]:
    """The number of bytes in each chunk of the body, which has then been written into `data`."""
    done = 0
    for chunk in answer.chunks:
        count = len(chunk)
        if done + count > len(data):
            _refuse(name, f"the server sends more than the {len(data):,} bytes that it announced")
        data[done : done + count] = np.frombuffer(chunk, dtype=np.uint8)
        done += count
        yield count


def _refuse_range(name: str, first: int, last: int, answer: Answer) -> NoReturn:
    sent = answer.headers["Content-Range"]
    _refuse(name, f"bytes {first}-{last} were asked for, and the server sends {sent}")


def _refuse_change(name: str, how: str) -> NoReturn:
    raise CheckpointError(
        f"{name}: changed since its header was read ({how})", "run the same command again"
    )


def _refuse(name: str, what: str) -> NoReturn:
    raise CheckpointError(f"{name}: {what}", "leave --stream out to download the model")
