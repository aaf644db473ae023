"""Whatever an agent is made of, wherever one goes back to: what is changed is changed, and everything else is as it was.

The world gives equal answers to equal calls. So a fork in which a step is made again, or has the result that it had, must end
as its parent did, at whatever step, in whatever strand or attempt it is; and going to any step executes nothing.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from test_schedules import steady, trees
from walking import agent
from workloads import Life, Node, World

from jupyter_durable.journal.edits import outermost
from jupyter_durable.runtime.run import ReplayEnd
from jupyter_durable.session import Session, Store
from jupyter_durable.session.change import is_stream
from jupyter_durable.testing import MemoryStore, execute

relaxed = settings(deadline=None, suppress_health_check=list(HealthCheck))


class Past:
    """One run that has ended, and ways back into it."""

    def __init__(self, tree: Node, seed: int) -> None:
        self.agent = lambda: agent(tree, self.world)
        self.world = World(seed, unique=False)
        self.store = MemoryStore()
        self.session = Session(self.store)
        self.facade = Store(self.store)
        self.world.lives.append(Life())
        run = self.session.new("story")
        self.end = self._told(execute(self.session, run, self.agent()))
        self.run = run.id
        self.index = self.session.index(run.id)
        self.steps = sorted(
            (step for scope in self.index.scopes.values() for step in scope.steps), key=lambda s: s.seq
        )

    def _told(self, end: tuple[str, Any]) -> tuple[str, str]:
        return end[0], repr(end[1])

    def goto(self, step: Any) -> None:
        made = self.world.count
        record = self.store.run(self.run)
        try:
            what, value = execute(self.session, self.session.replay(record, until=step.id), self.agent())
        except BaseException as error:
            what, value = "raised", error
        assert self.world.count == made, "going back executed something"
        assert self.store.run(self.run).head_hash == record.head_hash
        while isinstance(value, BaseExceptionGroup):
            value = value.exceptions[0]
        assert what == "raised", outermost(self.index, step.scope, step.pos)
        assert isinstance(value, ReplayEnd) or type(value).__name__ in ("CancelledError", "ToolError"), value

    def fork(self, step: Any, **change: Any) -> int:
        """Go on from there; how many calls that took."""
        forked = self.facade.fork(self.run, step.id, **change)
        self.world.lives.append(Life())
        made = self.world.count
        run = self.session.resume(self.store.run(forked.id))
        end = self._told(execute(self.session, run, self.agent()))
        assert end == self.end, f"forked at {step.id} {step.name} ({change})"
        count = self.world.count - made
        record = self.store.run(forked.id)
        if record.status == "completed":
            again = self._told(execute(self.session, self.session.replay(record), self.agent()))
            assert again == self.end, "the fork replays to something else"
            assert self.world.count - made == count, "a replay executed something"
        assert self.store.verify() == []
        return count


def law(tree: Node, pick: int, seed: int) -> None:
    """Go to a step, have it made again, give it the result that it had."""
    past = Past(tree, seed)
    assume(past.steps)
    step = past.steps[pick % len(past.steps)]
    past.goto(step)
    again = past.fork(step)
    outcome = step.outcome
    # What `grow` does to its argument is no part of its result.
    if outcome is not None and step.status == "completed" and step.name != "grow" and not is_stream(step):
        value = past.session.decoder(past.store.run(past.run))(outcome.payload, outcome.seq)
        given = past.fork(step, result=value)
        assert given <= again, "more was made when one step less was to be"


@pytest.mark.slow
@settings(relaxed, max_examples=40)
@given(trees.filter(steady), st.integers(0, 1000), st.integers(0, 1000))
def test_a_fork_that_changes_nothing_ends_as_its_parent(tree: Node, pick: int, seed: int) -> None:
    """Made again, or given the result that it had, at any step."""
    law(tree, pick, seed)


@pytest.mark.slow
@pytest.mark.timeout(900)
@settings(relaxed, max_examples=250)
@given(trees.filter(steady), st.integers(0, 1000), st.integers(0, 1000))
def test_a_fork_that_changes_nothing_thoroughly(tree: Node, pick: int, seed: int) -> None:
    """The same for longer."""
    law(tree, pick, seed)
