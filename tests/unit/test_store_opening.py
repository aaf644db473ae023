"""Where the SQLite store is and how it is opened: files and modes, keys, schema."""

from __future__ import annotations

import base64
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from store_runs import KEY, ME, begin, step

from jupyter_durable.codec.secret import StoreKey
from jupyter_durable.errors import IntegrityError, StoreError
from jupyter_durable.store import connect, place, schema
from jupyter_durable.store.sqlite import SqliteStore

pytestmark = pytest.mark.usefixtures("no_environment")

# -- where and how it is opened --------------------------------------------------------------------


def test_connect_takes_paths_urls_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path, its URL and the environment lead to one store with one canonical URL; `memory:` to none."""
    path = tmp_path / "new" / "j.db"
    store = connect(path)
    assert isinstance(store, SqliteStore)
    begin(store)
    store.close()
    monkeypatch.chdir(tmp_path)
    for url in (str(path), f"sqlite:///{path}", "sqlite:///new/j.db", "new/../new/j.db", store.url):
        again = connect(url)
        assert again.url == f"sqlite:///{path}"
        assert [run.id for run in again.runs()] == ["1"]
        again.close()
    monkeypatch.setenv("JUPYTER_DURABLE_STORE", "new/j.db")
    assert connect().url == store.url
    monkeypatch.setenv("JUPYTER_DURABLE_STORE", "memory:")
    assert connect().url == "memory:"
    for url in ("postgresql://host/db", "sqlite:///"):
        with pytest.raises(StoreError) as error:
            connect(url)
        assert error.value.hint


def test_the_default_store_is_in_the_jupyter_data_dir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without anything said, it is `durable/journal.db` under Jupyter's data directory, with its key beside it."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "share"))
    store = connect()
    assert store.url == f"sqlite:///{tmp_path}/share/durable/journal.db"
    assert (tmp_path / "share/durable/journal.key").exists()
    store.close()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_all_files_are_the_users_alone(tmp_path: Path, umask: int) -> None:
    """Database, log, index, key and lock have mode 0600 and a new directory 0700, whatever the umask."""
    script = (
        "import os, sys; os.umask(int(sys.argv[2])); from jupyter_durable.store import connect;"
        "from jupyter_durable.model import *; s = connect(sys.argv[1]);"
        "s.create_run(RunRecord('1', 'r', 'running', 1.0, 1.0), Owner('h', 1, 1.0), 9.0);"
        "d = os.path.dirname(sys.argv[1]);"
        "print(oct(os.stat(d).st_mode & 0o777), *(f'{n}={os.stat(os.path.join(d, n)).st_mode & 0o777:o}'"
        " for n in sorted(os.listdir(d))))"
    )
    path = tmp_path / "d" / "j.db"
    ran = subprocess.run(
        [sys.executable, "-c", script, path, str(umask)], capture_output=True, text=True, check=True
    )
    names = ("j.db", "j.db-shm", "j.db-wal", "j.db.lock", "j.key")
    assert ran.stdout.split() == ["0o700", *(f"{name}=600" for name in names)]


def test_network_file_systems_get_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On NFS, where WAL's shared memory does not reach, the rollback journal is used; a moved store is converted."""
    monkeypatch.setattr(place, "file_system", lambda path: "nfs4")
    path = tmp_path / "j.db"
    with_nfs = SqliteStore(path, key=KEY)
    lease = begin(with_nfs)
    with_nfs.append(lease, [step()], durable=False)
    with_nfs.append(lease, [step()], durable=True)
    assert not path.with_name("j.db-wal").exists()
    version = with_nfs.version()
    with_nfs.append(lease, [step()], durable=True)
    assert with_nfs.version() != version
    with_nfs.close()
    monkeypatch.setattr(place, "file_system", lambda path: "ext4")
    local = SqliteStore(path, key=KEY)
    local.append(local.acquire("1", ME, 9.0), [step()], durable=True)
    assert path.with_name("j.db-wal").exists()
    assert len(list(local.entries("1"))) == 4
    local.close()


def test_the_file_system_is_that_of_the_innermost_mount() -> None:
    """Mounts are matched by whole path components; blanks in them are decoded; the last at one place counts."""
    mounts = "d / ext4 rw 0 0\nh:/x /home nfs4 rw 0 0\nt /home/me/local\\040disk xfs rw 0 0\nm /mnt ext4 rw\nn /mnt cifs rw"
    for path, kind in {
        "/x.db": "ext4",
        "/home/me/x.db": "nfs4",
        "/homes/x.db": "ext4",
        "/home/me/local disk/x.db": "xfs",
        "/mnt/x.db": "cifs",
    }.items():
        assert place.file_system(Path(path), mounts) == kind
    assert place.file_system(Path("/x"), "") == ""


