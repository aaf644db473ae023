"""A run that is deleted never takes anything from its forks, and goes with the last of them."""

from __future__ import annotations

import pytest
from store_kit import ELSEWHERE, chunk, record, start

from jupyter_durable.errors import LeaseHeldError, RunNotFoundError
from jupyter_durable.journal.ports import JournalStore
from jupyter_durable.model import Draft, Entry, Payload


def grow(store: JournalStore, run_id: str, count: int, base: Entry | None = None, **how: str) -> list[Entry]:
    """A run with so many entries of its own, nobody's any more."""
    based = {"base_seq": base.seq, "base_hash": base.hash, **how} if base is not None else {}
    lease = store.create_run(record(run_id, name=run_id, **based), ELSEWHERE, 30.0)
    blob = chunk(run_id.encode() * 100)
    drafts = [
        start(n)._replace(payload=Payload("json", b"[]", (blob.digest,), (blob,))) for n in range(count)
    ]
    store.append(lease, drafts, durable=True, status="completed")
    store.release(lease)
    return list(store.entries(run_id))


def test_a_run_without_forks_is_gone(store: JournalStore) -> None:
    """Row, entries and inbox; the next run gets a number of its own."""
    grow(store, "a", 3)
    store.post("a", "signal", "signal:x", {}, by="ann")
    assert store.forget_run("a") is False
    with pytest.raises(RunNotFoundError):
        store.run("a")
    with pytest.raises(RunNotFoundError):
        store.forget_run("a")
    grow(store, "b", 1)
    assert store.verify() == []


def test_forks_keep_what_they_need_and_no_more(store: JournalStore) -> None:
    """In the middle of a chain, by several forks, before the base of its own."""
    first = grow(store, "a", 6)
    second = grow(store, "b", 4, first[3], forked_from="a")
    grow(store, "c", 2, second[5], forked_from="b")
    grow(store, "d", 1, second[1], forked_from="b")  # below its parent's own base
    journals = {run: list(store.entries(run)) for run in ("c", "d")}

    assert store.forget_run("b") is True
    assert store.forget_run("a") is True

    assert [run.id for run in store.runs()] == ["d", "c"]
    for run in ("a", "b"):
        for look in (store.run, lambda run_id: store.acquire(run_id, ELSEWHERE, 30.0)):
            with pytest.raises(RunNotFoundError):
                look(run)
        with pytest.raises(RunNotFoundError):
            store.post(run, "cancel", "cancel:1", {}, by="ann")
        assert store.run(run, deleted=True).head_seq == {"a": 4, "b": 6}[run]
    assert {run: list(store.entries(run)) for run in ("c", "d")} == journals
    assert store.verify() == []
    assert store.verify("c") == []

    lease = store.acquire("c", ELSEWHERE, 30.0)
    store.append(lease, [start(9)], durable=True)
    store.release(lease)
    assert len(list(store.entries("c"))) == len(journals["c"]) + 1

    assert store.forget_run("c") is False
    assert store.run("b", deleted=True).id == "b", "d was forked from it"
    assert store.forget_run("d") is False
    assert store.verify() == []
    for run in ("a", "b"):
        with pytest.raises(RunNotFoundError):
            store.run(run, deleted=True)


def test_a_fork_that_goes_on_with_the_same_endeavour_keeps_the_inbox(store: JournalStore) -> None:
    """Signals that were sent to its parent are its own."""
    first = grow(store, "a", 2)
    store.post("a", "signal", "signal:x", {"name": "x"}, by="ann")
    grow(store, "b", 1, first[1], forked_from="a", fork_kind="edit")
    store.forget_run("a")
    assert [item.key for item in store.inbox("a")] == ["signal:x"]
    assert store.verify() == []


def test_a_run_in_flight_is_not_deleted(store: JournalStore) -> None:
    """Nor is one whose child is; the hint says what to do."""
    store.create_run(record("parent"), ELSEWHERE, 30.0, [start(0)])
    lease = store.create_run(record("x", parent_id="parent"), ELSEWHERE, 30.0, [start(0)])
    with pytest.raises(LeaseHeldError, match="advanced by") as caught:
        store.forget_run("parent")
    assert "cancel" in caught.value.hint
    store.append(lease, [Draft("closed", 0, 0, {"s": "completed"})], durable=True)
    assert len(store.runs()) == 2
