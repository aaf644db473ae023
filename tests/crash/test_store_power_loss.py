"""Power loss at every sync of a real run: whatever was acknowledged as durable is there, and verifies."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
from store_disk import Call, Disk, record

from jupyter_durable.codec.secret import StoreKey
from jupyter_durable.errors import RunNotFoundError
from jupyter_durable.model import Draft, Payload
from jupyter_durable.store.leases import this_owner
from jupyter_durable.store.sqlite import SqliteStore

KEY = StoreKey(bytes(range(32)))


def check(directory: Path, said: list[str]) -> None:
    """Open what is left and hold it against what was acknowledged; then go on with it."""
    acknowledged = {"run": -1, "entry": -1, "inbox": -1, "lease": -1}
    for line in said:
        if line.startswith("ack "):
            _, kind, _, number = line.split()
            acknowledged[kind] = int(number)
    store = SqliteStore(directory / "j.db", key=KEY, wal_bytes=1 << 16)
    try:
        assert store.verify() == []
        if acknowledged["run"] < 0 and store.runs() == []:
            return
        run = store.run("1")
        entries = list(store.entries("1"))
        assert len(entries) >= acknowledged["entry"]
        for number, entry in enumerate(entries, 1):
            assert (entry.seq, entry.pos, entry.meta) == (number, number, {"n": number})
            assert entry.payload is not None
            if entry.payload.codec == "big":
                (digest,) = entry.payload.refs
                assert store.chunk(digest).data == random.Random(number).randbytes(6000)
            else:
                assert entry.payload.body == random.Random(number).randbytes(len(entry.payload.body))
        assert len(store.inbox("1")) >= acknowledged["inbox"]
        assert run.generation >= acknowledged["lease"]
        lease = store.acquire("1", this_owner(), 60.0)
        store.append(lease, [Draft("log", 0, 0, {}, Payload("json", bytes(3000)))], durable=True)
        assert len(list(store.entries("1"))) == len(entries) + 1
        assert store.verify() == []
    finally:
        store.close()


def play(calls: list[Call], directory: Path, scratch: Path, *, every: int, seed: int) -> int:
    """Lose power before and after each `every`-th sync, in several ways; how often it was lost."""
    rng = random.Random(seed)
    disk, losses, syncs = Disk(directory), 0, 0
    for call in [*calls, Call("sync", "")]:
        is_sync = call.what == "sync"
        syncs += is_sync
        if is_sync and syncs % every == 0:
            for how in ("nothing", "all", "part", "torn"):
                losses += 1
                left = scratch / f"{losses}"
                disk.after_power_loss(left, how, rng)
                check(left, disk.said)
                shutil.rmtree(left)
        if call.path:
            disk.do(call)
        elif call.what == "say":
            disk.do(call)
            if call.data.startswith(b"ack") and rng.random() < 1 / every:
                losses += 1
                left = scratch / f"{losses}"
                disk.after_power_loss(left, "nothing", rng)
                check(left, disk.said)
                shutil.rmtree(left)
    return losses


@pytest.mark.parametrize(
    ("turns", "every"),
    [pytest.param(20, 9, id="some"), pytest.param(50, 1, id="every", marks=pytest.mark.slow)],
)
def test_no_acknowledged_write_is_lost_with_the_power(tmp_path: Path, turns: int, every: int) -> None:
    """A store rebuilt from only the synced writes, or with any part of the others, has all that was acknowledged."""
    for seed in (1,) if every > 1 else (1, 2):
        place, scratch = tmp_path / f"run{seed}", tmp_path / f"lost{seed}"
        place.mkdir()
        scratch.mkdir()
        calls = record("lose_power", place / "j.db", seed, environment={**os.environ, "TURNS": str(turns)})
        said = [call.data for call in calls if call.what == "say"]
        assert said[-1] == b"closed\n"
        # Without these, it would prove nothing: the log was begun anew, and names changed.
        assert sum(call.what == "sync" and call.path.endswith("/j.db") for call in calls) > turns / 20
        assert {"write", "sync", "rename", "unlink"} <= {call.what for call in calls}
        losses = play(calls, place, scratch, every=every, seed=seed)
        assert losses >= 4 * turns / every


@pytest.mark.slow
def test_this_test_would_notice_a_missing_sync(tmp_path: Path) -> None:
    """The same run on a disk whose syncs do nothing does lose acknowledged writes: the simulation is not blind."""
    place = tmp_path / "run"
    place.mkdir()
    calls = record("lose_power", place / "j.db", 3, environment={**os.environ, "TURNS": "12"})
    lying = [call for call in calls if not (call.what == "sync" and call.path.endswith("-wal"))]
    (tmp_path / "lost").mkdir()
    with pytest.raises((AssertionError, RunNotFoundError)):
        play(lying, place, tmp_path / "lost", every=1, seed=3)


@pytest.mark.slow
@pytest.mark.parametrize("log", [1 << 22, 1 << 17])
def test_an_append_syncs_once_or_not_at_all(tmp_path: Path, log: int) -> None:
    """A durable append syncs the log exactly once (and more only when the log is begun anew), another never."""
    calls = record("count_syncs", tmp_path / "j.db", log, environment=dict(os.environ))
    counts: dict[str, list[int]] = {"volatile": [], "durable": [], "end": []}
    current: list[int] | None = None
    for call in calls:
        if call.what == "say":
            current = counts[call.data.decode().strip()]
            current.append(0)
        elif call.what == "sync" and current is not None:
            current[-1] += 1
    assert counts["volatile"] == [0] * 80
    more = [count for count in counts["durable"] if count != 1]
    if log == 1 << 22:
        assert more == []
    else:
        assert 0 < len(more) < 40
        assert max(more) <= 4
