"""Agents made of HTTP exchanges, however they read, fail and overlap, whenever they crash: nothing answered is sent again."""

# ruff: noqa: D103

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

import pytest
from exchange_agents import Ask, Node, Par, Race, Seq, Stream, Timeout, Tool, Try, agent
from exchange_world import Life, World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_durable.errors import DivergenceError
from jupyter_durable.journal.keys import idempotency_key
from jupyter_durable.runtime.kill_points import KILL_POINTS
from jupyter_durable.runtime.run import Options
from jupyter_durable.session import Session
from jupyter_durable.testing import Crash, MemoryStore, crash_at, execute

# -- shapes ------------------------------------------------------------------------------------------------


models = st.booleans()
asks = st.builds(
    Ask,
    st.sampled_from((0, 0, 1, None)),
    st.sampled_from((0, 0, 0, 1, 2, 99)),
    st.sampled_from(("503", "error", "404")),
    st.sampled_from((True, True, True, False)),
    models,
)
streams = st.builds(
    Stream,
    st.integers(1, 4),
    st.sampled_from((0, 0, 1, 2)),
    st.sampled_from(("close", "close", "hold", "drop")),
    st.booleans(),
    models,
    st.sampled_from((False, False, True)),
)
leaves = st.one_of(asks, asks, streams)


def several(nodes: st.SearchStrategy[Any], least: int = 1) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(nodes, min_size=least, max_size=3).map(tuple)


def in_thread(nodes: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.builds(Seq, several(nodes, 2)),
        st.builds(Par, st.just("thread"), several(nodes, 2)),
        st.builds(Try, nodes, nodes),
        st.builds(Tool, nodes),
    )


threaded = st.recursive(leaves, in_thread, max_leaves=4)


def compound(nodes: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.builds(Seq, several(nodes, 2)),
        st.builds(Seq, several(nodes, 2)),
        st.builds(Par, st.sampled_from(("gather", "group")), several(nodes, 2)),
        nodes.map(lambda node: Par("gather", (node, node))),
        st.builds(Par, st.just("thread"), several(threaded)),
        st.builds(Race, several(nodes, 2)),
        st.builds(Try, nodes, nodes),
        st.builds(Timeout, st.sampled_from((3, 10, 10_000)), nodes),
        st.builds(Tool, nodes),
    )


trees = st.recursive(leaves, compound, max_leaves=7)
crashes = st.lists(
    st.tuples(
        st.sampled_from([p for p in KILL_POINTS if p not in ("before-open", "before-wait", "after-wait")]),
        st.integers(1, 8),
    ),
    max_size=3,
)


def steady(node: Node, *, beside: bool = False) -> bool:
    """Whether the result is the same whatever the timing, and whatever was cut off."""
    match node:
        case Race() | Stream(calls=True):
            return False
        case Timeout(ms, inner):
            return ms > 1000 and steady(inner, beside=beside)
        case Ask(fails=fails, caught=caught, how=how):
            if how == "404" and 0 < fails < 99:
                return False  # a handled 404 is final; one that was cut off is asked again
            return caught or not beside or fails < 3
        case Stream():
            return True
        case Seq(nodes):
            return all(steady(n, beside=beside) for n in nodes)
        case Par(nodes=nodes):
            return all(steady(n, beside=beside or len(nodes) > 1) for n in nodes)
        case Try(inner, handler):
            return steady(inner, beside=beside) and steady(handler, beside=beside)
        case Tool(inner):
            return steady(inner, beside=beside)


def timed(node: Node, *, against: bool = False) -> bool:
    """Whether what happens next is decided by a timer or by which thread is quicker: the journal knows neither."""
    match node:
        case Par(kind="thread") if against:
            return True
        case Race(nodes=nodes):
            return any(timed(n, against=True) for n in nodes)
        case Timeout(ms=ms, node=inner):
            return ms < 1000 or against or timed(inner, against=True)
        case Seq(nodes) | Par(nodes=nodes):
            return any(timed(n, against=against) for n in nodes)
        case Try(inner, handler):
            return timed(inner, against=against) or timed(handler, against=against)
        case Tool(inner):
            return timed(inner, against=against)
    return False


# -- the laws ----------------------------------------------------------------------------------------------


