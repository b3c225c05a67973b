"""One answer by HTTP: redirects followed with care, and asked for again when that may help.

Redirects are followed here and not by the HTTP client, since what is sent and what is believed
depends on the host: the access token goes to the Hub (HF_ENDPOINT) and nowhere else, and what the
Hub says of a file counts more than what the host it sends us to says.
"""

import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import urljoin, urlsplit

from spectrum_ft import __version__
from spectrum_ft.errors import CheckpointError

if TYPE_CHECKING:
    from httpx2 import Response

T = TypeVar("T")

MAX_REDIRECTS = 8
"""The Hub needs two: from a renamed model's address, and on to where large files are."""

_REDIRECTS = {301, 302, 303, 307, 308}
_MAY_PASS = {408, 425, 429, *range(500, 600)}
_EXPIRED = {401, 403, 410}
_DEFAULT_PORTS = {"http": 80, "https": 443}

# The Hub's own header beside Retry-After: `"resolvers";r=0;t=55` says to come back in 55 seconds.
_NONE_LEFT = re.compile(r";\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d{1,9})", re.ASCII)

# A body of at most this size is read to its end, so that its connection can be used again.
_SMALL_BYTES = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a request is repeated in spite of failures of the network and of servers."""

    tries: int = 6
    """How often it is made at most."""
    first_wait_seconds: float = 0.5
    """The wait before the second time, doubled before each one after it."""
    longest_wait_seconds: float = 60.0
    """No wait is longer, whatever a server asks for; five outlast the Hub's limits of 5 minutes."""
    silence_seconds: float = 30.0
    """How long a server may say nothing before it counts as gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A final answer whose body is not read yet, and what was said of the file on the way."""

    status: int
    """Its status: 200, 206 or 416."""
    headers: Mapping[str, str]
    """Its headers; names in any case."""
    etag: str | None
    """The file's entity tag without quotes: the Hub's word, or that of whoever has the bytes."""
    linked_bytes: int | None
    """The size of the file, where the Hub says it in redirecting."""
    chunks: Iterator[bytes]
    """The body as it comes in, with nothing unpacked."""


