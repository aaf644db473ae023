"""Shuffled schedules and simulated crashes: whatever happens, the agent's result must not change."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from jupyter_durable.clock import Clock, SystemClock
from jupyter_durable.errors import AlreadyDecidedError, DivergenceError, RunParked
from jupyter_durable.journal.ports import JournalStore
from jupyter_durable.model import WaitInfo
from jupyter_durable.runtime.activation import Activation
from jupyter_durable.runtime.context import SCOPE
from jupyter_durable.runtime.kill_points import KILL_POINTS, arm
from jupyter_durable.runtime.run import LiveRun, Options, control_flow
from jupyter_durable.session import Session, Store
from jupyter_durable.store.memory import MemoryStore

__all__ = ["Crash", "ManualClock", "NotProven", "Proof", "crash_at", "execute", "prove"]


class Crash(BaseException):
    """The simulated end of the process."""


class NotProven(AssertionError):  # noqa: N818 - reads as what it says
    """A schedule or crash point gave another result. `schedule` and `crash` say which, to repeat it."""

    def __init__(self, message: str, *, schedule: int, crash: str) -> None:
        super().__init__(message)
        self.schedule = schedule
        self.crash = crash


class ManualClock(Clock):
    """A clock that stands still until `advance`d; waiting on it advances it.

    >>> clock = ManualClock(100.0)
    >>> clock.wait(5)
    >>> clock.now()
    105.0
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._lock = threading.Lock()

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now

    def monotonic(self) -> float:
        """The same clock."""
        return self._now

    def wait(self, seconds: float) -> None:
        """Let `seconds` pass, at once."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        with self._lock:
            self._now += seconds


@contextlib.contextmanager
def crash_at(point: str, nth: int = 1) -> Iterator[list[str]]:
    """Inside the block, the `nth` time that a run comes to kill point `point`, it crashes: `Crash` is raised.

    Yields the list of kill points passed so far.

    >>> import jupyter_durable as durable
    >>> with crash_at("after-call"):
    ...     try:
    ...         with durable.run("demo", store="memory:"):
    ...             durable.step("one", lambda: 1)
    ...     except Crash:
    ...         print("crashed")
    crashed
    """
    if point not in KILL_POINTS:
        raise ValueError(f"no kill point {point!r}; there are {', '.join(KILL_POINTS)}")
    passed: list[str] = []
    left = nth
    lock = threading.Lock()

    def trigger(name: str) -> None:
        nonlocal left
        with lock:
            passed.append(name)
            if name == point:
                left -= 1
            hit = name == point and left == 0
        if hit:
            _crash(name)

    before = arm(trigger)
    try:
        yield passed
    finally:
        arm(before)


def _crash(name: str) -> None:
    error = Crash(name)
    scope = SCOPE.get()
    if scope is not None:
        scope.run.lost = error
    raise error


@dataclass
class Proof:
    """What `prove` did: how many executions, with how many crashes, and the result they all had."""

    result: Any
    schedules: int = 0
    crashes: int = 0
    diverged: int = 0
    points: Counter[str] = field(default_factory=Counter)


def prove(
    fn: Callable[[], Any],
    schedules: int = 50,
    *,
    seed: int = 0,
    crashes: int = 2,
    jitter: float = 0.002,
    allow_divergence: bool = False,
    store: Callable[[], JournalStore] = MemoryStore,
    people: Callable[[WaitInfo], Any] | None = None,
) -> Proof:
    """Execute `fn()` (sync or async; an agent that makes durable calls) `schedules` times and compare.

    Every execution shuffles how long calls take (up to `jitter` seconds each) and crashes up to
    `crashes` times at random kill points, being resumed after each as by a new process. All must
    give an equal result (or raise an equal error); the first that does not raises `NotProven`, which
    says how to repeat it. With `allow_divergence`, stopping with `DivergenceError` is as good.

    What the agent waits for comes while no process has the run: timers go off at once, unsafe steps that were cut off did
    not happen, and `people(wait)` says the rest: the answer to a question, the value of a signal, and of an
    approval True, False, a text (why not) or a dict (arguments to change). By default everything is approved.

    >>> import jupyter_durable as durable
    >>> prove(lambda: [durable.step("n", lambda n=n: n * n) for n in range(3)], schedules=5).result
    [0, 1, 4]
    """
    expected, points = _undisturbed(fn, store, people)
    proof = Proof(expected[1], points=points)
    for schedule in range(schedules):
        rng = random.Random(f"{seed}:{schedule}")  # noqa: S311 - a schedule, not a secret
        plan = _crash_plan(rng, points, crashes)
        said = ", ".join(f"{name}:{nth}" for name, nth in plan) or "no crash"
        try:
            got = _disturbed(fn, store(), rng, plan, jitter, proof, people)
        except DivergenceError as error:
            if allow_divergence:
                proof.diverged += 1
                continue
            raise NotProven(
                f"schedule {schedule} ({said}) diverged:\n{error}", schedule=schedule, crash=said
            ) from error
        proof.schedules += 1
        if not _same(got, expected):
            raise NotProven(
                f"schedule {schedule} ({said}) gave another result:\n  undisturbed: {_shown(expected)}\n"
                f"  here:        {_shown(got)}\n"
                f"repeat it with prove(..., seed={seed}, schedules={schedule + 1})",
                schedule=schedule,
                crash=said,
            )
    return proof


_Result = tuple[Literal["returned", "raised"], Any]


_People = Callable[[WaitInfo], Any] | None


class _Skipping(SystemClock):
    """The machine's clock, some time ahead: timers go off when they are waited for."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.now = lambda: SystemClock.now() + self.ahead


