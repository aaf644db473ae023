"""Who may write: leases; what others may: the inbox, closing, threads. On every store alike (`journal.ports.JournalStore`)."""

from __future__ import annotations

import subprocess
import sys
import threading

import psutil
import pytest
from store_kit import ELSEWHERE, SECOND, HandClock, chunk, record, start

from jupyter_durable.errors import (
    AlreadyDecidedError,
    LeaseHeldError,
    LeaseLost,
    RunNotFoundError,
    StoreError,
)
from jupyter_durable.journal.ports import JournalStore
from jupyter_durable.model import Owner, Payload
from jupyter_durable.store.leases import this_host, this_owner

# -- leases ----------------------------------------------------------------------------------------


def test_a_held_lease_is_refused_and_named(store: JournalStore, clock: HandClock) -> None:
    """While another holds the lease, `acquire` says who, since when, and what to do; expiry frees it."""
    store.create_run(record("1"), ELSEWHERE, 30.0)
    with pytest.raises(LeaseHeldError, match="kernel on another machine") as error:
        store.acquire("1", SECOND, 30.0)
    assert "pid 4711 on other-host" in error.value.owner
    assert "1970-01-1" in str(error.value)
    assert error.value.hint
    clock.at += 29.9
    with pytest.raises(LeaseHeldError):
        store.acquire("1", SECOND, 30.0)
    clock.at += 0.2
    lease = store.acquire("1", SECOND, 30.0)
    assert (lease.generation, lease.owner, lease.expires_at) == (2, SECOND, clock.at + 30)
    assert store.run("1").owner == SECOND
    with pytest.raises(RunNotFoundError):
        store.acquire("2", SECOND, 30.0)


def test_the_holder_itself_may_take_it_again(store: JournalStore) -> None:
    """The same process gets a new generation at once, and its older lease is void."""
    old = store.create_run(record("1"), ELSEWHERE, 30.0)
    new = store.acquire("1", Owner(ELSEWHERE.host, ELSEWHERE.pid, ELSEWHERE.started, "another label"), 30.0)
    assert new.generation == 2
    with pytest.raises(LeaseLost):
        store.append(old, [start(0)], durable=True)
    assert len(store.append(new, [start(0)], durable=True)) == 1


def test_a_stale_holder_can_write_nothing(store: JournalStore, clock: HandClock) -> None:
    """After a takeover every write with the old lease raises `LeaseLost` naming the new owner, and changes nothing."""
    old = store.create_run(record("1", meta={"a": 1}), ELSEWHERE, 30.0)
    store.append(old, [start(0)], durable=True)
    clock.at += 31
    new = store.acquire("1", SECOND, 30.0)
    before = store.run("1")
    for attempt in (
        lambda: store.append(old, [start(1)], durable=True),
        lambda: store.append(old, [start(1)], durable=False, status="completed"),
        lambda: store.append(old, [], durable=False),
        lambda: store.update_run(old, status="failed", meta={"a": 2}),
        lambda: store.renew(old, 30.0),
    ):
        with pytest.raises(LeaseLost, match="second kernel") as error:
            attempt()
        assert error.value.hint
    store.release(old)
    assert store.run("1") == before
    assert [entry.seq for entry in store.append(new, [start(1)], durable=True)] == [2]
    assert store.verify() == []


def test_renewing_extends_and_releasing_frees(store: JournalStore, clock: HandClock) -> None:
    """A renewed lease outlives its first expiry; a released one is free at once and writes no more."""
    lease = store.create_run(record("1"), ELSEWHERE, 30.0)
    clock.at += 29
    lease = store.renew(lease, 30.0)
    assert lease.expires_at == clock.at + 30 == store.run("1").expires_at
    clock.at += 29
    with pytest.raises(LeaseHeldError):
        store.acquire("1", SECOND, 30.0)
    store.append(lease, [start(0)], durable=False)
    store.release(lease)
    store.release(lease)
    assert store.run("1").owner is None
    for attempt in (lambda: store.append(lease, [start(1)], durable=True), lambda: store.renew(lease, 30.0)):
        with pytest.raises(LeaseLost, match="given back"):
            attempt()
    assert store.acquire("1", SECOND, 30.0).generation > lease.generation
    store.release(lease)
    assert store.run("1").owner == SECOND


def test_a_renewed_lease_is_the_same_lease(store: JournalStore) -> None:
    """After `renew`, the lease object from before still writes: the generation counts, not the expiry."""
    lease = store.create_run(record("1"), ELSEWHERE, 30.0)
    store.append(lease, [start(0)], durable=False)
    renewed = store.renew(lease, 60.0)
    store.append(lease, [start(1)], durable=False)
    store.append(renewed, [start(2)], durable=True)
    assert [entry.pos for entry in store.entries("1")] == [0, 1, 2]
    assert store.verify() == []


