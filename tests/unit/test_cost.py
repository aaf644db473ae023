"""Money and tokens: recorded with each answer, summed over runs, saved by replay; budgets that stop a run."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.capture.wire import prices
from jupyter_durable.cli import main
from jupyter_durable.errors import BudgetExceeded, DurableError, RunParked
from jupyter_durable.journal.budget import Budget
from jupyter_durable.testing import Crash, crash_at

CALL = 1000 * 2.5e-6 + 100 * 10e-6
"""USD that an answer costs: 1000 tokens in, 100 out, of gpt-4o."""


@pytest.fixture(autouse=True, scope="module")
def _prices() -> None:
    assert prices.load()


class Model:
    """A provider behind a transport of one's own: counts what is asked of it, outside the journal."""

    def __init__(self, model: str = "gpt-4o", delay: float = 0.0) -> None:
        self.hits = 0
        self.model = model
        self.delay = delay

    def answer(self, request: httpx.Request) -> httpx.Response:
        """One answer, of known length."""
        self.hits += 1
        if self.delay:
            time.sleep(self.delay)
        usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
        choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
        return httpx.Response(200, json={"model": self.model, "choices": [choice], "usage": usage})

    async def answer_async(self, request: httpx.Request) -> httpx.Response:
        """The same for coroutines."""
        if self.delay:
            await asyncio.sleep(self.delay)
        return self.answer(request)

    def ask(self, n: int, host: str = "api.openai.com") -> str:
        """One call."""
        with httpx.Client(transport=httpx.MockTransport(self.answer)) as client:
            return str(
                client.post(f"https://{host}/v1/chat/completions", json=self.body(n)).json()["choices"][0]
            )

    async def ask_async(self, n: int) -> str:
        """The same for coroutines."""
        async with httpx.AsyncClient(transport=httpx.MockTransport(self.answer_async)) as client:
            found = await client.post("https://api.openai.com/v1/chat/completions", json=self.body(n))
            return str(found.json()["choices"][0])

    def body(self, n: int) -> dict[str, Any]:
        """A request."""
        return {"model": self.model, "messages": [{"role": "user", "content": f"{n}"}]}

    def agent(self, calls: int) -> Any:
        """An agent that makes so many calls."""
        return lambda: [self.ask(n) for n in range(calls)]


# -- what was spent ---------------------------------------------------------------------------------


def test_a_step_says_what_it_used_and_cost(bench: Bench) -> None:
    """Provider, model, tokens and price, with the step and summed in the run's row."""
    bench.new(Model().agent(2))
    step = bench.steps()[0]
    assert step.kind == "model"
    assert step.usage is not None
    assert (step.usage["provider"], step.usage["model"]) == ("openai", "gpt-4o")
    assert (step.usage["input"], step.usage["output"], step.usage["finish"]) == (1000, 100, "stop")
    assert step.cost == pytest.approx(CALL)
    run = bench.facade.run(bench.record.id)
    assert run.cost == pytest.approx(2 * CALL)
    assert (run.usage.calls, run.usage.input, run.usage.output, run.saved) == (2, 2000, 200, 0.0)


def test_replays_save_what_the_calls_cost(bench: Bench) -> None:
    """Each process that was answered from the journal saved the price of what it was answered."""
    model = Model()
    with pytest.raises(ValueError, match="x"):
        bench.new(lambda: (model.agent(3)(), int("x")))
    for _ in range(2):
        with pytest.raises(ValueError, match="x"):
            bench.resume(lambda: (model.agent(3)(), int("x")))
    assert model.hits == 3
    run = bench.facade.run(bench.record.id)
    assert run.cost == pytest.approx(3 * CALL)
    assert run.saved == pytest.approx(6 * CALL)
    assert [step.saved for step in bench.steps()] == [pytest.approx(2 * CALL)] * 3


def test_a_fork_spends_its_own_and_saves_its_parents(bench: Bench) -> None:
    """What the parent paid is not paid again, nor counted twice."""
    model = Model()
    with pytest.raises(ValueError, match="x"):
        bench.new(lambda: (model.agent(3)(), int("x")))
    parent = bench.record.id
    bench.fork(model.agent(4))
    run = bench.facade.run(bench.record.id)
    assert (run.cost, run.saved) == (pytest.approx(CALL), pytest.approx(3 * CALL))
    assert bench.facade.spent(run.id).inherited == pytest.approx(3 * CALL)
    assert bench.facade.run(parent).cost == pytest.approx(3 * CALL)


def test_a_killed_run_is_summed_by_folding_its_journal(bench: Bench) -> None:
    """No last entry has the sum, so the answers say it."""
    with crash_at("after-outcome", 2), pytest.raises(Crash):
        bench.new(Model().agent(3))
    assert bench.facade.run(bench.record.id).cost == pytest.approx(2 * CALL)


