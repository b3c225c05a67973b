"""Parts of files by HTTP, from a real server that answers well, badly, late or not at all."""

import shutil
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from local_hub import Fault, FileServer, Handler, etag_of, in_reach
from spectrum_ft.checkpoints.streams.http_answers import MAX_REDIRECTS, Patience, next_address
from spectrum_ft.checkpoints.streams.http_ranges import Pin, read_part, read_start, read_whole
from spectrum_ft.errors import CheckpointError

BODY = np.random.default_rng(0).bytes(1_000_000)
PIN = Pin(etag=etag_of(BODY), num_bytes=len(BODY))
SOON = Patience(first_wait_seconds=0.01, longest_wait_seconds=1.0, silence_seconds=0.5)
FIRST, COUNT = 1000, 500_000
ASKED = f"bytes {FIRST}-{FIRST + COUNT - 1}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    server = FileServer({"/x": BODY, "/empty": b""})
    with in_reach(server.endpoint, monkeypatch):
        yield server
    server.stop()


def part(server: FileServer, path: str = "/x", pin: Pin = PIN) -> bytes:
    url = server.endpoint + path
    return read_part(url, FIRST, COUNT, pin, name="hf://a/b@c/x", patience=SOON).tobytes()


def refusal(read: Callable[[], object]) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        read()
    assert caught.value.message.startswith("hf://a/b@c/x: ")
    assert caught.value.hint
    assert len(caught.value.message) < 300
    return caught.value


def test_parts_come_as_asked_over_one_connection(server: FileServer) -> None:
    for first, count in ((0, 1), (0, len(BODY)), (len(BODY) - 1, 1), (123, 456_789)):
        data = read_part(server.endpoint + "/x", first, count, PIN, name="x", patience=SOON)
        assert data.tobytes() == BODY[first : first + count]
        assert data.flags.writeable
    assert read_part(server.endpoint + "/x", 5, 0, PIN, name="x").size == 0
    assert len(server.requests) == 4
    assert len(server.ports) == 1


def test_threads_read_at_the_same_time(server: FileServer) -> None:
    def read(first: int) -> bool:
        data = read_part(server.endpoint + "/x", first, 100_000, PIN, name="x", patience=SOON)
        return data.tobytes() == BODY[first : first + 100_000]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(0, 900_000, 15_000)))


def test_the_start_of_a_file_pins_it(server: FileServer) -> None:
    for count in (1, 100, len(BODY), 10 * len(BODY)):
        start, pin = read_start(server.endpoint + "/x", count, name="x", patience=SOON)
        assert start == BODY[:count]
        assert pin == PIN


def answer(status: int = 206, length: int = COUNT, **headers: str) -> Fault:
    """The right bytes with other headers."""
    stated = {"Content_Range": f"{ASKED}/{len(BODY)}", "ETag": PIN.etag} | headers
    named = {name.replace("_", "-"): value for name, value in stated.items() if value}
    return lambda handler, body: handler.send(status, named, body[FIRST:][:length])


def endless(handler: Handler, body: bytes) -> None:
    """The whole file instead of a part, of which there is no end."""
    handler.send_response(200)
    handler.send_header("ETag", PIN.etag)
    handler.send_header("Content-Length", str(15 * 2**30))
    handler.end_headers()
    handler.close_connection = True
    sent = 0
    try:
        while sent < 2**30:
            sent += handler.wfile.write(bytes(2**16))
    except OSError:
        handler.server.sent = sent  # type: ignore[attr-defined]  # a note for the test


