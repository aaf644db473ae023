"""The tables of a store, one migration for each change ever made to them.

Order is history: never edit, reorder or remove a migration that a release has shipped; add one.
`tests/golden` holds a file of each release, and opening them runs the rest of this list.
"""

from __future__ import annotations

import datetime
import sqlite3
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from jupyter_durable.errors import StoreError

if TYPE_CHECKING:
    from sqlite_utils import Database

APPLICATION = 0x4A445242
"""What `PRAGMA application_id` of a store says, so that another program's file is told from ours."""

Migration = Callable[["Database"], None]


def m001_journal(db: Database) -> None:
    """Runs, their entries and heads, chunks and inbox."""
    for statement in _M001.split(";"):
        db.execute(statement)


# A run's head is the last row of its entries (see `tables`), so that an append changes one page, not two.
# `entries` and `chunks` with a rowid: without one, SQLite keeps no more than about 1,000 bytes of a
# row in its page, and a 1 KB result would take a page of its own. Chunks are appended and have their
# random digests in an index: as the key, those would leave a third of each page empty.
_M001 = """
CREATE TABLE registry (
    one INTEGER PRIMARY KEY CHECK (one = 1), made INTEGER NOT NULL, kept INTEGER NOT NULL, mac BLOB NOT NULL
);
CREATE TABLE runs (
    run INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, created_at REAL NOT NULL,
    notebook TEXT, cell_id TEXT, job_id TEXT, parent_id TEXT, root_id TEXT, forked_from TEXT, fork_kind TEXT,
    base_seq INTEGER NOT NULL, base_hash BLOB NOT NULL,
    aliases TEXT NOT NULL, meta TEXT NOT NULL, posted INTEGER NOT NULL, mac BLOB NOT NULL
);
CREATE TABLE entries (
    key INTEGER PRIMARY KEY, type TEXT NOT NULL, scope INTEGER NOT NULL, pos INTEGER NOT NULL, at REAL NOT NULL,
    meta TEXT NOT NULL, codec TEXT, packed INTEGER NOT NULL, body BLOB, refs BLOB, hash BLOB NOT NULL
);
CREATE TABLE chunks (
    chunk INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, refs BLOB NOT NULL, packed INTEGER NOT NULL,
    data BLOB NOT NULL
);
CREATE TABLE inbox (
    run INTEGER NOT NULL, n INTEGER NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
    codec TEXT, packed INTEGER NOT NULL, body BLOB, refs BLOB, by TEXT NOT NULL, at REAL NOT NULL,
    mac BLOB NOT NULL, PRIMARY KEY (run, key)
) WITHOUT ROWID
"""


def m002_jobs(db: Database) -> None:
    """Jobs: what is to be run headless, by whom, and when."""
    for statement in _M002.split(";"):
        db.execute(statement)


# Few rows are due, and few are held, among many that have ended or wait: the indexes hold only those.
_M002 = """
CREATE TABLE jobs (
    job INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, notebook TEXT NOT NULL, output TEXT NOT NULL,
    spec TEXT NOT NULL, batch TEXT, priority INTEGER NOT NULL, created_at REAL NOT NULL, status TEXT NOT NULL,
    updated_at REAL NOT NULL, due_at REAL, generation INTEGER NOT NULL, owner TEXT, expires_at REAL NOT NULL,
    report TEXT NOT NULL, mac BLOB NOT NULL
);
CREATE INDEX jobs_due ON jobs (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX jobs_held ON jobs (job) WHERE owner IS NOT NULL;
CREATE INDEX jobs_batch ON jobs (batch, job) WHERE batch IS NOT NULL
"""


def m003_attic(db: Database) -> None:
    """Chunks that nothing refers to any more, until it is sure that nobody is about to."""
    for statement in _M003.split(";"):
        db.execute(statement)


_M003 = """
CREATE TABLE attic (
    chunk INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, refs BLOB NOT NULL, packed INTEGER NOT NULL,
    data BLOB NOT NULL, at REAL NOT NULL
);
CREATE INDEX runs_forked_from ON runs (forked_from) WHERE forked_from IS NOT NULL;
CREATE INDEX runs_parent ON runs (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX runs_job ON runs (job_id) WHERE job_id IS NOT NULL
"""

_SET = "jupyter_durable"
_HISTORY = """
CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY, "migration_set" TEXT, "name" TEXT, "applied_at" TEXT
);
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name" ON "_sqlite_migrations" ("migration_set", "name")
"""

MIGRATIONS: tuple[Migration, ...] = (m001_journal, m002_jobs, m003_attic)
_PLAIN = {m001_journal: _M001, m002_jobs: _M002, m003_attic: _M003}


def version(connection: sqlite3.Connection) -> int:
    """How many of the migrations the file has had."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def check(connection: sqlite3.Connection, path: object, known: int = len(MIGRATIONS)) -> bool:
    """Whether the file is of this very version. Raises `StoreError` if it is newer, or no store at all."""
    at = version(connection)
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
        raise StoreError(
            f"{path} is a database, but not a store of jupyter-durable",
            hint="choose another file name; a store makes its own file",
        )
    if at > known:
        raise StoreError(
            f"{path} was written by a newer jupyter-durable (its schema is {at}, this version knows {known})",
            hint="upgrade: pip install --upgrade jupyter-durable",
        )
    return at == known


def _begin(connection: sqlite3.Connection) -> None:
    # What sqlite-utils would do and note. Importing it brings numpy and pandas along where they are installed,
    # and the first durable cell of a new user would wait a second for that.
    for statement in _HISTORY.split(";"):
        connection.execute(statement)
    done = datetime.datetime.now(datetime.UTC).isoformat(" ")
    for number, (step, sql) in enumerate(_PLAIN.items(), 1):
        for statement in sql.split(";"):
            connection.execute(statement)
        row = (number, _SET, step.__name__, done)
        connection.execute("INSERT INTO _sqlite_migrations VALUES (?, ?, ?, ?)", row)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {len(_PLAIN)}")


def upgrade(connection: sqlite3.Connection, path: object, steps: Sequence[Migration] = MIGRATIONS) -> None:
    """Apply the migrations the file has not had, all or none; several processes may try at once.

    `connection` is in autocommit mode (`isolation_level=None`).
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        if version(connection) == 0:
            _begin(connection)
        if not check(connection, path, len(steps)):
            from sqlite_utils import Database
            from sqlite_utils.migrations import Migrations

            history = Migrations(_SET)
            for step in steps:
                history(name=step.__name__)(step)
            history.apply(Database(connection, recursive_triggers=False))
            connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
