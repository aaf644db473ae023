"""`durable.run` outside notebooks: functions, blocks, child runs, and which run it is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import jupyter_durable as durable
from jupyter_durable.errors import DurableError, StepInDoubtError
from jupyter_durable.testing import Crash, crash_at


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store of this test's own."""
    return str(tmp_path / "journal.db")


def test_a_function_is_found_again_by_name_and_arguments(url: str) -> None:
    """Cut off with one set of arguments, it resumes with those; others are another run."""
    made: list[int] = []

    @durable.tool
    def look(n: int) -> int:
        made.append(n)
        return n

    @durable.run("sum", store=url)
    def total(n: int) -> int:
        return sum(look(i) for i in range(n))

    with crash_at("after-outcome", 2), pytest.raises(Crash):
        total(3)
    assert total(2) == 1
    assert made == [0, 1, 0, 1]
    assert total(3) == 3
    assert made == [0, 1, 0, 1, 2]
    assert [(r.status, r.steps.completed) for r in durable.open_store(url).runs(name="sum")] == [
        ("completed", 2),
        ("completed", 3),
    ]


def test_a_finished_function_runs_anew(url: str) -> None:
    """Yesterday's answer is not today's."""
    made: list[int] = []

    @durable.run("once", store=url)
    async def once() -> None:
        await durable.step("note", lambda: made.append(1)) if False else durable.step(
            "note", lambda: made.append(1)
        )

    asyncio.run(once())
    asyncio.run(once())
    assert made == [1, 1]


def test_blocks(url: str) -> None:
    """`with` and `async with` are runs too; `resume="never"` starts afresh, an id names one."""
    made: list[str] = []

    def body(what: str) -> None:
        durable.step("one", lambda: made.append(f"{what} one"))
        durable.step("two", lambda: made.append(f"{what} two"))

    with crash_at("after-outcome", 1), pytest.raises(Crash), durable.run("block", store=url) as run:
        body("a")
    first = run.id
    with durable.run("block", store=url, resume="never") as run:
        body("b")
    assert run.id != first
    with durable.run("block", store=url, resume=first) as run:
        body("c")
    assert run.id == first
    assert made == ["a one", "b one", "b two", "c two"]

    async def main() -> None:
        async with durable.run("async block", store=url):
            body("d")

    asyncio.run(main())
    assert made[-2:] == ["d one", "d two"]


def test_a_run_inside_a_run_is_its_child(url: str) -> None:
    """One step of the outer run, with a journal of its own; after a crash the child goes on, too."""
    made: list[str] = []

    @durable.run("inner", store=url)
    def inner(n: int) -> int:
        for part in range(3):
            durable.step("part", lambda part=part: made.append(f"{n}.{part}"))
        return n

    @durable.run("outer", store=url)
    def outer() -> list[int]:
        return [inner(n) for n in range(2)]

    with crash_at("after-outcome", 6), pytest.raises(Crash):
        outer()
    assert outer() == [0, 1]
    assert made == ["0.0", "0.1", "0.2", "1.0", "1.1", "1.2"]
    store = durable.open_store(url)
    (top,) = store.runs(name="outer")
    assert {run.parent_id for run in store.runs(name="inner")} == {top.id}
    assert [step.kind for step in store.steps(top.id)] == ["run", "run"]


def test_an_unsafe_step_in_doubt_stops_a_script(url: str) -> None:
    """A script does not wait for a person: it ends with an error that says what to type."""
    sent: list[int] = []

    @durable.tool(effect="unsafe")
    def send() -> int:
        sent.append(1)
        return len(sent)

    @durable.run("mail", store=url)
    def mail() -> int:
        return send()

    with crash_at("after-call"), pytest.raises(Crash):
        mail()
    with pytest.raises(StepInDoubtError, match="jupyter durable retry") as caught:
        mail()
    store = durable.open_store(url)
    assert store.runs(name="mail")[0].status == "waiting"
    store.supply(caught.value.run_id, "1.0", 7)
    assert mail() == 7
    assert sent == [1]


def test_edited_code_forks(url: str) -> None:
    """The same name with other code takes the unfinished run up as a fork."""
    made: list[str] = []

    def step(name: str) -> None:
        durable.step(name, lambda: made.append(name))

    @durable.run("edited", store=url)
    def work() -> None:
        step("one")
        step("two")

    with crash_at("after-outcome", 1), pytest.raises(Crash):
        work()

    @durable.run("edited", store=url)
    def work_edited() -> None:
        step("one")
        step("three")

    work_edited()
    assert made == ["one", "three"]
    newest = durable.open_store(url).runs(name="edited")[0]
    assert newest.forked_at is not None


def test_a_generator_cannot_be_a_run() -> None:
    """Said when it is declared, with what to do instead."""
    with pytest.raises(DurableError, match="generator"):

        @durable.run("stream")
        def stream():
            yield 1