def more_than_announced(handler: Handler, body: bytes) -> None:
    handler.send_response(206)
    handler.send_header("Content-Range", f"{ASKED}/{len(BODY)}")
    handler.send_header("ETag", PIN.etag)
    handler.end_headers()  # no length: the body ends with the connection
    handler.close_connection = True
    handler.wfile.write(body[FIRST:])


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (answer(200, Content_Range=""), "the server sends the whole file instead of the part"),
        (answer(200), "the server sends the whole file instead of the part"),
        (answer(204), "the server answered 204"),
        (answer(Content_Range=""), "does not say which part it sends ('')"),
        (answer(Content_Range=f"{ASKED}/*"), "does not say which part it sends"),
        (answer(Content_Range=f"bytes 0-{COUNT - 1}/{len(BODY)}"), "the server sends bytes 0-"),
        (answer(Content_Range=f"bytes {FIRST}-{FIRST}/{len(BODY)}"), "the server sends bytes 1000"),
        (answer(Content_Range=f"bytes 9-1/{len(BODY)}"), "an impossible part (bytes 9-1/"),
        (answer(Content_Range=f"{ASKED}/9"), "an impossible part"),
        (answer(Content_Range=f"{ASKED}/{'9' * 30}"), "does not say which part it sends"),
        (answer(Content_Range=f"{ASKED}/{len(BODY)} \x1b[2J"), r"\x1b[2J"),
        (answer(Content_Range=f"{ASKED}/{len(BODY) + 1}"), "1,000,001 bytes instead of 1,000,000"),
        (answer(Content_Encoding="gzip"), "sends it packed (gzip)"),
        (answer(ETag="other"), "changed since its header was read (its ETag is another)"),
        (answer(ETag=""), "gives no ETag"),
        (answer(416), "changed since its header was read (it has become shorter)"),
        (answer(length=COUNT + 1), "sends more than the 500,000 bytes that it announced"),
        (more_than_announced, "sends more than the 500,000 bytes that it announced"),
        (answer(404), "the Hub answered 404"),
        (answer(302), "was redirected to '', which is no web address"),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for_is_refused(
    server: FileServer, fault: Fault, told: str
) -> None:
    server.faults = [fault]
    if told.startswith("the Hub answered"):
        from huggingface_hub.errors import HfHubHTTPError

        with pytest.raises(HfHubHTTPError):
            part(server)
        return
    assert told in refusal(lambda: part(server)).message
    assert len(server.requests) == 1


def test_a_server_that_ignores_ranges_is_cut_off_at_once(server: FileServer) -> None:
    server.faults = [endless, endless]
    assert "the whole file" in refusal(lambda: part(server)).message
    assert (
        "the whole file"
        in refusal(
            lambda: read_start(server.endpoint + "/x", 100, name="hf://a/b@c/x", patience=SOON)
        ).message
    )
    server.stop()
    # What the buffers of both ends of the connection hold, of 15 GiB.
    assert server.server.sent < 64 * 2**20  # type: ignore[attr-defined]  # noted by the answer


def cut(handler: Handler, body: bytes) -> None:
    """A connection that dies half-way."""
    handler.send_response(206)
    handler.send_header("Content-Range", f"{ASKED}/{len(BODY)}")
    handler.send_header("ETag", PIN.etag)
    handler.send_header("Content-Length", str(COUNT))
    handler.end_headers()
    handler.wfile.write(body[FIRST : FIRST + 200_000])
    handler.close_connection = True


def reset(handler: Handler, body: bytes) -> None:
    """A connection that is reset before there is any answer."""
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.close_connection = True


def silence(handler: Handler, body: bytes) -> None:
    time.sleep(0.8)
    handler.close_connection = True


def busy(status: int, **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, body: handler.send(status, named, b"busy")


@pytest.mark.parametrize(
    "faults", [[busy(503), busy(500)], [busy(408), busy(429)], [reset, reset], [silence]]
)
def test_what_may_pass_is_waited_for(server: FileServer, faults: list[Fault]) -> None:
    server.faults = list(faults)
    assert part(server) == BODY[FIRST : FIRST + COUNT]
    assert len(server.requests) == len(faults) + 1


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(server: FileServer) -> None:
    server.faults = [cut, busy(502)]
    assert part(server) == BODY[FIRST : FIRST + COUNT]
    ranges = [request["Range"] for request in server.requests]
    assert ranges == [f"bytes={first}-{FIRST + COUNT - 1}" for first in (1000, 201_000, 201_000)]


@pytest.mark.parametrize(
    "headers",
    [{"Retry_After": "1"}, {"RateLimit": '"resolvers";r=0;t=1'}, {"Retry_After": "9" * 15}],
)
def test_a_server_says_how_long_to_wait_within_limits(
    server: FileServer, headers: dict[str, str]
) -> None:
    server.faults = [busy(429, **headers)]
    begin = time.monotonic()
    assert part(server) == BODY[FIRST : FIRST + COUNT]
    assert 1.0 <= time.monotonic() - begin < 3.0  # the longest wait is one second here


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (busy(503), "cannot be read (the server answered 503)"),
        (busy(429, Retry_After="-1\x1b[2J"), "cannot be read (the server answered 429)"),
        (answer(length=0), "cannot be read ("),
        (reset, "cannot be read ("),
    ],
)
def test_patience_ends(server: FileServer, fault: Fault, told: str) -> None:
    server.faults = [fault] * 10
    error = refusal(lambda: part(server))
    assert told in error.message
    assert "run the same command again" in (error.hint or "")
    assert len(server.requests) == SOON.tries