class Story:
    """One run from its first process to its last, and what the laws say about it."""

    def __init__(self, tree: Node, plan: list[tuple[str, int]], *, seed: int, unique: bool) -> None:
        self.tree = tree
        self.plan = plan
        self.world = World(seed, unique=unique)
        self.store = MemoryStore()
        self.session = Session(self.store)
        self.options = Options(jitter=lambda: self.world.latency() / 3)
        self.done: list[set[str]] = []  # after each life: the keys of the steps that have an outcome
        self.result: tuple[str, Any] | None = None

    def live(self) -> None:
        for name, nth in self.plan:
            with crash_at(name, nth), contextlib.suppress(Crash):
                self.result = self._life()
            self._look()
            if self.result is not None or self._status() == "failed":
                return  # to take a failed run up again is to try what failed again
        self.result = self._life()
        self._look()

    def _status(self) -> str:
        runs = self.store.runs(name="story")
        return runs[0].status if runs else ""

    def _life(self) -> tuple[str, Any]:
        self.world.lives.append(Life())
        runs = self.store.runs(name="story")
        if runs and runs[0].status == "completed":
            run = self.session.replay(runs[0])
        elif runs:
            run = self.session.resume(runs[0], options=self.options)
        else:
            run = self.session.new("story", options=self.options)
        self.world.run = run
        return execute(self.session, run, agent(self.tree, self.world))

    def _look(self) -> None:
        runs = self.store.runs(name="story")
        self.done.append(
            {
                idempotency_key(self.store.key, runs[0].root_id or "", s.scope, s.pos)
                for s in self.session.index(runs[0].id).all_steps()
                if s.status in ("completed", "failed")
            }
            if runs
            else set()
        )

    def check(self) -> None:
        lives = self.world.lives
        for life, before in zip(lives[1:], self.done, strict=False):
            again = [path for path, key, _ in life.sent if key in before]
            assert not again, f"completed exchanges sent again: {again}"
        for life in lives:
            twice = [key for key, n in Counter(life.sent).items() if n > 1]
            assert not twice, f"one attempt sent twice: {twice}"
        last = lives[-1].told
        for n, life in enumerate(lives[:-1]):
            for path, told in life.told.items():
                # Plain requests inside a tool are made again with it, if it was cut off.
                # Of a chunk, the path is the stream's, and which.
                if "in" in (path[0] if isinstance(path[0], tuple) else path):
                    continue
                assert last.get(path, told) == told, (
                    f"{path}: told {told} in process {n}, {last[path]} in the last"
                )
        if self.result is not None and self.result[0] == "returned" and not timed(self.tree):
            lives.append(Life())
            run = self.session.replay(self.store.runs(name="story")[0])
            replayed = execute(self.session, run, agent(self.tree, self.world))
            assert replayed == self.result, "the finished run replays to another result"
            assert not lives[-1].sent, "a replay sent something"


def law(tree: Node, plan: list[tuple[str, int]], seed: int, unique: bool) -> None:
    try:
        story = Story(tree, plan, seed=seed, unique=unique)
        story.live()
        story.check()
    except DivergenceError:
        if not timed(tree) and steady(tree) and not unique:
            raise
        return  # stopped and said so: nothing is swapped or repeated, which is the law
    if story.result is None or unique or not steady(tree):
        return
    plain = Story(tree, [], seed=seed + 1, unique=False)
    plain.live()
    assert plain.result is not None
    if story.result[0] == plain.result[0] == "raised":
        assert type(story.result[1]) is type(plain.result[1])
    else:
        assert story.result == plain.result


# A simulated crash may hit a stream that is being collected: there nobody can catch it.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
runs = given(tree=trees, plan=crashes, seed=st.integers(0, 1000), unique=st.booleans())
relaxed = settings(deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.slow
@settings(relaxed, max_examples=40)
@runs
def test_any_agent(tree: Node, plan: list[tuple[str, int]], seed: int, unique: bool) -> None:
    """Of any shape, crashed anywhere: it ends as the undisturbed one does, and nothing completed is sent again."""
    law(tree, plan, seed, unique)


@pytest.mark.slow
@pytest.mark.timeout(900)
@settings(relaxed, max_examples=350)
@runs
def test_any_agent_thoroughly(tree: Node, plan: list[tuple[str, int]], seed: int, unique: bool) -> None:
    """The same for a minute."""
    law(tree, plan, seed, unique)
