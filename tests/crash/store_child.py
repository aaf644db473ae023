"""What the store's crash tests run in processes of their own: `python store_child.py COMMAND PATH ...`.

Each prints one line when something worth acknowledging has happened, and reads a line to go on.
"""

from __future__ import annotations

import os
import random
import resource
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

from jupyter_durable.codec.secret import StoreKey
from jupyter_durable.errors import LeaseLost, StoreError
from jupyter_durable.model import Chunk, Draft, Payload, RunRecord
from jupyter_durable.store import connect, schema
from jupyter_durable.store.leases import this_owner
from jupyter_durable.store.sqlite import SqliteStore

KEY = StoreKey(bytes(range(32)))
SMALL_LOG = 1 << 16


def say(*words: object) -> None:
    """One line, in one write."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def step(number: int, size: int = 200) -> Draft:
    """A draft whose content follows from its number."""
    return Draft("outcome", 1, number, {"n": number}, Payload("json", random.Random(number).randbytes(size)))


def open_small(path: str) -> SqliteStore:
    """With a log so small that it is begun anew every few appends."""
    return SqliteStore(path, key=KEY, wal_bytes=SMALL_LOG)


def hold(path: str, run_id: str) -> None:
    """Take a lease, append, and after each line read append again, saying what came of it."""
    store = connect(path)
    lease = store.create_run(RunRecord(run_id, "r", "running", 1.0, 1.0), this_owner("the holder"), 600.0)
    store.append(lease, [step(1)], durable=True)
    say("ready")
    for _ in sys.stdin:
        try:
            store.append(lease, [step(2)], durable=True)
            say("appended")
        except LeaseLost as lost:
            say("LeaseLost", str(lost).splitlines()[0])


def stage(path: str, run_id: str) -> None:
    """Append one entry and stage two; after each line read try both again, saying what came of it."""
    store = connect(path)
    lease = store.create_run(RunRecord(run_id, "r", "running", 1.0, 1.0), this_owner("the holder"), 600.0)
    store.append(lease, [step(1)], durable=True)
    say(store.stage(lease, [step(2)]) and store.stage(lease, [step(3)]))
    for _ in sys.stdin:
        say("staged" if store.stage(lease, [step(4)]) else "not staged")
        try:
            store.append(lease, [step(5)], durable=True)
            say("appended")
        except LeaseLost:
            say("LeaseLost")


def write(path: str, run_id: str, count: str) -> None:
    """Append starts and outcomes as fast as it goes, acknowledging each durable one."""
    store = open_small(path)
    lease = store.create_run(RunRecord(run_id, "r", "running", 1.0, 1.0), this_owner("writer"), 600.0)
    say("ready")
    for number in range(int(count)):
        if not store.stage(lease, [step(2 * number)]):
            store.append(lease, [step(2 * number)], durable=False)
        say("start", number)
        store.append(lease, [step(2 * number + 1, 900)], durable=True)
        say("outcome", number)
    store.close()
    say("done")


def create(path: str, run_id: str) -> None:
    """Wait for the others, then open a store that may not be there yet and make a run."""
    say("ready")
    sys.stdin.readline()
    store = connect(path)
    store.create_run(RunRecord(run_id, "r", "running", 1.0, 1.0), this_owner(), 600.0)
    store.close()
    say("done", store.key.secret.hex())


def upgrade(path: str, run_id: str) -> None:
    """Wait for the others, then bring an older schema up to date."""

    def m999_more(db: object) -> None:
        db.execute("CREATE TABLE more (x)")  # type: ignore[attr-defined]

    say("ready")
    sys.stdin.readline()
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    schema.upgrade(connection, path, (*schema.MIGRATIONS, m999_more))
    say("done", schema.version(connection))


def fill(path: str, mode: str) -> None:
    """Append until there is no room; say so; after a line, with room again, go on; check everything."""
    store = open_small(path)
    lease = store.create_run(RunRecord("1", "r", "running", 1.0, 1.0), this_owner(), 600.0)
    store.append(lease, [step(0)], durable=True)
    if mode == "limit":
        soft = max(Path(path).stat().st_size, Path(path + "-wal").stat().st_size) + 30_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))
    kept, failures = 1, 0
    for attempt in range(400):
        try:
            kept += len(
                store.append(lease, [step(kept, 5000), step(kept + 1, 5000)], durable=attempt % 2 == 0)
            )
        except StoreError as error:
            failures += 1
            if failures == 1:
                say("full", error.hint)
            if failures == 5:
                break
    try:
        chunks = (
            Chunk(KEY.mac("blob", bytes([n]) * 3, b""), random.Random(n).randbytes(1 << 18))
            for n in range(20)
        )
        store.append(lease, [Draft("outcome", 1, 0, {}, Payload("big", b"", (), chunks))], durable=True)  # type: ignore[arg-type]
        say("a large value was taken")
    except StoreError:
        say("refused")
    assert [entry.pos for entry in store.entries("1")] == list(range(kept))
    assert [entry.payload for entry in store.entries("1")] == [
        step(n, 5000 if n else 200).payload for n in range(kept)
    ]
    assert store.run("1").status == "running"
    say("kept", kept)
    sys.stdin.readline()
    if mode == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for number in range(kept, kept + 40):
        assert store.append(lease, [step(number, 5000)], durable=True)[0].seq == number + 1
    assert store.verify() == []
    store.close()
    say("done", kept + 40)


def lose_power(path: str, seed: str) -> None:
    """A run with everything a store does; each thing that must survive is acknowledged by a line."""
    rng = random.Random(int(seed))
    store = open_small(path)
    lease = store.create_run(RunRecord("1", "r", "running", 1.0, 1.0), this_owner(), 600.0)
    say("ack run 1 0")
    number = 0

    def chunks(one: int) -> Iterator[Chunk]:
        data = random.Random(one).randbytes(6000)
        yield Chunk(KEY.mac("blob", data), data)

    for turn in range(int(os.environ.get("TURNS", "60"))):
        for _ in range(rng.randint(0, 3)):
            number += 1
            if rng.random() < 0.5 or not store.stage(lease, [step(number)]):
                store.append(lease, [step(number)], durable=False)
        number += 1
        draft = step(number, rng.choice([100, 900, 5000]))
        if turn % 9 == 4:
            (chunk,) = chunks(number)
            draft = draft._replace(payload=Payload("big", b"", (chunk.digest,), (chunk,)))
        store.append(lease, [draft], durable=True)
        say("ack entry 1", number)
        if turn % 11 == 5:
            item = store.post("1", "signal", f"s{turn}", {}, by="x")
            say("ack inbox 1", item.id)
        if turn % 17 == 8:
            lease = store.renew(lease, 600.0)
        if turn % 20 == 12:
            store.release(lease)
            lease = store.acquire("1", this_owner(), 600.0)
            say("ack lease 1", lease.generation)
    store.close()
    say("closed")


def count_syncs(path: str, log: str) -> None:
    """Appends of both kinds, each between two lines."""
    store = SqliteStore(path, key=KEY, wal_bytes=int(log))
    lease = store.create_run(RunRecord("1", "r", "running", 1.0, 1.0), this_owner(), 600.0)
    for number in range(80):
        say("volatile")
        store.append(lease, [step(number, 300)], durable=False)
        say("durable")
        store.append(lease, [step(number, 1000)], durable=True)
    say("end")
    store.close()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
