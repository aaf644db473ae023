"""The contract test of instruments: it passes what keeps the contract, and names what does not."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from framework_runs import effects

from jupyter_durable.runtime.context import SCOPE
from jupyter_durable.runtime.step import Spec
from jupyter_durable.runtime.steps import perform
from jupyter_durable.testing import BrokenInstrument, check_instrument


class Client:
    """Somebody's library."""

    made = 0

    def forecast(self, city: str) -> str:
        """The call that is to be a step."""
        Client.made += 1
        if city == "nowhere":
            raise LookupError(city)
        return f"rain in {city}"


weather = ModuleType("weather")
weather.Client = Client  # type: ignore[attr-defined]
Client.__module__ = "weather"


class Weather:
    """The instrument of the docstring; `faults` break it in one way each."""

    name = "Weather"
    captures = "tools"
    supported = {"weather": ">=2,<3"}  # noqa: RUF012
    modules = ("weather",)

    def __init__(self, *faults: str) -> None:
        self.faults = faults

    def patch(self, module: ModuleType) -> Callable[[], None]:
        """Patch `Client.forecast`."""
        before = module.Client.forecast

        @functools.wraps(before)
        def forecast(client: Any, city: str) -> Any:
            scope = SCOPE.get()
            if scope is None or (
                self.captures not in scope.run.options.capture and "switch" not in self.faults
            ):
                return None if "outside" in self.faults else before(client, city)
            if "swallows" in self.faults:
                return perform(Spec("forecast"), lambda city: self._quiet(before, client, city), (city,), {})
            made = before(client, city) if "calls" in self.faults else None
            return perform(Spec("forecast"), lambda city: made or before(client, city), (city,), {})

        if "nothing" not in self.faults:
            module.Client.forecast = forecast

        def undo() -> None:
            if "stays" not in self.faults:
                module.Client.forecast = before

        return undo

    def _quiet(self, before: Any, client: Any, city: str) -> Any:
        try:
            return before(client, city)
        except LookupError:
            return None


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch) -> Any:
    before = Client.forecast
    monkeypatch.setitem(sys.modules, "weather", weather)
    yield
    Client.forecast = before  # type: ignore[method-assign]


def _check(instrument: Any) -> None:
    check_instrument(
        instrument,
        calls=[lambda: Client().forecast("Oslo")],
        raises=[lambda: Client().forecast("nowhere")],
        made=lambda: Client.made,
    )


def test_an_instrument_that_keeps_the_contract() -> None:
    """The one that the docstring shows."""
    _check(Weather())


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("nothing", "the call is no step"),
        ("stays", "after the run weather.Client.forecast is not what it was"),
        ("switch", "does not capture tools"),
        ("outside", "outside its scope is not as ever"),
        ("calls", "a replay makes the call"),
        ("swallows", "came to"),
    ],
)
def test_what_an_instrument_can_do_wrong_is_named(fault: str, said: str) -> None:
    """One fault each."""
    with pytest.raises(BrokenInstrument, match=said):
        _check(Weather(fault))


def test_what_it_declares_is_checked() -> None:
    """Before anything is called."""
    wrong = Weather()
    wrong.captures = "everything"
    with pytest.raises(BrokenInstrument, match="captures='everything'"):
        _check(wrong)
    wrong = Weather()
    wrong.supported = {"pytest": "<1"}
    with pytest.raises(BrokenInstrument, match="does not support"):
        _check(wrong)
    wrong = Weather()
    wrong.modules = ("no_such_module_anywhere",)
    with pytest.raises(BrokenInstrument, match="none of its modules"):
        _check(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["langchain", "pydantic_ai", "openai_agents", "smolagents"])
def test_ours_keep_it(framework: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each, with a tool that works and, where a framework lets an error through, one that raises."""
    monkeypatch.setenv("EFFECTS", str(tmp_path / "effects"))
    calls: list[Any] = []
    raises: list[Any] = []
    if framework == "langchain":
        pytest.importorskip("langgraph.prebuilt")
        from langchain_agents import add, fails, fetch, later

        call = {"name": "fetch", "args": {"url": "u"}, "id": "c1", "type": "tool_call"}

        async def calls_later() -> Any:
            return await later.ainvoke({"a": 1, "b": 2})

        calls = [lambda: add.invoke({"a": 1, "b": 2}), lambda: fetch.invoke(call), calls_later]
        raises = [lambda: fails.invoke({"q": "x"})]
    elif framework == "pydantic_ai":
        pytest.importorskip("pydantic_ai")
        from pydantic_ai_agents import SCRIPT, made, shown

        async def calls_add() -> Any:
            return shown(await made(SCRIPT[0], SCRIPT[-1]).run("go"))

        calls = [calls_add]
    elif framework == "openai_agents":
        pytest.importorskip("agents")
        from agents import Runner
        from openai_agents_agents import made as made_agent
        from openai_agents_agents import shown as shown_of

        async def runs_add() -> Any:
            return shown_of(await Runner.run(made_agent([("add", {"a": 1, "b": 2})], '{"total": 3}'), "go"))

        async def runs_by_hand() -> Any:
            return shown_of(await Runner.run(made_agent([("by_hand", {"q": "y"})], '{"total": 3}'), "go"))

        calls = [runs_add, runs_by_hand]
    else:
        pytest.importorskip("smolagents")
        from smolagents_agents import Shy
        from smolagents_agents import add as sum_of

        calls = [lambda: sum_of(1, 2), lambda: Shy()(q="z", sanitize_inputs_outputs=True)]
        raises = [lambda: Shy()("x")]
    import importlib

    instrument = importlib.import_module(f"jupyter_durable.capture.{framework}").INSTRUMENT
    check_instrument(instrument, calls, raises=raises, made=lambda: sum(effects().values()))
