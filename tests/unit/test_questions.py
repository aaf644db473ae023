"""Questions, in one process: forms and types of answers, what is refused, timeouts, edits."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import pydantic
import pytest
from people import PARK, parked
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.errors import AlreadyDecidedError, DurableError, RunParked
from jupyter_durable.testing import ManualClock


class Choice(pydantic.BaseModel):
    """What a person chooses."""

    name: str
    times: int = pydantic.Field(ge=1, default=1)


class Colour(enum.Enum):
    """One of two."""

    RED = "red"
    BLUE = "blue"


def test_a_question_with_a_form(bench: Bench) -> None:
    """Its schema is with it; an answer that does not fit is refused where it is given; the value is of the type."""

    async def agent() -> Any:
        return await durable.ask("Which one?", Choice)

    (wait,) = parked(bench, agent)
    assert (wait.kind, wait.prompt, wait.actions) == ("ask", "Which one?", ("answer",))
    assert wait.schema is not None
    assert wait.schema["properties"]["times"]["minimum"] == 1
    run = bench.record.id
    for wrong, why in (
        ({"name": 1}, "name: 1 is not of type 'string'"),
        ({"name": "a", "times": 0}, "minimum"),
        ("a", "object"),
    ):
        with pytest.raises(DurableError, match=why):
            bench.facade.answer(run, wait.key, wrong)
    with pytest.raises(DurableError, match="which approve does not end"):
        bench.facade.approve(run, "1.0")
    bench.facade.answer(run, "1.0", Choice(name="a", times=2), by="ann")
    with pytest.raises(AlreadyDecidedError) as caught:
        bench.facade.answer(run, "ask", {"name": "b"})
    assert caught.value.decided_by == "ann"
    assert bench.facade.waits(run)[0].decided_by == "ann"
    assert bench.resume(agent) == Choice(name="a", times=2)
    assert bench.execute_replay(agent) == Choice(name="a", times=2)
    with pytest.raises(AlreadyDecidedError, match="by ann"):
        bench.facade.answer(run, "1.0", {"name": "c"})


class Even(pydantic.BaseModel):
    """What a schema cannot say."""

    n: int

    @pydantic.field_validator("n")
    @classmethod
    def check(cls, n: int) -> int:
        if n % 2:
            raise ValueError("odd")
        return n


def test_an_answer_that_only_the_code_can_refuse_is_asked_for_again(bench: Bench) -> None:
    """What the schema cannot say is checked by the run, which goes on waiting, under a new key."""

    def agent() -> int:
        return int(durable.ask("n?", Even).n)

    (first,) = parked(bench, agent)
    bench.facade.answer(bench.record.id, first.key, {"n": 1}, by="ann")
    (second,) = parked(bench, agent, resume=True)
    assert second.key != first.key
    assert any("what ann said" in notice and "odd" in notice for notice in bench.notices)
    bench.facade.answer(bench.record.id, second.key, {"n": 2})
    assert bench.resume(agent) == 2


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        (str, "x", "x"),
        (bool, True, True),
        (Colour, "red", Colour.RED),
        (list[int], [1], [1]),
        (None, {"a": 1}, {"a": 1}),
    ],
)
def test_types_of_answers(bench: Bench, kind: Any, given: Any, value: Any) -> None:
    """Plain types, enums and lists; None takes anything that is JSON."""

    def agent() -> Any:
        return durable.ask("?", kind)

    parked(bench, agent)
    bench.facade.answer(bench.record.id, "1.0", given)
    assert bench.resume(agent) == value


def test_a_question_can_time_out_and_be_asked_again(bench: Bench) -> None:
    """The error is a checkpoint; if it ended the run, the resumed one waits anew."""
    clock = bench.session.clock = ManualClock()

    def agent() -> Any:
        return durable.ask("?", timeout="1 min")

    with pytest.raises(TimeoutError, match="within 1 min"):
        bench.new(agent)
    (wait,) = parked(bench, agent, resume=True)
    assert wait.until == pytest.approx(clock.now() + 60)
    parked(bench, agent, resume=True)
    bench.facade.answer(bench.record.id, "1.0", "in time")
    assert bench.resume(agent) == "in time"


def test_an_answer_given_before_an_edit_counts(bench: Bench) -> None:
    """And so do signals that are queued: an edited cell is the same endeavour. A fork of one's own is not."""

    def agent(last: str) -> Callable[[], Any]:
        def run() -> Any:
            return durable.ask("?"), durable.wait_for("go"), last

        return run

    parked(bench, agent("a"))
    bench.facade.answer(bench.record.id, "1.0", "yes")
    bench.facade.signal(bench.record.id, "go", 1)
    assert bench.fork(agent("b"), **PARK) == ("yes", 1, "b")
    with pytest.raises(RunParked):
        bench.fork(agent("c"), at="1.0", kind="user", **PARK)


def test_an_awaitable_that_is_not_awaited_is_no_yes(bench: Bench) -> None:
    """In async code, a question is not answered by being asked."""

    async def agent() -> Any:
        asked = durable.ask("Delete it?", bool)
        try:
            return "deleted" if asked else "kept"
        except DurableError as error:
            asked.close()
            return error.hint

    assert "await" in bench.new(agent)
    with pytest.raises(DurableError, match="no run is being executed"):
        durable.ask("?")
