"""Spectra that were computed once and are kept for ever, in one SQLite file.

A row is the singular values of one tensor content by one method on one backend: its key is the
digest of type, shape and bytes with the names of both, so a renamed, moved or fine-tuned model
finds what it shares with earlier scans. Each row carries a checksum; a damaged one counts as absent
and is computed again.
"""

import hashlib
import sqlite3
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from spectrum_ft.cache_folder import cache_folder
from spectrum_ft.errors import OutputError
from spectrum_ft.spectra.solvers import Method, Values

FILE_NAME = "spectra.sqlite"

_SCHEMA = """
create table if not exists spectra (
    digest text not null,
    method text not null,
    backend text not null,
    singular_values blob not null,
    checksum blob not null,
    created real not null,
    primary key (digest, method, backend)
)
"""


class SpectraStore:
    """Singular values by content digest, method and backend.

    Safe to share between threads and processes.
    """

    def __init__(self, path: Path | None) -> None:
        """Open the store in the file `path`, made if absent; in memory only, for None.

        Raises `OutputError` where the file cannot be used.
        """
        self.path = path
        self._lock = threading.Lock()
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                path or ":memory:", timeout=60.0, check_same_thread=False
            )
            with self._database:
                self._database.execute(_SCHEMA)
            self._known = self._read_keys()
        except (sqlite3.Error, OSError) as fault:
            raise OutputError(
                f"{path}: the store of spectra cannot be used ({fault})",
                "delete that file, set SPECTRUM_FT_CACHE to another folder, or pass --no-cache",
            ) from None

    @classmethod
    def in_user_cache(cls) -> Self:
        """The user's own store, shared by all scans."""
        return cls(cache_folder() / FILE_NAME)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._database.close()

    def get(self, digest: str, method: Method, backend: str) -> Values | None:
        """The singular values kept for this content, method and backend, or None."""
        # Most questions of a new scan are about what is not here; they need not wait for a write.
        if (digest, method, backend) not in self._known:
            return None
        try:
            with self._lock:
                row = self._database.execute(
                    "select singular_values, checksum from spectra"
                    " where digest = ? and method = ? and backend = ?",
                    (digest, method, backend),
                ).fetchone()
        except sqlite3.DatabaseError:  # a damaged page
            return None
        # One bit of a row's header makes a text of a blob.
        if (
            row is None
            or not isinstance(row[0], bytes)
            or _checksum(digest, method, row[0]) != row[1]
        ):
            return None
        return np.frombuffer(row[0], dtype="<f8").astype(np.float64)

    def put(self, digest: str, spectra: Mapping[tuple[Method, str], Values]) -> None:
        """Keep the spectra of one matrix by method and backend: all or, if interrupted, none."""
        rows = []
        for (method, backend), values in spectra.items():
            blob = values.astype("<f8").tobytes()
            rows.append(
                (digest, method, backend, blob, _checksum(digest, method, blob), time.time())
            )
        try:
            with self._lock, self._database:
                self._database.executemany(
                    "insert or replace into spectra"
                    " (digest, method, backend, singular_values, checksum, created)"
                    " values (?, ?, ?, ?, ?, ?)",
                    rows,
                )
        except sqlite3.Error as fault:
            damaged = type(fault) is sqlite3.DatabaseError
            remedy = "delete that file" if damaged else "make room there and check its permissions"
            raise OutputError(
                f"{self.path}: a spectrum cannot be kept ({fault})",
                f"{remedy}, or pass --no-cache",
            ) from None
        self._known |= {(digest, *key) for key in spectra}

    @property
    def keys(self) -> frozenset[tuple[str, str, str]]:
        """The digest, method and backend of every spectrum kept."""
        return frozenset(self._known)

    def __len__(self) -> int:
        """The number of spectra kept."""
        return len(self._known)

    def prune(self, older_than_days: float) -> int:
        """Drop spectra kept for longer than that; the number dropped. The file shrinks."""
        kept_until = time.time() - older_than_days * 86_400.0
        try:
            with self._lock, self._database:
                self._database.execute("delete from spectra where created <= ?", (kept_until,))
            with self._lock:
                self._database.execute("vacuum")
        except sqlite3.Error as fault:
            raise OutputError(
                f"{self.path}: the store cannot be pruned ({fault})",
                "try again when no scan is running, or delete that file",
            ) from None
        before, self._known = len(self._known), self._read_keys()
        return before - len(self._known)

    def _read_keys(self) -> set[tuple[str, str, str]]:
        return set(self._database.execute("select digest, method, backend from spectra"))


def _checksum(digest: str, method: str, blob: bytes) -> bytes:
    return hashlib.sha256(f"{digest} {method}\n".encode() + blob).digest()
