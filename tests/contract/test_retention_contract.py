"""What every store promises about what is not needed any more: it goes, and nothing that somebody needs does."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from store_kit import ELSEWHERE, KEY, HandClock, chunk, record

from jupyter_durable.errors import LeaseHeldError, LeaseLost, RunNotFoundError, StoreError
from jupyter_durable.journal.ports import JournalStore
from jupyter_durable.model import Draft, JobRecord, Payload
from jupyter_durable.store import retention, transfer
from jupyter_durable.store.sqlite import SqliteStore

DAY = 86_400.0


def draft(pos: int, *chunks: Any, keep: bool = True) -> Draft:
    """An entry that refers to these chunks, and (`keep`) brings them."""
    payload = Payload("json", b"[]", tuple(c.digest for c in chunks), chunks if keep else ())
    return Draft("outcome", 1, pos, {"s": "completed"}, payload)


def make(
    store: JournalStore, clock: HandClock, run_id: str, *chunks: Any, status: str = "completed", **fields: Any
) -> Any:
    """A run that has ended (or `running`: is held), with an entry that refers to these chunks."""
    lease = store.create_run(record(run_id, updated_at=clock.now(), **fields), ELSEWHERE, 30.0)
    store.append(lease, [draft(1, *chunks)], durable=True, status=status)  # type: ignore[arg-type]
    if status != "running":
        store.release(lease)
    return lease


def ids(store: JournalStore) -> set[str]:
    """The runs there are."""
    return {run.id for run in store.runs()}


def test_old_runs_go_and_those_that_are_needed_stay(store: JournalStore, clock: HandClock) -> None:
    """By age; not what runs, waits, failed (if so wished) or is the base of a fork that stays; children with their parents."""
    for run_id, status in (
        ("done", "completed"),
        ("bad", "failed"),
        ("waits", "waiting"),
        ("live", "running"),
    ):
        make(store, clock, run_id, status=status)
    make(store, clock, "base")
    make(store, clock, "parent")
    make(store, clock, "child", parent_id="parent")
    clock.at += 40 * DAY
    base = store.run("base")
    make(store, clock, "fork", forked_from="base", base_seq=base.head_seq, base_hash=base.head_hash)
    make(store, clock, "new")

    planned = store.gc(older_than=30 * DAY, keep_failed=True, dry_run=True)
    assert set(planned.runs) == {"done", "parent", "child"}
    assert planned.kept == 1
    assert len(ids(store)) == 9

    done = store.gc(older_than=30 * DAY, keep_failed=True)

    assert set(done.runs) == set(planned.runs)
    assert ids(store) == {"bad", "waits", "live", "base", "fork", "new"}
    assert store.verify() == []
    assert store.gc(older_than=30 * DAY).runs == ("bad",)
    clock.at += 40 * DAY
    assert set(store.gc(older_than=30 * DAY).runs) == {"base", "fork", "new"}, (
        "together, nothing is in the way"
    )
    assert ids(store) == {"waits", "live"}
    assert store.verify() == []


def test_chunks_go_in_two_turns_and_come_back_if_they_are_needed(
    store: JournalStore, clock: HandClock
) -> None:
    """Put aside they count as not stored and can be read; referred to again they are put back; else they go later."""
    inner = chunk(b"i" * 3000)
    a, b, shared = chunk(b"a" * 5000, inner.digest), chunk(b"b" * 5000), chunk(b"s" * 5000)
    make(store, clock, "old", inner, a, b, shared)
    clock.at += DAY
    make(store, clock, "new", shared)

    first = store.gc(older_than=0.5 * DAY)
    assert (first.runs, first.aside, first.dropped) == (("old",), 3, 0)
    assert not store.has_chunk(a.digest)
    assert store.has_chunk(shared.digest)
    assert store.chunk(a.digest).data == a.data
    # Somebody who had asked before refers to it without bringing it.
    lease = store.acquire("new", ELSEWHERE, 30.0)
    store.append(lease, [draft(2, a, keep=False)], durable=True)
    store.release(lease)
    assert store.verify() == []

    clock.at += retention.PATIENCE + 1
    second = store.gc()

    assert (second.aside, second.dropped) == (0, 1)
    assert store.has_chunk(a.digest), "back, with what it refers to"
    assert store.has_chunk(inner.digest)
    with pytest.raises(Exception, match="missing"):
        store.chunk(b.digest)
    assert store.verify() == []


def test_what_is_aside_stays_while_somebody_may_refer_to_it(store: JournalStore, clock: HandClock) -> None:
    """A process that was advancing a run when a chunk was put aside may have asked for it before."""
    a = chunk(b"a" * 5000)
    make(store, clock, "old", a)
    live = make(store, clock, "live", status="running")
    clock.at += DAY
    store.gc(older_than=0.5 * DAY)
    clock.at += 10 * retention.PATIENCE

    assert store.gc().dropped == 0
    store.release(live)
    assert store.gc().dropped == 1


def test_the_oldest_go_until_the_store_is_small_enough(store: JournalStore, clock: HandClock) -> None:
    """By size, as few as it takes, oldest first."""
    rng = random.Random(3)
    for n in range(12):
        make(store, clock, f"r{n:02}", chunk(rng.randbytes(100_000)))
        clock.at += 60
    used = store.gc(dry_run=True).bytes_before

    done = store.gc(max_bytes=used - 250_000)

    assert done.runs == ("r00", "r01", "r02")
    clock.at += retention.PATIENCE + 60
    after = store.gc()
    assert after.bytes_after <= used - 250_000
    assert store.gc(max_bytes=10**9).runs == ()


def test_runs_are_deleted_by_hand_all_or_none(store: JournalStore, clock: HandClock) -> None:
    """With their children; one that somebody advances, or that another needs, is refused by name."""
    make(store, clock, "a")
    make(store, clock, "child", parent_id="a")
    make(store, clock, "live", status="running")
    base = store.run("a")
    make(store, clock, "fork", forked_from="a", base_seq=base.head_seq, base_hash=base.head_hash)

    with pytest.raises(LeaseHeldError, match="is being advanced"):
        store.delete_runs(["fork", "live"])
    with pytest.raises(LeaseHeldError, match="forked from it") as caught:
        store.delete_runs(["a"])
    assert "fork" in caught.value.hint
    with pytest.raises(RunNotFoundError):
        store.delete_runs(["nobody"])
    assert len(ids(store)) == 4

    assert sorted(store.delete_runs(["a", "fork"])) == ["a", "child", "fork"]
    assert ids(store) == {"live"}
    assert store.verify() == []


def test_old_jobs_go_with_their_runs(store: JournalStore, clock: HandClock) -> None:
    """A job that has ended goes when none of its runs stays; one that waits or is queued does not."""
    for job_id, status in (
        ("a", "completed"),
        ("b", "failed"),
        ("c", "waiting"),
        ("d", "queued"),
        ("e", "completed"),
    ):
        store.put_jobs([JobRecord(job_id, "n", f"o{job_id}", clock.now(), clock.now(), status=status)])  # type: ignore[arg-type]
    make(store, clock, "run-a", job_id="a")
    make(store, clock, "run-e", job_id="e", status="waiting")
    clock.at += 2 * DAY

    assert store.gc(older_than=DAY, keep_failed=True).jobs == ("a",)
    assert {job.id for job in store.jobs()} == {"b", "c", "d", "e"}
    assert store.gc(older_than=DAY).jobs == ("b",)


# -- a file of its own ---------------------------------------------------------------------------


def test_a_backup_is_a_store_of_its_own(tmp_path: Path, clock: HandClock) -> None:
    """With its key, readable by its owner only; what is written later is not in it; nothing is overwritten."""
    store = SqliteStore(tmp_path / "journal.db", clock=clock)
    make(store, clock, "a", chunk_of(store, b"x" * 5000))
    there = tmp_path / "there" / "backup.db"

    store.backup(there)
    make(store, clock, "b")

    for file in (there, there.with_suffix(".key")):
        assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(StoreError, match="already"):
        store.backup(there)
    copy = SqliteStore(there, clock=clock)
    assert ids(copy) == {"a"}
    assert copy.verify() == []
    assert sorted(p.name for p in there.parent.iterdir() if "db-" not in p.name and "lock" not in p.name) == [
        "backup.db",
        "backup.key",
    ]
    copy.close()
    store.close()


def test_the_file_shrinks_when_nobody_is_at_work(tmp_path: Path, clock: HandClock) -> None:
    """Refused while a run is advanced or a job is done; then as small as what is in it, which verifies, for others, too."""
    rng = random.Random(4)
    store, other = (SqliteStore(tmp_path / "journal.db", clock=clock) for _ in range(2))
    for n in range(8):
        make(store, clock, f"r{n}", chunk_of(store, rng.randbytes(400_000)))
        clock.at += DAY
    store.gc(older_than=2 * DAY)
    clock.at += retention.PATIENCE + 60
    done = store.gc()
    assert done.file_bytes > 3_000_000 > 2 * done.bytes_after
    lease = make(other, clock, "live", status="running")
    with pytest.raises(LeaseHeldError, match=r"kernel on another machine .* is at work"):
        store.shrink()
    other.append(lease, [draft(2)], durable=True, status="completed")
    other.release(lease)
    other.put_jobs([JobRecord("j", "a.ipynb", "b.ipynb", 0.0, 0.0)])
    job = other.take_job("j", ELSEWHERE, 30.0)
    with pytest.raises(LeaseHeldError):
        store.shrink()
    other.leave_job(job, "completed", report={})

    before, after = store.shrink()

    assert before >= done.file_bytes
    assert after < 1_300_000
    assert (tmp_path / "journal.db").stat().st_size == after
    make(other, clock, "later", chunk_of(other, b"y" * 5000))
    for opened in (store, other):
        assert ids(opened) == {"r6", "r7", "live", "later"}
        assert opened.verify() == []
        opened.close()


@pytest.mark.slow
def test_whoever_writes_while_the_file_shrinks_loses_nothing(tmp_path: Path) -> None:
    """Another that begins runs all the while waits for it, or it is refused; every run is there and verifies."""
    store, other = (SqliteStore(tmp_path / "journal.db") for _ in range(2))
    over, clock = threading.Event(), HandClock()
    made: list[str] = []

    def write() -> None:
        while not over.is_set():
            make(other, clock, f"w{len(made)}", chunk_of(other, random.randbytes(20_000)))
            made.append(f"w{len(made)}")

    thread = threading.Thread(target=write)
    thread.start()
    done = 0
    while done < 5 or len(made) < 50:
        assert thread.is_alive()
        try:
            store.shrink()
        except LeaseHeldError:
            continue
        done += 1
    over.set()
    thread.join(60)

    assert ids(store) == set(made)
    assert store.verify() == []
    store.close()
    other.close()


def chunk_of(store: JournalStore, data: bytes) -> Any:
    """A chunk under the store's own key."""
    from jupyter_durable.model import Chunk

    return Chunk(store.key.mac("blob", data), data, ())


