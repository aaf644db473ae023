"""What people are shown of a journal: how long steps took, and calls in a line about something else."""

from __future__ import annotations

import pytest
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.session import Session, Store
from jupyter_durable.store.memory import MemoryStore
from jupyter_durable.testing import ManualClock
from jupyter_durable.timeline.view import brief

HOUR = 3600.0


class Timed(Bench):
    """A bench whose clock moves when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.store = MemoryStore(clock=self.clock)
        self.session = Session(self.store, clock=self.clock)
        self.facade = Store(self.store)

    def seconds(self) -> list[float | None]:
        """What each step took."""
        return [step.seconds for step in self.steps()]


def test_a_step_that_was_cut_off_took_what_its_last_attempt_took() -> None:
    """Neither the first attempt nor the time without a process belongs to it; when it began is still told."""
    bench = Timed()
    call = bench.tool(lambda: bench.clock.advance(2), name="call")
    bench.crash("after-call", 1, call)
    assert bench.seconds() == [None]
    bench.clock.advance(HOUR)
    bench.resume(call)
    assert bench.seconds() == [2.0]
    (step,) = bench.steps()
    assert step.ended_at is not None
    assert step.ended_at - step.started_at == HOUR + 4


def test_a_replayed_step_took_what_it_took_then() -> None:
    """Replaying changes nothing about it."""
    bench = Timed()
    call = bench.tool(lambda n: bench.clock.advance(n), name="call")
    bench.crash("before-start", 2, lambda: [call(3), call(5)])
    bench.clock.advance(HOUR)
    bench.resume(lambda: [call(3), call(5)])
    assert bench.seconds() == [3.0, 5.0]


def test_nobody_knows_how_long_it_took_what_a_person_answered() -> None:
    """The outcome of a step in doubt that was supplied is not the end of an attempt."""
    bench = Timed()
    send = bench.tool(lambda: bench.clock.advance(2), name="send", effect="unsafe")
    bench.crash("after-call", 1, send)
    bench.clock.advance(HOUR)
    bench.facade.supply(bench.record.id, "1.0", "sent")
    bench.resume(send, park_after=0.0)
    assert [step.status for step in bench.steps()] == ["completed"]
    assert bench.seconds() == [None]


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        ("fetch(url='https://example.org', n=3)", "fetch(url='https://example.org', n=3)"),
        ("ask('What is a lease, and why does it have a number?')", "ask('What is a lease, and wh…')"),
        ("ask(\"it's a question that is quite long\", 'b')", "ask(\"it's a question that is…\", 'b')"),
        (f"add({', '.join(str(n) for n in range(40))})", "add(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12"),
        ("send(to=…)", "send(to=…)"),
    ],
)
def test_a_call_in_a_line_about_something_else_is_brief(call: str, shown: str) -> None:
    """Long strings are cut where they stand, so that the arguments behind them are seen; and it still looks like a call."""
    assert brief(call).startswith(shown)
    assert len(brief(call)) <= 80
    assert brief(call).endswith(")")


def test_a_plan_fits_into_a_line() -> None:
    """The plan names the call it continues at, and not all that it is given."""
    bench = Bench()

    @durable.tool
    def summarise(page: str, words: int) -> str:
        return page[:words]

    bench.crash("after-start", 2, lambda: [summarise("x", 1), summarise("a page of text, " * 200, 50)])
    says = str(bench.facade.plan(bench.record.id))
    assert says == "1 of 2 steps replayed, 1 in doubt, continues at summarise('a page of text, a page…', …)"
