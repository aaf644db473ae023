"""Runs and their forks, as every store promises them (`journal.ports.JournalStore`), on each of them alike."""

from __future__ import annotations

import pytest
from store_kit import ELSEWHERE, SECOND, HandClock, chunk, record, start

from jupyter_durable.errors import (
    IntegrityError,
    RunNotFoundError,
    StoreError,
)
from jupyter_durable.journal.ports import JournalStore
from jupyter_durable.model import Draft, Payload

# -- runs ----------------------------------------------------------------------------------------


def test_a_run_is_read_as_it_was_written(store: JournalStore, clock: HandClock) -> None:
    """Every field given to `create_run` comes back, beside what the store adds: head, owner, generation, expiry."""
    given = record(
        "aa-1",
        status="waiting",
        notebook="/n/a.ipynb",
        cell_id="c1",
        job_id="j1",
        parent_id="p1",
        root_id="r1",
        meta={"code": "x = 'ä'", "n": [1, 2.5, None]},
    )
    lease = store.create_run(given, ELSEWHERE, 30.0)
    back = store.run("aa-1")
    assert (lease.run_id, lease.generation, lease.owner, lease.expires_at) == (
        "aa-1",
        1,
        ELSEWHERE,
        clock.now() + 30,
    )
    for name in (
        "id",
        "name",
        "status",
        "created_at",
        "updated_at",
        "notebook",
        "cell_id",
        "job_id",
        "parent_id",
    ):
        assert getattr(back, name) == getattr(given, name)
    assert (back.root_id, back.meta, back.head_seq, back.base_seq) == ("r1", given.meta, 0, 0)
    assert (back.owner, back.generation, back.expires_at) == (ELSEWHERE, 1, clock.now() + 30)


def test_a_run_may_begin_with_entries(store: JournalStore) -> None:
    """The drafts given to `create_run` are its first entries, chunks included, or there is no run at all."""
    part = chunk(b"snapshot " * 100)
    first = [Draft("opened", 0, 0, {"code": "x"}, Payload("json", b"", (part.digest,), (part,))), start(0)]
    lease = store.create_run(record("1"), ELSEWHERE, 30.0, first)
    (last,) = store.append(lease, [start(1)], durable=True)
    entries = list(store.entries("1"))
    assert [(entry.seq, entry.type) for entry in entries] == [(1, "opened"), (2, "start"), (3, "start")]
    assert entries[-1] == last
    assert store.chunk(part.digest) == part
    fork = record("2", forked_from="1", base_seq=2, base_hash=entries[1].hash)
    store.create_run(fork, ELSEWHERE, 30.0, [start(7)])
    assert [entry.pos for entry in store.entries("2")] == [0, 0, 7]
    with pytest.raises(TypeError):
        store.create_run(record("3"), ELSEWHERE, 30.0, [Draft("opened", 0, 0, {"no": object()})])
    assert [run.id for run in store.runs()] == ["2", "1"]
    assert store.verify() == []


def test_an_id_is_used_once(store: JournalStore) -> None:
    """A second run of the same id is refused, and the first is untouched."""
    store.create_run(record("aa-1", name="first"), ELSEWHERE, 30.0)
    with pytest.raises(StoreError, match="already"):
        store.create_run(record("aa-1", name="second"), ELSEWHERE, 30.0)
    assert [run.name for run in store.runs()] == ["first"]


def test_a_run_is_found_by_the_beginning_of_its_id(store: JournalStore) -> None:
    """A unique beginning is enough; an ambiguous, unknown or empty one, or a pattern, is refused."""
    for run_id in ("ab-1", "ab-2", "b_-3", "b_-3-longer"):
        store.create_run(record(run_id), ELSEWHERE, 30.0)
    assert store.run("ab-1").id == "ab-1"
    assert store.run("b_-3").id == "b_-3"
    assert store.run("b_-3-l").id == "b_-3-longer"
    with pytest.raises(RunNotFoundError, match="several") as error:
        store.run("ab")
    assert "ab-1, ab-2" in error.value.hint
    for unknown in ("", "c", "%", "a_-", "AB-1"):
        with pytest.raises(RunNotFoundError):
            store.run(unknown)


def test_runs_are_filtered_and_newest_first(store: JournalStore) -> None:
    """`runs` combines its filters and sorts by creation, the last made first among equals."""
    store.create_run(record("1", created_at=1.0, name="a", job_id="j"), ELSEWHERE, 30.0)
    store.create_run(record("3", created_at=3.0, name="b", status="failed", notebook="/n"), ELSEWHERE, 30.0)
    store.create_run(record("2", created_at=2.0, name="a", notebook="/n"), ELSEWHERE, 30.0)
    store.create_run(record("4", created_at=3.0, name="a"), ELSEWHERE, 30.0)
    ids = [run.id for run in store.runs()]
    assert ids == ["4", "3", "2", "1"]
    assert [run.id for run in store.runs(name="a")] == ["4", "2", "1"]
    assert [run.id for run in store.runs(name="a", notebook="/n")] == ["2"]
    assert [run.id for run in store.runs(status="failed")] == ["3"]
    assert [run.id for run in store.runs(job_id="j")] == ["1"]
    assert [run.id for run in store.runs(limit=2)] == ["4", "3"]
    assert store.runs(name="none") == []


