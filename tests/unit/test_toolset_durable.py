"""Toolsets in runs: calls as steps, other people's tools, servers that are killed and replayed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mcp_server
import pytest
from runs import Bench
from toolset_tools import broken, forecast, letters, slow, sphinx_style

import jupyter_durable as durable
from jupyter_durable.testing import FakeProvider, call, prove, reply


class TestDurable:
    """Every call is a step; errors, too, are what they were."""

    @pytest.mark.parametrize("how", ["async", "sync"])
    def test_calls_are_steps(self, how: str) -> None:
        bench = Bench()

        async def later(text: str) -> str:
            bench.effects["later"] += 1
            return text

        @durable.tool(name="marked")
        async def marked(text: str) -> str:
            bench.effects["marked"] += 1
            return text

        def now(text: str) -> str:
            bench.effects["now"] += 1
            if text == "bad":
                raise ValueError(text)
            return text

        tools = durable.Toolset(later, marked, now)
        calls = [("later", "1"), ("marked", "2"), ("now", "3"), ("now", "bad"), ("unknown", "4")]

        async def agent() -> list[str]:
            return [(await tools.call(name, {"text": text})).content for name, text in calls]

        def agent_sync() -> list[str]:
            return [tools.call_sync(name, {"text": text}).content for name, text in calls]

        fn: Any = agent if how == "async" else agent_sync
        bench.crash("after-outcome", 3, fn)
        expected = ["1", "2", "3", "ValueError: bad"]
        assert bench.resume(fn)[:4] == expected
        assert bench.effects == {"later": 1, "marked": 1, "now": 2}
        assert bench.execute_replay(fn)[:4] == expected
        names = sorted((step.kind, step.name.rpartition(".")[2]) for step in bench.steps())
        assert names == [("tool", "later"), ("tool", "marked"), ("tool", "now"), ("tool", "now")]

    def test_langchain_tools(self) -> None:
        tools_module = pytest.importorskip("langchain_core.tools")
        bench = Bench()

        @tools_module.tool
        def double(n: int) -> int:
            """Twice as much."""
            bench.effects["double"] += 1
            return 2 * n

        @tools_module.tool
        async def triple(n: int) -> int:
            """Three times as much."""
            bench.effects["triple"] += 1
            return 3 * n

        tools = durable.Toolset(double, langchain=[triple])
        shown = tools.schemas("json")
        assert [(tool["name"], tool["description"]) for tool in shown] == [
            ("double", "Twice as much."),
            ("triple", "Three times as much."),
        ]
        assert shown[0]["parameters"]["required"] == ["n"]

        async def agent() -> list[str]:
            calls = [("double", 2), ("triple", 2), ("double", "no")]
            return [(await tools.call(name, {"n": n})).content for name, n in calls]

        bench.crash("after-outcome", 1, agent)
        found = bench.resume(agent)
        assert found[:2] == ["4", "6"]
        assert "ValidationError" in found[2]
        assert bench.effects == {"double": 1, "triple": 1}
        assert bench.execute_replay(agent) == found
        names = [(step.kind, step.name) for step in bench.steps()]
        assert names[:2] == [("tool", "double"), ("tool", "triple")]
        off = Bench()
        off.new(agent, capture=frozenset())
        assert [step.name for step in off.steps()][:2] == ["double", "triple"]

    @pytest.mark.slow
    def test_at_once_in_any_order(self) -> None:
        tools = durable.Toolset(slow, forecast, sphinx_style)

        async def agent() -> list[str]:
            results = await asyncio.gather(
                *(tools.call("slow", {"text": text}) for text in "ab"),
                *(tools.call("sphinx_style", {"a": n, "b": n}) for n in (1, 2)),
            )
            return [result.content for result in results]

        assert prove(agent, schedules=15).result == ["A", "B", "2", "4"]

    @pytest.mark.slow
    @pytest.mark.parametrize("nth", range(1, 6))
    def test_ten_lines_around_the_openai_sdk(self, nth: int) -> None:
        openai = pytest.importorskip("openai")
        with FakeProvider(SCRIPT) as provider:

            async def agent() -> list[dict[str, Any]]:
                client = openai.AsyncOpenAI(base_url=provider.openai_base, api_key="fake")
                messages: list[dict[str, Any]] = [{"role": "user", "content": "Spell."}]
                async with durable.Toolset(slow, letters, broken) as tools:
                    while True:
                        reply = await client.chat.completions.create(
                            model="gpt-5", messages=messages, tools=tools.schemas("openai")
                        )
                        message = reply.choices[0].message
                        messages.append(message.model_dump(exclude_none=True))
                        if not message.tool_calls:
                            return messages
                        for call in message.tool_calls:
                            result = await tools.call(call.function.name, call.function.arguments)
                            messages.append(result.openai(call.id))

            self.killed_and_resumed(agent, nth, provider, lambda messages: messages[-1]["content"])

    @pytest.mark.parametrize("nth", range(1, 6))
    def test_and_around_the_anthropic_sdk(self, nth: int) -> None:
        anthropic = pytest.importorskip("anthropic")
        with FakeProvider(SCRIPT) as provider:
            client = anthropic.Anthropic(base_url=provider.anthropic_base, api_key="fake")

            def agent() -> list[dict[str, Any]]:
                messages: list[dict[str, Any]] = [{"role": "user", "content": "Spell."}]
                with durable.Toolset(slow, letters, broken) as tools:
                    while True:
                        reply = client.messages.create(
                            model="claude-test",
                            max_tokens=100,
                            messages=messages,
                            tools=tools.schemas("anthropic"),
                        )
                        messages.append(
                            {"role": "assistant", "content": [block.model_dump() for block in reply.content]}
                        )
                        calls = [block for block in reply.content if block.type == "tool_use"]
                        if not calls:
                            return messages
                        answers = [tools.call_sync(c.name, c.input).anthropic(c.id) for c in calls]
                        messages.append({"role": "user", "content": answers})

            self.killed_and_resumed(agent, nth, provider, lambda messages: messages[-1]["content"][0]["text"])

    def killed_and_resumed(
        self, agent: Any, nth: int, provider: FakeProvider, answer: Callable[[Any], str]
    ) -> None:
        bench = Bench()
        bench.crash("after-outcome", nth, agent)
        messages = bench.resume(agent)
        assert answer(messages) == "Done."
        told = json.dumps(messages)
        assert "LookupError: no x" in told
        assert "END" in told
        assert provider.hits == 3
        assert bench.execute_replay(agent) == messages
        assert provider.hits == 3
        assert [step.kind for step in bench.steps()].count("model") == 3


SCRIPT = [
    reply(tool_calls=[call("letters", text="ab"), call("broken", text="x")]),
    reply(tool_calls=[call("slow", text="end")]),
    reply("Done."),
]


class TestServers:
    """Real MCP servers, started when needed, their effects counted in a file."""

    @pytest.fixture(autouse=True)
    def _mcp(self) -> None:
        pytest.importorskip("mcp")

    @pytest.fixture
    def effects(self, tmp_path: Path) -> Path:
        return tmp_path / "effects.txt"

    def config(self, effects: Path) -> dict[str, Any]:
        executable, *args = mcp_server.command(effects)
        return {"mcpServers": {"demo": {"command": executable, "args": args}}}

    @pytest.mark.slow
    def test_killed_and_replayed(self, effects: Path) -> None:
        async def agent() -> list[Any]:
            async with durable.Toolset(sphinx_style, mcp=self.config(effects)) as tools:
                found = [len(tools.schemas("openai"))]
                for name, given in (
                    ("demo_add", {"a": 1, "b": 2}),
                    ("demo_add", {"a": "no", "b": 2}),
                    ("demo_fail", {"text": "oh"}),
                    ("sphinx_style", {"a": 1, "b": 1}),
                ):
                    result = await tools.call(name, given)
                    found.append((result.content, result.is_error))
                return found

        bench = Bench()
        bench.crash("after-outcome", 2, agent)
        expected = bench.resume(agent)
        assert expected[:2] == [5, ("3", False)]
        assert expected[2][1]
        assert "oh" in expected[3][0]
        assert expected[3][1]
        done = mcp_server.lines(effects)
        assert done == {"started": 2, "add 1 2": 1, "fail oh": 1}
        assert bench.execute_replay(agent) == expected
        assert mcp_server.lines(effects) == done
        assert [(step.kind, step.name) for step in bench.steps()][:3] == [
            ("mcp", "demo.list_tools"),
            ("mcp", "demo.add"),
            ("mcp", "demo.fail"),
        ]
        assert not bench.notices

    @pytest.mark.slow
    def test_a_server_that_dies_is_started_again(self, effects: Path) -> None:
        def agent() -> str:
            with durable.Toolset(mcp=self.config(effects)) as tools:
                return tools.call_sync("demo_die").content

        bench = Bench()
        assert bench.new(agent) == "alive"
        assert mcp_server.lines(effects) == {"started": 2, "die": 2}
        (step,) = (step for step in bench.steps() if step.name == "demo.die")
        assert step.attempts == 2
        assert bench.execute_replay(agent) == "alive"

    @pytest.mark.slow
    def test_progress(self, effects: Path) -> None:
        async def agent() -> str:
            async with durable.Toolset(mcp=self.config(effects)) as tools:
                return (await tools.call("demo_slow", {"steps": 2})).content

        bench = Bench()
        assert bench.new(agent) == "done"
        logs = [entry.meta for entry in bench.store.entries(bench.record.id) if entry.type == "log"]
        assert logs == [{"m": "part 1", "p": 0.5}, {"m": "part 2", "p": 1.0}]

    @pytest.mark.slow
    def test_outside_a_run_over_several_loops(self, effects: Path) -> None:
        server = mcp_server.HttpServer(effects).start()
        try:
            tools = durable.Toolset(mcp={"mcpServers": {"web": {"url": server.url}}})
            asyncio.run(tools.load())
            for n in (1, 2):
                assert asyncio.run(tools.call("web_add", {"a": n, "b": n})).value == {"result": 2 * n}
            assert list(tools.select("web_a*")) == ["web_add"]
            tools.close()
        finally:
            server.stop()

    def test_a_server_that_is_not_there(self, tmp_path: Path) -> None:
        tools = durable.Toolset(mcp={"mcpServers": {"gone": {"command": str(tmp_path / "none")}}})
        with pytest.raises(ConnectionError, match="'gone' cannot be reached: FileNotFoundError"):
            tools.load_sync()
        tools.close()

    @pytest.mark.slow
    def test_a_url_that_nobody_serves(self) -> None:
        config = {"mcpServers": {"web": {"url": "http://127.0.0.1:9/mcp"}}}

        def agent() -> None:
            durable.Toolset(mcp=config).load_sync()

        with pytest.raises(ConnectionError, match="web"):
            Bench().new(agent)
