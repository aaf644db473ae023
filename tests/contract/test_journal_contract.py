"""Entries and chunks, as every store promises them (`journal.ports.JournalStore`), on each of them alike."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from store_kit import ELSEWHERE, KEY, HandClock, chunk, record, start

from jupyter_durable.errors import (
    IntegrityError,
)
from jupyter_durable.journal.ports import JournalStore
from jupyter_durable.model import Chunk, Draft, Payload

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
