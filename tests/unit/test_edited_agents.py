"""Forks: what of the recorded path an edited agent may go again, and what it must do anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.testing import Crash, crash_at, execute


def test_deleting_the_first_read_never_answers_the_second_with_its_value(bench: Bench) -> None:
    """`read(); write(); read()` without the first read is a fork that reads anew."""
    state = ["old"]
    read = bench.tool(lambda: state[0], name="read")
    write = bench.tool(lambda value: state.__setitem__(0, value), name="write")

    def before() -> tuple[str, str]:
        first = read()
        write("new")
        return first, read()

    def after() -> str:
        write("newer")
        return read()

    assert bench.new(before) == ("old", "new")
    assert bench.fork(after) == "newer"


def _strands(bench: Bench) -> tuple[Any, Any, Callable[..., Any]]:
    """A world with `read` and `write`, and a strand that reads."""
    state = ["old"]

    read = bench.tool(lambda: state[0], name="read")
    write = bench.tool(lambda value: state.__setitem__(0, value), name="write")

    async def reader(name: str) -> str:
        return str(read())

    return read, write, reader


def test_a_call_inserted_before_strands_makes_them_anew(bench: Bench) -> None:
    """What the same strand spawns after a new call may depend on it, though its own calls are as recorded."""
    _, write, reader = _strands(bench)

    async def before() -> list[str]:
        return await asyncio.gather(reader("a"), reader("b"))

    async def after() -> list[str]:
        write("new")
        return await asyncio.gather(reader("a"), reader("b"))

    assert bench.new(before) == ["old", "old"]
    assert bench.fork(after) == ["new", "new"]
    assert bench.execute_replay(after) == ["new", "new"]


def test_a_call_deleted_before_strands_makes_them_anew(bench: Bench) -> None:
    """They were spawned after it: without it they are not the same."""
    _, write, reader = _strands(bench)

    async def before() -> list[str]:
        write("new")
        return await asyncio.gather(reader("a"), reader("b"))

    async def after() -> list[str]:
        return await asyncio.gather(reader("a"), reader("b"))

    assert bench.new(before) == ["new", "new"]
    assert bench.fork(after) == ["new", "new"]
    assert bench.effects["read()"] == 4


def test_strands_deleted_or_swapped_before_a_call_make_it_anew(bench: Bench) -> None:
    """A skipped strand ends the replay of the one that spawned it, from its first call on."""
    read, write, reader = _strands(bench)

    async def writer(value: str) -> None:
        write(value)

    async def before() -> tuple[str, list[str]]:
        await asyncio.gather(writer("new"))
        return read(), await asyncio.gather(reader("a"))

    async def without() -> tuple[str, list[str]]:
        return read(), await asyncio.gather(reader("a"))

    async def swapped() -> tuple[list[str], str]:
        found = await asyncio.gather(reader("a"))
        await asyncio.gather(writer("newer"))
        return found, read()

    assert bench.new(before) == ("new", ["new"])
    assert bench.fork(without) == ("new", ["new"])
    assert bench.effects["read()"] == 4
    assert bench.fork(swapped) == (["new"], "newer")
    assert bench.effects["read()"] == 6


def test_siblings_of_a_changed_strand_replay(bench: Bench) -> None:
    """They had been spawned before the change; what follows when they are joined is made anew."""
    look = bench.tool(lambda *what: what, name="look")

    def agent(changed: int) -> Callable[[], Any]:
        async def strand(n: int) -> None:
            look(n, 1)
            await asyncio.gather(inner(n))
            look(n, 7 if n == changed else 2)
            await asyncio.gather(inner(n))

        async def inner(n: int) -> None:
            look(n, "inside")

        async def main() -> None:
            look("first")
            await asyncio.gather(*(strand(n) for n in range(3)))
            look("last")

        return main

    bench.new(agent(-1))
    bench.effects.clear()
    bench.fork(agent(1))
    assert bench.effects == {"look(1, 7)": 1, "look(1, 'inside')": 1, "look('last',)": 1}


@pytest.mark.slow
def test_a_fork_of_strands_that_is_cut_off_resumes_as_itself(bench: Bench) -> None:
    """What it left is left, what it did is done, wherever it was cut off, and strands have equal names."""
    from jupyter_durable.testing import Crash, crash_at, execute

    look = bench.tool(lambda *what: what, name="look")

    def agent(first: tuple[int, ...]) -> Callable[[], Any]:
        async def strand() -> Any:
            mine = numbers.pop(0)
            await asyncio.sleep(0)
            return [look(mine), look(mine, "again")]

        async def main() -> Any:
            nonlocal numbers
            numbers = [*first, 8, 9]
            return [
                await asyncio.gather(*(strand() for _ in first)),
                look("between"),
                await asyncio.gather(strand(), strand()),
            ]

        numbers: list[int] = []
        return main

    expected = [[[(n,), (n, "again")] for n in (0, 2)], ("between",), [[(n,), (n, "again")] for n in (8, 9)]]
    for point in ("after-start", "after-call", "after-outcome"):
        for nth in range(1, 8):
            bench.new(agent((0, 1, 2)))
            fork = bench.session.fork(bench.record, kind="edit")
            bench.effects.clear()
            with crash_at(point, nth):
                try:
                    result: Any = execute(bench.session, fork, agent((0, 2)))[1]
                except Crash:
                    made = {call for call in bench.effects if point == "after-outcome"}
                    result = bench.resume(agent((0, 2)))
                    assert not [call for call in made if bench.effects[call] > 1]
            assert result == expected
            assert not any("1" in call for call in bench.effects), "nothing of the deleted strand is done"


def test_a_fork_replays_up_to_the_change_and_runs_the_rest(bench: Bench) -> None:
    """A change after step k replays k steps."""
    look = bench.tool(lambda n: n * 10, name="look")
    assert bench.new(lambda: [look(n) for n in range(5)]) == [0, 10, 20, 30, 40]
    assert bench.fork(lambda: [look(n) for n in (0, 1, 2, 7, 8)]) == [0, 10, 20, 70, 80]
    assert bench.effects == {f"look({n},)": 1 for n in (0, 1, 2, 3, 4, 7, 8)}
    assert bench.run is not None
    assert bench.run.stats.replayed == 3


def test_a_fork_says_how_many_effects_it_leaves_behind_before_it_acts(bench: Bench) -> None:
    """After 30 e-mails the notice comes before the first call of the fork."""
    mail = bench.tool(lambda to: to, name="mail")
    seen: list[int] = []
    other = bench.tool(lambda: seen.append(len(bench.notices)), name="other")
    bench.new(lambda: [mail(n) for n in range(30)])
    bench.fork(lambda: other())
    assert "30 steps whose effects have already happened (mail x30)" in bench.notices[0]
    assert seen == [1], "said before it acted"


def test_pure_tools_answer_from_the_part_that_a_fork_left_behind(bench: Bench) -> None:
    """`effect="pure"` is reused by its arguments after a cut; other effects are not."""
    square = bench.tool(lambda n: n * n, name="square", effect="pure")
    look = bench.tool(lambda n: n, name="look")
    bench.new(lambda: [look(1), square(3), look(2)])
    assert bench.fork(lambda: [look(9), square(3), look(2)]) == [9, 9, 2]
    assert bench.effects == {"look(1,)": 1, "square(3,)": 1, "look(2,)": 2, "look(9,)": 1}


def test_a_fork_that_is_cut_off_resumes_as_itself(bench: Bench) -> None:
    """What a fork dropped stays dropped, what it did stays done."""
    look = bench.tool(lambda n: n, name="look")
    bench.new(lambda: [look(n) for n in range(4)])

    def edited() -> list[int]:
        return [look(n) for n in (0, 1, 12, 13, 14)]

    with pytest.raises(AssertionError, match="never came"):
        bench.crash("after-outcome", 99, edited)  # counts only; the fork below is what is crashed
    first = bench.store.runs()[1]
    fork = bench.session.fork(first, kind="edit")
    with crash_at("after-outcome", 2), pytest.raises(Crash):
        execute(bench.session, fork, edited)
    bench.effects.clear()
    resumed = bench.session.resume(bench.store.run(fork.id))
    assert execute(bench.session, resumed, edited) == ("returned", [0, 1, 12, 13, 14])
    assert bench.effects == {"look(14,)": 1}


class Job:
    """What a strand is to do. It has no canonical form: strands with different ones are equal."""

    def __init__(self, *calls: str) -> None:
        self.calls = calls


def _look(bench: Bench) -> Any:
    @durable.tool
    async def look(what: str, seconds: float = 0) -> str:
        bench.effects[what] += 1
        await asyncio.sleep(seconds)
        return f"{what} {bench.effects.total()}"

    return look


def test_a_fork_remembers_which_of_equal_strands_it_took(bench: Bench) -> None:
    """An equal strand comes before a recorded one: whoever takes the fork up again finds each in its place."""
    look = _look(bench)
    jobs = [Job("plan", "write")]

    async def strand(job: Job) -> list[str]:
        return [await look(call) for call in job.calls]

    async def agent() -> Any:
        first = asyncio.create_task(strand(jobs[0])) if len(jobs) > 1 else None
        found = [await look("begin"), await asyncio.create_task(strand(jobs[-1]))]
        return [*found, await look("end"), first and await first]

    recorded = bench.new(agent)
    jobs.insert(0, Job("plan", "read"))
    edited = bench.fork(agent)
    assert edited[:2] == recorded[:2], "what the edit did not touch replays"
    assert bench.effects == {"begin": 1, "plan": 2, "write": 1, "read": 1, "end": 1}
    assert bench.execute_replay(agent) == edited


def test_a_call_that_now_comes_after_a_strand_is_made_anew(bench: Bench) -> None:
    """It was recorded while the strand was at work, and may now depend on what that has found."""
    look = _look(bench)
    first = False

    async def strand() -> str:
        return str(await look("strand"))

    async def agent() -> list[str]:
        task = asyncio.create_task(strand())
        if first:
            await task
        return [await look("beside"), await task]

    bench.new(agent)
    first = True
    edited = bench.fork(agent)
    assert bench.effects == {"beside": 2, "strand": 1}
    assert bench.execute_replay(agent) == edited


@pytest.mark.slow
def test_a_fork_that_sleeps_as_its_parent_did_makes_nothing_anew(bench: Bench) -> None:
    """A strand ends after the call of one that slept, as it did when that was recorded, however long the sleep."""
    look = _look(bench)
    more = False

    async def strand() -> str:
        return str(await look("slow", 2.0))

    async def agent() -> Any:
        task = asyncio.create_task(strand())
        await asyncio.sleep(1.5)
        found = [await look("meanwhile"), await task]
        return [*found, await look("more")] if more else found

    recorded = bench.new(agent)
    more = True
    assert bench.fork(agent)[:2] == recorded
    assert bench.effects == {"slow": 1, "meanwhile": 1, "more": 1}
