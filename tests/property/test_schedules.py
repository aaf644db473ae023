"""Whatever an agent is made of, however its calls are timed, whenever it crashes: it goes on as if it had not."""

# ruff: noqa: D103

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from walking import agent
from workloads import (
    ASYNC_KINDS,
    THREAD_KINDS,
    Call,
    Grow,
    Items,
    Life,
    Nested,
    Node,
    Par,
    Race,
    Seq,
    Sleep,
    Timeout,
    Try,
    Workers,
    World,
)

from jupyter_durable.errors import DivergenceError
from jupyter_durable.journal.keys import idempotency_key
from jupyter_durable.runtime.kill_points import KILL_POINTS, OF_WAITS
from jupyter_durable.session import Session
from jupyter_durable.testing import Crash, MemoryStore, crash_at, execute

# -- shapes ----------------------------------------------------------------------------------------

calls = st.builds(
    Call,
    arg=st.sampled_from((0, 0, 1, None)),
    fails=st.sampled_from((False,) * 5 + (True,)),
    blocking=st.booleans(),
)
sleeps = st.builds(Sleep, ms=st.sampled_from((0, 1, 3)))


def several(nodes: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(nodes, min_size=1, max_size=3).map(tuple)


def compound_blocking(nodes: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.builds(Seq, several(nodes)),
        st.builds(Par, st.sampled_from(("pool", "thread")), several(nodes)),
        st.builds(Try, nodes, nodes, st.booleans()),
        st.builds(Nested, nodes, st.just(True)),
    )


blocking = st.recursive(
    st.builds(
        Call,
        arg=st.sampled_from((0, 1, None)),
        fails=st.sampled_from((False,) * 5 + (True,)),
        blocking=st.just(True),
    )
    | sleeps,
    compound_blocking,
    max_leaves=5,
)


def compound(nodes: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.builds(Seq, several(nodes)),
        st.builds(Par, st.sampled_from(ASYNC_KINDS), several(nodes)),
        nodes.flatmap(lambda node: st.builds(Par, st.sampled_from(ASYNC_KINDS), st.just((node, node)))),
        st.builds(Par, st.sampled_from(THREAD_KINDS), several(blocking)),
        st.builds(Race, st.lists(nodes, min_size=2, max_size=3).map(tuple), st.booleans()),
        st.builds(Try, nodes, nodes, st.booleans()),
        st.builds(
            Timeout, st.sampled_from(("wait_for", "timeout", "anyio")), st.sampled_from((4, 10, 60)), nodes
        ),
        st.builds(Nested, nodes),
        st.builds(Nested, blocking, st.just(True)),
    )


simple = st.one_of(
    calls,
    calls,
    sleeps,
    st.builds(Items, st.integers(0, 3), st.integers(0, 3), st.booleans()),
    st.just(Grow()),
    st.builds(Workers, st.integers(1, 3), st.integers(1, 5)),
)
trees = st.recursive(simple, compound, max_leaves=8)
crashes = st.lists(
    st.tuples(st.sampled_from([p for p in KILL_POINTS if p != "before-open"]), st.integers(1, 8)), max_size=3
)


def steady(node: Node, *, beside: bool = False) -> bool:
    """Whether the result is the same whatever the timing (in a world whose answers are)."""
    match node:
        case Race() | Timeout() | Par(kind="as_completed") | Items(calls=True):
            return False
        case Call(fails=fails):
            return not (fails and beside)
        case Seq(nodes):
            return all(steady(n, beside=beside) for n in nodes)
        case Par(nodes=nodes):
            return all(steady(n, beside=beside or len(nodes) > 1) for n in nodes)
        case Try(inner, handler):
            return steady(inner, beside=beside) and steady(handler, beside=beside)
        case Nested(inner):
            return steady(inner, beside=beside)
    return True


def timed(node: Node, *, against: bool = False) -> bool:
    """Whether what happens next is decided by a timer, or by which thread is quicker: the journal knows neither."""
    match node:
        case Sleep() | Par(kind="to_thread" | "anyio_thread" | "pool" | "thread"):
            return against
        case Call(blocking=True) | Nested(blocking=True) if against:
            return True  # while it blocks the loop, a timer runs out that no step is waiting under
        case Race(nodes=nodes) | Par(kind="as_completed", nodes=nodes):
            return any(timed(n, against=True) for n in nodes)
        case Timeout(ms=ms, node=inner):
            return ms < 1000 or against or timed(inner, against=True)
        case Seq(nodes) | Par(nodes=nodes):
            return any(timed(n, against=against) for n in nodes)
        case Try(inner, handler):
            return timed(inner, against=against) or timed(handler, against=against)
        case Nested(inner):
            return timed(inner, against=against)
    return False


# -- the laws --------------------------------------------------------------------------------------


class Story:
    """One run from its first process to its last, and what the laws say about it."""

    def __init__(self, tree: Node, plan: list[tuple[str, int]], *, seed: int, unique: bool) -> None:
        self.tree = tree
        self.plan = plan
        self.world = World(seed, unique=unique)
        self.store = MemoryStore()
        self.session = Session(self.store)
        self.done: list[set[str]] = []  # after each life: the keys of the steps that have an outcome
        self.crashes = 0
        self.result: tuple[str, Any] | None = None

    def live(self) -> None:
        """Crash as planned, resume each time, and come to the end."""
        for name, nth in self.plan:
            with crash_at(name, nth):
                try:
                    self.result = self._life()
                except Crash:
                    self.crashes += 1
            self._look()
            if self.result is not None or self._failed():
                return
        self.result = self._life()
        self._look()

    def _failed(self) -> bool:
        # It crashed after its end: to take it up again is to try the failed steps again.
        runs = self.store.runs(name="story")
        return bool(runs) and runs[0].status == "failed"

    def _life(self) -> tuple[str, Any]:
        self.world.lives.append(Life())
        runs = self.store.runs(name="story")
        if runs and runs[0].status == "completed":
            return execute(self.session, self.session.replay(runs[0]), agent(self.tree, self.world))
        run = self.session.resume(runs[0]) if runs else self.session.new("story")
        return execute(self.session, run, agent(self.tree, self.world))

    def _look(self) -> None:
        runs = self.store.runs(name="story")
        if not runs:
            self.done.append(set())
            return
        index = self.session.index(runs[0].id)
        keys = {
            idempotency_key(self.store.key, runs[0].root_id or "", s.scope, s.pos)
            for s in index.all_steps()
            if s.status in ("completed", "failed")
        }
        self.done.append(keys)

    def check(self) -> None:
        lives = self.world.lives
        for life, before in zip(lives[1:], self.done, strict=False):
            again = [path for path, key in life.executed if key in before]
            assert not again, f"completed steps executed again: {again}"
        for life in lives:
            twice = [path for path, n in Counter(key for _, key in life.executed).items() if n > 1]
            assert not twice, "a step executed twice in one process"
        last = lives[-1].told
        for n, life in enumerate(lives[:-1]):
            for path, told in life.told.items():
                if "as_completed" in path:  # it spawns in the order of a set: equal strands have no names
                    continue
                assert last.get(path, told) == told, (
                    f"{path}: told {told} in process {n}, {last[path]} in the last"
                )
        if self.result is not None and self.result[0] == "returned" and not timed(self.tree):
            self._replay()

    def _replay(self) -> None:
        record = self.store.runs(name="story")[0]
        assert record.status == "completed"
        self.world.lives.append(Life())
        again = execute(self.session, self.session.replay(record), agent(self.tree, self.world))
        assert again == self.result, "the finished run replays to another result"
        assert not self.world.lives[-1].executed, "a replay executed something"


def same(one: tuple[str, Any], other: tuple[str, Any]) -> bool:
    if one[0] == other[0] == "raised":
        return type(one[1]) is type(other[1])
    return one == other


def tell(tree: Node, plan: list[tuple[str, int]], seed: int, unique: bool) -> Story:
    story = Story(tree, plan, seed=seed, unique=unique)
    story.live()
    story.check()
    return story


def law(tree: Node, plan: list[tuple[str, int]], seed: int, unique: bool) -> None:
    try:
        story = tell(tree, plan, seed, unique)
        if story.result is None or not steady(tree) or unique:
            return
        plain = Story(tree, [], seed=seed + 1, unique=False)
        plain.live()
    except DivergenceError:
        if timed(tree):
            return  # stopped and said so: nothing is swapped or repeated, which is the law
        raise
    assert plain.result is not None
    assert same(story.result, plain.result), f"undisturbed: {plain.result}, here: {story.result}"


runs = given(tree=trees, plan=crashes, seed=st.integers(0, 1000), unique=st.booleans())
relaxed = settings(deadline=None, suppress_health_check=list(HealthCheck))


RACE = Race((Items(2, 0, calls=True), Call()), cancel=True)
RACES = Par("shield", (Par("as_completed", (RACE, RACE)), Par("as_completed", (RACE, RACE))))


WORK = Race(
    (Call(None), Nested(Workers(3, 3)), Par("gather", (Items(1, 2, calls=False), Items(1, 2, calls=False)))),
    cancel=True,
)


@pytest.mark.slow
@settings(relaxed, max_examples=80)
@runs
# An attempt that went on after a crash is cancelled before it has come to all that was begun in it.
@example(
    tree=Par("as_completed", (WORK, WORK)),
    plan=[("before-start", 8), ("after-call", 3), ("after-call", 3)],
    seed=137,
    unique=True,
)
# A stream that was cut off is delivered again, and cancelled when its strand had acted on some of it.
@example(tree=Par("as_completed", (RACES, RACES)), plan=[("after-chunk", 5)], seed=695, unique=True)
def test_any_agent(tree: Node, plan: list[tuple[str, int]], seed: int, unique: bool) -> None:
    """A tree of any shape, crashed anywhere, ends as the undisturbed one does, and executes nothing completed again."""
    law(tree, plan, seed, unique)


@pytest.mark.slow
@pytest.mark.timeout(900)
@settings(relaxed, max_examples=700)
@runs
def test_any_agent_thoroughly(tree: Node, plan: list[tuple[str, int]], seed: int, unique: bool) -> None:
    """The same for a minute, that a night's work of examples may be found in a week of them."""
    law(tree, plan, seed, unique)


@pytest.mark.slow
@pytest.mark.parametrize("kind", THREAD_KINDS)
@pytest.mark.parametrize("ms", [0, 3])
def test_errors_of_threads_side_by_side(kind: str, ms: int) -> None:
    """Recorded, and replayed: the outcomes of both may be stored together, and come one after the other all the same."""
    thread = Par(kind, (Seq((Sleep(ms), Call(0, fails=True, blocking=True))),))
    for seed in range(30):  # how it goes depends on which thread is quicker
        # One that still sleeps when the other's error ends the run is a race against a clock: then it may stop and say so.
        with contextlib.suppress(DivergenceError) if ms else contextlib.nullcontext():
            law(Try(Par("group", (thread, thread)), handler=Sleep(0), reraise=False), [], seed, False)


MIXED = Seq(
    (
        Call(arg=None),
        Par("gather", (Call(arg=1), Seq((Call(arg=0), Call(arg=None))), Call(arg=1))),
        Par("group", (Nested(Par("gather", (Call(arg=0), Call(arg=0)))), Workers(2, 3))),
        Try(Par("group", (Call(arg=2), Call(arg=3, fails=True))), Call(arg=None), reraise=False),
        Race((Call(arg=4), Call(arg=5), Call(arg=6)), cancel=True),
        Par("to_thread", (Call(arg=7, blocking=True), Call(arg=8, blocking=True))),
        Grow(),
        Timeout("timeout", 10_000, Seq((Call(arg=9), Call(arg=None)))),
        Call(arg=None, blocking=True),
    )
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "point", [p for p in KILL_POINTS if p not in ("before-open", "after-attempt", "after-chunk", *OF_WAITS)]
)
def test_a_crash_at_every_single_occurrence(point: str) -> None:
    """One agent with a bit of everything, crashed at each occurrence of each kill point."""
    for nth in range(1, 40):
        story = tell(MIXED, [(point, nth)], seed=nth, unique=True)
        assert story.result is not None or story._failed()
        if not story.crashes:
            assert nth > 1, "it never came to that point"
            return
    raise AssertionError("more occurrences than calls")