class TryAgain(Exception):
    """An answer that may well be better next time."""

    def __init__(self, reason: str, wait_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class _Expired(TryAgain):
    """The address that the Hub gave is refused: it may have been valid until just now."""


def until_done(attempt: Callable[[], T], name: str, patience: Patience) -> T:
    """What `attempt` returns, called again after `TryAgain` and failures of the connection.

    Raises `CheckpointError` about the file `name` when that does not help.
    """
    pause, has_expired, reason = patience.first_wait_seconds, False, ""
    for left in reversed(range(patience.tries)):
        asked_seconds = 0.0
        try:
            return attempt()
        except _Expired as fault:
            reason = str(fault)
            if has_expired:
                break
            has_expired = True
            continue
        except TryAgain as fault:
            reason, asked_seconds = str(fault), fault.wait_seconds
        except _from_library("TransportError") as fault:
            reason = str(fault) or type(fault).__name__
        if left:
            time.sleep(min(max(pause, asked_seconds), patience.longest_wait_seconds))
            pause *= 2
    raise CheckpointError(
        f"{name}: cannot be read ({ascii(reason)[1:-1][:150]})",
        "run the same command again later: what is computed is kept",
    )


@contextmanager
def answering(
    url: str, headers: Mapping[str, str], name: str, patience: Patience
) -> Iterator[Answer]:
    """The answer to a GET of `url` after at most `MAX_REDIRECTS` redirects, closed in the end.

    An answer that is left unread costs no more than its beginning. Raises `CheckpointError`,
    `TryAgain`, the HTTP client's errors, `OfflineModeIsEnabled`, and huggingface_hub's
    `HfHubHTTPError` where the host of `url` itself refuses.
    """
    asked = origin(url)
    etag = linked_bytes = None
    for _ in range(MAX_REDIRECTS + 1):
        response = _get(url, headers, name, patience)
        try:
            is_asked = origin(url) == asked
            if is_asked:
                etag = _tag(response.headers.get("X-Linked-Etag")) or etag
                linked_bytes = _natural(response.headers.get("X-Linked-Size")) or linked_bytes
            if response.status_code in _REDIRECTS:
                url = next_address(url, response.headers.get("Location", ""), name)
                _finish(response)
                continue
            _check_status(response, is_asked, name)
            yield Answer(
                status=response.status_code,
                headers=response.headers,
                etag=etag or _tag(response.headers.get("ETag")),
                linked_bytes=linked_bytes,
                chunks=response.iter_raw(),
            )
            return
        finally:
            response.close()
    raise CheckpointError(
        f"{name}: more than {MAX_REDIRECTS} redirects", "check HF_ENDPOINT and your proxy"
    )


def next_address(url: str, location: str, name: str) -> str:
    """Where a redirect from `url` to `location` leads; `CheckpointError` if it may not go there."""
    try:
        target = urljoin(url, location)
        scheme, host, _ = origin(target)
    except ValueError:
        scheme = host = ""
    if scheme == "http" and urlsplit(url).scheme == "https":
        _refuse(name, "was redirected from https to http")
    if scheme not in _DEFAULT_PORTS or not host or not (location and location.isascii()):
        _refuse(name, f"was redirected to {ascii(location)[1:-1][:100]!r}, which is no web address")
    return target


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of `url`, 0 where it has none; `ValueError` if it is malformed."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)


def _get(url: str, headers: Mapping[str, str], name: str, patience: Patience) -> "Response":
    """The answer to one GET, a redirect or not, its body unread."""
    from huggingface_hub import constants, get_session, get_token

    sent = {"User-Agent": f"spectrum-ft/{__version__}", "Accept-Encoding": "identity", **headers}
    is_hub = origin(url) == origin(constants.ENDPOINT)
    token = get_token() if is_hub and not constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else None
    if token:
        sent["Authorization"] = f"Bearer {token}"
    client = get_session()
    try:
        request = client.build_request("GET", url, headers=sent, timeout=patience.silence_seconds)
    except _from_library("InvalidURL"):
        _refuse(name, f"was redirected to {ascii(url)[1:-1][:100]!r}, which is no web address")
    if is_hub:
        return client.send(request, stream=True, follow_redirects=False)
    # A client that the user has set up may bring credentials of its own: meant for the Hub.
    request.headers.pop("Authorization", None)
    request.headers.pop("Cookie", None)
    return client.send(request, stream=True, follow_redirects=False, auth=None)


def _check_status(response: "Response", is_asked: bool, name: str) -> None:
    from huggingface_hub import hf_raise_for_status

    status = response.status_code
    if status in {200, 206, 416}:
        return
    if status in _MAY_PASS:
        raise TryAgain(f"the server answered {status}", _asked_wait_seconds(response.headers))
    if not is_asked:
        if status in _EXPIRED:
            raise _Expired(f"the Hub's address for it was refused with {status}")
        _refuse(name, f"the server that the Hub names for it answered {status}")
    # The Hub says why in headers; a body, which huggingface_hub would read, can be endless.
    why = {key: value for key, value in response.headers.items() if key.startswith("x-error-")}
    hf_raise_for_status(type(response)(status, headers=why, request=response.request))
    _refuse(name, f"the server answered {status}")


def _asked_wait_seconds(headers: Mapping[str, str]) -> float:
    """How long a server that is busy asks us to wait; 0 if it does not say."""
    limit = _NONE_LEFT.search(headers.get("RateLimit", ""))
    waits = (_natural(headers.get("Retry-After")), int(limit[1]) if limit else None)
    return float(max(wait or 0 for wait in waits))


def _finish(response: "Response") -> None:
    """Read what is left of a small body; a larger one is cut off when it is closed."""
    length = _natural(response.headers.get("Content-Length"))
    if length is not None and length <= _SMALL_BYTES:
        for _ in response.iter_raw():
            pass


def _tag(value: str | None) -> str | None:
    """An ETag without its quotes and without the mark of a weak one."""
    return (value or "").strip().removeprefix("W/").strip('"')[:200] or None


def _natural(text: str | None) -> int | None:
    """The number that `text` spells in at most 18 digits; None if it does not."""
    return int(text) if text and len(text) <= 18 and text.isascii() and text.isdigit() else None


def _refuse(name: str, what: str) -> NoReturn:
    raise CheckpointError(f"{name}: {what}", "check HF_ENDPOINT and your proxy")


def _from_library(name: str) -> Any:
    """A class of the HTTP client that huggingface_hub uses: httpx, or httpx2 in later releases."""
    from huggingface_hub.errors import HfHubHTTPError

    library = HfHubHTTPError.__bases__[0].__module__.partition(".")[0]
    return getattr(sys.modules[library], name)
