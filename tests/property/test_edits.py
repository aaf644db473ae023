"""Whatever is edited, wherever it crashes: a recorded answer is given only to a call that it is the answer to."""

# ruff: noqa: D103

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
from edits import (
    Act,
    Edit,
    Nested,
    Node,
    Par,
    Seq,
    Spawn,
    World,
    agent,
    blocking_agent,
    edited,
    steady_threads,
)
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jupyter_durable.runtime.kill_points import KILL_POINTS
from jupyter_durable.runtime.run import LiveRun
from jupyter_durable.session import Session
from jupyter_durable.testing import Crash, MemoryStore, crash_at, execute

acts = st.builds(Act, st.sampled_from("abcd"), st.sampled_from((False, False, True)))


def several(nodes: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(nodes, min_size=1, max_size=3).map(tuple)


def tasks(nodes: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.builds(Seq, several(nodes)),
        st.builds(Seq, several(nodes)),
        st.builds(Par, st.sampled_from(("gather", "group")), several(nodes)),
        st.builds(Spawn, nodes),
        st.builds(Nested, nodes),
    )


def compound(nodes: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    threads = several(acts | st.builds(Seq, several(acts)))
    return tasks(nodes) | st.builds(Par, st.sampled_from(("to_thread", "pool")), threads)


def blocking(nodes: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(Seq, several(nodes)) | st.builds(Par, st.just("pool"), several(nodes))


def trees(made_of: Any, leaves: int) -> st.SearchStrategy[Any]:
    inner = st.recursive(acts, made_of, max_leaves=leaves)
    return st.lists(inner, min_size=1, max_size=4).map(lambda nodes: Seq(tuple(nodes)))


def edits(made_of: Any) -> st.SearchStrategy[Any]:
    return st.builds(
        Edit,
        st.sampled_from(("delete", "insert", "change", "swap")),
        st.integers(0, 7),
        st.recursive(acts, made_of, max_leaves=2),
        st.integers(0, 3),
    )


POINTS = [p for p in KILL_POINTS if p not in ("before-open", "after-attempt", "after-chunk")]
crashes = st.lists(st.tuples(st.sampled_from(POINTS), st.integers(1, 9)), max_size=2)
labels = st.sampled_from(("place", "first", "alike"))
relaxed = settings(deadline=None, suppress_health_check=list(HealthCheck))


def plainly(fn: Any) -> Any:
    return asyncio.run(fn()) if inspect.iscoroutinefunction(fn) else fn()


class Endeavour:
    """A run, and the forks that go on from it as its code is edited."""

    def __init__(self, world: World, as_agent: Any = agent) -> None:
        self.world = world
        self.agent = as_agent
        self.store = MemoryStore()
        self.session = Session(self.store)
        self.replayed = 0

    def go(self, tree: Node, plan: list[tuple[str, int]]) -> Any:
        """Execute the tree as the next run, crashing and resuming as planned; None if it is left cut off."""
        runs = self.store.runs()
        code = self.agent(tree, self.world)
        run_id = ""
        done: set[str] = set()

        def opened() -> LiveRun:
            if run_id and self.store.runs()[0].id == run_id:
                return self.session.resume(self.store.runs()[0])
            if runs:
                return self.session.fork(runs[0], kind="edit")
            return self.session.new("edited")

        for name, nth in [*plan, ("", 0)]:
            self.world.executed.clear()
            try:
                if not name:
                    run = opened()
                    run_id = run.id
                    what, value = execute(self.session, run, code)
                else:
                    with crash_at(name, nth):
                        run = opened()
                        run_id = run.id
                        what, value = execute(self.session, run, code)
            except Crash:
                what = "crashed"
            again = [path for path, key in self.world.executed if key in done]
            assert not again, f"completed steps of this run executed again: {again}"
            record = self.store.runs()[0]
            run_id = record.id if not runs or record.id != runs[0].id else ""
            if run_id:
                done |= self._done(run_id)
            if what != "crashed":
                assert what == "returned", value
                self.replayed = run.stats.replayed
                return value
            if run_id and record.status == "completed":
                return execute(self.session, self.session.replay(record), code)[1]
        raise AssertionError

    def cut_off(self, tree: Node, name: str, nth: int) -> None:
        """Execute the tree as a new run and crash (or not, if it never comes to that)."""
        with crash_at(name, nth):
            try:
                execute(self.session, self.session.new("edited"), self.agent(tree, self.world))
            except Crash:
                return

    def _done(self, run_id: str) -> set[str]:
        from jupyter_durable.journal.keys import idempotency_key

        record = self.store.run(run_id)
        index = self.session.index(run_id)
        return {
            idempotency_key(self.store.key, record.root_id or "", s.scope, s.pos)
            for s in index.all_steps()
            if s.seq > index.base_seq and s.outcome is not None and s.status == "completed"
        }

    def replay(self, tree: Node) -> Any:
        self.world.executed.clear()
        what, value = execute(
            self.session, self.session.replay(self.store.runs()[0]), self.agent(tree, self.world)
        )
        assert what == "returned", value
        assert not self.world.executed, "a replay executed something"
        return value


def law(
    tree: Node,
    first: tuple[str, int] | None,
    changes: list[tuple[list[Edit], list[tuple[str, int]]]],
    world: World,
    as_agent: Any = agent,
) -> None:
    endeavour = Endeavour(world, as_agent)
    if first is not None:
        endeavour.cut_off(tree, *first)
    else:
        assert endeavour.go(tree, []) == plainly(as_agent(tree, World(world.labels)))
    if not endeavour.store.runs():
        return
    for steps, plan in changes:
        for edit in steps:
            changed = edited(tree, edit)
            if steady_threads(changed):
                tree = changed
        expected = plainly(as_agent(tree, World(world.labels)))
        assert endeavour.go(tree, plan) == expected, "a recorded answer was given to another call"
        again = endeavour.replay(tree)
        assert again == expected, f"the finished fork replays to {again}, not {expected}"


changes = st.lists(st.tuples(st.lists(edits(compound), max_size=2), crashes), min_size=1, max_size=2)
cut_off = st.none() | st.tuples(st.sampled_from(POINTS), st.integers(1, 9))


JOINED_LATE = Seq(
    (
        Par("group", (Act("d"), Act("c"), Act("a", True))),
        Spawn(Act("a")),
        Act("b"),
        Par("to_thread", (Act("d"), Seq((Act("d", True), Act("a"))), Seq((Act("b", True), Act("c"))))),
    )
)
EQUAL = Seq(
    (
        Par("group", (Act("a"), Act("b"), Act("c", True))),
        Spawn(Nested(Act("d"))),
        Spawn(Act("b")),
        Nested(Act("d", True)),
    )
)
CRASHES = [("after-start", 6), ("before-close", 2)]


@pytest.mark.slow
@settings(relaxed, max_examples=60)
@given(trees(compound, 5), cut_off, changes, labels, st.integers(0, 100))
# A strand takes the place of an equal one that was joined later: the call after it was not made after it.
@example(JOINED_LATE, None, [([], []), ([Edit("insert", 0, Par("gather", (Act("a"),)), 1)], [])], "alike", 87)
# Of equal strands a new one is spawned first, in a fork that is itself cut off, forked and replayed.
@example(
    EQUAL,
    ("before-start", 6),
    [
        (
            [
                Edit("change", 3, Spawn(Nested(Act("b", True))), 3),
                Edit("insert", 5, Spawn(Nested(Act("d"))), 0),
            ],
            CRASHES,
        ),
        ([], CRASHES),
    ],
    "first",
    70,
)
def test_an_edited_agent_ends_as_one_that_was_always_so(
    tree: Node, first: Any, changes: Any, names: str, seed: int
) -> None:
    """Nodes deleted, inserted, changed, swapped; crashes before, in the fork and in its fork: never a stale answer."""
    law(tree, first, changes, World(names, seed))


@pytest.mark.slow
@pytest.mark.timeout(900)
@settings(relaxed, max_examples=500)
@given(trees(compound, 6), cut_off, changes, labels, st.integers(0, 100))
def test_an_edited_agent_thoroughly(tree: Node, first: Any, changes: Any, names: str, seed: int) -> None:
    """The same for longer."""
    law(tree, first, changes, World(names, seed))


@pytest.mark.slow
@settings(relaxed, max_examples=30)
@given(
    trees(blocking, 5),
    cut_off,
    st.lists(st.tuples(st.lists(edits(blocking), max_size=2), crashes), min_size=1, max_size=2),
    labels,
    st.integers(0, 100),
)
def test_an_edited_agent_of_threads(tree: Node, first: Any, changes: Any, names: str, seed: int) -> None:
    """The same in sync code with pools."""
    law(tree, first, changes, World(names, seed), blocking_agent)


@pytest.mark.slow
@settings(relaxed, max_examples=40)
@given(
    st.lists(trees(tasks, 3), min_size=2, max_size=4),
    st.integers(0, 3),
    st.lists(edits(tasks), min_size=1, max_size=2),
    st.sampled_from(("gather", "group")),
    st.lists(acts, max_size=2).map(tuple),
)
def test_siblings_of_an_edit_replay(
    strands: list[Node], which: int, steps: list[Edit], kind: str, before: tuple[Node, ...]
) -> None:
    """An edit inside one strand leaves those beside it, and what came before them, as they were.

    In tasks. With threads, what is done beside an edit may be done anew: which of them had begun is not reproduced.
    """
    world = World("place", latencies=(0,))
    endeavour = Endeavour(world)
    which %= len(strands)
    endeavour.go(Seq((*before, Par(kind, tuple(strands)), Act("a"))), [])
    inner = strands[which]
    for edit in steps:
        inner = edited(inner, edit)
    tree = Seq((*before, Par(kind, (*strands[:which], inner, *strands[which + 1 :])), Act("a")))
    assert endeavour.go(tree, []) == plainly(agent(tree, World("place")))
    beside = [path for path, _ in world.executed if path and path[0] != (kind, which)]
    assert not beside, "siblings of the edit were executed again"
    if inner == strands[which]:
        assert not world.executed, "nothing was edited, and something executed"