def test_a_run_is_copied_with_all_that_it_needs(tmp_path: Path, clock: HandClock) -> None:
    """Its base, children, chunks, inbox and job; twice is once; another key and another history are refused."""
    here = SqliteStore(tmp_path / "a.db", key=KEY, clock=clock)
    there = SqliteStore(tmp_path / "b.db", key=KEY, clock=clock)
    make(there, clock, "other")
    make(here, clock, "first")
    make(here, clock, "base", chunk(b"x" * 5000))
    base = here.run("base")
    here.put_jobs([JobRecord("job", "n", "o", 1.0, 1.0, status="waiting")])
    make(
        here,
        clock,
        "run",
        status="waiting",
        forked_from="base",
        base_seq=base.head_seq,
        base_hash=base.head_hash,
        job_id="job",
    )
    make(here, clock, "child", parent_id="run")
    here.post("run", "signal", "signal:go:1", {"name": "go"}, by="me")

    assert sorted(transfer.copy(here, there, "run")) == ["base", "child", "run"]

    assert there.verify() == []
    assert ids(there) == {"other", "base", "run", "child"}
    assert [e.hash for e in there.entries("run")] == [e.hash for e in here.entries("run")]
    assert [item.key for item in there.inbox("run")] == ["signal:go:1"]
    assert (there.job("job").status, there.run("run").owner) == ("waiting", None)
    assert transfer.copy(here, there, "run") == []
    lease = there.acquire("run", ELSEWHERE, 30.0)
    there.append(lease, [draft(2)], durable=True)
    assert transfer.copy(here, there, "run") == [], "it has gone on there, which is later"
    other = SqliteStore(tmp_path / "c.db", clock=clock)
    with pytest.raises(StoreError, match="another key"):
        transfer.copy(here, other, "run")
    for store in (here, there, other):
        store.close()


