"""One API for tools from anywhere: schemas, calls as models make them, errors as results."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from runs import Bench
from toolset_tools import broken, forecast, letters, letters_later, numpy_style, slow, sphinx_style

import jupyter_durable as durable
from jupyter_durable.capture.toolset import naming, schemas
from jupyter_durable.errors import DurableError


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