def test_a_notebook_is_found_by_its_aliases_too(store: JournalStore) -> None:
    """`add_alias` makes one more path find the run, exactly that path, however often it is called."""
    store.create_run(record("1", notebook="/in.ipynb"), ELSEWHERE, 30.0)
    store.add_alias("1", "/out.ipynb")
    store.add_alias("1", "/out.ipynb")
    store.add_alias("1", "/ä'\".ipynb")
    for path in ("/in.ipynb", "/out.ipynb", "/ä'\".ipynb"):
        assert [run.id for run in store.runs(notebook=path)] == ["1"]
    assert store.runs(notebook="/out") == []
    with pytest.raises(RunNotFoundError):
        store.add_alias("2", "/x")


def test_update_merges_meta_and_keeps_the_rest(store: JournalStore, clock: HandClock) -> None:
    """`update_run` changes what it is given, merges `meta`, and the lease goes on working."""
    lease = store.create_run(record("1", notebook="/a", meta={"a": 1, "b": 2}), ELSEWHERE, 30.0)
    clock.at += 5
    store.update_run(lease, meta={"b": 3, "c": 4})
    assert (store.run("1").meta, store.run("1").status) == ({"a": 1, "b": 3, "c": 4}, "running")
    store.update_run(lease, status="failed", notebook="/b")
    back = store.run("1")
    assert (back.status, back.notebook, back.updated_at, back.meta["c"]) == ("failed", "/b", clock.now(), 4)
    assert [entry.seq for entry in store.append(lease, [start(0)], durable=True)] == [1]
    assert store.run("1").status == "failed"


# -- forks -----------------------------------------------------------------------------------------


def test_a_fork_continues_its_parents_journal(store: JournalStore) -> None:
    """A fork reads its parent's entries up to the base and then its own; neither sees what the other adds."""
    parent = store.create_run(record("p"), ELSEWHERE, 30.0)
    old = store.append(parent, [start(pos) for pos in range(6)], durable=True)
    child = store.create_run(
        record("c", forked_from="p", fork_kind="edit", base_seq=4, base_hash=old[3].hash), SECOND, 30.0
    )
    assert (store.run("c").head_seq, store.run("c").head_hash) == (4, old[3].hash)
    assert list(store.entries("c")) == old[:4]
    new = store.append(child, [start(40), start(41)], durable=True)
    store.append(parent, [start(60)], durable=True)
    assert [entry.seq for entry in new] == [5, 6]
    assert list(store.entries("c")) == old[:4] + new
    assert list(store.entries("c", after=3, upto=5)) == [old[3], new[0]]
    assert [entry.pos for entry in store.entries("p")] == [0, 1, 2, 3, 4, 5, 60]
    assert store.verify() == store.verify("c") == []


def test_forks_of_forks_reach_every_ancestor(store: JournalStore) -> None:
    """A fork of a fork may start in its parent's own part, at its base, or below it in the grandparent's."""
    first = store.create_run(record("a"), ELSEWHERE, 30.0)
    old = store.append(first, [start(pos) for pos in range(5)], durable=True)
    second = store.create_run(
        record("b", forked_from="a", base_seq=3, base_hash=old[2].hash), ELSEWHERE, 30.0
    )
    mid = store.append(second, [start(30), start(31)], durable=True)
    lines = {5: old[:3] + mid, 4: old[:3] + mid[:1], 3: old[:3], 2: old[:2]}
    for base, inherited in lines.items():
        run_id = f"c{base}"
        lease = store.create_run(
            record(run_id, forked_from="b", base_seq=base, base_hash=inherited[-1].hash), ELSEWHERE, 30.0
        )
        own = store.append(lease, [start(50)], durable=True)
        assert list(store.entries(run_id)) == inherited + own
        assert store.verify(run_id) == []
    root = store.create_run(record("d", forked_from="b"), ELSEWHERE, 30.0)
    assert list(store.entries("d")) == []
    assert [entry.seq for entry in store.append(root, [start(0)], durable=True)] == [1]
    assert store.verify() == []


def test_a_fork_needs_an_entry_to_start_from(store: JournalStore) -> None:
    """A base that the parent does not have, another hash, or no such parent is refused, and nothing is made."""
    parent = store.create_run(record("p"), ELSEWHERE, 30.0)
    entries = store.append(parent, [start(0), start(1)], durable=True)
    for fields in (
        {"forked_from": "p", "base_seq": 2, "base_hash": entries[0].hash},
        {"forked_from": "p", "base_seq": 3, "base_hash": entries[1].hash},
        {"forked_from": "q", "base_seq": 1, "base_hash": entries[0].hash},
        {"forked_from": "p", "base_seq": 0, "base_hash": entries[0].hash},
        {"base_seq": 1, "base_hash": entries[0].hash},
    ):
        with pytest.raises(IntegrityError):
            store.create_run(record("c", **fields), ELSEWHERE, 30.0)
    assert [run.id for run in store.runs()] == ["p"]
    assert store.verify() == []