def test_a_run_that_has_gone_on_elsewhere_comes_back(tmp_path: Path, clock: HandClock) -> None:
    """As far as it has got there, with what was said to it; not while somebody is at it here, nor if it has gone on here."""
    here = SqliteStore(tmp_path / "a.db", key=KEY, clock=clock)
    there = SqliteStore(tmp_path / "b.db", key=KEY, clock=clock)
    here.put_jobs([JobRecord("job", "n", "o", 1.0, 1.0, status="waiting")])
    old = make(
        here, clock, "run", chunk(b"x" * 5000), status="waiting", job_id="job", notebook="/here/nb.ipynb"
    )
    transfer.copy(here, there, "run")
    there.post("run", "signal", "signal:go:1", {"name": "go"}, by="me")
    lease = there.acquire("run", ELSEWHERE, 30.0)
    there.append(lease, [draft(2, chunk(b"y" * 5000))], durable=True, status="completed")
    there.release(lease)

    held = here.acquire("run", ELSEWHERE, 30.0)
    with pytest.raises(StoreError, match="not as it is here"):
        transfer.copy(there, here, "run")
    here.release(held)
    assert transfer.copy(there, here, "run") == ["run"]

    assert here.verify() == []
    assert [e.hash for e in here.entries("run")] == [e.hash for e in there.entries("run")]
    assert (here.run("run").status, here.run("run").notebook) == ("completed", "/here/nb.ipynb")
    assert [item.key for item in here.inbox("run")] == ["signal:go:1"]
    assert here.job("job").due_at == clock.now(), "it has its result to show"
    assert transfer.copy(there, here, "run") == []
    for late in (old, held):
        with pytest.raises(LeaseLost):
            here.append(late, [draft(3)], durable=True)
    for store, number in ((here, 3), (there, 4)):
        lease = store.acquire("run", ELSEWHERE, 30.0)
        store.append(lease, [draft(number)], durable=True)
        store.append(lease, [draft(9)], durable=True)
        store.release(lease)
    here_too = here.acquire("run", ELSEWHERE, 30.0)
    here.release(here_too)
    there.append(there.acquire("run", ELSEWHERE, 30.0), [draft(10)], durable=True)
    with pytest.raises(StoreError, match="not as it is here"):
        transfer.copy(there, here, "run")
    assert here.verify() == []
    for store in (here, there):
        store.close()


