"""State that several strands share and change in place: read in threads, handed to calls, grown by graphs."""

from __future__ import annotations

import asyncio
import operator
import random
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.runtime.mutations import apply
from jupyter_durable.testing import prove


@durable.tool
async def search(q: str, seen: list[Any]) -> str:
    """How much was known when it was asked."""
    await asyncio.sleep(random.choice((0, 0.001, 0.003)))
    return f"{q}{len(seen)}"


def replays(agent: Callable[[], Any], times: int = 12) -> None:
    """Whatever the schedule was, the replay goes the same way."""
    for seed in range(times):
        random.seed(seed)
        bench = Bench()
        value = bench.new(agent)
        assert bench.execute_replay(agent) == value, seed


@pytest.mark.slow
def test_what_a_thread_reads_is_what_was_there_before_the_next_outcome() -> None:
    """`to_thread` over a list that others grow: live, the next outcome waits for it, as on replay."""

    async def agent() -> Any:
        log: list[Any] = []

        async def reader(n: int) -> None:
            log.append(await search(f"a{n}", list(log)))
            seen = await asyncio.to_thread(list, log)
            log.append(await search(f"A{n}", seen))

        async def grower(n: int) -> None:
            log.append(await search(f"b{n}", []))

        await asyncio.gather(reader(0), reader(1), *(grower(n) for n in range(6)))
        return log

    replays(agent)


def test_a_thread_that_waits_holds_up_nobody() -> None:
    """It has come to rest, though it has not ended."""

    async def agent() -> Any:
        done = asyncio.Event()
        loop = asyncio.get_running_loop()

        def wait() -> None:
            asyncio.run_coroutine_threadsafe(done.wait(), loop).result()

        waiting = asyncio.create_task(asyncio.to_thread(wait))
        found = [await search(str(n), []) for n in range(5)]
        done.set()
        await waiting
        return found

    bench = Bench()
    assert bench.new(agent) == ["00", "10", "20", "30", "40"]
    assert bench.execute_replay(agent) == ["00", "10", "20", "30", "40"]


@pytest.mark.slow
def test_an_argument_that_others_change_while_a_call_is_made() -> None:
    """That is theirs, not the call's: on replay they do it again, and nobody for them."""

    async def agent() -> Any:
        log: list[Any] = []

        async def one(n: int) -> None:
            log.append(await search(f"b{n}", log))  # the very list

        async def other() -> None:
            for n in range(4):
                log.append(await search(f"o{n}", []))  # noqa: PERF401 - others do it, too

        await asyncio.gather(other(), *(one(n) for n in range(3)))
        return log

    replays(agent)


def test_an_argument_that_the_call_changes_is_changed_again() -> None:
    """As ever, also in a strand among others; and beside what others add to it."""

    @durable.tool
    async def answer(messages: list[str], n: int) -> int:
        await asyncio.sleep(random.choice((0, 0.002)))
        messages.append(f"answer {n}")
        return n

    async def agent() -> Any:
        own: list[list[str]] = [["q"] for _ in range(3)]
        await asyncio.gather(*(answer(messages, n) for n, messages in enumerate(own)))
        return own

    replays(agent, 4)


@pytest.mark.parametrize(
    ("there", "recorded", "then"),
    [
        (["q", "o"], ["q", "o"], ["q", "o"]),
        (["q", "o", "p"], ["q", "o"], ["q", "o", "p"]),
        (["q", "o"], ["q", "a"], ["q", "a", "o"]),
        (["q", "o"], ["q", "o", "a"], ["q", "o", "a"]),
        ({"a": 1, "b": 2}, {"a": 1, "c": 3}, {"a": 1, "b": 2, "c": 3}),
        ({1, 2}, {1, 3}, {1, 2, 3}),
    ],
)
def test_what_is_shared_is_added_to(there: Any, recorded: Any, then: Any) -> None:
    """What others have done since stays."""
    apply({"0": recorded}, (there,), {}, shared=True)
    assert there == then


