"""Whatever is done to a store's file behind its back is found by `verify`, and refused when it is read."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jupyter_durable.codec.secret import StoreKey
from jupyter_durable.errors import IntegrityError, RunNotFoundError, StoreError
from jupyter_durable.model import Chunk, Draft, Owner, Payload, Problem, RunRecord
from jupyter_durable.store.sqlite import SqliteStore

KEY = StoreKey(bytes(range(32)))
ME = Owner("somewhere", 1, 2.0, "test")
HEAD = 0xFFFFFFFF


def chunk(data: bytes, *refs: bytes) -> Chunk:
    """A chunk with its digest."""
    return Chunk(KEY.mac("blob", data, *refs), data, refs)


PART, OTHER = chunk(b"part " * 200), chunk(b"other")
WHOLE = chunk(b"whole", PART.digest, OTHER.digest)


def everything(store: SqliteStore) -> list[Any]:
    """All that can be read from the store."""
    read: list[Any] = []
    for run in store.runs():
        read += [run, store.run(run.id), list(store.entries(run.id)), store.inbox(run.id)]
    return [*read, *(store.chunk(digest) for digest in (PART.digest, OTHER.digest, WHOLE.digest))]


def write(path: Path) -> list[Any]:
    """A store with two runs, a fork, chunks and inboxes; what can be read from it."""
    store = SqliteStore(path, key=KEY, wal_bytes=1 << 16)
    for run_id in ("run-a", "run-b"):
        record = RunRecord(
            run_id, "research", "running", 1.0, 1.0, notebook="/n.ipynb", meta={"code": "x = 1"}
        )
        lease = store.create_run(record, ME, 3600.0)
        for pos in range(12):
            body = random.Random(f"{run_id}{pos}").randbytes(300)
            store.append(
                lease, [Draft("start", 1, pos, {"name": f"step {pos}"}, Payload("json", body))], durable=False
            )
            store.append(lease, [Draft("log", 1, pos, {"text": "same"})], durable=False)
        payload = Payload("list", b"", (WHOLE.digest,), (PART, OTHER, WHOLE))
        (last,) = store.append(lease, [Draft("outcome", 1, 12, {}, payload)], durable=True)
        for key in ("k1", "k2", "k3"):
            store.post(run_id, "signal", key, {"n": key}, by="anna", payload=Payload("json", b"1"))
    fork = RunRecord(
        "run-c", "research", "running", 2.0, 2.0, forked_from="run-b", base_seq=25, base_hash=last.hash
    )
    store.append(store.create_run(fork, ME, 3600.0), [Draft("start", 1, 0, {"name": "own"})], durable=True)
    assert store.verify() == []
    read = everything(store)
    store.close()
    return read


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[Any]]:
    """The file as it was written, and what can be read from it."""
    path = tmp_path_factory.mktemp("original") / "j.db"
    read = write(path)
    return path.read_bytes(), read


def alter(path: Path, content: bytes, *statements: str) -> None:
    """Write the file, altered by SQL."""
    path.write_bytes(content)
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def k(run: int, seq: int) -> int:
    """An entry's key; run-a is 1, run-b is 2, run-c is 3."""
    return run << 32 | seq


Read = Callable[[SqliteStore], Any]


def entries(run_id: str) -> Read:
    """Reading a run's journal."""
    return lambda store: list(store.entries(run_id))


def run(run_id: str) -> Read:
    """Reading a run's row."""
    return lambda store: store.run(run_id)


def inbox(run_id: str) -> Read:
    """Reading a run's inbox."""
    return lambda store: store.inbox(run_id)