def test_a_server_that_is_gone_is_told(server: FileServer) -> None:
    url = server.endpoint + "/x"
    server.server.server_close()
    error = refusal(lambda: read_part(url, 0, 9, PIN, name="hf://a/b@c/x", patience=SOON))
    assert "cannot be read ([Errno 111] Connection refused)" in error.message


def test_redirects_end(server: FileServer) -> None:
    server.faults = [busy(307, Location="/x")] * 100
    assert f"more than {MAX_REDIRECTS} redirects" in refusal(lambda: part(server)).message
    assert len(server.requests) == MAX_REDIRECTS + 1
    assert len(server.ports) == 1
    server.faults = [busy(307, Location="/x")] * MAX_REDIRECTS
    assert part(server) == BODY[FIRST : FIRST + COUNT]


def test_a_redirect_that_goes_on_for_ever_is_followed_without_it(server: FileServer) -> None:
    def talkative(handler: Handler, body: bytes) -> None:
        handler.send(302, {"Location": "/x"}, b"", length=2**40)

    server.faults = [talkative]
    assert part(server) == BODY[FIRST : FIRST + COUNT]


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/y?z#", "https://hub.example/y?z"),
        ("y", "https://hub.example/a/y"),
        ("//cdn.example/y", "https://cdn.example/y"),
        ("https://cdn.example:8443/y", "https://cdn.example:8443/y"),
    ],
)
def test_redirects_lead_to_web_addresses(location: str, target: str) -> None:
    assert next_address("https://hub.example/a/b", location, "x").rstrip("#") == target


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("http://hub.example/y", "from https to http"),
        ("http://cdn.example/y", "from https to http"),
        ("HTTP://cdn.example/y", "from https to http"),
        ("file:///etc/passwd", "no web address"),
        ("ftp://cdn.example/y", "no web address"),
        ("", "no web address"),
        ("https://cdn.example:port/y", "no web address"),
        ("https://[::1/y", "no web address"),
        ("https://\x1b[2Jcdn\xe9.example/y", "no web address"),
        ("javascript:alert(1)", "no web address"),
    ],
)
def test_other_redirects_are_refused(location: str, told: str) -> None:
    error = refusal(lambda: next_address("https://hub.example/a/b", location, "hf://a/b@c/x"))
    assert told in error.message


def test_a_host_with_tls_does_not_lead_to_one_without(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-keyout", str(key), "-out", str(certificate)]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    safe = FileServer({"/x": BODY}, context)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with in_reach(safe.endpoint, monkeypatch):
        assert part(safe) == BODY[FIRST : FIRST + COUNT]
        safe.faults = [busy(302, Location=f"{server.endpoint}/x")]
        assert "was redirected from https to http" in refusal(lambda: part(safe)).message
    assert [request.get("Authorization") for request in safe.requests] == ["Bearer hf_secret"] * 2
    assert server.requests == []
    safe.stop()


def test_an_empty_file_is_told(server: FileServer) -> None:
    url = server.endpoint + "/empty"
    error = refusal(lambda: read_start(url, 100, name="hf://a/b@c/x", patience=SOON))
    assert "the file is empty" in error.message


def test_small_files_come_whole(server: FileServer) -> None:
    url = server.endpoint + "/x"
    server.faults = [busy(503)]
    assert read_whole(url, len(BODY), name="x", patience=SOON) == BODY
    assert read_whole(server.endpoint + "/empty", 10, name="x", patience=SOON) == b""
    server.faults = [lambda handler, body: handler.send(200, {}, body[:9], length=len(body))]
    server.faults += [reset]
    assert read_whole(url, len(BODY), name="x", patience=SOON) == BODY


def chunked(handler: Handler, body: bytes) -> None:
    """No length in the headers, and no end to the body."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.close_connection = True
    try:
        for _ in range(2**14):
            handler.wfile.write(b"10000\r\n" + bytes(2**16) + b"\r\n")
    except OSError:
        pass


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (endless, "larger than 999,999 bytes"),
        (chunked, "larger than 999,999 bytes"),
        (busy(206), "the server answered 206 to a request for the whole file"),
        (lambda handler, body: handler.send_file(body), "larger than 999,999 bytes"),
    ],
)
def test_but_not_larger_ones(server: FileServer, fault: Fault, told: str) -> None:
    server.faults = [fault]
    url = server.endpoint + "/x"
    error = refusal(lambda: read_whole(url, 999_999, name="hf://a/b@c/x", patience=SOON))
    assert told in error.message
