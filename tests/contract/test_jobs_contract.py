"""What every store promises about jobs: of those who look for one, one gets it, in the right order, and no other."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from store_kit import ELSEWHERE, KEY, SECOND, HandClock, record

from jupyter_durable.errors import IntegrityError, LeaseHeldError, LeaseLost, RunNotFoundError, StoreError
from jupyter_durable.journal.ports import JournalStore
from jupyter_durable.model import JobRecord, Owner
from jupyter_durable.store.jobs import CLAIM
from jupyter_durable.store.leases import this_host
from jupyter_durable.store.sqlite import SqliteStore

GONE = Owner(this_host(), 2**22 + 1, 1000.0, "a worker that is gone")


def job(job_id: str, **fields: Any) -> JobRecord:
    """A job that was due long ago."""
    given: dict[str, Any] = {"notebook": "/n/a.ipynb", "output": f"/n/{job_id}.out.ipynb", "due_at": 1.0}
    return JobRecord(id=job_id, created_at=10.0, updated_at=11.0, **(given | fields))


def test_a_job_is_read_as_it_was_written(store: JournalStore) -> None:
    """Every field comes back; a beginning of its id is enough; what is not there is said so."""
    given = job("aa-1", spec={"options": {"x": "ä"}, "limits": {"k": 2}}, batch="b", priority=-3)
    store.put_jobs([given, job("aa-2", due_at=None)])

    assert store.job("aa-1") == given
    assert store.job("aa-2").due_at is None
    with pytest.raises(RunNotFoundError, match="several jobs"):
        store.job("aa")
    with pytest.raises(RunNotFoundError, match="no job 'bb'"):
        store.job("bb")
    with pytest.raises(StoreError, match="already"):
        store.put_jobs([job("cc"), job("aa-1")])
    assert [found.id for found in store.jobs()] == ["aa-2", "aa-1"], "all or none, and the newest first"


def test_jobs_are_listed_by_what_they_are(store: JournalStore) -> None:
    """By status, batch, notebook or output."""
    store.put_jobs([job("a", batch="b"), job("b", status="failed"), job("c", notebook="/n/c.ipynb")])

    assert [found.id for found in store.jobs(batch="b")] == ["a"]
    assert [found.id for found in store.jobs(status="failed")] == ["b"]
    assert [found.id for found in store.jobs(notebook="/n/c.ipynb")] == ["c"]
    assert [found.id for found in store.jobs(notebook="/n/b.out.ipynb")] == ["b"]
    assert [found.id for found in store.jobs(limit=2)] == ["c", "b"]


def test_the_next_job_is_the_first_of_the_highest_priority_that_is_due(
    store: JournalStore, clock: HandClock
) -> None:
    """Priority, then age; none before its time; each once."""
    later = clock.now() + 5
    store.put_jobs([job("a"), job("b"), job("c", priority=1), job("d", due_at=later), job("e", due_at=None)])
    assert store.next_due() == 1.0

    taken = [found.id for _ in range(4) if (found := store.next_job(ELSEWHERE, 30.0))]

    assert taken == ["c", "a", "b"]
    assert store.next_due() == later
    clock.at += 5
    found = store.next_job(ELSEWHERE, 30.0)
    assert found is not None
    assert (found.id, found.status, found.owner, found.generation) == ("d", "running", ELSEWHERE, 1)
    assert store.next_job(ELSEWHERE, 30.0) is None
    assert store.next_due() is None


def test_limits_hold_for_jobs_of_the_same_key(store: JournalStore) -> None:
    """Not more of a key at once than the job says, and others go ahead of one that must wait."""
    two = {"limits": {"api": 2}}
    store.put_jobs([*(job(f"a{n}", spec=two) for n in range(150)), job("z", priority=-1)])

    first, second, other = (store.next_job(ELSEWHERE, 30.0) for _ in range(3))

    assert first is not None
    assert (first.id, getattr(second, "id", None), getattr(other, "id", None)) == ("a0", "a1", "z")
    assert store.next_job(ELSEWHERE, 30.0) is None
    store.leave_job(first, "completed", report={})
    assert getattr(store.next_job(ELSEWHERE, 30.0), "id", None) == "a2"


def test_a_held_job_is_refused_and_an_abandoned_one_is_not(store: JournalStore, clock: HandClock) -> None:
    """Another's is refused by name; expired, or its process gone, it is taken over, and that is counted."""
    store.put_jobs([job("a", due_at=None), job("b", due_at=None)])
    mine = store.take_job("a", ELSEWHERE, 30.0)
    with pytest.raises(LeaseHeldError, match="kernel on another machine") as caught:
        store.take_job("a", SECOND, 30.0)
    assert caught.value.hint
    assert store.abandoned_jobs() == []

    clock.at += 31
    assert [found.id for found in store.abandoned_jobs()] == ["a"]
    theirs = store.next_job(SECOND, 30.0)
    assert theirs is not None
    assert (theirs.id, theirs.generation, theirs.report) == ("a", 2, {"abandoned": 1})
    for late in (lambda: store.renew_job(mine, 30.0), lambda: store.leave_job(mine, "failed", report={})):
        with pytest.raises(LeaseLost, match="a second kernel there"):
            late()

    store.take_job("b", GONE, 3000.0)
    assert getattr(store.next_job(SECOND, 30.0), "id", None) == "b", "at once: its process is not there"