SWAP = "UPDATE entries SET key = CASE key WHEN {0} THEN -1 ELSE {0} END WHERE key IN ({0}, {1}); UPDATE entries SET key = {1} WHERE key = -1"
ENTRY_EDITS = {
    "type": "'outcome'",
    "scope": "scope + 1",
    "pos": "pos + 1",
    "at": "at + 0.000001",
    "meta": "replace(meta, 'step', 'stop')",
    "codec": "'text'",
    "packed": "300",
    "body": "x'00' || substr(body, 2)",
    "refs": "x'000102030405060708090a0b0c0d0e0f'",
    "hash": "(SELECT hash FROM entries WHERE key = 4294967299)",
}
RUN_EDITS = {
    "name": "'another'",
    "created_at": "0.5",
    "notebook": "'/other.ipynb'",
    "cell_id": "'c'",
    "job_id": "'j'",
    "parent_id": "'run-a'",
    "root_id": "'run-a'",
    "forked_from": "'run-a'",
    "fork_kind": "'user'",
    "base_seq": "1",
    "base_hash": "x'00'",
    "aliases": "'[\"/x\"]'",
    "meta": "'{}'",
    "posted": "2",
    "mac": "(SELECT mac FROM runs WHERE run = 1)",
}
HEAD_EDITS = {
    "codec": "'completed'",
    "at": "at + 1",
    "pos": "24",
    "hash": "x'00'",
    "scope": "0",
    "meta": "'0.0 '",
    "body": "x'00'",
}
WHOLE_RUN = (
    "DELETE FROM runs WHERE run = 3",
    f"DELETE FROM entries WHERE key > {k(3, 0)}",
)
# what is done, the run and place `verify` names, and the reading that is refused (None: nothing reads it)
CASES: dict[str, tuple[str | tuple[str, ...], str | None, str, Read | None]] = {
    **{
        f"entry {column} edited": (f"UPDATE entries SET {column} = {value} WHERE key = {k(2, 5)}", "run-b", "entry 5", entries("run-b"))
        for column, value in ENTRY_EDITS.items()
    },
    **{
        f"run {column} edited": (f"UPDATE runs SET {column} = {value} WHERE run = 2", "run-b", "run", run("run-b"))
        for column, value in RUN_EDITS.items()
    },
    **{
        f"head {column} edited": (f"UPDATE entries SET {column} = {value} WHERE key = {k(2, HEAD)}", "run-b", "head", run("run-b"))
        for column, value in HEAD_EDITS.items()
    },
    "first entry deleted": (f"DELETE FROM entries WHERE key = {k(2, 1)}", "run-b", "entry 1", entries("run-b")),
    "entries deleted": (f"DELETE FROM entries WHERE key BETWEEN {k(2, 5)} AND {k(2, 7)}", "run-b", "entries 5-7", entries("run-b")),
    "last entry deleted": (f"DELETE FROM entries WHERE key = {k(2, 25)}", "run-b", "entry 25", entries("run-b")),
    "an ancestor's entry deleted": (f"DELETE FROM entries WHERE key = {k(2, 25)}", "run-b", "entry 25", entries("run-c")),
    "all entries deleted": (f"DELETE FROM entries WHERE key BETWEEN {k(1, 0)} AND {k(1, 99)}", "run-a", "entries 1-25", entries("run-a")),
    "entries swapped": (tuple(SWAP.format(k(2, 5), k(2, 7)).split("; ")), "run-b", "entry 5", entries("run-b")),
    "equal entries swapped": (tuple(SWAP.format(k(2, 4), k(2, 6)).split("; ")), "run-b", "entry 4", entries("run-b")),
    "entry of another run": (
        (f"DELETE FROM entries WHERE key = {k(2, 5)}", f"UPDATE entries SET key = {k(2, 5)} WHERE key = {k(1, 5)}"),
        "run-b",
        "entry 5",
        entries("run-b"),
    ),
    "entry inserted": (
        f"INSERT INTO entries SELECT {k(2, 26)}, type, scope, pos, at, meta, codec, packed, body, refs, hash FROM entries WHERE key = {k(2, 25)}",
        "run-b",
        "entries 1-26",
        None,
    ),
    "journal of another run": (
        (
            f"DELETE FROM entries WHERE key BETWEEN {k(2, 1)} AND {k(2, 99)}",
            f"UPDATE entries SET key = key + {k(1, 0)} WHERE key BETWEEN {k(1, 1)} AND {k(1, 99)}",
        ),
        "run-b",
        "entry 1",
        entries("run-b"),
    ),
    "head deleted": (f"DELETE FROM entries WHERE key = {k(2, HEAD)}", "run-b", "head", run("run-b")),
    "heads swapped": (tuple(SWAP.format(k(1, HEAD), k(2, HEAD)).split("; ")), "run-b", "head", run("run-b")),
    "journal and head of another run": (
        (
            f"DELETE FROM entries WHERE key BETWEEN {k(2, 1)} AND {k(2, HEAD)}",
            f"UPDATE entries SET key = key + {k(1, 0)} WHERE key BETWEEN {k(1, 1)} AND {k(1, HEAD)}",
        ),
        "run-b",
        "head",
        entries("run-b"),
    ),
    "run row deleted": ("DELETE FROM runs WHERE run = 1", None, "runs", run("run-a")),
    "run deleted with all it had": (WHOLE_RUN, None, "runs", run("run-c")),
    "runs swapped": (
        ("UPDATE runs SET id = 'x' WHERE run = 1", "UPDATE runs SET id = 'run-a' WHERE run = 2", "UPDATE runs SET id = 'run-b' WHERE run = 1"),
        "run-b",
        "run",
        run("run-b"),
    ),
    "run inserted": ("INSERT INTO runs SELECT 9, 'run-d', name, created_at, notebook, cell_id, job_id, parent_id, root_id, forked_from, fork_kind, base_seq, base_hash, aliases, meta, posted, mac FROM runs WHERE run = 1", "run-d", "run", run("run-d")),
    "chunk data edited": (f"UPDATE chunks SET data = x'00' || substr(data, 2) WHERE digest = x'{PART.digest.hex()}'", None, f"chunk {PART.digest.hex()}", lambda s: s.chunk(PART.digest)),
    "chunk refs edited": (f"UPDATE chunks SET refs = substr(refs, 17) WHERE digest = x'{WHOLE.digest.hex()}'", None, f"chunk {WHOLE.digest.hex()}", lambda s: s.chunk(WHOLE.digest)),
    "chunk size edited": (f"UPDATE chunks SET packed = packed - 1 WHERE digest = x'{PART.digest.hex()}'", None, f"chunk {PART.digest.hex()}", lambda s: s.chunk(PART.digest)),
    "chunk claims a terabyte": (f"UPDATE chunks SET packed = 1 << 40 WHERE digest = x'{PART.digest.hex()}'", None, f"chunk {PART.digest.hex()}", lambda s: s.chunk(PART.digest)),
    "chunk deleted": (f"DELETE FROM chunks WHERE digest = x'{PART.digest.hex()}'", None, f"chunk {PART.digest.hex()}", lambda s: s.chunk(PART.digest)),
    "chunks swapped": (f"UPDATE chunks SET data = (SELECT data FROM chunks WHERE digest = x'{OTHER.digest.hex()}'), packed = 0 WHERE digest = x'{PART.digest.hex()}'", None, f"chunk {PART.digest.hex()}", lambda s: s.chunk(PART.digest)),
    "inbox value edited": ("UPDATE inbox SET value = '{}' WHERE run = 2 AND n = 2", "run-b", "inbox row 2", inbox("run-b")),
    "inbox author edited": ("UPDATE inbox SET by = 'bert' WHERE run = 2 AND n = 1", "run-b", "inbox row 1", inbox("run-b")),
    "inbox payload edited": ("UPDATE inbox SET body = x'32' WHERE run = 2 AND n = 1", "run-b", "inbox row 1", inbox("run-b")),
    "inbox row deleted": ("DELETE FROM inbox WHERE run = 2 AND n = 2", "run-b", "inbox row 2", inbox("run-b")),
    "last inbox row deleted": ("DELETE FROM inbox WHERE run = 2 AND n = 3", "run-b", "inbox row 3", inbox("run-b")),
    "inbox row of another run": (("DELETE FROM inbox WHERE run = 2 AND n = 2", "UPDATE inbox SET run = 2 WHERE run = 1 AND n = 2"), "run-b", "inbox row 2", inbox("run-b")),
    "inbox rows swapped": (("UPDATE inbox SET n = 9 WHERE run = 2 AND n = 1", "UPDATE inbox SET n = 1 WHERE run = 2 AND n = 2", "UPDATE inbox SET n = 2 WHERE run = 2 AND n = 9"), "run-b", "inbox row 1", inbox("run-b")),
    "inbox row inserted": ("INSERT INTO inbox SELECT run, 4, kind, 'k9', value, codec, packed, body, refs, by, at, mac FROM inbox WHERE run = 2 AND n = 3", "run-b", "inbox rows 1-4", inbox("run-b")),
    "type confusion": (f"UPDATE entries SET meta = 7, pos = 'x', type = x'00' WHERE key = {k(2, 5)}", "run-b", "entry 5", entries("run-b")),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_an_alteration_is_named_and_refused(
    tmp_path: Path, original: tuple[bytes, list[Any]], case: str
) -> None:
    """Each way to edit, delete, insert or swap rows is a `Problem` that names run and place, and reading it raises."""
    statements, whose, where, read = CASES[case]
    path = tmp_path / "j.db"
    alter(path, original[0], *([statements] if isinstance(statements, str) else statements))
    store = SqliteStore(path, key=KEY)
    problems = store.verify()
    assert (whose, where) in [(problem.run_id, problem.where) for problem in problems], problems
    if whose is not None:
        assert store.verify(whose) != []
    if read is not None:
        with pytest.raises((IntegrityError, RunNotFoundError)) as error:
            read(store)
        assert error.value.hint
    untouched = (
        "run-a"
        if whose in ("run-b", "run-d") and "another run" not in case and "swapped" not in case
        else None
    )
    if untouched:
        assert store.verify(untouched) == []
        assert len(list(store.entries(untouched))) == 25
    store.close()


def test_a_changed_registry_or_another_key_is_refused_when_opened(
    tmp_path: Path, original: tuple[bytes, list[Any]]
) -> None:
    """Counts that were edited, a registry that is gone and a wrong key all stop the store from opening."""
    path = tmp_path / "j.db"
    for statement in ("UPDATE registry SET kept = kept - 1", "DELETE FROM registry"):
        alter(path, original[0], statement)
        with pytest.raises(IntegrityError):
            SqliteStore(path, key=KEY)
    path.write_bytes(original[0])
    with pytest.raises(IntegrityError, match="key"):
        SqliteStore(path, key=StoreKey(bytes(32)))
    SqliteStore(path, key=KEY).close()


def test_a_stale_cache_does_not_hide_an_alteration(tmp_path: Path) -> None:
    """A run whose head was altered while it is being written refuses the next append."""
    path = tmp_path / "j.db"
    store = SqliteStore(path, key=KEY)
    lease = store.create_run(RunRecord("run-a", "r", "running", 1.0, 1.0), ME, 3600.0)
    store.append(lease, [Draft("start", 1, 0, {})], durable=True)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute(f"UPDATE entries SET pos = 0 WHERE key = {k(1, HEAD)}")
    store.append(lease, [Draft("start", 1, 1, {})], durable=True)  # writes the whole head anew
    assert store.verify() == []
    other.execute(f"UPDATE entries SET body = x'00' WHERE key = {k(1, HEAD)}")
    with pytest.raises(IntegrityError, match="run-a"):
        store.append(lease, [Draft("start", 1, 2, {})], durable=True)
    other.close()
    store.close()


def look(path: Path, read: list[Any]) -> str:
    """Open a damaged file: `found` if anything says so, `same` if all can be read as it was, else `wrong`."""
    try:
        store = SqliteStore(path, key=KEY, wal_bytes=1 << 16)
    except (IntegrityError, StoreError):
        return "found"
    try:
        problems = store.verify()
        assert all(isinstance(problem, Problem) for problem in problems)
        try:
            same = everything(store) == read
        except (IntegrityError, RunNotFoundError, StoreError):
            return "found" if problems else "refused, but verify was silent"
        return "found" if problems else ("same" if same else "wrong")
    finally:
        store.close()


@pytest.mark.parametrize(
    "flips", [pytest.param(120, id="some"), pytest.param(1000, id="many", marks=pytest.mark.slow)]
)
def test_no_flipped_bit_changes_what_is_read_unnoticed(
    tmp_path: Path, original: tuple[bytes, list[Any]], flips: int
) -> None:
    """One bit flipped anywhere in the file is found, or was in space that nobody reads; nothing else is raised."""
    content, read = original
    path, rng = tmp_path / "j.db", random.Random(7)
    seen = {"found": 0, "same": 0}
    for number in range(flips):
        damaged = bytearray(content)
        # Spread over the pages, so that each table and index has its share.
        at = number * 4096 % len(content) + rng.randrange(4096)
        damaged[at] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        outcome = look(path, read)
        assert outcome in seen, (at, outcome)
        seen[outcome] += 1
        for name in ("j.db-wal", "j.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
    assert seen["found"] > flips / 8  # many pages are of tables that are empty here


def test_a_truncated_file_is_found(tmp_path: Path, original: tuple[bytes, list[Any]]) -> None:
    """Cut anywhere, on a page's border or not, even to nothing, the file is refused or its damage named."""
    content, read = original
    path = tmp_path / "j.db"
    (tmp_path / "j.key").write_text(KEY.secret.hex())
    for size in [0, 1, 100, 4095, *range(4096, len(content), 4096), len(content) - 1, len(content) - 700]:
        path.write_bytes(content[:size])
        assert look(path, read) == "found", size
        for name in ("j.db-wal", "j.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
    path.write_bytes(content)
    assert look(path, read) == "same"


def test_a_log_without_its_database_is_refused(tmp_path: Path) -> None:
    """If only the database was deleted, nothing is made anew over what the log still holds."""
    path = tmp_path / "j.db"
    store = SqliteStore(path, key=KEY)
    store.create_run(RunRecord("run-a", "r", "running", 1.0, 1.0), ME, 3600.0)
    log = (tmp_path / "j.db-wal").read_bytes()
    store.close()
    path.unlink()
    (tmp_path / "j.db-wal").write_bytes(log)
    with pytest.raises(IntegrityError, match=r"j\.db-wal"):
        SqliteStore(path, key=KEY)


def test_an_entry_of_a_copy_that_went_another_way_is_refused(tmp_path: Path) -> None:
    """A last entry that verifies, but was written in a copy of the store, is not the one the head is bound to."""
    path, copy = tmp_path / "j.db", tmp_path / "copy.db"
    store = SqliteStore(path, key=KEY)
    lease = store.create_run(RunRecord("run-a", "r", "running", 1.0, 1.0), ME, 3600.0)
    first = store.append(lease, [Draft("start", 1, 0, {})], durable=True)
    store.close()
    copy.write_bytes(path.read_bytes())
    for place, says in ((path, "here"), (copy, "there")):
        one = SqliteStore(place, key=KEY)
        one.append(one.acquire("run-a", ME, 9.0), [Draft("outcome", 1, 0, {"says": says})], durable=True)
        one.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"ATTACH '{copy}' AS copy")
    connection.execute(f"DELETE FROM entries WHERE key = {k(1, 2)}")
    connection.execute(f"INSERT INTO entries SELECT * FROM copy.entries WHERE key = {k(1, 2)}")
    connection.close()
    altered = SqliteStore(path, key=KEY)
    assert altered.verify() == [Problem("run-a", "entry 2", "is not the last one written")]
    assert list(altered.entries("run-a", upto=1)) == first
    with pytest.raises(IntegrityError, match="not the last one"):
        list(altered.entries("run-a"))
    altered.close()
