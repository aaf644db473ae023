"""The least that a step must do, in one function: what the contract says is written, and no engine that decides it.

Neither identity by scopes, replay, retries, secrets, what is written or drawn inside, nor other threads: only the digest
of the arguments, a start that outlives the process, and an outcome with its start in one fenced, chained and synced
transaction. It says how much of a step's cost is the journal's and how much the engine's.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sqlite3
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PLACE = struct.Struct("<qqqdqqq").pack
_HEAD = 1 << 32


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


class LeastStep:
    """Steps of one run, with nothing in them but what is written."""

    def __init__(self, place: Path) -> None:
        self._connection = sqlite3.connect(place / "least.db", isolation_level=None)
        execute = self._execute = self._connection.cursor().execute
        execute("PRAGMA journal_mode = WAL")
        execute(
            "CREATE TABLE entries (key INTEGER PRIMARY KEY, type TEXT, scope INTEGER, pos INTEGER, at REAL,"
            " meta TEXT, codec TEXT, packed INTEGER, body BLOB, refs BLOB, hash BLOB)"
        )
        execute("PRAGMA synchronous = NORMAL")
        execute("PRAGMA wal_autocheckpoint = 0")
        for _ in range(2):  # a log that was grown before and is reused, as the floor's is
            execute("BEGIN")
            execute("INSERT INTO entries (key, body) VALUES (1, zeroblob(5000000))")
            execute("DELETE FROM entries")
            execute("COMMIT")
            execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
        flags = os.O_RDWR | os.O_CREAT
        self._log = os.open(place / "least.db-wal", flags)
        self._staged = os.open(place / "least.db-staged", flags)
        self._lock = os.open(place / "least.db.lock", flags)
        self._turn = threading.RLock()
        self._state = hashlib.blake2b(key=b"k" * 32, digest_size=16)
        self._seq, self._pages, self._last, self._mac = 0, 0, b"", b""
        execute("INSERT INTO entries (key, type, codec, body) VALUES (?, 'head', 'running', ?)", (_HEAD, b""))

    def _seal(self, *parts: bytes) -> bytes:
        state = self._state.copy()
        state.update(b"".join(parts))
        return state.digest()

    def __call__(self, fn: Callable[[Any], Any], arg: Any) -> Any:
        """The call `fn(arg)` as a step."""
        call = _text([[arg], {}]).encode()
        meta = _text({"k": "tool", "n": fn.__name__, "d": self._seal(call).hex(), "e": "retryable"})
        now, pos, said = time.time(), self._seq + 1, meta.encode()
        place = _PLACE(pos, 0, pos, now, 5, len(said), len(call))
        first = self._seal(self._last, place, b"start", said, call)
        os.pwrite(self._staged, b"".join((place, said, call, first)), 0)
        start = (pos, "start", 0, pos, now, meta, "json", 0, call, b"", first)

        value = fn(arg)

        body, now, seq = _text(value).encode(), time.time(), pos + 1
        last = self._seal(first, _PLACE(seq, 0, pos, now, 7, 17, len(body)), b"outcome", body)
        outcome = (seq, "outcome", 0, pos, now, '{"s":"completed"}', "json", 0, body, b"", last)
        mac = self._seal(_PLACE(seq, 0, 0, now, 0, 0, 0), last)
        execute = self._execute
        with self._turn:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            execute("BEGIN IMMEDIATE")
            head = (now, seq, last, mac, _HEAD, self._mac)
            if (
                execute(
                    "UPDATE entries SET at=?, pos=?, hash=?, body=? WHERE key=? AND body=?", head
                ).rowcount
                != 1
            ):
                raise AssertionError("somebody else has taken the run over")
            for row in (start, outcome):
                execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            execute("COMMIT")
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            self._seq, self._last, self._mac = seq, last, mac
            self._pages += 3
            if self._pages >= 1000:
                self._pages = 0
                execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        os.fdatasync(self._log)
        return value

    def close(self) -> None:
        """Let go of the files."""
        self._connection.close()
        for fd in (self._log, self._staged, self._lock):
            os.close(fd)