# -- a graph ---------------------------------------------------------------------------------------------


class State(TypedDict):
    """Lists with reducers, which its nodes also change in place."""

    log: Annotated[list[Any], operator.add]
    facts: Annotated[list[Any], operator.add]
    round: int


def graph() -> Any:
    """Three nodes side by side, one of which sends three more; a node and routers that are plain functions, which run
    in threads; round and round."""
    graphs = pytest.importorskip("langgraph.graph")
    types = pytest.importorskip("langgraph.types")

    async def plan(state: State) -> Any:
        state["log"].append("planning")
        return {"log": [f"plan {state['round']}"], "round": state["round"] + 1}

    async def one_by_one(state: State) -> Any:
        first = await search("a", list(state["log"]))
        state["log"].append(first)
        second = await search("A", list(state["log"]))
        return {"log": [first, second], "facts": [second]}

    async def gathered(state: State) -> Any:
        async def one(n: int) -> str:
            found = await search(f"b{n}", state["log"])
            state["log"].append(found)
            return found

        return {"log": list(await asyncio.gather(*map(one, range(3))))}

    def blocking(state: State) -> Any:
        return {"facts": [len(state["log"])]}

    async def item(state: State) -> Any:
        found = await search("item", state["log"])
        state["log"].append(found)
        return {"facts": [found], "log": [found]}

    def fan(state: State) -> list[Any]:
        return [types.Send("item", {**state, "log": [*state["log"], n]}) for n in range(3)]

    async def join(state: State) -> Any:
        return {"log": [f"joined {len(state['facts'])}"]}

    made = graphs.StateGraph(State)
    for node in (plan, one_by_one, gathered, blocking, item, join):
        made.add_node(node.__name__, node)
    made.add_edge(graphs.START, "plan")
    made.add_edge("plan", "one_by_one")
    made.add_edge("plan", "gathered")
    made.add_edge("plan", "blocking")
    made.add_conditional_edges("one_by_one", fan, ["item"])
    made.add_edge(["item", "gathered", "blocking"], "join")
    made.add_conditional_edges("join", lambda state: graphs.END if state["round"] >= 2 else "plan")
    return made.compile()


async def agent() -> Any:
    """What the graph comes to."""
    return await graph().ainvoke({"log": [], "facts": [], "round": 0})


@pytest.mark.slow
def test_a_graph_whose_nodes_change_its_state_in_place() -> None:
    """Replayed, and cut off at every step: what was recorded is what it finds again."""
    replays(agent, 6)
    for point in ("after-start", "after-call", "after-outcome"):
        for nth in range(1, 17, 3):
            random.seed(nth)
            bench = Bench()
            bench.crash(point, nth, agent)
            value = bench.resume(agent)
            assert bench.execute_replay(agent) == value, (point, nth)


@pytest.mark.slow
def test_a_graph_whose_nodes_do_not_is_proven() -> None:
    """The same result under shuffled schedules and crashes."""
    graphs = pytest.importorskip("langgraph.graph")

    async def first(state: State) -> Any:
        return {"log": [await search("a", state["log"])]}

    async def second(state: State) -> Any:
        found = await asyncio.gather(*(search(f"b{n}", state["log"]) for n in range(2)))
        return {"log": list(found)}

    async def last(state: State) -> Any:
        return {"log": [await search("last", state["log"])], "round": state["round"] + 1}

    made = graphs.StateGraph(State)
    for node in (first, second, last):
        made.add_node(node.__name__, node)
    for node in ("first", "second"):
        made.add_edge(graphs.START, node)
        made.add_edge(node, "last")
    made.add_conditional_edges(
        "last",
        lambda state: graphs.END if state["round"] >= 2 else ["first", "second"],
        ["first", "second", graphs.END],
    )
    compiled = made.compile()

    async def steady() -> Any:
        return (await compiled.ainvoke({"log": [], "facts": [], "round": 0}))["log"]

    prove(steady, schedules=12)