def _undisturbed(
    fn: Callable[[], Any], store: Callable[[], JournalStore], people: _People
) -> tuple[_Result, Counter[str]]:
    points: Counter[str] = Counter()
    lock = threading.Lock()

    def count(name: str) -> None:
        with lock:
            points[name] += 1

    before = arm(count)
    try:
        session = Session(store(), clock=_Skipping())
        return _attended(session, Options(park_after=0.0, timers=0.0), fn, people), points
    finally:
        arm(before)


def _crash_plan(rng: random.Random, points: Counter[str], crashes: int) -> list[tuple[str, int]]:
    names = sorted(name for name in points if name != "before-open")
    wanted = rng.randint(0, crashes) if names else 0
    return [(name, rng.randint(1, points[name])) for name in rng.choices(names, k=wanted)]


def _disturbed(
    fn: Callable[[], Any],
    store: JournalStore,
    rng: random.Random,
    plan: list[tuple[str, int]],
    jitter: float,
    proof: Proof,
    people: _People,
) -> _Result:
    session = Session(store, clock=_Skipping())
    options = Options(jitter=lambda: rng.random() * jitter, park_after=0.0, timers=0.0)
    for name, nth in plan:
        with crash_at(name, nth):
            try:
                return _attended(session, options, fn, people)
            except Crash:
                proof.crashes += 1
        runs = store.runs(name="proof")
        if runs and runs[0].status == "completed":
            # It crashed after its end: what a caller would see is the replay.
            return execute(session, session.replay(runs[0]), fn)
    return _attended(session, options, fn, people)


def _attended(session: Session, options: Options, fn: Callable[[], Any], people: _People) -> _Result:
    """Execute with somebody who says what is waited for, whenever the run parks."""
    while True:
        runs = session.store.runs(name="proof")
        run = _open(session, runs[0].id if runs else None, options)
        try:
            return execute(session, run, fn)
        except RunParked:
            store = Store(session.store)
            for wait in store.waits(run.id):
                with contextlib.suppress(AlreadyDecidedError):
                    _attend(store, wait, people)
            ends = [wait.until for wait in store.waits(run.id) if wait.kind == "sleep" and wait.until]
            if ends and isinstance(session.clock, _Skipping):
                session.clock.ahead += max(0.0, min(ends) - session.clock.now())


def _attend(store: Store, wait: WaitInfo, people: _People) -> None:
    if wait.kind == "doubt":
        store.retry(wait.run, wait.step or "", by="prove")
        return
    if wait.kind == "sleep" or wait.ready:
        return
    if people is None and wait.kind != "approval":
        raise TypeError(f"the agent waits for {wait.what}: say what comes with prove(..., people=...)")
    said = True if people is None else people(wait)
    if wait.kind == "signal":
        store.signal(wait.run, wait.name, said, by="prove")
    elif wait.kind == "ask":
        store.answer(wait.run, wait.key, said, by="prove")
    elif said is True or isinstance(said, dict):
        store.approve(wait.run, wait.key, arguments=said if isinstance(said, dict) else None, by="prove")
    else:
        store.reject(wait.run, wait.key, said or "", by="prove")


def _open(session: Session, run_id: str | None, options: Options) -> LiveRun:
    if run_id is None:
        return session.new("proof", options=options)
    return session.resume(session.store.run(run_id), options=options)


def execute(
    session: Session, run: LiveRun, fn: Callable[[], Any]
) -> tuple[Literal["returned", "raised"], Any]:
    """Execute `fn()`, sync or async, as `run`; how it ended.

    Raises `Crash` (or `LeaseLost`) if that ended the run, and `DivergenceError`.

    >>> session = Session(MemoryStore())
    >>> execute(session, session.new("demo"), lambda: 42)
    ('returned', 42)
    """
    activation = Activation(run)
    is_async = inspect.iscoroutinefunction(fn)

    async def main() -> Any:
        activation.enter()
        try:
            return await fn()
        finally:
            activation.leave()

    error: BaseException | None = None
    value: Any = None
    try:
        if is_async:
            value = asyncio.run(main())
        else:
            activation.enter()
            try:
                value = fn()
            finally:
                activation.leave()
    except BaseException as raised:  # noqa: BLE001 - how it ended, whatever it was
        error = control_flow(raised)
    if run.lost is not None:
        run.writer.close()
        raise run.lost
    session.close_run(run, error)
    if run.parked is not None:
        raise run.parked
    if error is not None and (not isinstance(error, Exception) or isinstance(error, DivergenceError)):
        raise error
    return ("returned", value) if error is None else ("raised", error)


def _same(one: _Result, other: _Result) -> bool:
    if one[0] != other[0]:
        return False
    return bool(one[1] == other[1]) if one[0] == "returned" else _error(one[1]) == _error(other[1])


def _error(error: BaseException) -> Any:
    inner = [_error(e) for e in error.exceptions] if isinstance(error, BaseExceptionGroup) else []
    return type(error).__name__, str(error), sorted(map(repr, inner))


def _shown(result: _Result) -> str:
    return f"{result[0]} {result[1]!r}"
