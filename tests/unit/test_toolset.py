"""One API for tools from anywhere: schemas, calls as models make them, errors as results."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import mcp_server
import pytest
from pydantic import BaseModel, Field
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.capture.toolset import naming, schemas
from jupyter_durable.errors import DurableError
from jupyter_durable.testing import FakeProvider, call, prove, reply


class Place(BaseModel):
    """Where."""

    city: str
    country: str = "NL"


def forecast(
    place: Place,
    days: int = 1,
    unit: Literal["C", "F"] = "C",
    detail: Annotated[float, Field(ge=0, le=1)] = 0.5,
) -> dict[str, Any]:
    """Forecast the weather.

    Several lines
    of it.

    Args:
        place: where to look,
            on two lines
        days (int): how many days
        unit: of temperature

    Returns:
        What will be.
    """
    return {"city": place.city, "days": days, "unit": unit}


def numpy_style(schema: int, json: str = "x", **more: Any) -> str:
    """Sum up.

    Parameters
    ----------
    schema : int
        the first
    json : str, optional
        the second
        one

    Returns
    -------
    str
    """
    return f"{schema} {json} {more}"


def sphinx_style(a: int, b: int) -> int:
    """Add.

    :param a: the first
    :param int b: the second,
        continued
    :returns: the sum
    """
    return a + b


async def slow(text: str) -> str:
    """Wait."""
    await asyncio.sleep(0)
    return text.upper()


def letters(text: str) -> Iterator[str]:
    """Letter by letter."""
    yield from text


async def letters_later(text: str) -> AsyncIterator[str]:
    """Letter by letter, async."""
    for letter in text:
        yield letter


def broken(text: str) -> None:
    """Never works."""
    raise LookupError(f"no {text}")


class TestSchemas:
    """From type hints and docstrings, as each provider wants them."""

    def test_parameters(self) -> None:
        (tool,) = durable.Toolset(forecast).schemas("json")
        assert tool["name"] == "forecast"
        assert tool["description"] == "Forecast the weather.\n\nSeveral lines\nof it."
        parameters = tool["parameters"]
        assert parameters["required"] == ["place"]
        assert parameters["additionalProperties"] is False
        properties = parameters["properties"]
        assert properties["place"]["description"] == "where to look, on two lines"
        assert properties["days"] == {"default": 1, "description": "how many days", "type": "integer"}
        assert properties["unit"]["enum"] == ["C", "F"]
        assert (properties["detail"]["minimum"], properties["detail"]["maximum"]) == (0, 1)
        assert parameters["$defs"]["Place"]["properties"]["city"] == {"type": "string"}
        assert "title" not in json.dumps(tool)

    @pytest.mark.parametrize(
        ("fn", "described"),
        [
            (numpy_style, {"schema": "the first", "json": "the second one"}),
            (sphinx_style, {"a": "the first", "b": "the second, continued"}),
        ],
    )
    def test_docstring_styles(self, fn: Callable[..., Any], described: dict[str, str]) -> None:
        (tool,) = durable.Toolset(fn).schemas("json")
        assert tool["description"] in ("Sum up.", "Add.")
        found = {name: one["description"] for name, one in tool["parameters"]["properties"].items()}
        assert found == described

    def test_names_that_pydantic_uses_itself(self) -> None:
        tools = durable.Toolset(numpy_style)
        assert tools.call_sync("numpy_style", {"schema": "3", "json": "y", "z": 1}).content == "3 y {'z': 1}"

    def test_providers(self) -> None:
        tools = durable.Toolset(sphinx_style)
        (function,) = tools.schemas("json")
        parameters = function["parameters"]
        assert tools.schemas("openai") == [{"type": "function", "function": function}]
        assert tools.schemas("openai-responses") == [{"type": "function", **function}]
        assert tools.schemas("anthropic") == [
            {"name": "sphinx_style", "description": "Add.", "input_schema": parameters}
        ]
        assert tools.schemas("gemini") == [
            {
                "function_declarations": [
                    {"name": "sphinx_style", "description": "Add.", "parameters_json_schema": parameters}
                ]
            }
        ]
        with pytest.raises(DurableError, match="no schemas for 'grok'"):
            tools.schemas("grok")  # type: ignore[arg-type]

    def test_what_no_model_can_give(self) -> None:
        def query(connection: Bench, sql: str) -> str: ...

        with pytest.raises(DurableError, match="no model can give query its 'connection'"):
            durable.Toolset(query)

        def search(sql: str, connection: Bench | None = None) -> str: ...

        (tool,) = durable.Toolset(search).schemas("json")
        assert list(tool["parameters"]["properties"]) == ["sql"]

        with pytest.raises(DurableError, match="3 is no tool"):
            durable.Toolset(3)


class TestNames:
    """Valid for every provider, each once, and selectable."""

    def test_valid_and_unique(self) -> None:
        def tool(name: str) -> Any:
            return durable.tool(name=name)(lambda: name)

        names = ["a.b", "a/b", "x" * 80, "x" * 81, "déjà vu"]
        tools = durable.Toolset(*map(tool, names))
        assert len(tools) == len(names)
        for name, called in zip(tools, names, strict=True):
            assert schemas.re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name)
            assert tools.call_sync(name).content == called
        assert naming.valid("x" * 80) != naming.valid("x" * 81)

    def test_select(self) -> None:
        tools = durable.Toolset(forecast, letters, letters_later)
        assert list(tools.select("letters*")) == ["letters", "letters_later"]
        assert list(tools.select("letters*").select("*_later", "none")) == ["letters_later"]
        assert tools.select("nothing").schemas("gemini") == []
        assert tools.select("letters").call_sync("forecast", {}).is_error

    def test_toolsets_in_toolsets(self) -> None:
        assert list(durable.Toolset(durable.Toolset(forecast), letters)) == ["letters", "forecast"]


class TestCalls:
    """With arguments as models write them; whatever goes wrong, the model can read it."""

    TOOLS = (forecast, slow, letters, letters_later, broken)

    CALLS: ClassVar = [
        ("forecast", '{"place": {"city": "Delft"}, "days": "2"}', '{"city":"Delft","days":2,"unit":"C"}', False),
        ("slow", {"text": "hi"}, "HI", False),
        ("letters", {"text": "ab"}, '["a","b"]', False),
        ("letters_later", {"text": "ab"}, '["a","b"]', False),
        ("broken", {"text": "luck"}, "LookupError: no luck", True),
        ("slow", "", "slow: invalid arguments: text: Field required", True),
        ("slow", "{", "slow: invalid arguments: the arguments are no JSON", True),
        ("slow", "[1]", "slow: invalid arguments: the arguments must be a JSON object, not [1]", True),
        ("slow", {"text": "a", "x": 1}, "slow: invalid arguments: x: Extra inputs are not permitted", True),
        ("forecast", {"place": {"city": 1}}, "forecast: invalid arguments: place.city: Input should be a", True),
        ("slowly", {}, "there is no tool 'slowly'; did you mean slow?", True),
    ]  # fmt: skip

    @pytest.mark.parametrize(("name", "arguments", "content", "is_error"), CALLS)
    def test_call(self, name: str, arguments: Any, content: str, is_error: bool) -> None:
        tools = durable.Toolset(*self.TOOLS)
        for result in (asyncio.run(tools.call(name, arguments)), tools.call_sync(name, arguments)):
            assert result.content.startswith(content)
            assert result.is_error is is_error
            assert result.name == name

    def test_sync_calls_where_a_loop_is_running(self) -> None:
        tools = durable.Toolset(slow)

        async def cell() -> str:
            return tools.call_sync("slow", {"text": "x"}).content

        assert asyncio.run(cell()) == "X"

    def test_messages(self) -> None:
        result = durable.ToolResult("t", "text", is_error=True)
        assert result.openai("1") == {"role": "tool", "tool_call_id": "1", "content": "text"}
        assert result.openai_responses("1") == {
            "type": "function_call_output",
            "call_id": "1",
            "output": "text",
        }
        assert result.anthropic("1") == {
            "type": "tool_result",
            "tool_use_id": "1",
            "content": "text",
            "is_error": True,
        }
        assert result.gemini() == {"function_response": {"name": "t", "response": {"error": "text"}}}
        image = {"type": "image", "mimeType": "image/png", "data": "aGk="}
        shown = dataclasses.replace(result, blocks=(image,), is_error=False).anthropic("1")
        assert shown["content"][1]["source"] == {
            "type": "base64",
            "media_type": "image/png",
            "data": "aGk=",
        }

    def test_pickled(self) -> None:
        tools = durable.Toolset(forecast, mcp={"mcpServers": {"a": {"command": "none"}}})
        tools._listed["a"] = [{"name": "x", "inputSchema": {"type": "object", "properties": {}}}]
        assert list(tools) == ["forecast", "a_x"]
        assert list(pickle.loads(pickle.dumps(tools))) == ["forecast", "a_x"]


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

    def test_at_once_in_any_order(self) -> None:
        tools = durable.Toolset(slow, forecast, sphinx_style)

        async def agent() -> list[str]:
            results = await asyncio.gather(
                *(tools.call("slow", {"text": text}) for text in "ab"),
                *(tools.call("sphinx_style", {"a": n, "b": n}) for n in (1, 2)),
            )
            return [result.content for result in results]

        assert prove(agent, schedules=15).result == ["A", "B", "2", "4"]

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


class TestConfiguration:
    """The usual file, and what is wrong with one."""

    def test_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "mcp.json"
        path.write_text('{"mcpServers": {"a": {"command": "x"}}}')
        tools = durable.Toolset(mcp=path)
        assert "not listed yet: a" in repr(tools)
        with pytest.raises(DurableError, match=r"await tools\.load\(\)"):
            tools.schemas("json")

    @pytest.mark.parametrize(
        ("config", "said"),
        [
            ({}, "mcpServers"),
            ({"mcpServers": {"a": {}}}, "neither"),
            ("/nowhere/mcp.json", "cannot be read"),
        ],
    )
    def test_what_is_wrong(self, config: Any, said: str) -> None:
        with pytest.raises(DurableError, match=said):
            durable.Toolset(mcp=config)

    def test_variables(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from jupyter_durable.capture.toolset.servers import expand

        monkeypatch.setenv("TOKEN", "t")
        monkeypatch.delenv("MISSING", raising=False)
        assert expand({"h": ["Bearer ${TOKEN}", "${MISSING:-d}"]}, "s") == {"h": ["Bearer t", "d"]}
        with pytest.raises(DurableError, match="MISSING"):
            expand("${MISSING}", "s")


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

    def test_progress(self, effects: Path) -> None:
        async def agent() -> str:
            async with durable.Toolset(mcp=self.config(effects)) as tools:
                return (await tools.call("demo_slow", {"steps": 2})).content

        bench = Bench()
        assert bench.new(agent) == "done"
        logs = [entry.meta for entry in bench.store.entries(bench.record.id) if entry.type == "log"]
        assert logs == [{"m": "part 1", "p": 0.5}, {"m": "part 2", "p": 1.0}]

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

    def test_a_url_that_nobody_serves(self) -> None:
        config = {"mcpServers": {"web": {"url": "http://127.0.0.1:9/mcp"}}}

        def agent() -> None:
            durable.Toolset(mcp=config).load_sync()

        with pytest.raises(ConnectionError, match="web"):
            Bench().new(agent)
