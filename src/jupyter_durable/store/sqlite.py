"""The store in one SQLite file.

SqliteStore ── rules (RowStore) over
├── writer ──── transactions; `fdatasync` of the log after those that must survive power loss
├── reader ──── queries; never blocked by a writer
└── watcher ─── `PRAGMA data_version` only, so that it sees our own commits too
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jupyter_durable.clock import Clock, SystemClock
from jupyter_durable.codec.secret import StoreKey
from jupyter_durable.errors import IntegrityError, LeaseLost, StoreError
from jupyter_durable.model import Draft, Lease, Owner, RunRecord
from jupyter_durable.store import keyfile, place, schema, staging
from jupyter_durable.store.base import RowStore
from jupyter_durable.store.chain import Seals
from jupyter_durable.store.drafting import Live
from jupyter_durable.store.faults import FAULTS, damaged, translate
from jupyter_durable.store.journals import Backstop
from jupyter_durable.store.locks import FileLock
from jupyter_durable.store.log import PAGE, LogFile, Writer
from jupyter_durable.store.rows import Registry, Rows, RunRow, Transaction, to_lease, to_owner
from jupyter_durable.store.staging import Place
from jupyter_durable.store.tables import Tables

SAFE_SQLITE = (3, 51, 3)
"""The first SQLite whose WAL several connections may write and checkpoint without a lock around it."""

_WAL_BYTES = 4 << 20
_live_stores: weakref.WeakSet[SqliteStore] = weakref.WeakSet()
_inherited: list[object] = []


class SqliteStore(RowStore):
    """A `JournalStore` in the file `path`, made if it is not there.

    key: the store's key (default: the environment's, else the file beside the store, made with it).
    timeout: seconds to wait for another process that writes, before `StoreError`.
    wal_bytes: size the write-ahead log is grown to once and then reused: a commit into a file that
        does not grow costs half as much. It is copied into the database each time it is full.

    Raises `StoreError` (newer schema, not a store, not writable), `IntegrityError` (damaged, key
    missing or of another store).
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        key: StoreKey | None = None,
        clock: Clock | None = None,
        timeout: float = 30.0,
        wal_bytes: int = _WAL_BYTES,
    ) -> None:
        self.path = Path(path).expanduser().resolve()
        self.timeout = timeout
        self._pid = os.getpid()
        self._closed = False
        self._wal_pages = max(wal_bytes // PAGE, 16)
        self._failed = ""
        self._log: LogFile | None = None
        self._make_guards()
        self._open: list[sqlite3.Connection] = []
        place.make_directory(self.path.parent)
        try:
            self._lock = FileLock(self.path.with_name(self.path.name + ".lock"), timeout)
        except OSError as error:
            raise StoreError(
                f"the store {self.path} cannot be opened: {error.strerror}",
                hint="make its directory writable for this user, or choose another place with JUPYTER_DURABLE_STORE",
            ) from error
        try:
            with self._lock:
                found = self._prepare(key)
                super().__init__(place.to_url(self.path), found, clock or SystemClock())
                self._connect_all()
        except FAULTS as error:
            self._abandon()
            raise translate(error, self.path) from error
        except BaseException:
            self._abandon()
            raise
        _live_stores.add(self)
        # Runs at interpreter exit too: the last close folds the log into the file, under the lock.
        self._finalizer = weakref.finalize(self, _close, self._open, self._lock, self._pid)

    # -- opening and closing ---------------------------------------------------------------------

    def _prepare(self, given: StoreKey | None) -> StoreKey:
        """Find or make the file and its key; bring its schema up to date. The lock is held."""
        size = self.path.stat().st_size if self.path.exists() else -1
        key = given or keyfile.find_key(self.path)
        log = self.path.with_name(self.path.name + "-wal")
        if size <= 0 and log.exists() and log.stat().st_size > 0:
            raise damaged(
                self.path, f"it is {'gone' if size < 0 else 'empty'}, and its log {log.name} is still there"
            )
        if size == 0 and key is not None and keyfile.key_path(self.path).exists():
            raise damaged(self.path, "it is empty, and its key is not new")
        if size <= 0:
            return self._create(key or keyfile.make_key(self.path))
        connection = self._connect()
        mode = "DELETE" if place.is_network(place.file_system(self.path)) else "WAL"
        current = schema.check(connection, self.path)
        if key is None:
            raise keyfile.missing(self.path)
        if connection.execute("PRAGMA journal_mode").fetchone()[0].upper() != mode:
            connection.execute(f"PRAGMA journal_mode = {mode}").fetchall()
        if not current:
            schema.upgrade(connection, self.path)
        return self._checked_key(connection, key)

    def _create(self, key: StoreKey) -> StoreKey:
        """Make the file whole under another name: a crash leaves either no store or a complete one."""
        new = self.path.with_name(self.path.name + ".new")
        for leftover in (new, new.with_name(new.name + "-journal")):
            leftover.unlink(missing_ok=True)
        try:
            # SQLite gives its log and index the mode of the database, whatever the umask.
            fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            os.fchmod(fd, 0o600)
            os.close(fd)
            connection = sqlite3.connect(new, isolation_level=None, timeout=self.timeout)
            try:
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute(f"PRAGMA page_size = {PAGE}")
                schema.upgrade(connection, self.path)
                empty = Registry(0, 0, b"")
                Tables(connection, self.path).put_registry(empty._replace(mac=Seals(key).registry(empty)))
                if not place.is_network(place.file_system(self.path)):
                    connection.execute("PRAGMA journal_mode = WAL").fetchall()
            finally:
                connection.close()
            new.replace(self.path)
            place.sync_directory(self.path.parent)
        except OSError as error:
            raise StoreError(
                f"the store {self.path} cannot be made: {error.strerror}",
                hint="make room, or choose another place with JUPYTER_DURABLE_STORE",
            ) from error
        return key

    def _checked_key(self, connection: sqlite3.Connection, key: StoreKey) -> StoreKey:
        registry = Tables(connection, self.path).registry()
        if registry is None or not Seals(key).is_registry(registry):
            raise IntegrityError(
                f"the key does not belong to {self.path}, or the store was altered",
                hint=f"put the key the store was made with at {keyfile.key_path(self.path)}, or in {keyfile.VARIABLE}",
            )
        return key

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            isolation_level=None,
            check_same_thread=False,
            timeout=self.timeout,
            cached_statements=64,
        )
        self._open.append(connection)
        connection.execute("PRAGMA trusted_schema = OFF")
        return connection

    def _connect_all(self) -> None:
        writer = self._open[0] if self._open else self._connect()
        with_log = writer.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        writer.execute(f"PRAGMA synchronous = {'NORMAL' if with_log else 'FULL'}")
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute(f"PRAGMA journal_size_limit = {2 * self._wal_pages * PAGE}")
        guard = self._lock if with_log and sqlite3.sqlite_version_info < SAFE_SQLITE else None
        self._writer = Writer(writer, self.path, guard, self._wal_pages if with_log else 0)
        self._backstop = Backstop(self._writer.end)
        reader, watcher = self._connect(), self._connect()
        for connection in (reader, watcher):
            connection.execute("PRAGMA query_only = ON")
        watcher.execute("PRAGMA busy_timeout = 0")
        self._reader = Tables(reader, self.path)
        self._reader.registry()  # reading makes the log, if there is none
        self._watcher = watcher.cursor()
        self._seen = int(self._watcher.execute("PRAGMA data_version").fetchone()[0])
        self._log_path = self.path.with_name(self.path.name + "-wal")
        self._log = LogFile(self._log_path) if with_log else None

    def _abandon(self) -> None:
        _close(self._open, self._lock, self._pid)

    def _make_guards(self) -> None:
        self._turn = threading.RLock()
        self._read_guard = threading.RLock()
        self._watch_guard = threading.Lock()
        self._verify_guard = threading.RLock()

    def close(self) -> None:
        """Fold the log into the file if nobody else has it open, and let go of it. May be repeated."""
        if not self._closed and self._pid == os.getpid():
            with contextlib.suppress(StoreError, LeaseLost):  # it is kept, wherever it is
                for live in list(self._live.values()):
                    if live.pending is not None and live.head.owner is not None:
                        self.settle(to_lease(live.row, live.head, to_owner(live.head.owner)[0]))
            with self._verify_guard, self._turn, self._read_guard, self._watch_guard:
                self._closed = True
                self._log = None
                self._finalizer()

    def _check_usable(self) -> None:
        if self._pid != os.getpid():
            raise StoreError(
                f"the store {self.path} was opened before os.fork(), and this is the child",
                hint="open the store again here: SQLite connections do not survive a fork",
            )
        if self._closed:
            raise StoreError(f"the store {self.path} is closed", hint="open it again")
        if self._failed:
            raise StoreError(
                f"the disk of {self.path} failed to keep what was written ({self._failed})",
                hint="check the disk, restart the kernel and run `jupyter durable verify`",
            )

    # -- transactions ----------------------------------------------------------------------------

    def _writing(self, *, durable: bool) -> Transaction:
        if self._closed or self._failed or self._pid != os.getpid():
            self._check_usable()
        self._writer.durable = durable
        return self._writer

    def _flush(self) -> None:
        if (log := self._log) is not None:
            try:
                log.sync()
            except OSError as error:
                # After a failed sync the kernel may have dropped what it could not write: nothing
                # written from here on could be vouched for.
                self._failed = error.strerror or str(error)
                self._check_usable()

    def _place(self, live: Live) -> Place | None:
        if self._closed or self._failed or self._pid != os.getpid():
            self._check_usable()
        if self._log is None:  # other machines may write here, and know nothing of what this one keeps
            return None
        try:
            return Place(staging.path_of(self.path, live.row.run, live.head.generation))
        except OSError:
            return None

    def _is_ours(self, live: Live) -> bool:
        # The version first: a commit between the two is noticed the next time.
        version = self._writer.data_version()
        if version != live.version:
            if self._writer.head_mac(live.row.run) != live.head.mac:
                return False
            live.version = version
        return True

    def _left_behind(self, row: RunRow) -> list[Path]:
        return staging.left_behind(self.path, row.run)

    @contextmanager
    def _reading(self) -> Iterator[Rows]:
        self._check_usable()
        with self._read_guard:
            yield self._reader

    @contextmanager
    def _snapshot(self) -> Iterator[Rows]:
        self._check_usable()
        with self._verify_guard:
            connection = sqlite3.connect(self.path, isolation_level=None, timeout=self.timeout)
            # A flipped bit in a text must be reported as that, not end the reading.
            connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
            try:
                connection.execute("PRAGMA query_only = ON")
                connection.execute("BEGIN")
                yield Tables(connection, self.path)
            except FAULTS as error:
                raise translate(error, self.path) from error
            finally:
                connection.close()

    def _file_bytes(self) -> int:
        with self._read_guard:
            return self._reader.whole_bytes()

    def shrink(self) -> tuple[int, int]:
        """See `JournalStore`."""
        before = self._file_bytes()
        # In the writer's turn and under its lock, where SQLite needs one: whoever comes meanwhile waits for it.
        with self._turn, self._backstop, self._writing(durable=True) as rows:
            self._check_idle(rows)
            self._writer.vacuum()
        self._flush()
        return before, self._file_bytes()

    def backup(self, path: Path) -> None:
        """See `JournalStore`."""
        self._check_usable()
        path = path.expanduser().resolve()
        if path.exists() or keyfile.key_path(path).exists():
            raise StoreError(f"{path} or its key is there already", hint="choose another name for the backup")
        place.make_directory(path.parent)
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=self.timeout)
        try:
            os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            connection.execute("VACUUM INTO ?", (str(new),))  # of one moment, whoever writes meanwhile
            with new.open("rb") as file:
                os.fsync(file.fileno())
            keyfile.make_key(path, self.key)
            new.replace(path)
            place.sync_directory(path.parent)
        except FAULTS as error:
            raise translate(error, path) from error
        except OSError as error:
            raise StoreError(
                f"cannot write {path}: {error.strerror}", hint="make room, or choose another place"
            ) from error
        finally:
            connection.close()
            new.unlink(missing_ok=True)

    def version(self) -> int:
        """See `JournalStore`."""
        self._check_usable()
        with self._watch_guard:
            try:
                self._seen = int(self._watcher.execute("PRAGMA data_version").fetchone()[0])
            except sqlite3.OperationalError as error:
                # Without a log, readers meet the moment of a commit: the next look will tell.
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise translate(error, self.path) from error
            except FAULTS as error:
                raise translate(error, self.path) from error
            return self._seen

    def create_run(self, run: RunRecord, owner: Owner, ttl: float, first: Sequence[Draft] = ()) -> Lease:
        """See `JournalStore`."""
        self._grow_log()
        return super().create_run(run, owner, ttl, first)

    def acquire(self, run_id: str, owner: Owner, ttl: float) -> Lease:
        """See `JournalStore`."""
        self._grow_log()
        return super().acquire(run_id, owner, ttl)

    def _grow_log(self) -> None:
        # Whoever only looks at a store does not need a large log; whoever begins to write does.
        self._check_usable()
        with self._turn:
            self._writer.grow(self._log_path)


def _close(connections: list[sqlite3.Connection], lock: FileLock, pid: int) -> None:
    if pid != os.getpid():
        return
    # Whatever may wait for the lock in vain, the connections must be closed.
    with contextlib.suppress(StoreError):
        lock.acquire()
    while connections:
        with contextlib.suppress(sqlite3.Error):
            connections.pop().close()
    lock.close()


def _after_fork() -> None:
    for store in list(_live_stores):
        # Closing the copies here could release or reset what the parent relies on: keep them, unused.
        _inherited.extend((*store._open, store._log))
        store._lock.close()
        store._writer.active = False
        store._make_guards()  # another thread of the parent may have held them


os.register_at_fork(after_in_child=_after_fork)
