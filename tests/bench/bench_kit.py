"""How the benches measure: beside a floor, in the same run, in turns.

A shared machine is noisy in time, much less so in proportion: what slows us slows the floor beside us.
So floor and ours take turns in short blocks, each pair gives one ratio, and the median of these is the
figure. Where the design states a time and not a ratio (replay, loading), the best block counts, because
other work only ever adds, and the budget grows with how much slower than the reference the machine is at
that moment (`bench_yardstick`).
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from jupyter_durable.model import RunRecord
from jupyter_durable.runtime.activation import Activation
from jupyter_durable.runtime.run import LiveRun
from jupyter_durable.session import Session
from jupyter_durable.store import connect
from jupyter_durable.store.place import file_system

RESULT = {
    "title": "The with statement",
    "url": "https://docs.example/reference/compound_stmts#with",
    "score": 0.8125,
    "tags": ["statement", "context manager", "exceptions"],
    "text": " ".join(f"clause {n} of the rule about suites and targets;" for n in range(17)),
}
"""About 1 KB of JSON: what a tool returns."""


@dataclass(frozen=True)
class Figure:
    """One line of the table: `value` in `unit`, to be at most `target`; both sides in words for people.

    `slowness` is how many times slower than the reference the machine was: 1 for ratios.
    """

    what: str
    floor: str
    ours: str
    value: float
    target: float
    unit: str = "x"
    slowness: float = 1.0

    def within(self, allowance: float) -> bool:
        """Whether the target is met with `allowance` (1.25: a quarter more) for noise."""
        return self.value <= self.target * self.slowness * allowance

    def show(self, number: float) -> str:
        """A number in the figure's unit."""
        return f"{number:.2f} x" if self.unit == "x" else f"{number:,.4g} {self.unit}"


def measured(measure: Callable[[Path], Figure], *, allowance: float, tries: int = 3) -> Figure:
    """The first figure of up to `tries` that is within its target and `allowance`, else the best.

    Trying again cannot flatter: noise from other work only adds.
    """
    found: list[Figure] = []
    for _ in range(tries):
        with directory() as place:
            figure = measure(place)
        found.append(figure)
        if figure.within(allowance):
            break
    return min(found, key=lambda figure: figure.value / figure.slowness)


@contextmanager
def directory() -> Iterator[Path]:
    """A directory on a real disk: in memory a sync costs nothing, and there is no floor to stand on."""
    bases = [Path(tempfile.gettempdir()), Path.home(), Path.cwd()]
    base = next((base for base in bases if file_system(base) not in ("tmpfs", "ramfs")), bases[0])
    path = Path(tempfile.mkdtemp(prefix="jupyter-durable-bench-", dir=base))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


# -- floors ----------------------------------------------------------------------------------------


class BareSqlite:
    """`BEGIN IMMEDIATE; INSERT; COMMIT`, FULL, into a log that was grown before and is reused."""

    def __init__(self, place: Path) -> None:
        self._connection = sqlite3.connect(place / "floor.db", isolation_level=None, check_same_thread=False)
        cursor = self._cursor = self._connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, body BLOB)")
        cursor.execute("PRAGMA synchronous = NORMAL")
        for _ in range(1500):
            self.commit(b"x" * 1024)
        cursor.execute("PRAGMA synchronous = FULL")

    def commit(self, body: Any) -> None:
        """One row, durable."""
        execute = self._cursor.execute
        execute("BEGIN IMMEDIATE")
        execute("INSERT INTO t (body) VALUES (?)", (body,))
        execute("COMMIT")

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


class BareThread:
    """A hop to another thread and back to the loop, as `loop.run_in_executor` makes it but barer."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[asyncio.Future[None] | None] = SimpleQueue()
        threading.Thread(target=self._serve, name="jupyter-durable-bench", daemon=True).start()

    def _serve(self) -> None:
        while (future := self._queue.get()) is not None:
            future.get_loop().call_soon_threadsafe(future.set_result, None)

    async def hop(self) -> None:
        """There and back."""
        future = asyncio.get_running_loop().create_future()
        self._queue.put(future)
        await future

    def close(self) -> None:
        """End the thread."""
        self._queue.put(None)


# -- ours ------------------------------------------------------------------------------------------


@contextmanager
def live(session: Session, *, resume: RunRecord | None = None, close: bool = True) -> Iterator[LiveRun]:
    """A run, current inside the block; `close=False` leaves it as a crash would, its lease given back."""
    run = session.new("bench") if resume is None else session.resume(session.store.run(resume.id))
    activation = Activation(run)
    activation.enter()
    try:
        yield run
    finally:
        activation.leave()
        if close:
            session.close_run(run, None)
        else:
            run.writer.close()
            assert run.lease is not None
            session.store.release(run.lease)


@contextmanager
def session_in(place: Path) -> Iterator[Session]:
    """A session on a store file in `place`."""
    store = connect(str(place / "journal.db"))
    try:
        yield Session(store)
    finally:
        store.close()


# -- taking turns ----------------------------------------------------------------------------------


def seconds(work: Callable[[], Any]) -> float:
    """How long `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


async def seconds_async(work: Callable[[], Awaitable[Any]]) -> float:
    """How long awaiting `work` takes."""
    start = time.perf_counter()
    await work()
    return time.perf_counter() - start


@dataclass
class Turns:
    """Blocks measured in turns; times are seconds a block."""

    floors: list[float]
    ours: list[float]

    @property
    def ratio(self) -> float:
        """The median of the pairs' ratios."""
        return statistics.median(ours / floor for floor, ours in zip(self.floors, self.ours, strict=True))

    def each(self, count: int) -> tuple[str, str]:
        """The median floor and ours for one of `count` things a block, in words."""
        return tuple(f"{statistics.median(t) / count * 1e6:,.0f} µs" for t in (self.floors, self.ours))  # type: ignore[return-value]


def in_turns(floor: Callable[[], Any], ours: Callable[[], Any], rounds: int) -> Turns:
    """floor, ours, floor, ours ..."""
    pairs = [(seconds(floor), seconds(ours)) for _ in range(rounds)]
    return Turns([pair[0] for pair in pairs], [pair[1] for pair in pairs])


async def in_turns_async(
    floor: Callable[[], Awaitable[Any]], ours: Callable[[], Awaitable[Any]], rounds: int
) -> Turns:
    """The same for coroutines."""
    pairs = [(await seconds_async(floor), await seconds_async(ours)) for _ in range(rounds)]
    return Turns([pair[0] for pair in pairs], [pair[1] for pair in pairs])