def test_being_at_it_is_extended_and_ended(store: JournalStore, clock: HandClock) -> None:
    """Renewed it is not abandoned; left it has its status, report and time, and is nobody's."""
    store.put_jobs([job("a")])
    mine = store.take_job("a", ELSEWHERE, 30.0)
    clock.at += 20
    mine = store.renew_job(mine, 30.0)
    clock.at += 20
    assert store.abandoned_jobs() == []

    left = store.leave_job(mine, "waiting", due_at=clock.now() + 60, report={"for": "a timer"})

    assert (left.status, left.owner, left.report) == ("waiting", None, {"for": "a timer"})
    assert store.next_job(SECOND, 30.0) is None
    with pytest.raises(LeaseLost):
        store.renew_job(mine, 30.0)
    clock.at += 60
    assert getattr(store.next_job(SECOND, 30.0), "id", None) == "a"


def test_what_is_posted_for_a_run_wakes_its_job_if_that_waits(store: JournalStore, clock: HandClock) -> None:
    """Also for a child run; not a job that runs or has ended, nor one that is due earlier."""
    store.put_jobs([job(name, due_at=None) for name in "abc"])
    for name, status in (("a", "waiting"), ("b", "waiting"), ("c", "failed")):
        store.leave_job(store.take_job(name, ELSEWHERE, 30.0), status, report={})  # type: ignore[arg-type]
        store.create_run(record(f"run-{name}", job_id=name), ELSEWHERE, 30.0)
    store.create_run(record("child", parent_id="run-b"), ELSEWHERE, 30.0)
    store.put_jobs([job("d", status="waiting", due_at=None)])
    store.create_run(record("run-d"), ELSEWHERE, 30.0)  # begun elsewhere, and the job goes on with it
    store.add_alias("run-d", f"{CLAIM}d")

    for run in ("run-a", "child", "run-c", "run-d"):
        store.post(run, "signal", "signal:go:1", {}, by="me")

    assert [store.job(name).due_at for name in "abcd"] == [clock.now(), clock.now(), None, clock.now()]
    store.take_job("a", ELSEWHERE, 30.0)
    store.post("run-a", "signal", "signal:go:2", {}, by="me")
    assert store.job("a").due_at is None, "whoever is at it sees it there"


def test_runs_of_no_job_are_told_from_those_of_one(store: JournalStore) -> None:
    """An empty id is no job's; none at all is everybody's."""
    store.create_run(record("a", job_id="j"), ELSEWHERE, 30.0)
    store.create_run(record("b", status="waiting"), ELSEWHERE, 30.0)
    store.create_run(record("c"), ELSEWHERE, 30.0)

    assert [run.id for run in store.runs(job_id="j")] == ["a"]
    assert {run.id for run in store.runs(job_id="")} == {"b", "c"}
    assert [run.id for run in store.runs(job_id="", status="waiting", name="research")] == ["b"]
    assert len(store.runs()) == 3


def test_a_job_is_woken_by_hand_and_deleted(store: JournalStore) -> None:
    """Only in the states that are said, and not while somebody holds it."""
    store.put_jobs([job("a", status="failed", due_at=None), job("b", due_at=None)])

    assert not store.wake_job("a", 5.0, only=("waiting",))
    assert store.wake_job("a", 5.0, only=("failed",), status="queued")
    assert (store.job("a").status, store.job("a").due_at) == ("queued", 5.0)
    store.take_job("b", ELSEWHERE, 30.0)
    assert not store.wake_job("b", 5.0, only=("running",))
    assert store.delete_jobs(["a", "b", "nobody"]) == 1
    assert [found.id for found in store.jobs()] == ["b"]


def test_ten_threads_never_get_the_same_job(store: JournalStore) -> None:
    """Each job once, whoever is quicker."""
    store.put_jobs([job(f"j{n}") for n in range(60)])
    taken: list[str] = []

    def work(number: int) -> None:
        owner = replace(ELSEWHERE, pid=5000 + number)
        while (found := store.next_job(owner, 30.0)) is not None:
            taken.append(found.id)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(taken) == sorted(f"j{n}" for n in range(60))


def test_a_job_that_was_altered_is_not_run(tmp_path: Path, clock: HandClock) -> None:
    """A job says what code is run: one that does not verify is refused, and `verify` names it."""
    store = SqliteStore(tmp_path / "journal.db", key=KEY, clock=clock)
    store.put_jobs([job("a")])
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("UPDATE jobs SET notebook = '/evil.ipynb'")
    db.close()

    with pytest.raises(IntegrityError, match="job a was altered"):
        store.next_job(ELSEWHERE, 30.0)
    assert [(problem.where, problem.what) for problem in store.verify()] == [("job a", "was altered")]
    store.close()
