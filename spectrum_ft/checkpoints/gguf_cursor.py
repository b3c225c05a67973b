"""A GGUF file read forwards within limits: no count or length in it is believed."""

import struct
from pathlib import Path
from typing import BinaryIO, NoReturn

from spectrum_ft.checkpoints.file_reading import FileIdentity
from spectrum_ft.errors import CheckpointError

# Small, since each seek over a long array throws the buffer away and fills it anew.
BUFFER_BYTES = 64 << 10
_MAX_TEXT_BYTES = 4 << 20  # over all names and kept strings

U64 = struct.Struct("<Q")
DAMAGED = "the file is damaged or cut short; download it again"


class Cursor:
    """A file read forwards, each read compared with the bytes that are left."""

    def __init__(self, file: BinaryIO, path: Path, identity: FileIdentity) -> None:
        self.file = file
        self.path = path
        self.identity = identity
        self.num_bytes = identity.num_bytes
        self.position = 0
        self.where = ""  # what is being read, for messages
        self.text_bytes = 0
        self.array_strings = 0
        self.array_text_bytes = 0

    def fail(self, problem: str, hint: str = DAMAGED) -> NoReturn:
        """Refuse the file: `CheckpointError` that says where reading stood."""
        where = f"{shown(self.where, 80)}: " if self.where else ""
        raise CheckpointError(f"{shown(str(self.path), 160)}: {where}{problem}", hint)

    def need(self, num_bytes: int) -> None:
        """Refuse the file unless that many bytes are left."""
        if num_bytes > self.num_bytes - self.position:
            self.fail(
                f"{num_bytes} bytes are wanted at byte {self.position}, "
                f"but the file ends at {self.num_bytes}"
            )

    def take(self, num_bytes: int) -> bytes:
        """The next bytes; reading goes on behind them."""
        self.need(num_bytes)
        taken = self.file.read(num_bytes)
        if len(taken) != num_bytes:
            self.fail("changed while it was read", "read it when nothing writes to it")
        self.position += num_bytes
        return taken

    def skip(self, num_bytes: int) -> None:
        """Go past the next bytes without reading them."""
        self.need(num_bytes)
        self.position += num_bytes
        self.file.seek(self.position)

    def peek(self) -> bytes:
        """Up to a buffer's worth of the bytes that come next."""
        chunk = self.file.read(BUFFER_BYTES)
        self.file.seek(self.position)
        return chunk

    def number(self, layout: struct.Struct) -> int:
        """The next number of this layout."""
        (value,) = layout.unpack(self.take(layout.size))
        assert isinstance(value, int)
        return value

    def length(self, max_bytes: int) -> int:
        """The length in bytes of the string that begins here."""
        num_bytes = self.number(U64)
        if num_bytes > max_bytes:
            self.fail(f"a string of {num_bytes} bytes; at most {max_bytes} are accepted")
        return num_bytes

    def text(self, num_bytes: int) -> str:
        """The next bytes as text without a NUL."""
        self.text_bytes += num_bytes
        if self.text_bytes > _MAX_TEXT_BYTES:
            self.fail(f"more than {_MAX_TEXT_BYTES} bytes of names and texts before the data")
        try:
            text = self.take(num_bytes).decode()
        except UnicodeDecodeError as error:
            self.fail(f"a string that is not UTF-8 (its byte {error.start})")
        if "\0" in text:
            self.fail("a string with a NUL in it")
        return text


def shown(text: str, most: int) -> str:
    """The text with what would not print escaped, its middle cut out past `most` characters."""
    ends = text if len(text) <= most else text[:most] + text[-most:]
    safe = "".join(c if c.isprintable() else repr(c)[1:-1] for c in ends)
    half = most // 2
    return safe if len(safe) <= most else f"{safe[:half]}…{safe[-half:]}"
