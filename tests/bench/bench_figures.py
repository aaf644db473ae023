"""The figures of design section 11 that concern the core, each a function from a directory to a `Figure`."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench_kit import (
    RESULT,
    BareSqlite,
    BareThread,
    Figure,
    Turns,
    in_turns,
    in_turns_async,
    live,
    seconds,
    session_in,
)
from bench_least import LeastStep
from bench_yardstick import lookup, slowness

import jupyter_durable as durable

_HERE = Path(__file__).parent
_BODY = json.dumps(RESULT).encode()


@durable.tool
def read(topic: int) -> dict[str, Any]:
    """A tool that costs nothing."""
    return RESULT


def _read(topic: int) -> dict[str, Any]:
    return RESULT


@durable.tool
async def read_async(topic: int) -> dict[str, Any]:
    """The same, async."""
    return RESULT


@durable.tool
async def slow(topic: int) -> dict[str, Any]:
    """A tool that waits, as tools do."""
    await asyncio.sleep(0.05)
    return RESULT


# -- steps -------------------------------------------------------------------------------------------

_BLOCK = 200


def sync_step(place: Path) -> Figure:
    """A sequential no-op sync step against one bare durable commit of the same bytes."""
    bare = BareSqlite(place)

    def floor() -> None:
        for _ in range(_BLOCK):
            bare.commit(_BODY)

    def ours() -> None:
        for topic in range(_BLOCK):
            read(topic)

    with session_in(place) as session, live(session):
        ours()
        turns = in_turns(floor, ours, 15)
    bare.close()
    return Figure("sequential sync step, 1 KB result", *turns.each(_BLOCK), turns.ratio, 1.6)


def sync_step_least(place: Path) -> Figure:
    """The same step against the least that it must write (`bench_least`): what the engine adds to the journal."""
    bare, least = BareSqlite(place), LeastStep(place)

    def commit() -> None:
        for _ in range(_BLOCK):
            bare.commit(_BODY)

    def floor() -> None:
        for topic in range(_BLOCK):
            least(_read, topic)

    def ours() -> None:
        for topic in range(_BLOCK):
            read(topic)

    with session_in(place) as session, live(session):
        ours()
        floor()
        share = in_turns(commit, floor, 7).ratio
        turns = in_turns(floor, ours, 15)
    bare.close()
    least.close()
    floor_us, ours_us = turns.each(_BLOCK)
    return Figure(
        "the same, beside the least a step must write",
        f"{floor_us} ({share:.2f} commits)",
        ours_us,
        turns.ratio,
        1.35,
    )


def async_step(place: Path) -> Figure:
    """A sequential no-op async step against that commit and one bare thread hop."""
    bare, thread = BareSqlite(place), BareThread()

    async def floor() -> None:
        for _ in range(_BLOCK):
            bare.commit(_BODY)
            await thread.hop()

    async def ours() -> None:
        for topic in range(_BLOCK):
            await read_async(topic)

    async def main() -> Any:
        with session_in(place) as session, live(session):
            await ours()
            return await in_turns_async(floor, ours, 15)

    turns = asyncio.run(main())
    thread.close()
    bare.close()
    return Figure("sequential async step, 1 KB result", *turns.each(_BLOCK), turns.ratio, 1.6)


def concurrent_steps(place: Path) -> Figure:
    """100 steps of 50 ms at once against a bare gather of the same sleeps and one commit."""
    bare = BareSqlite(place)

    async def floor() -> None:
        await asyncio.gather(*[asyncio.sleep(0.05) for _ in range(100)])
        bare.commit(_BODY)

    async def ours() -> None:
        await asyncio.gather(*[slow(topic) for topic in range(100)])

    async def main() -> Any:
        with session_in(place) as session, live(session):
            await ours()
            return await in_turns_async(floor, ours, 11)

    turns = asyncio.run(main())
    bare.close()
    floor_ms, ours_ms = (sorted(times)[5] * 1e3 for times in (turns.floors, turns.ours))
    return Figure(
        "100 concurrent steps of 50 ms", f"{floor_ms:.1f} ms", f"{ours_ms:.1f} ms", turns.ratio, 1.3
    )


# -- replay ------------------------------------------------------------------------------------------

_STEPS = 2000


def replay_sync(place: Path) -> Figure:
    """A replayed step of one scope, sync; the floor is a look-up in a dict by digest."""

    def code() -> None:
        for topic in range(_STEPS):
            read(topic)

    with session_in(place) as session:
        with live(session, close=False) as run:
            code()
        floors, ours = [], []
        for _ in range(5):
            floors.append(lookup())
            with live(session, resume=run.record, close=False) as again:
                ours.append(seconds(code))
                assert (again.stats.replayed, again.stats.executed) == (_STEPS, 0)
    return _replay_figure("replayed step, one scope, sync", floors, ours, 15)


def replay_async(place: Path) -> Figure:
    """The same, async."""

    async def code() -> None:
        for topic in range(_STEPS):
            await read_async(topic)

    return _replay_async(place, code, "replayed step, one scope, async", 15)


def replay_tasks(place: Path) -> Figure:
    """A replayed step with a task of its own."""

    async def code() -> None:
        for start in range(0, _STEPS, 200):
            await asyncio.gather(*[read_async(topic) for topic in range(start, start + 200)])

    return _replay_async(place, code, "replayed step with a task each", 50)


def _replay_async(place: Path, code: Any, what: str, target: float) -> Figure:
    async def main() -> tuple[list[float], list[float]]:
        with session_in(place) as session:
            with live(session, close=False) as run:
                await code()
            floors, ours = [], []
            for _ in range(5):
                floors.append(lookup())
                with live(session, resume=run.record, close=False) as again:
                    start = time.perf_counter()
                    await code()
                    ours.append(time.perf_counter() - start)
                    assert (again.stats.replayed, again.stats.executed) == (_STEPS, 0)
            return floors, ours

    return _replay_figure(what, *asyncio.run(main()), target)


def _replay_figure(what: str, floors: list[float], ours: list[float], target: float) -> Figure:
    floor, best = min(floors), min(ours) / _STEPS * 1e6
    return Figure(
        what, f"{floor * 1e6:.1f} µs (a dict)", f"{best:.1f} µs", best, target, "µs", slowness(floor)
    )


def resume_ten_thousand(place: Path) -> Figure:
    """A fresh process: open the store, read and verify 10,000 steps, replay them, come to the next."""
    path = place / "journal.db"
    _agent("record", path)
    bare, ours, looks = [], [], []
    for _ in range(3):
        bare.append(seconds(lambda: _read_rows(path)))
        ours.append(float(_agent("resume", path)))
        looks.append(lookup())
    return Figure(
        "10,000 steps resumed, fresh process, after imports",
        f"{min(bare) * 1e3:.0f} ms (reading the rows)",
        f"{min(ours) * 1e3:.0f} ms",
        min(ours),
        0.5,
        "s",
        slowness(min(looks)),
    )


def _read_rows(path: Path) -> None:
    connection = sqlite3.connect(path)
    for body, meta in connection.execute("SELECT body, meta FROM entries WHERE type = 'outcome'"):
        json.loads(body)
        json.loads(meta)
    connection.close()


def _agent(what: str, path: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(_HERE / "bench_agent.py"), what],
        env={**os.environ, "JUPYTER_DURABLE_STORE": str(path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# -- disk --------------------------------------------------------------------------------------------

WORDS = [
    "the",
    "a",
    "of",
    "model",
    "tool",
    "call",
    "journal",
    "step",
    "result",
    "agent",
    "kernel",
    "state",
    "cell",
    "value",
    "order",
    "cause",
    "read",
    "write",
]


def message(turn: int, role: str, size: int) -> dict[str, str]:
    """New information of that size, the same for the same turn."""
    source = random.Random(f"{role}/{turn}")
    text = ""
    while len(text) < size:
        text += source.choice(WORDS) + source.choice(["s ", " ", " ", f" {source.randrange(10_000)} "])
    return {"role": role, "content": text[:size]}


@durable.tool
def complete(messages: list[dict[str, str]], model: str = "m-1") -> dict[str, str]:
    """A model: the answer is new information, and so is every question."""
    return message(len(messages), "assistant", 700)


def conversation(place: Path, turns: int) -> tuple[int, int, int]:
    """An agent that sends its whole conversation each turn: (bytes on disk, new on the wire, of information).

    New on the wire is what a request has that the one before had not (the last answer, sent back, and the
    question), and the answer. Of information there is each message once.
    """
    with session_in(place) as session:
        empty = size(place)
        with live(session):
            messages: list[dict[str, str]] = []
            for turn in range(turns):
                messages.append(message(turn, "user", 300))
                messages.append(complete(messages))
    sizes = [len(json.dumps(message)) for message in messages]
    return size(place) - empty, sum(sizes) + sum(sizes[1::2]), sum(sizes)


def size(place: Path) -> int:
    """Bytes of the store's file."""
    # Folded into one file: the log is grown ahead, and its size says nothing about what is kept.
    connection = sqlite3.connect(place / "journal.db")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    return (place / "journal.db").stat().st_size


