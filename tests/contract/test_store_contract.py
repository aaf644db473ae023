"""What every store promises (`journal.ports.JournalStore`), tested on each of them alike."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from store_kit import ELSEWHERE, KEY, SECOND, HandClock, chunk, open_store, record, start

from jupyter_durable.errors import (
    AlreadyDecidedError,
    IntegrityError,
    LeaseHeldError,
    LeaseLost,
    RunNotFoundError,
    StoreError,
)
from jupyter_durable.journal.ports import JournalStore
from jupyter_durable.model import Chunk, Draft, Owner, Payload
from jupyter_durable.store.leases import this_host, this_owner


@pytest.fixture
def clock() -> HandClock:
    """Time that moves when told to."""
    return HandClock()


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: HandClock) -> Iterator[JournalStore]:
    """An empty store of each kind."""
    opened = open_store(request.param, tmp_path, clock)
    yield opened
    opened.close()


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


# -- the journal -----------------------------------------------------------------------------------


def test_appended_entries_are_read_back_equal(store: JournalStore, clock: HandClock) -> None:
    """What `append` returns is what `entries` yields: numbers, time, meta, payload and hash."""
    lease = store.create_run(record("1"), ELSEWHERE, 30.0)
    drafts = [
        Draft("opened", 0, 0, {}),
        Draft("start", 2**40, 3, {"text": "ä\u2028\ud800\0", "n": [1, 2.5, None, True], "big": 2**70}),
        Draft("start", 1, 0, {"a": {"b": 1}}, Payload("json", b"")),
        Draft("outcome", 1, 0, {}, Payload("pickle", bytes(range(256)) * 40, (KEY.mac("blob", b"x"),) * 2)),
    ]
    returned = store.append(lease, drafts[:2], durable=False)
    clock.at += 1.25
    returned += store.append(lease, drafts[2:], durable=True)
    assert [entry.seq for entry in returned] == [1, 2, 3, 4]
    assert [entry.at for entry in returned] == [clock.at - 1.25] * 2 + [clock.at] * 2
    assert [entry.meta for entry in returned] == [dict(draft.meta) for draft in drafts]
    assert [entry.payload for entry in returned] == [draft.payload for draft in drafts]
    assert len({entry.hash for entry in returned}) == 4
    assert list(store.entries("1")) == returned
    assert (store.run("1").head_seq, store.run("1").head_hash) == (4, returned[-1].hash)
    assert store.run("1").updated_at == clock.at


def test_equal_drafts_are_two_entries(store: JournalStore) -> None:
    """`append` is not idempotent: the same drafts twice are two entries with two hashes."""
    lease = store.create_run(record("1"), ELSEWHERE, 30.0)
    one, two = store.append(lease, [start(0)], durable=False) + store.append(lease, [start(0)], durable=False)
    assert (one.seq, two.seq) == (1, 2)
    assert one.hash != two.hash


def test_append_sets_the_status_with_the_entries(store: JournalStore) -> None:
    """`status` becomes the run's, also without entries; without it the status stays."""
    lease = store.create_run(record("1"), ELSEWHERE, 30.0)
    store.append(lease, [start(0)], durable=True, status="waiting")
    assert store.run("1").status == "waiting"
    store.append(lease, [start(1)], durable=False)
    assert store.run("1").status == "waiting"
    assert store.append(lease, [], durable=True, status="completed") == []
    assert (store.run("1").status, store.run("1").head_seq) == ("completed", 2)


@pytest.mark.parametrize("count", [1, 700])
def test_any_part_of_a_journal_can_be_read(store: JournalStore, count: int) -> None:
    """`after` and `upto` cut exactly, at and beyond the ends, in journals of more than one batch."""
    lease = store.create_run(record("1"), ELSEWHERE, 30.0)
    every = store.append(lease, [start(pos) for pos in range(count)], durable=False)
    for after in (0, 1, 255, 256, 257, count - 1, count, count + 5):
        for upto in (None, 0, 1, 256, 300, count, count + 5):
            expected = every[after:] if upto is None else every[after:upto]
            assert list(store.entries("1", after=after, upto=upto)) == expected


