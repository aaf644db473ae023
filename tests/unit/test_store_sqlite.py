"""The SQLite store's own promises: what it takes of the disk; several handles, threads, forks of the process."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_runs import KEY, ME, begin, step

from jupyter_durable.errors import StoreError
from jupyter_durable.model import Chunk, Draft, Payload
from jupyter_durable.store import connect, schema
from jupyter_durable.store.locks import FileLock
from jupyter_durable.store.sqlite import SqliteStore

pytestmark = pytest.mark.usefixtures("no_environment")

# -- disk ------------------------------------------------------------------------------------------


def used(directory: Path) -> int:
    """Bytes of the store's files after it was closed."""
    files = (path for path in directory.iterdir() if path.is_file() and path.suffix != ".lock")
    return sum(path.stat().st_size for path in files)


def text(rng: random.Random, size: int) -> bytes:
    """Text that compresses no better than English does, unlike repeated words."""
    words = ["".join(rng.choices("etaoinshrdlucmfw", k=rng.randint(2, 9))) for _ in range(size // 5)]
    return " ".join(words)[:size].encode()


@pytest.mark.slow
def test_a_growing_conversation_costs_its_new_text(tmp_path: Path) -> None:
    """400 turns that each add 1 KB and keep the whole input by reference take at most 1.3 x the new bytes."""
    rng, new = random.Random(1), 0
    SqliteStore(tmp_path / "empty" / "j.db", key=KEY).close()
    store = SqliteStore(tmp_path / "j.db", key=KEY)
    lease = begin(store)
    for turn in range(400):
        message = text(rng, 600)
        digest = KEY.mac("blob", message)
        asked = Payload("list", b"", (digest,), (Chunk(digest, message),))
        answer = text(rng, 400)
        new += len(message) + len(answer)
        meta = {"name": "chat", "kind": "model", "digest": digest.hex(), "attempt": 1}
        store.append(lease, [Draft("start", 1, turn, meta, asked)], durable=False)
        store.append(lease, [Draft("outcome", 1, turn, {}, Payload("json", answer))], durable=True)
    store.close()
    assert used(tmp_path) - used(tmp_path / "empty") <= 1.3 * new


def test_two_runs_that_take_turns_stay_compact(tmp_path: Path) -> None:
    """Entries inserted in the middle of the tree do not leave half of each page empty."""
    rng, new = random.Random(2), 0
    store = SqliteStore(tmp_path / "j.db", key=KEY)
    leases = [begin(store, run_id) for run_id in "abc"]
    for _ in range(150):
        for lease in leases:
            body = rng.randbytes(1000)
            new += len(body)
            store.append(lease, [step(b"{}")], durable=False)
            store.append(lease, [step(body)], durable=False)
    store.close()
    assert used(tmp_path) <= 1.6 * new


@pytest.mark.slow
@pytest.mark.parametrize("compressible", [False, True])
def test_large_values_take_no_more_than_their_bytes(tmp_path: Path, compressible: bool) -> None:
    """Random chunks are stored as they are (1.0 x), text much smaller, and the log does not stay that large."""
    rng = random.Random(3)
    piece = text(rng, 1 << 20) if compressible else b""

    def chunks() -> Iterator[Chunk]:
        for number in range(12):
            data = piece + bytes([number]) if compressible else rng.randbytes(1 << 20)
            yield Chunk(KEY.mac("blob", data), data)

    store = SqliteStore(tmp_path / "j.db", key=KEY)
    lease = begin(store)
    store.append(lease, [Draft("outcome", 1, 0, {}, Payload("big", b"", (), chunks()))], durable=True)  # type: ignore[arg-type]
    for _ in range(3):
        store.append(lease, [step()], durable=True)
    assert (tmp_path / "j.db-wal").stat().st_size <= 9 << 20
    store.close()
    assert used(tmp_path) <= (0.75 if compressible else 1.01) * (12 << 20) + 50_000


def test_the_log_is_reused(tmp_path: Path) -> None:
    """Over many appends the log keeps the size it was grown to, and the database gets what it held."""
    path, log = tmp_path / "j.db", tmp_path / "j.db-wal"
    store = SqliteStore(path, key=KEY, wal_bytes=1 << 18)
    lease = begin(store)
    grown = log.stat().st_size
    assert grown >= 1 << 18
    for _ in range(250):
        store.append(lease, [step()], durable=False)
        store.append(lease, [step(b"x" * 1000)], durable=True)
    assert log.stat().st_size == grown
    assert path.stat().st_size > 100_000
    store.close()
    assert not log.exists()


# -- processes and threads -------------------------------------------------------------------------


def test_a_forked_child_must_open_the_store_again(tmp_path: Path) -> None:
    """After `os.fork` the child's calls raise `StoreError` with that hint, even if a lock was held, and harm nothing."""
    path = tmp_path / "j.db"
    store = SqliteStore(path, key=KEY)
    lease = begin(store)
    held, done = threading.Event(), threading.Event()

    def chunks() -> Iterator[Chunk]:
        held.set()
        done.wait(20)
        yield Chunk(KEY.mac("blob", b"x"), b"x")

    draft = Draft("outcome", 1, 0, {}, Payload("big", b"", (), chunks()))  # type: ignore[arg-type]
    writing = threading.Thread(target=store.append, args=(lease, [draft]), kwargs={"durable": True})
    writing.start()
    assert held.wait(20)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            for call in (
                lambda: store.append(lease, [step()], durable=True),
                lambda: store.run("1"),
                lambda: store.version(),
                lambda: store.post("1", "signal", "k", {}, by="child"),
            ):
                with pytest.raises(StoreError, match=r"os\.fork") as error:
                    call()
                assert "again" in error.value.hint
            store.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    done.set()
    writing.join()
    store.append(lease, [step()], durable=True)
    assert [entry.seq for entry in store.entries("1")] == [1, 2]
    assert store.verify() == []
    store.close()


def test_waiting_for_another_writer_is_bounded(tmp_path: Path) -> None:
    """While somebody else holds the write lock, writing waits for its timeout and says so; reading goes on."""
    path = tmp_path / "j.db"
    store = SqliteStore(path, key=KEY, timeout=0.2)
    lease = begin(store)
    other = sqlite3.connect(path, isolation_level=None)
    lock = FileLock(tmp_path / "j.db.lock", 1.0)
    lock.acquire()
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(StoreError, match="lock") as error:
        store.append(lease, [step()], durable=True)
    assert 0.1 < time.monotonic() - began < 5
    assert "fuser" in error.value.hint
    assert store.run("1").id == "1"
    assert store.version() >= 0
    other.execute("ROLLBACK")
    other.close()
    lock.release()
    assert [entry.seq for entry in store.append(lease, [step()], durable=True)] == [1]
    lock.close()
    store.close()


def test_two_handles_with_one_lease_do_not_lose_entries(tmp_path: Path) -> None:
    """Two store objects writing one run with the same lease take turns: each sees the other's head."""
    one, two = (SqliteStore(tmp_path / "j.db", key=KEY) for _ in "12")
    lease = begin(one)
    for n in range(6):
        (one, two)[n % 2].append(lease, [step(n=n)], durable=n % 3 == 0, status="waiting" if n == 2 else None)
        (two, one)[n % 2].renew(lease, 60.0)
    assert [entry.meta["n"] for entry in one.entries("1")] == list(range(6))
    assert two.run("1").status == "waiting"
    assert two.verify() == []
    one.close()
    two.close()


def test_what_is_staged_follows_what_another_handle_has_stored_meanwhile(tmp_path: Path) -> None:
    """Linked to a head that is not the last one any more, it is linked anew when it is stored."""
    one, two = (SqliteStore(tmp_path / "j.db", key=KEY) for _ in "12")
    lease = begin(one)
    one.append(lease, [step(n=0)], durable=True)
    assert one.stage(lease, [step(n=2)])
    assert one.stage(lease, [step(n=3), step(n=4)])
    two.append(lease, [step(n=1)], durable=True)
    assert not one.stage(lease, [step(n=9)])
    one.append(lease, [step(n=5)], durable=True)
    assert one.stage(lease, [step(n=6)])
    one.settle(lease)
    assert [entry.meta["n"] for entry in two.entries("1")] == list(range(7))
    assert two.verify() == []
    one.close()
    two.close()


@pytest.mark.slow
def test_only_what_the_holder_staged_is_read(tmp_path: Path) -> None:
    """A staged record that was altered, cut off or left behind by earlier ones is none; nothing else suffers."""
    store = SqliteStore(tmp_path / "j.db", key=KEY)
    lease = begin(store)
    assert store.stage(lease, [step(n=1)])
    assert store.stage(lease, [step(n=2), step(n=3)])
    (path,) = tmp_path.glob("*-staged-*")
    assert path.stat().st_mode & 0o777 == 0o600
    whole = path.read_bytes()

    def read() -> list[int]:
        return [entry.meta["n"] for entry in store.entries("1")]

    assert read() == [1, 2, 3]
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        assert read() in ([], [1])
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        assert read() in ([], [1])
    path.write_bytes(whole)
    store.append(lease, [step(n=4)], durable=True)
    assert path.read_bytes() == whole
    assert read() == [1, 2, 3, 4]
    assert store.stage(lease, [step(n=5)])
    assert read() == [1, 2, 3, 4, 5]
    store.release(lease)
    assert read() == [1, 2, 3, 4, 5]
    assert not path.exists()
    store.close()


def test_what_was_staged_is_found_whatever_the_store_is_called(tmp_path: Path) -> None:
    """A name that could be taken for a pattern is none."""
    store = SqliteStore(tmp_path / "run[1]*?.db", key=KEY)
    lease = begin(store)
    assert store.stage(lease, [step(n=1)])
    assert [entry.meta["n"] for entry in store.entries("1")] == [1]
    store.close()


def test_what_is_large_or_has_no_place_is_not_staged(tmp_path: Path) -> None:
    """It is for `append` then: chunks, many bytes, a second store object for one lease, a store without a log."""
    one, two = (SqliteStore(tmp_path / "j.db", key=KEY) for _ in "12")
    lease = begin(one)
    part = Chunk(KEY.mac("blob", b"data"), b"data")
    assert not one.stage(lease, [Draft("start", 1, 0, {}, Payload("tree1", b"", (part.digest,), (part,)))])
    assert not one.stage(
        lease, [Draft("start", 1, 0, {}, Payload("json1", random.Random(1).randbytes(20_000)))]
    )
    assert one.stage(lease, [step()])
    two.append(two.renew(lease, 30.0), [step()], durable=False)
    assert not two.stage(lease, [step()])
    one.close()
    two.close()


def test_an_interrupt_anywhere_in_an_append_leaves_the_store_usable(tmp_path: Path) -> None:
    """Ctrl+C at any line of an append: the entry is there or not, the next append works, nobody stays locked out."""
    store = SqliteStore(tmp_path / "j.db", key=KEY, timeout=2)
    lease = begin(store)
    store.append(lease, [step()], durable=True)
    package = str(Path(schema.__file__).parent)
    interrupted = 0

    for at in range(1, 200):
        count = 0

        def trace(frame: object, event: str, arg: object) -> object:
            nonlocal count
            if not frame.f_code.co_filename.startswith(package):  # type: ignore[attr-defined]
                return None
            count += 1
            if count == at:  # noqa: B023 - used at once
                sys.settrace(None)
                raise KeyboardInterrupt
            return trace

        sys.settrace(trace)  # type: ignore[arg-type]
        try:
            store.append(lease, [step(at=at)], durable=True)
            break
        except KeyboardInterrupt:
            interrupted += 1
        finally:
            sys.settrace(None)
        other = SqliteStore(tmp_path / "j.db", key=KEY, timeout=2) if at % 25 == 0 else store
        other.append(lease, [step(after=at)], durable=True)
        if other is not store:
            other.close()
    assert interrupted > 30
    assert store.verify() == []
    seen = [entry.meta["after"] for entry in store.entries("1") if "after" in entry.meta]
    assert seen == list(range(1, interrupted + 1))
    store.close()


def test_dropping_the_last_reference_closes_the_store(tmp_path: Path) -> None:
    """A store nobody refers to, or a process that ends without closing, leaves one file and no log."""
    script = (
        "import sys; from jupyter_durable.store import connect; from jupyter_durable.model import *;"
        "s = connect(sys.argv[1]); s.create_run(RunRecord('1', 'r', 'running', 1.0, 1.0), Owner('somewhere', 1, 2.0), 9.0)"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path / "j.db"], check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["j.db", "j.db.lock", "j.key"]
    store = connect(tmp_path / "j.db")
    store.append(store.acquire("1", ME, 9.0), [step()], durable=False)
    del store
    assert sorted(path.name for path in tmp_path.iterdir()) == ["j.db", "j.db.lock", "j.key"]