def test_an_unknown_price_is_said(bench: Bench) -> None:
    """A model without a price, and a machine of one's own, cost nobody knows what."""
    model = Model(model="house-model")
    bench.new(lambda: [model.ask(1), model.ask(2, host="localhost")])
    assert [step.cost for step in bench.steps()] == [None, None]
    run = bench.facade.run(bench.record.id)
    assert (run.cost, run.usage.unpriced, run.usage.input) == (0.0, 2, 2000)


def test_an_unknown_model_is_looked_for_again_in_newer_prices() -> None:
    """That nothing is known of a model is remembered with the prices in which it was looked for."""
    from genai_prices import data_snapshot, types

    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    assert prices.cost("openai", "chat", "tomorrow-1", usage) is None
    known = data_snapshot.find_provider_by_id(data_snapshot.get_snapshot().providers, "openai")
    assert known is not None
    model = known.find_model("gpt-4o")
    assert model is not None
    newer = replace(known, models=[replace(model, match=types.ClauseEquals("tomorrow-1"))])
    data_snapshot.set_custom_snapshot(data_snapshot.DataSnapshot([newer], from_auto_update=False))
    try:
        assert prices.cost("openai", "chat", "tomorrow-1", usage) == pytest.approx(CALL)
    finally:
        data_snapshot.set_custom_snapshot(None)
    assert prices.cost("openai", "chat", "tomorrow-1", usage) is None


