"""smolagents' tools as steps."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from framework_runs import effects, hit, survives_kills
from runs import Bench

pytest.importorskip("smolagents")

import smolagents_agents as agents
from smolagents import Tool


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EFFECTS", str(tmp_path / "effects"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("agent", "steps"),
    [
        (agents.tool_calling_agent, agents.TOOL_CALLING_STEPS),
        (agents.code_agent, agents.CODE_STEPS),
        (agents.streaming_agent, ["add", "shy", *agents.ANSWER]),
    ],
)
def test_an_agent_survives_a_kill_at_every_point(agent: Any, steps: list[str]) -> None:
    """Tools called by name (in threads) and from code; one raises, and the agent goes on."""
    _, bench = survives_kills(agent, steps=steps)
    raised = Counter(s.error for s in bench.steps() if s.error)
    assert raised == ({} if agent is agents.streaming_agent else {"ValueError: not x": 1})


def test_what_a_tool_loads_is_loaded_when_it_is_needed() -> None:
    """`setup` is part of smolagents' own handling, outside the step; inputs and outputs are made its types."""

    class Heavy(Tool):
        name = "heavy"
        description = "Loads something."
        inputs = {"n": {"type": "integer", "description": "n"}}  # noqa: RUF012
        output_type = "integer"

        def setup(self) -> None:
            self.loaded = 10
            super().setup()

        def forward(self, n: int) -> int:
            hit("heavy", n=n)
            return self.loaded + n

    def agent() -> Any:
        heavy = Heavy()
        return heavy(1), heavy({"n": 2}), heavy(n=3, sanitize_inputs_outputs=True), heavy.is_initialized

    bench = Bench()
    assert bench.new(agent) == (11, 12, 13, True)
    assert bench.execute_replay(agent) == (11, 12, 13, True)
    assert sum(effects().values()) == 3


def test_nothing_is_patched_outside_a_run() -> None:
    """And a run that captures no tools makes none a step."""
    before = Tool.__call__
    inside: list[Any] = []

    def agent() -> Any:
        inside.append(Tool.__call__)
        return agents.add(1, 2)

    bench = Bench()
    assert bench.new(agent, capture=frozenset()) == 3
    assert inside[0] is not before
    assert bench.steps() == []
    assert Tool.__call__ is before
