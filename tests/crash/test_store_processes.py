"""The store among processes that are paused, killed, raced or out of disk."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_durable.clock import SystemClock
from jupyter_durable.codec.secret import StoreKey
from jupyter_durable.errors import LeaseHeldError
from jupyter_durable.model import Draft
from jupyter_durable.store import connect, schema
from jupyter_durable.store.leases import this_owner
from jupyter_durable.store.sqlite import SqliteStore

KEY = StoreKey(bytes(range(32)))
CHILD = Path(__file__).with_name("store_child.py")


class Child:
    """A process that runs one command of `store_child.py`; killed when the test ends."""

    def __init__(self, *command: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        """The next line it says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the child ended with {self.process.wait(10)}"
        return line.rstrip("\n")

    def go_on(self) -> None:
        """Let it do the next thing."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, and wait until a stop has stopped it."""
        self.process.send_signal(number)
        if number == signal.SIGSTOP:
            os.waitpid(self.process.pid, os.WUNTRACED)


@pytest.fixture
def children() -> Iterator[list[Child]]:
    """Processes to be ended with the test."""
    started: list[Child] = []
    yield started
    for child in started:
        child.process.kill()
        child.process.communicate()


class Later(SystemClock):
    """A clock two hours ahead: every lease of the others has expired by it."""

    @staticmethod
    def _later() -> float:
        return time.time() + 7200

    now = _later


def test_a_paused_holder_that_wakes_after_a_takeover_can_write_nothing(
    tmp_path: Path, children: list[Child]
) -> None:
    """A stopped process counts as alive; after its lease expired and was taken, it wakes to `LeaseLost`."""
    path = tmp_path / "j.db"
    children.append(child := Child("hold", path, "1"))
    assert child.line() == "ready"
    child.signal(signal.SIGSTOP)
    soon, later = SqliteStore(path), SqliteStore(path, clock=Later())
    with pytest.raises(LeaseHeldError, match="the holder") as error:
        soon.acquire("1", this_owner("me"), 30.0)
    assert str(child.process.pid) in error.value.owner
    lease = later.acquire("1", this_owner("the taker"), 30.0)
    later.append(lease, [Draft("start", 1, 7, {})], durable=True)
    child.signal(signal.SIGCONT)
    child.go_on()
    assert child.line().startswith("LeaseLost")
    child.go_on()
    assert "the taker" in child.line()
    assert [entry.pos for entry in later.entries("1")] == [1, 7]
    later.append(lease, [Draft("start", 1, 8, {})], durable=True)
    assert later.verify() == []
    soon.close()
    later.close()


@pytest.mark.slow
def test_a_killed_holder_is_taken_over_at_once(tmp_path: Path, children: list[Child]) -> None:
    """After SIGKILL amid appends the lease is free at once, all that was acknowledged is there, and it goes on."""
    path = tmp_path / "j.db"
    rng = random.Random(5)
    for attempt in range(4):
        run_id = str(attempt)
        children.append(child := Child("write", path, run_id, 100_000))
        assert child.line() == "ready"
        for _ in range(rng.randint(1, 81)):
            what, number = child.line().split()
        acknowledged = 2 * int(number) + (1 if what == "start" else 2)
        child.signal(signal.SIGKILL)
        store = SqliteStore(path, key=KEY)
        while True:
            try:
                lease = store.acquire(run_id, this_owner("me"), 30.0)
                break
            except LeaseHeldError:  # the kernel is still ending it
                assert child.process.poll() is None
        entries = list(store.entries(run_id))
        assert len(entries) >= acknowledged
        assert [entry.pos for entry in entries] == list(range(len(entries)))
        store.append(lease, [Draft("start", 1, 1, {})], durable=True)
        assert store.verify() == []
        store.close()


def test_what_a_killed_holder_had_staged_is_in_its_journal(tmp_path: Path, children: list[Child]) -> None:
    """Staged entries are read by others at once, and stored by whoever takes the dead holder's lease."""
    path = tmp_path / "j.db"
    children.append(child := Child("stage", path, "1"))
    assert child.line() == "True"
    store = SqliteStore(path)
    assert [entry.pos for entry in store.entries("1")] == [1, 2, 3]
    assert store.run("1").head_seq == 1
    child.signal(signal.SIGKILL)
    child.process.wait()
    before = list(store.entries("1"))
    lease = store.acquire("1", this_owner("me"), 30.0)
    assert list(store.entries("1")) == before
    assert (store.run("1").head_seq, list(tmp_path.glob("*-staged-*"))) == (3, [])
    store.append(lease, [Draft("start", 1, 9, {})], durable=True)
    assert [entry.pos for entry in store.entries("1")] == [1, 2, 3, 9]
    assert store.verify() == []
    store.close()


