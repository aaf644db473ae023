"""One writer of a file at a time, across processes: an advisory lock beside the store.

SQLite before 3.51.3 can corrupt a WAL that several connections write or checkpoint while it is
being reset. There, each write transaction, checkpoint and last close holds this lock; everywhere,
creating and upgrading a store does. `flock` and not POSIX record locks: those vanish when any
descriptor of the file is closed, and do not exclude another store object of the same process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path

from jupyter_durable.clock import SystemClock
from jupyter_durable.errors import StoreError

_LONGEST_NAP = 0.002


class FileLock:
    """An exclusive lock on `path`, whose file stays. Not reentrant, and not to be shared by threads unguarded.

    `timeout` is in seconds; waiting longer raises `StoreError`. The lock ends with the process.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._try = fcntl.flock
        with contextlib.suppress(PermissionError):  # a shared store: its creator set the mode
            os.fchmod(self._fd, 0o600)

    def __enter__(self) -> FileLock:
        self.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock. Raises `StoreError` after `timeout` seconds, or where the file system has no locks."""
        try:
            self._try(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._wait()
        except OSError as error:
            raise self._unsupported(error) from error

    def release(self) -> None:
        """Give the lock back. May be repeated."""
        self._try(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give it back for good. May be repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _wait(self) -> None:
        # Not the injected clock: the other process waits for nobody's test.
        end = SystemClock.monotonic() + self._timeout
        nap = 0.0001
        while SystemClock.monotonic() < end:
            SystemClock.wait(nap)
            nap = min(nap * 2, _LONGEST_NAP)
            try:
                self._try(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                continue
        raise StoreError(
            f"another process has been writing to the store for {self._timeout:g} s: {self._path} is locked",
            hint=f"see who it is with `fuser -v {self._path}`; a stopped process (Ctrl+Z) must be continued or ended",
        )

    def _unsupported(self, error: OSError) -> StoreError:
        hint = (
            "put the store on a file system with locks: set JUPYTER_DURABLE_STORE to a path on a local disk"
        )
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            hint = "open the store again"
        return StoreError(f"cannot lock {self._path}: {error.strerror}", hint=hint)
