"""SQLite's errors as ours: what happened, whether it is damage, and the next step."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from jupyter_durable.errors import DurableError, IntegrityError, StoreError

FAULTS = (sqlite3.Error, UnicodeDecodeError)
"""What the sqlite3 module raises: the second where a damaged file's bytes get into SQLite's message."""

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_HINTS = {
    sqlite3.SQLITE_FULL: "make room on that disk and run the cell again: nothing of this write was kept, all before is safe",
    sqlite3.SQLITE_IOERR: "check that disk's free space, quota and health, then run the cell again: all that was "
    "committed before is safe",
    sqlite3.SQLITE_READONLY: "make the file and its directory writable for this user, or choose another place "
    "with JUPYTER_DURABLE_STORE",
    sqlite3.SQLITE_CANTOPEN: "check that the directory exists and is writable for this user",
    sqlite3.SQLITE_BUSY: "another program holds the database: see who it is with `fuser -v {path}`",
    sqlite3.SQLITE_LOCKED: "another program holds the database: see who it is with `fuser -v {path}`",
    sqlite3.SQLITE_TOOBIG: "split the value: SQLite keeps at most 1 GB in one piece",
}


def damaged(path: Path | str, what: str) -> IntegrityError:
    """What to raise for a file that is not what was written."""
    return IntegrityError(
        f"{path} is damaged: {what}",
        hint=f"see how far with `jupyter durable verify --store {path}`, then restore the file and its key from a backup",
    )


def translate(error: sqlite3.Error | UnicodeDecodeError, path: Path | str) -> DurableError:
    """The error to raise instead of SQLite's own.

    >>> type(translate(sqlite3.DatabaseError("file is not a database"), "x.db")).__name__
    'IntegrityError'
    """
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    text = str(error)
    # Columns that changed their type or encoding raise without a code.
    if (
        isinstance(error, UnicodeDecodeError)
        or primary in _DAMAGE
        or text.startswith(("Could not decode", "no such", "file is not", "malformed"))
    ):
        return damaged(path, text)
    hint = _HINTS.get(primary if primary is not None else -1, "open the store again and repeat the command")
    return StoreError(f"the store {path} failed: {text}", hint=hint.format(path=path))