def test_a_paused_holder_that_wakes_after_a_takeover_can_stage_nothing(
    tmp_path: Path, children: list[Child]
) -> None:
    """What it had staged is the taker's; what it stages when it wakes is refused and spoils nothing."""
    path = tmp_path / "j.db"
    children.append(child := Child("stage", path, "1"))
    assert child.line() == "True"
    child.signal(signal.SIGSTOP)
    later = SqliteStore(path, clock=Later())
    lease = later.acquire("1", this_owner("the taker"), 30.0)
    assert later.stage(lease, [Draft("start", 1, 7, {})])
    child.signal(signal.SIGCONT)
    child.go_on()
    assert [child.line(), child.line()] == ["not staged", "LeaseLost"]
    assert [entry.pos for entry in later.entries("1")] == [1, 2, 3, 7]
    later.append(lease, [Draft("start", 1, 8, {})], durable=True)
    assert [entry.pos for entry in later.entries("1")] == [1, 2, 3, 7, 8]
    assert later.verify() == []
    later.close()


@pytest.mark.slow
def test_two_processes_write_one_file_for_a_while(tmp_path: Path, children: list[Child]) -> None:
    """Two processes append to runs of their own, the log begun anew often; a reader meanwhile sees whole journals."""
    path, count = tmp_path / "j.db", 250
    SqliteStore(path, key=KEY).close()
    children += [Child("write", path, run_id, count) for run_id in "ab"]
    for child in children:
        assert child.line() == "ready"
    reader = SqliteStore(path, key=KEY)
    versions, lengths = set(), [0, 0]
    while any(child.process.poll() is None for child in children) and lengths != [2 * count, 2 * count]:
        versions.add(reader.version())
        for which, run_id in enumerate("ab"):
            entries = list(reader.entries(run_id, after=lengths[which]))
            assert [entry.pos for entry in entries] == list(
                range(lengths[which], lengths[which] + len(entries))
            )
            lengths[which] += len(entries)
    for child in children:
        assert child.process.stdout is not None
        assert child.process.stdout.read().endswith(
            "done\n"
        )  # `communicate` lacks what `line` has read ahead
        assert child.process.wait(10) == 0
    assert len(versions) > 10
    assert [len(list(reader.entries(run_id))) for run_id in "ab"] == [2 * count] * 2
    assert reader.verify() == []
    reader.close()


@pytest.mark.slow
def test_four_processes_may_create_a_store_at_once(tmp_path: Path, children: list[Child]) -> None:
    """Raced, all succeed, with one schema, one key and every run there."""
    path = tmp_path / "new" / "j.db"
    children += [Child("create", path, run_id) for run_id in "abcd"]
    for child in children:
        assert child.line() == "ready"
    for child in children:
        child.go_on()
    assert len({child.line() for child in children}) == 1
    store = connect(path)
    assert sorted(run.id for run in store.runs()) == list("abcd")
    assert store.verify() == []
    store.close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["j.db", "j.db.lock", "j.key"]


@pytest.mark.slow
def test_four_processes_may_upgrade_a_store_at_once(tmp_path: Path, children: list[Child]) -> None:
    """Raced, each migration runs once, and everyone finds the new schema."""
    path = tmp_path / "j.db"
    SqliteStore(path, key=KEY).close()
    children += [Child("upgrade", path, run_id) for run_id in "abcd"]
    for child in children:
        assert child.line() == "ready"
    for child in children:
        child.go_on()
    assert {child.line() for child in children} == {f"done {len(schema.MIGRATIONS) + 1}"}
    done = sqlite3.connect(path).execute("SELECT name FROM _sqlite_migrations").fetchall()
    assert done.count(("m999_more",)) == 1


def test_a_full_disk_loses_nothing(tmp_path: Path, children: list[Child]) -> None:
    """Out of room (here: the largest size a file may have), an append is refused whole; with room it goes on."""
    children.append(child := Child("fill", tmp_path / "j.db", "limit"))
    outlive_a_full_disk(child)


def outlive_a_full_disk(child: Child, free: Path | None = None) -> None:
    """Follow `fill`; `free` is deleted to make room."""
    said = child.line()
    assert said.startswith("full ")
    assert "disk" in said
    assert child.line() == "refused"
    assert child.line().startswith("kept ")
    if free is not None:
        free.unlink()
    child.go_on()
    assert child.line().startswith("done ")
    assert child.process.wait(10) == 0


@pytest.mark.slow
def test_a_full_file_system_loses_nothing(tmp_path: Path, children: list[Child]) -> None:
    """The same on a real file system of 2 MB that is full (needs the right to mount one)."""
    place = tmp_path / "tiny"
    place.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], check=False).returncode
    ):
        pytest.skip("may not mount a file system here: run as root, or with CAP_SYS_ADMIN")
    try:
        ballast = place / "ballast"
        ballast.write_bytes(bytes(1_100_000))
        children.append(child := Child("fill", place / "j.db", "real"))
        outlive_a_full_disk(child, ballast)
    finally:
        for child in children:
            child.process.kill()
            child.process.communicate()
        subprocess.run(["umount", place], check=True)
