"""The kinds of tools a `Toolset` holds: each with a name, a schema, and a call that is a step."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import functools
import inspect
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from jupyter_durable.capture.forms import JsonForm
from jupyter_durable.capture.functions import wrap
from jupyter_durable.capture.mcp import reporter
from jupyter_durable.capture.toolset.results import ToolResult, from_mcp
from jupyter_durable.capture.toolset.schemas import ArgumentError, Parameters, split_docstring, tidy
from jupyter_durable.capture.toolset.servers import ServerLostError, Servers, calling
from jupyter_durable.journal.retry import RetryPolicy
from jupyter_durable.runtime.context import SCOPE
from jupyter_durable.runtime.step import Spec
from jupyter_durable.runtime.steps import perform, perform_async

Rule = Callable[..., bool | str]
"""Whether a person must approve a call with these arguments, or why; see `runtime.step.Spec`."""

RECONNECT = RetryPolicy(retries=2, on=(ServerLostError,))


class Entry(Protocol):
    """A tool. `name` is its own; what providers are told may differ (`naming.unique`)."""

    name: str
    description: str
    schema: dict[str, Any]

    def validate(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The keyword arguments of a call. Raises `ArgumentError`."""
        ...

    def call(self, arguments: dict[str, Any]) -> ToolResult:
        """Call the tool, as a step if in a durable scope."""
        ...

    async def call_async(self, arguments: dict[str, Any]) -> ToolResult:
        """The same, awaited."""
        ...

    def asking(self, rule: Rule) -> Entry:
        """The same tool, of whose calls a person must approve those that `rule` says."""
        ...


def either(first: Any, second: Rule) -> Any:
    """A rule (`Spec.approval`) that asks where one of two does."""
    if first is None or first is True:
        return first or second

    def rule(*args: Any, **arguments: Any) -> bool | str:
        found = first(*args, **arguments)
        return found or second(*args, **arguments)

    return rule


def plain_text(value: Any) -> str:
    """A value as a model reads it: text as it is, everything else as JSON.

    >>> plain_text("hi"), plain_text({"a": [1, None]})
    ('hi', '{"a":[1,null]}')
    """
    if isinstance(value, str):
        return value
    from pydantic_core import to_json

    return to_json(value, fallback=str, serialize_unknown=True).decode()


# -- Python functions ----------------------------------------------------------------------------------


class FunctionTool:
    """A Python function: sync, async or a generator; decorated with `@durable.tool` or not."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        spec: Spec | None = getattr(fn, "__durable__", None)
        self.name = spec.name if spec is not None else getattr(fn, "__name__", type(fn).__name__)
        self.fn = fn
        said, described = split_docstring(inspect.getdoc(inspect.unwrap(fn)))
        self.description = said
        self._parameters = Parameters(fn, self.name, described)
        self.schema = self._parameters.schema
        self._spec = spec or Spec(self.name)
        self._wrapped = fn if spec is not None else wrap(fn, self._spec)
        plain = inspect.unwrap(fn)
        called = plain if inspect.isroutine(plain) else getattr(plain, "__call__", plain)  # noqa: B004
        self._streams = inspect.isgeneratorfunction(called)
        self._streams_async = inspect.isasyncgenfunction(called)
        self._is_async = inspect.iscoroutinefunction(called)

    def __reduce__(self) -> tuple[Any, ...]:
        return FunctionTool, (self.fn,)

    def asking(self, rule: Rule) -> FunctionTool:
        """See `Entry`."""
        found = copy.copy(self)
        found._spec = replace(self._spec, approval=either(self._spec.approval, rule))
        found._wrapped = wrap(getattr(self.fn, "__wrapped__", self.fn), found._spec)
        return found

    def validate(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """See `Entry`."""
        return self._parameters.validate(arguments)

    async def call_async(self, arguments: dict[str, Any]) -> ToolResult:
        """See `Entry`. A sync function is called in a thread, so that others go on."""
        if self._is_async:
            value = await self._wrapped(**arguments)
        elif self._streams_async:
            value = [item async for item in self._wrapped(**arguments)]
        else:
            value = await asyncio.to_thread(self._in_this_thread, **arguments)
        return ToolResult(self.name, plain_text(value), value)

    def _in_this_thread(self, **arguments: Any) -> Any:
        value = self._wrapped(**arguments)
        return list(value) if self._streams else value

    def call(self, arguments: dict[str, Any]) -> ToolResult:
        """See `Entry`. An async function is run to its end in a thread with a loop of its own."""
        if self._is_async or self._streams_async:
            value = perform(self._spec, self._run, (), arguments)
        else:
            value = self._in_this_thread(**arguments)
        return ToolResult(self.name, plain_text(value), value)

    def _run(self, **arguments: Any) -> Any:
        plain = inspect.unwrap(self.fn)  # the step is made already

        async def run() -> Any:
            if self._streams_async:
                return [item async for item in plain(**arguments)]
            return await plain(**arguments)

        return _in_a_loop(run)


def _in_a_loop(run: Callable[[], Any]) -> Any:
    """`asyncio.run(run())`, also where a loop is running: a notebook's sync cell is in one."""
    context = contextvars.copy_context()
    box: list[tuple[bool, Any]] = []

    def work() -> None:
        # The thread stands in for its caller, which waits: their strand is the same.
        scope = SCOPE.get()
        before = scope.owner if scope is not None else None
        try:
            if scope is not None:
                scope.owner = None
            box.append((True, asyncio.run(run())))
        except BaseException as error:  # noqa: BLE001 - handed to the caller
            box.append((False, error))
        finally:
            if scope is not None:
                scope.owner = before

    thread = threading.Thread(target=context.run, args=(work,), name="jupyter-durable-tool", daemon=True)
    thread.start()
    thread.join()
    done, value = box[0]
    if not done:
        raise value
    return value


