"""Transactions on one connection, and the write-ahead log they go through.

One connection writes everything, and keeps its cache: a second one (for `synchronous=FULL`) would
make each read its pages again after the other's commits, which costs 15 us a step. Its commits are
`NORMAL`, which never waits for the disk; what must survive power loss is followed by one
`fdatasync` of the log, outside all locks, so that others may write meanwhile.

A log that is reused from its beginning is synced there once by SQLite itself. So that this never
hits a write that is not durable anyway, SQLite's automatic checkpoints are off, and ours happen
where a durable write begins.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Any

from jupyter_durable.errors import StoreError
from jupyter_durable.store.faults import FAULTS, translate
from jupyter_durable.store.locks import FileLock
from jupyter_durable.store.tables import Tables

PAGE = 4096


class LogFile:
    """The write-ahead log, to be synced. Closed when nobody refers to it: a thread may be syncing it."""

    __slots__ = ("_fd",)

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def __del__(self, suppress: Any = contextlib.suppress, close: Any = os.close) -> None:
        # Bound here: when the interpreter ends, the names of this module may be gone before its objects.
        with suppress(AttributeError, OSError):
            close(self._fd)

    def sync(self) -> None:
        """Return when all that was committed survives power loss. Raises `OSError`."""
        os.fdatasync(self._fd)


class Writer(Tables):
    """A connection for transactions, entered by one thread at a time.

    lock: held around each transaction where SQLite needs that, else None.
    pages: the size of the log, in pages, at which it is copied into the database and begun anew;
        0 without a log.
    """

    durable = False
    """Whether the next transaction is to survive power loss: the log is begun anew only by such."""
    active: bool
    """Whether a transaction is under way, as far as this process is concerned."""

    def __init__(self, connection: sqlite3.Connection, path: Path, lock: FileLock | None, pages: int) -> None:
        super().__init__(connection, path)
        self._lock = lock
        self._pages = pages
        self._used = 0
        self.active = False

    def __enter__(self) -> Writer:
        self.active = True
        lock = self._lock
        if lock is not None:
            lock.acquire()
        try:
            if self._connection.in_transaction:  # the last ROLLBACK failed
                self._do("ROLLBACK")
            if self.durable and self._used >= self._pages > 0:
                self._checkpoint()
            self._cursor.execute("BEGIN IMMEDIATE")
        except BaseException as error:
            if lock is not None:
                lock.release()
            if isinstance(error, FAULTS):
                raise translate(error, self._path) from error
            raise
        return self

    def commit(self) -> None:
        """See `Transaction`."""
        self._cursor.execute("COMMIT")
        # An append changes one page, and five when that is full: better early than a log that grows.
        self._used += 3 + self._written // PAGE

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            self.end()
        except StoreError:
            # The error that led here says more, and the next `__enter__` tries again.
            if error is None:
                raise
        # Not all of `FAULTS`: whoever makes the chunks may fail to decode something of its own.
        if isinstance(error, sqlite3.Error):
            raise translate(error, self._path) from error

    def end(self) -> None:
        """Undo what was not committed, and let others write. May be repeated."""
        if not self.active:
            return
        self._written = 0
        try:
            if self._connection.in_transaction:
                self._do("ROLLBACK")
        finally:
            if self._lock is not None:
                self._lock.release()
            self.active = False

    def _checkpoint(self) -> None:
        self._used = 0
        # No room on the database's disk, say: the log still has everything, and may yet grow.
        with contextlib.suppress(StoreError):
            self._all("PRAGMA wal_checkpoint(PASSIVE)")

    def vacuum(self) -> None:
        """Write the file anew, without what is free in it, instead of the transaction that is under way."""
        self._do("ROLLBACK")
        self._do("VACUUM")
        if self._pages:
            # All of it went through the log: it is folded in, and cut off.
            self._all("PRAGMA wal_checkpoint(TRUNCATE)")
            self._used = 0

    def grow(self, log: Path) -> None:
        """Grow the log to its size, by a transaction that spills into it and is undone.

        A commit into a file that need not grow costs half as much. For speed only: a full disk is
        for the next write to report.
        """
        if not self._pages or (log.exists() and log.stat().st_size >= self._pages * PAGE):
            return
        self.durable = True
        with contextlib.suppress(StoreError), self:
            try:
                self._do("PRAGMA cache_size = 8")
                self._do(
                    "INSERT INTO chunks VALUES (NULL, x'', x'', 0, zeroblob(?))", ((self._pages + 16) * PAGE,)
                )
            finally:
                self._do("PRAGMA cache_size = -2000")