WRITER = """
import sys, os, random, time
from jupyter_durable.model import Chunk, Draft, Payload, RunRecord
from jupyter_durable.store import connect
from jupyter_durable.store.leases import this_owner
store = connect(sys.argv[1]); number = sys.argv[2]; end = time.time() + float(sys.argv[3])
rng = random.Random(number); shared = [bytes([k]) * 2000 for k in range(40)]
print('ready', flush=True)
n = 0
while time.time() < end:
    n += 1
    run = RunRecord(f'w{number}-{n:05}', 'w', 'running', time.time(), time.time())
    lease = store.create_run(run, this_owner('writer'), 30.0)
    for pos in range(6):
        data = rng.choice(shared) if rng.random() < .7 else rng.randbytes(900)
        digest = store.key.mac('blob', data)
        known = store.has_chunk(digest)
        if rng.random() < .2: time.sleep(.01)
        payload = Payload('json', b'[]', (digest,), () if known else (Chunk(digest, data, ()),))
        store.append(lease, [Draft('outcome', 1, pos + 1, {'s': 'completed'}, payload)], durable=pos % 2 == 0)
    status = 'completed' if n % 3 else 'waiting'
    store.append(lease, [], durable=True, status=status)
    store.release(lease)
    if status == 'waiting': print(run.id, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "seconds"),
    [pytest.param(4, 6, id="some"), pytest.param(10, 60, id="many", marks=pytest.mark.bench)],
)
@pytest.mark.timeout(600)
def test_under_load_nothing_is_lost_and_backups_verify(
    tmp_path: Path, count: int, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writers that share chunks, while runs are collected all the time and the store is backed up: each verifies."""
    monkeypatch.setattr(retention, "PATIENCE", 0.3)  # else nothing would be deleted before it ends
    path = tmp_path / "journal.db"
    store = SqliteStore(path)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(n), str(seconds)], stdout=subprocess.PIPE, text=True
        )
        for n in range(count)
    ]
    lines: list[list[str]] = [[] for _ in processes]
    readers = [
        threading.Thread(target=lambda out=process.stdout, to=to: to.extend(out))  # type: ignore[misc]
        for process, to in zip(processes, lines, strict=True)
    ]
    for reader in readers:
        reader.start()
    collected, dropped, backups = 0, 0, 0
    while any(process.poll() is None for process in processes):
        done = store.gc(older_than=0.5)
        collected, dropped = collected + len(done.runs), dropped + done.dropped
        if backups < 3 and collected > 5 * (backups + 1):
            backups += 1
            store.backup(tmp_path / f"backup{backups}.db")
        time.sleep(0.1)
    for reader in readers:
        reader.join()

    assert [process.wait() for process in processes] == [0] * count
    assert collected > 0
    assert dropped > 0
    assert store.verify() == []
    kept = {line.strip() for found in lines for line in found if line != "ready\n"}
    assert kept <= ids(store), "what waits is never collected"
    for run_id in list(kept)[:50]:
        assert sum(1 for _ in store.entries(run_id)) == 6
    assert backups == 3
    for n in range(1, backups + 1):
        copy = SqliteStore(tmp_path / f"backup{n}.db")
        assert copy.verify() == []
        copy.close()
    print({"runs": len(ids(store)) + collected, "collected": collected, "chunks dropped": dropped})
    store.close()