# -- MCP -----------------------------------------------------------------------------------------------


class McpTool:
    """A tool of an MCP server, as the server listed it. Every call is a step `server.tool`."""

    def __init__(
        self, servers: Servers, server: str, listed: Mapping[str, Any], timeout: float | None
    ) -> None:
        self.servers = servers
        self.server = server
        self.tool = str(listed["name"])
        self.name = f"{server}_{self.tool}"
        self.description = str(listed.get("description") or listed.get("title") or "")
        self.schema: dict[str, Any] = tidy(
            dict(listed.get("inputSchema") or {"type": "object", "properties": {}})
        )
        self._spec = Spec(
            f"{server}.{self.tool}",
            kind="mcp",
            retry=RECONNECT,
            timeout=timeout,
            form=JsonForm(self.schema),
        )

    def asking(self, rule: Rule) -> McpTool:
        """See `Entry`."""
        found = copy.copy(self)
        found._spec = replace(self._spec, approval=rule)
        return found

    def validate(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """See `Entry`. Types are checked if jsonschema is installed (mcp brings it); the server checks anyway."""
        given = dict(arguments)
        missing = [name for name in self.schema.get("required") or () if name not in given]
        if missing:
            raise ArgumentError("; ".join(f"{name}: Field required" for name in missing))
        try:
            from jsonschema.validators import validator_for
        except ImportError:
            return given
        with_errors = validator_for(self.schema)(self.schema).iter_errors(given)
        said = []
        for problem in with_errors:
            where = ".".join(map(str, problem.path))
            said.append(f"{where}: {problem.message}" if where else problem.message)
        if said:
            raise ArgumentError("; ".join(said))
        return given

    def call(self, arguments: dict[str, Any]) -> ToolResult:
        """See `Entry`."""

        def call(**given: Any) -> Any:
            use = calling(self.tool, given, reporter(SCOPE.get()))
            return self.servers.use_sync(self.server, use)

        return from_mcp(self.name, perform(self._spec, call, (), arguments))

    async def call_async(self, arguments: dict[str, Any]) -> ToolResult:
        """See `Entry`."""

        async def call(**given: Any) -> Any:
            use = calling(self.tool, given, reporter(SCOPE.get()))
            return await self.servers.use_async(self.server, use)

        return from_mcp(self.name, await perform_async(self._spec, call, (), arguments))


# -- LangChain -----------------------------------------------------------------------------------------


class LangChainTool:
    """A LangChain `BaseTool`. Its instrument makes a step of each call; where tools are not captured, this does."""

    def __init__(self, tool: Any) -> None:
        self.tool = tool
        self.name = str(tool.name)
        self.description = str(tool.description or "")
        described = getattr(tool, "tool_call_schema", None) or tool.args_schema
        self.schema: dict[str, Any] = tidy(
            described if isinstance(described, dict) else described.model_json_schema()
        )
        self.schema.pop("description", None)
        self._rule: Rule | None = None

    def asking(self, rule: Rule) -> LangChainTool:
        """See `Entry`."""
        found = copy.copy(self)
        found._rule = either(self._rule, rule)
        return found

    def validate(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """See `Entry`. The tool does it itself."""
        return dict(arguments)

    def call(self, arguments: dict[str, Any]) -> ToolResult:
        """See `Entry`."""
        from jupyter_durable.capture.calls import ASK, capturing, make

        def again(**wanted: Any) -> Any:
            return self.tool.invoke(wanted)

        call = functools.partial(self.tool.invoke, arguments)
        token = ASK.set(self._rule)
        try:
            value = call() if capturing() else make(self.name, (), arguments, call, again=again)
        finally:
            ASK.reset(token)
        return ToolResult(self.name, plain_text(value), value)

    async def call_async(self, arguments: dict[str, Any]) -> ToolResult:
        """See `Entry`."""
        from jupyter_durable.capture.calls import ASK, Hidden, capturing, make_async

        async def again(**wanted: Any) -> Any:
            return await self.tool.ainvoke(wanted)

        call = functools.partial(self.tool.ainvoke, arguments)
        token = ASK.set(self._rule)
        try:
            made = call() if capturing() else make_async(self.name, (), arguments, Hidden(call, again))
            value = await made
        finally:
            ASK.reset(token)
        return ToolResult(self.name, plain_text(value), value)


def is_langchain(tool: Any) -> bool:
    """Whether a value looks like a LangChain tool."""
    return all(hasattr(tool, name) for name in ("name", "description", "args_schema", "invoke", "ainvoke"))