def conversation_disk(place: Path) -> Figure:
    """400 turns, every turn's whole input kept, against the new messages' own bytes."""
    kept, wire, once = conversation(place, 400)
    return Figure(
        "disk, conversation of 400 turns, whole inputs kept",
        f"{wire / 1e6:.2f} MB new on the wire",
        f"{kept / 1e6:.2f} MB ({kept / once:.2f} x each message once)",
        kept / wire,
        1.3,
    )


# -- large values --------------------------------------------------------------------------------------


def array(place: Path) -> Figure:
    """A step that returns 50 MB of numpy against the same bytes as one blob in bare SQLite."""
    import numpy as np

    bare = BareSqlite(place)
    arrays = [np.random.default_rng(n).random(6_550_000) for n in range(6)]

    @durable.tool
    def load(n: int) -> Any:
        return arrays[n]

    with session_in(place) as session, live(session):
        floors, ours = [], []
        for n, values in enumerate(arrays):
            floors.append(seconds(lambda values=values: bare.commit(values.data)))  # type: ignore[misc]
            ours.append(seconds(lambda n=n: load(n)))  # type: ignore[misc]
    bare.close()
    turns = Turns(floors[1:], ours[1:])  # the first finds its log empty, the others that of the one before
    total = sum(values.nbytes for values in arrays)
    return Figure(
        f"step that returns a 52 MB array ({size(place) / total:.2f} x its bytes on disk)",
        f"{statistics.median(turns.floors) * 1e3:.0f} ms",
        f"{statistics.median(turns.ours) * 1e3:.0f} ms",
        turns.ratio,
        1.5,
    )