def test_a_dead_owner_of_this_host_is_recognised_at_once(store: JournalStore) -> None:
    """A process that ended, a zombie and a reused pid do not hold a lease; a living one does."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        owner = Owner(this_host(), child.pid, psutil.Process(child.pid).create_time(), "child")
        reused = Owner(owner.host, owner.pid, owner.started - 3600, "the pid's former process")
        for run_id, holder in (("living", owner), ("zombie", owner), ("dead", owner), ("reused", reused)):
            store.create_run(record(run_id), holder, 3600.0)
        with pytest.raises(LeaseHeldError, match="child"):
            store.acquire("living", this_owner("me"), 30.0)
        assert store.acquire("reused", this_owner("me"), 30.0).generation == 2
        child.kill()
        while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
            pass
        assert store.acquire("zombie", this_owner("me"), 30.0).generation == 2
    assert store.acquire("dead", this_owner("me"), 30.0).generation == 2


# -- the inbox -------------------------------------------------------------------------------------


def test_inbox_rows_are_read_in_order(store: JournalStore, clock: HandClock) -> None:
    """Rows come back as posted, numbered upwards in their run, from any number on, with their payloads."""
    lease = store.create_run(record("1"), ELSEWHERE, 30.0)
    store.create_run(record("2"), ELSEWHERE, 30.0)
    big = chunk(b"an answer " * 1000)
    one = store.post("1", "decision", "s1", {"action": "approve", "text": "ä"}, by="cli")
    clock.at += 1
    store.post("2", "signal", "s1", {}, by="other")
    two = store.post("1", "answer", "s2", {}, by="lab", payload=Payload("json", b"42", (big.digest,), (big,)))
    assert [item.id for item in (one, two)] == [1, 2]
    assert (one.kind, one.key, one.value, one.by, one.payload) == (
        "decision",
        "s1",
        {"action": "approve", "text": "ä"},
        "cli",
        None,
    )
    assert (two.at, two.payload) == (clock.at, Payload("json", b"42", (big.digest,)))
    assert store.inbox("1") == [one, two]
    assert store.inbox("1", after=1) == [two]
    assert store.inbox("1", after=2) == store.inbox("1", after=7) == []
    assert store.chunk(big.digest) == big
    store.append(lease, [start(0)], durable=True)
    assert store.verify() == store.verify("1") == []


def test_the_first_decision_stands(store: JournalStore) -> None:
    """A second row with the same key is refused, naming who decided; the first is unchanged."""
    store.create_run(record("1"), ELSEWHERE, 30.0)
    first = store.post("1", "decision", "s1", {"action": "approve"}, by="anna")
    with pytest.raises(AlreadyDecidedError, match="anna") as error:
        store.post("1", "decision", "s1", {"action": "reject"}, by="bert")
    assert error.value.decided_by == "anna"
    assert store.inbox("1") == [first]
    with pytest.raises(RunNotFoundError):
        store.post("9", "decision", "s1", {}, by="anna")
    with pytest.raises(RunNotFoundError):
        store.inbox("9")


# -- the rest --------------------------------------------------------------------------------------


def test_version_changes_with_every_commit_and_only_then(store: JournalStore, clock: HandClock) -> None:
    """Each kind of write, our own included, changes `version`; reading and refused writes do not."""
    lease = store.create_run(record("1"), ELSEWHERE, 30.0)
    seen = [store.version()]
    for write in (
        lambda: store.append(lease, [start(0)], durable=False),
        lambda: store.append(lease, [start(1)], durable=True),
        lambda: store.post("1", "signal", "s", {}, by="cli"),
        lambda: store.renew(lease, 30.0),
    ):
        clock.at += 1
        write()
        seen.append(store.version())
    assert len(set(seen)) == len(seen)
    store.run("1")
    list(store.entries("1"))
    store.inbox("1")
    store.verify()
    with pytest.raises(LeaseHeldError):
        store.acquire("1", SECOND, 30.0)
    with pytest.raises(AlreadyDecidedError):
        store.post("1", "signal", "s", {}, by="cli")
    assert store.version() == seen[-1]


def test_a_closed_store_refuses_everything_but_closing(store: JournalStore) -> None:
    """After `close`, which may be repeated, each call raises `StoreError`."""
    lease = store.create_run(record("1"), ELSEWHERE, 30.0)
    store.close()
    store.close()
    for call in (
        lambda: store.run("1"),
        lambda: store.runs(),
        lambda: store.append(lease, [start(0)], durable=True),
        lambda: list(store.entries("1")),
        lambda: store.inbox("1"),
        lambda: store.has_chunk(b"0" * 16),
        lambda: store.version(),
        lambda: store.verify(),
        lambda: store.acquire("1", ELSEWHERE, 30.0),
        lambda: store.create_run(record("2"), ELSEWHERE, 30.0),
    ):
        with pytest.raises(StoreError, match="closed"):
            call()


def test_verify_of_an_unknown_run_is_refused(store: JournalStore) -> None:
    """A run that is not there is not "no problems"."""
    with pytest.raises(RunNotFoundError):
        store.verify("1")


@pytest.mark.slow
def test_any_thread_may_call(store: JournalStore) -> None:
    """Six threads append to two runs, post and read at once: each run's journal is whole and in order."""
    leases = [store.create_run(record(run_id), ELSEWHERE, 30.0) for run_id in ("0", "1")]
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            run_id = str(number % 2)
            for pos in range(25):
                store.append(leases[number % 2], [start(pos, by=number)] * 2, durable=pos % 5 == 0)
                store.post(run_id, "signal", f"{number}-{pos}", {}, by="thread")
                there = store.run(run_id).head_seq
                assert [e.seq for e in store.entries(run_id, upto=there)] == list(range(1, there + 1))
                store.version()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for run_id in ("0", "1"):
        entries = list(store.entries(run_id))
        assert [entry.seq for entry in entries] == list(range(1, 151))
        for number in range(int(run_id), 6, 2):
            assert [e.pos for e in entries if e.meta["by"] == number] == [
                pos for pos in range(25) for _ in (1, 2)
            ]
        assert [item.id for item in store.inbox(run_id)] == list(range(1, 76))
    assert store.verify() == []