def test_a_place_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    """A path below a file is a `StoreError` with a hint, and nothing is left behind."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file") as error:
        connect(tmp_path / "file" / "j.db")
    assert "JUPYTER_DURABLE_STORE" in error.value.hint


# -- keys ------------------------------------------------------------------------------------------


def test_a_store_without_its_key_is_refused_and_no_key_is_made(tmp_path: Path) -> None:
    """A missing key is one error that names the file; it is not silently replaced."""
    store = connect(tmp_path / "j.db")
    store.close()
    key = tmp_path / "j.key"
    kept = key.read_bytes()
    key.unlink()
    with pytest.raises(IntegrityError, match=str(key)) as error:
        connect(tmp_path / "j.db")
    assert "JUPYTER_DURABLE_KEY" in error.value.hint
    assert not key.exists()
    key.write_bytes(kept)
    connect(tmp_path / "j.db").close()


def test_a_wrong_or_broken_key_is_refused(tmp_path: Path) -> None:
    """Another store's key, and text that is no key, are `IntegrityError`s before anything is read."""
    for name in ("a", "b"):
        connect(tmp_path / f"{name}.db").close()
    (tmp_path / "b.key").write_bytes((tmp_path / "a.key").read_bytes())
    with pytest.raises(IntegrityError, match="not belong"):
        connect(tmp_path / "b.db")
    for text in (b"", b"abc", b"\xff\xfe" * 20, b"00" * 31):
        (tmp_path / "a.key").write_bytes(text)
        with pytest.raises(IntegrityError, match=r"a\.key"):
            connect(tmp_path / "a.db")


def test_the_environment_may_hold_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`JUPYTER_DURABLE_KEY` as hexadecimal or base64 opens the same store, and no key file is written."""
    secret = bytes(range(200, 232))
    for text in (
        secret.hex(),
        base64.b64encode(secret).decode(),
        base64.urlsafe_b64encode(secret).decode().rstrip("="),
    ):
        monkeypatch.setenv("JUPYTER_DURABLE_KEY", text)
        store = connect(tmp_path / "j.db")
        assert store.key == StoreKey(secret)
        store.close()
    assert not (tmp_path / "j.key").exists()
    monkeypatch.setenv("JUPYTER_DURABLE_KEY", "not a key")
    with pytest.raises(IntegrityError, match="JUPYTER_DURABLE_KEY"):
        connect(tmp_path / "j.db")


def test_a_key_that_outlived_its_store_is_used_again(tmp_path: Path) -> None:
    """Deleting the database and keeping the key starts an empty store with that key."""
    path = tmp_path / "j.db"
    first = connect(path)
    first.close()
    path.unlink()
    second = connect(path)
    assert second.key == first.key
    assert second.runs() == []
    second.close()


# -- schema ----------------------------------------------------------------------------------------


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A store of a later version is left alone, with the advice to upgrade."""
    path = tmp_path / "j.db"
    SqliteStore(path, key=KEY).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="newer") as error:
        SqliteStore(path, key=KEY)
    assert "pip install" in error.value.hint
    assert path.read_bytes() == before


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    """A database that is not a store is not made one."""
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE notes (text)")
    with pytest.raises(StoreError, match="not a store"):
        connect(path)
    with sqlite3.connect(path) as db:
        assert [row[0] for row in db.execute("SELECT name FROM sqlite_master")] == ["notes"]


def test_an_older_schema_is_upgraded_and_keeps_its_data(tmp_path: Path) -> None:
    """Migrations that a file has not had run once, together or not at all, and are recorded."""
    path = tmp_path / "j.db"
    store = SqliteStore(path, key=KEY)
    entries = store.append(begin(store), [step(n=1)], durable=True)
    store.close()

    def m002_more(db: object) -> None:
        db.execute("CREATE TABLE more (x)")  # type: ignore[attr-defined]

    def m003_broken(db: object) -> None:
        db.execute("CREATE TABLE half (x)")  # type: ignore[attr-defined]
        raise ZeroDivisionError

    connection = sqlite3.connect(path, isolation_level=None)
    with pytest.raises(ZeroDivisionError):
        schema.upgrade(connection, path, (*schema.MIGRATIONS, m002_more, m003_broken))
    assert schema.version(connection) == len(schema.MIGRATIONS)
    names = "SELECT name FROM sqlite_master WHERE name IN ('more', 'half')"
    assert connection.execute(names).fetchall() == []
    for _ in range(2):
        schema.upgrade(connection, path, (*schema.MIGRATIONS, m002_more))
    assert connection.execute(names).fetchall() == [("more",)]
    assert schema.version(connection) == len(schema.MIGRATIONS) + 1
    done = connection.execute("SELECT name FROM _sqlite_migrations ORDER BY id").fetchall()
    assert done == [(step.__name__,) for step in (*schema.MIGRATIONS, m002_more)]
    connection.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS)}")
    connection.close()
    again = SqliteStore(path, key=KEY)
    assert list(again.entries("1")) == entries
    again.close()