def test_reading_sees_the_journal_as_of_the_call(store: JournalStore) -> None:
    """Entries appended while somebody reads are not among what is read, and disturb nothing."""
    lease = store.create_run(record("1"), ELSEWHERE, 30.0)
    first = store.append(lease, [start(pos) for pos in range(300)], durable=False)
    reading = store.entries("1")
    got = [next(reading)]
    store.append(lease, [start(9)], durable=True)
    assert got + list(reading) == first


def test_append_is_all_or_nothing(store: JournalStore) -> None:
    """If a chunk cannot be made half-way, no entry, chunk or status of the call is kept, and the store goes on."""
    lease = store.create_run(record("1"), ELSEWHERE, 30.0)
    good = chunk(b"good")

    def failing() -> Iterator[Chunk]:
        yield good
        raise ZeroDivisionError

    drafts = [start(0), Draft("outcome", 1, 0, {}, Payload("json", b"", (good.digest,), failing()))]  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError):
        store.append(lease, drafts, durable=True, status="failed")
    assert list(store.entries("1")) == []
    assert not store.has_chunk(good.digest)
    assert store.run("1").status == "running"
    assert [entry.seq for entry in store.append(lease, [start(0)], durable=True)] == [1]
    assert store.verify() == []


# -- chunks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"ab" * 200, b"the quick brown fox " * 20_000, bytes(range(256)) * 8, KEY.derive("seal") * 2],
    ids=["empty", "byte", "small", "text", "flat", "random"],
)
def test_chunks_are_read_back_equal(store: JournalStore, data: bytes) -> None:
    """A chunk comes back with its data and refs, whether or not it was compressed, and is shared by runs."""
    part = chunk(b"part")
    whole = chunk(data, part.digest)
    payload = Payload("list", b"", (whole.digest,), (part, whole))
    for run_id in ("1", "2"):
        lease = store.create_run(record(run_id), ELSEWHERE, 30.0)
        (entry,) = store.append(lease, [Draft("start", 0, 0, {}, payload)], durable=True)
        assert entry.payload == Payload("list", b"", (whole.digest,))
    assert store.has_chunk(whole.digest)
    assert store.chunk(whole.digest) == whole
    assert store.chunk(part.digest) == part
    assert store.verify() == []


def test_an_absent_chunk_is_an_error(store: JournalStore) -> None:
    """`has_chunk` says no, `chunk` refuses, and `verify` names a chunk that an entry refers to and nobody stored."""
    lease = store.create_run(record("1"), ELSEWHERE, 30.0)
    digest = KEY.mac("blob", b"never stored")
    assert not store.has_chunk(digest)
    with pytest.raises(IntegrityError, match=digest.hex()):
        store.chunk(digest)
    store.append(lease, [Draft("start", 0, 0, {}, Payload("json", b"", (digest,)))], durable=True)
    for found in (store.verify(), store.verify("1")):
        assert [problem.where for problem in found] == [f"chunk {digest.hex()}"]


def test_a_chunk_that_is_not_its_digest_is_refused(store: JournalStore) -> None:
    """A chunk stored under a digest that is not its own is never handed out, and `verify` names it."""
    lease = store.create_run(record("1"), ELSEWHERE, 30.0)
    lie = chunk(b"true")._replace(data=b"false")
    store.append(lease, [Draft("start", 0, 0, {}, Payload("json", b"", (lie.digest,), (lie,)))], durable=True)
    with pytest.raises(IntegrityError, match="does not verify"):
        store.chunk(lie.digest)
    assert [problem.what for problem in store.verify()] == ["was altered"]


def test_chunks_may_be_made_one_by_one_and_look_at_the_store(store: JournalStore) -> None:
    """`payload.chunks` may be a generator that asks the store what it has while it is consumed."""
    lease = store.create_run(record("1"), ELSEWHERE, 30.0)
    chunks = [chunk(bytes([n]) * 5000) for n in range(5)]
    seen: list[bool] = []

    def lazily() -> Iterator[Chunk]:
        for one in chunks:
            seen.append(store.has_chunk(one.digest))
            yield one

    payload = Payload("big", b"", tuple(one.digest for one in chunks), lazily())  # type: ignore[arg-type]
    (entry,) = store.append(lease, [Draft("outcome", 0, 0, {}, payload)], durable=True)
    assert len(seen) == 5
    assert entry.payload is not None
    assert entry.payload.chunks == ()
    assert [store.chunk(digest) for digest in entry.payload.refs] == chunks


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
