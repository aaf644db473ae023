"""Agents of frameworks over a provider on the wire, killed with SIGKILL: no model call and no tool call that has an outcome is made again."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "lives"))

from nurseries import Life, Yard, goes_on, moments

pytestmark = pytest.mark.slow

SCRIPTS = {
    "plain": """
TOLD = [
    reply("One.", tool_calls=[call("add", a=1, b=2)]),
    reply("Four at once.", tool_calls=[call("add", a=1, b=2), call("later", a=3, b=4), call("add", a=1, b=2), call("add", a=5, b=6)]),
    reply("And one that fails.", tool_calls=[call("add", a=13, b=1)]),
]
def script(request):
    if request.turn < len(TOLD):
        return TOLD[request.turn]
    if "final_result" in request.tools:
        return reply(tool_calls=[call("final_result", total=21)])
    if "final_answer" in request.tools:
        return reply(tool_calls=[call("final_answer", answer="21")])
    return reply(json={"total": 21}) if request.schema else reply("It is twenty-one.")
"""
}
TOOLS = 6
AGENTS = [
    *(
        (name, how)
        for name in ("langgraph", "pydantic_ai", "openai_agents")
        for how in ("sync", "async", "streaming")
    ),
    ("smolagents", "sync"),
    ("smolagents", "streaming"),
]


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """It ends with the module."""
    with Yard("framework", tmp_path_factory.mktemp("yard"), SCRIPTS) as yard:
        yield yard


def effects(path: Path) -> Counter[str]:
    """The tool calls that were really made in one life."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return Counter(json.loads(line) for line in lines if line.endswith("\n"))


@pytest.mark.parametrize(("name", "how"), AGENTS)
def test_an_agent_goes_on_with_exactly_the_calls_that_are_left(
    name: str, how: str, yard: Yard, tmp_path: Path
) -> None:
    """Parallel tools, one that raises, structured output where there is any; at each class of kill point."""
    nursery = yard.nursery(name)

    def live(run: str, crash: str = "") -> tuple[Life, Counter[str]]:
        made = tmp_path / f"{run} {crash}"
        life = nursery.live(f"{name}_{how}", run, crash=crash, tokens=made)
        return life, effects(made)

    undisturbed, wanted = live(f"{how} undisturbed")
    tools = wanted.total()
    # 1.10 of smolagents takes only the first of several calls.
    assert tools == TOOLS or (name == "smolagents" and tools == 3)
    assert "21" in str(undisturbed.answer) or "twenty-one" in str(undisturbed.answer)
    for point, nth in moments(undisturbed.points, every=False):
        trial = f"{how} {point}:{nth}"
        first, had = live(trial, f"{point}:{nth}")
        assert first.killed, trial
        done = nursery.committed(trial)
        second, made = live(trial)
        assert second.answer == undisturbed.answer, trial
        assert goes_on(second, undisturbed, done["model"]), f"{trial}: {done} had an outcome"
        assert made <= wanted, trial
        # smolagents' own final_answer is a tool call, too, that leaves nothing outside.
        left = tools - min(done["tool"], tools)
        assert made.total() == left, f"{trial}: {done} had an outcome, {made} was made after {had}"
        assert nursery.status(trial) == "completed"