def test_an_answer_without_a_price_is_priced_when_it_is_looked_at(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that came before the prices were loaded is recorded with its usage."""
    with monkeypatch.context() as early:
        early.setattr(prices, "_package", None)
        early.setattr(prices, "_missing", True)
        bench.new(Model().agent(1))
    assert bench.facade.run(bench.record.id).usage.unpriced == 1
    assert bench.steps()[0].cost == pytest.approx(CALL)
    assert bench.facade.spent(bench.record.id).cost == pytest.approx(CALL)


# -- budgets ----------------------------------------------------------------------------------------


def spent_out(bench: Bench, fn: Any, budget: Budget, **options: Any) -> RunParked:
    """Execute until the budget parks the run."""
    with pytest.raises(RunParked) as stop:
        bench.new(fn, budget=budget, park_after=0.0, **options)
    assert bench.record.status == "waiting"
    return stop.value


def test_a_budget_stops_before_the_call_that_would_pass_it(bench: Bench) -> None:
    """The next call is taken to cost what the last one did."""
    model = Model()
    stop = spent_out(bench, model.agent(10), Budget(cost=3.5 * CALL))
    assert model.hits == 3
    assert "would pass it" in str(stop)
    assert f"budget {bench.record.id[:13]}" in stop.hint


def test_a_budget_survives_resume_and_can_be_raised(bench: Bench) -> None:
    """What was spent before counts; a raise is a row that any process may write; nothing is paid for twice."""
    model = Model()
    budget = Budget(cost=3.5 * CALL)
    spent_out(bench, model.agent(6), budget)
    for given in (budget, None):  # said again, or not at all: `%durable resume`
        with pytest.raises(RunParked):
            bench.resume(model.agent(6), budget=given, park_after=0.0)
        assert model.hits == 3
    bench.facade.raise_budget(bench.record.id, cost=5.5 * CALL, by="me")
    with pytest.raises(RunParked):
        bench.resume(model.agent(6), budget=budget, park_after=0.0)
    assert model.hits == 5
    assert any("said me" in notice for notice in bench.notices)
    bench.facade.raise_budget(bench.record.id, cost=10 * CALL)
    assert len(bench.resume(model.agent(6), budget=budget, park_after=0.0)) == 6
    assert model.hits == 6
    assert bench.execute_replay(model.agent(6))


def test_the_cells_new_word_counts(bench: Bench) -> None:
    """Who edits the line and runs the cell has raised it."""
    model = Model()
    spent_out(bench, model.agent(4), Budget(cost=2.5 * CALL))
    assert len(bench.resume(model.agent(4), budget=Budget(cost=9 * CALL), park_after=0.0)) == 4
    assert model.hits == 4


def test_an_automatic_fork_goes_on_with_what_is_left(bench: Bench) -> None:
    """An edit does not reset what was spent."""
    model = Model()
    spent_out(bench, model.agent(6), Budget(cost=3.5 * CALL))
    with pytest.raises(RunParked):
        bench.fork(model.agent(7), park_after=0.0)
    assert model.hits == 3


def test_steps_are_counted_not_replays(bench: Bench) -> None:
    """`max_steps` counts steps of every kind, once each."""
    made: list[int] = []
    tool = bench.tool(lambda n: made.append(n), name="tool")

    def agent() -> None:
        for n in range(5):
            tool(n)

    stop = spent_out(bench, agent, Budget(steps=3))
    assert "3 steps of 3" in str(stop)
    with pytest.raises(RunParked):
        bench.resume(agent, park_after=0.0)
    assert made == [0, 1, 2]
    assert bench.facade.raise_budget(bench.record.id, steps=5) == Budget(steps=5)
    bench.resume(agent, park_after=0.0)
    assert made == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_calls_under_way_are_counted(bench: Bench) -> None:
    """Of many at once no more are made than the budget has room for, once a price is known."""
    model = Model(delay=0.05)

    async def agent() -> Any:
        await model.ask_async(-1)
        return await asyncio.gather(*(model.ask_async(n) for n in range(10)))

    spent_out(bench, agent, Budget(cost=4.5 * CALL))
    assert model.hits <= 4


@contextmanager
def later(act: Any) -> Iterator[None]:
    """Somebody else's deed, soon."""
    thread = threading.Thread(target=act)
    thread.start()
    yield
    thread.join()


@pytest.mark.parametrize("is_async", [False, True])
def test_a_run_waits_for_a_person(bench: Bench, is_async: bool) -> None:
    """Live, the run waits where it is, and goes on when the budget is raised."""
    model = Model()

    def raise_it() -> None:
        while not (bench.store.runs() and bench.record.status == "waiting"):
            time.sleep(0.01)
        assert model.hits == 2
        bench.facade.raise_budget(bench.record.id, cost=9 * CALL)

    async def agent_async() -> Any:
        return [await model.ask_async(n) for n in range(4)]

    with later(raise_it):
        assert (
            len(bench.new(agent_async if is_async else model.agent(4), budget=Budget(cost=2.5 * CALL))) == 4
        )
    assert model.hits == 4
    assert bench.record.status == "completed"


def test_a_model_call_inside_a_tool_stops_it_there(bench: Bench) -> None:
    """The tool's attempt stays open: after a raise it goes on with the calls it had paid for."""
    model = Model()
    tool = bench.tool(lambda: [model.ask(n) for n in range(4)], name="research")
    spent_out(bench, lambda: tool(), Budget(cost=2.5 * CALL))
    bench.facade.raise_budget(bench.record.id, cost=9 * CALL)
    assert len(bench.resume(lambda: tool(), park_after=0.0)) == 4
    assert model.hits == 4


def test_an_unknown_price_is_not_counted_and_said(bench: Bench) -> None:
    """A budget cannot hold what it cannot know."""
    model = Model(model="house-model")
    bench.new(model.agent(3), budget=Budget(cost=0.001), park_after=0.0)
    assert model.hits == 3
    assert any("not known" in notice for notice in bench.notices)


def test_a_run_without_a_budget_has_none_to_raise(bench: Bench) -> None:
    """Said at once, not ignored."""
    bench.new(Model().agent(1))
    with pytest.raises(DurableError, match="has no budget"):
        bench.facade.raise_budget(bench.record.id, cost=1.0)


def test_scripts_get_an_error(tmp_path: Path) -> None:
    """`durable.run` raises `BudgetExceeded`, even if the code swallowed what stopped it."""
    model = Model()

    @durable.run("agent", store=str(tmp_path / "j.db"), budget=f"${2.5 * CALL}")
    def agent() -> list[str]:
        return [model.ask(n) for n in range(4)]

    for _ in range(2):
        with pytest.raises(BudgetExceeded, match="would pass it"):
            agent()
    assert model.hits == 2


# -- the command line -------------------------------------------------------------------------------


def test_the_command_line(tmp_path: Path) -> None:
    """Sums by notebook and steps, as text and JSON; a raise."""
    store = str(tmp_path / "j.db")
    model = Model()

    @durable.run("agent", store=store, budget=2.5 * CALL)
    def agent() -> list[str]:
        return [model.ask(n) for n in range(3)]

    with pytest.raises(BudgetExceeded):
        agent()
    runner = CliRunner()

    def say(*words: str) -> str:
        found = runner.invoke(main, [*words, "--store", store])
        assert found.exit_code == 0, found.output
        return str(found.output)

    assert "2 model calls (2,000 tokens in, 200 out)" in say("cost")
    assert say("cost", "agent").count("openai.chat gpt-4o") == 2
    assert json.loads(say("cost", "--json"))["cost"] == pytest.approx(2 * CALL)
    assert json.loads(say("cost", "agent", "--json"))["steps"][0]["cost"] == pytest.approx(CALL)
    assert "1,000 tokens in, 100 tokens out, $0.0035" in say("show", "agent", "1.0")
    assert "$0.0070 saved" in say("show", "agent")
    shown = json.loads(say("show", "agent", "--json"))
    assert (shown["cost"], shown["usage"]["calls"]) == (pytest.approx(2 * CALL), 2)
    assert json.loads(say("ls", "--json"))[0]["saved"] == 0.0
    assert "may spend $1.00" in say("budget", "agent", "$1")
    assert len(agent()) == 3
    assert model.hits == 3
    assert json.loads(say("cost", "agent", "--json"))["saved"] == pytest.approx(2 * CALL)
    assert runner.invoke(main, ["budget", "agent", "--store", store]).exit_code == 2
    assert runner.invoke(main, ["budget", "agent", "much", "--store", store]).exit_code == 2