# -- loading -------------------------------------------------------------------------------------------


def load_extension(place: Path) -> Figure:
    """`%load_ext jupyter_durable` in a shell that has everything a kernel has."""
    best, slow, forbidden = _shell(place, "load")
    assert not forbidden, f"%load_ext imported {forbidden}"
    what = "`%load_ext jupyter_durable`, over a bare kernel"
    return Figure(what, "0", f"{best * 1e3:.0f} ms", best, 0.1, "s", slow)


def first_step(place: Path) -> Figure:
    """From the start of the first `%%durable` cell to the inside of its first step."""
    best, slow, _ = _shell(place, "first")
    what = "first `%%durable` to its first step, the store being made"
    return Figure(what, "0", f"{best * 1e3:.0f} ms", best, 0.3, "s", slow)


def _shell(place: Path, what: str) -> tuple[float, float, list[str]]:
    times, looks, forbidden = [], [], []
    for n in range(5):
        home = place / f"{what}-{n}"
        home.mkdir()
        done = subprocess.run(
            [sys.executable, str(_HERE / "bench_shell.py"), what],
            env={
                **os.environ,
                "IPYTHONDIR": str(home / "ipython"),
                "JUPYTER_DATA_DIR": str(home / "jupyter"),
                "JUPYTER_DURABLE_STORE": str(home / "journal.db"),
            },
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.splitlines()[-1])
        times.append(found["seconds"])
        looks.append(found["lookup"])
        forbidden = found["forbidden"]
    return min(times), slowness(min(looks)), forbidden


ALL = {
    figure.__name__: figure
    for figure in (
        sync_step,
        sync_step_least,
        async_step,
        concurrent_steps,
        replay_sync,
        replay_async,
        replay_tasks,
        resume_ten_thousand,
        conversation_disk,
        array,
        load_extension,
        first_step,
    )
}
"""Every figure of the table, in its order."""
