"""Tools from anywhere behind one API: Python functions, MCP servers, LangChain tools. See `Toolset`."""

from __future__ import annotations

import asyncio
import copy
import difflib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

from jupyter_durable.capture.toolset import naming, schemas
from jupyter_durable.capture.toolset.entries import (
    RECONNECT,
    Entry,
    FunctionTool,
    LangChainTool,
    McpTool,
    is_langchain,
)
from jupyter_durable.capture.toolset.results import ToolResult
from jupyter_durable.capture.toolset.schemas import ArgumentError, Provider
from jupyter_durable.capture.toolset.servers import Config, ServerLostError, Servers, list_tools, read_config
from jupyter_durable.errors import ApprovalRejected, DurableError
from jupyter_durable.runtime.context import SCOPE, owned
from jupyter_durable.runtime.forms import EDITS
from jupyter_durable.runtime.step import Spec
from jupyter_durable.runtime.steps import perform, perform_async

__all__ = ["ToolResult", "Toolset"]


class Toolset:
    """Python functions, the tools of MCP servers and of frameworks: one list of schemas, one durable call.

        async with durable.Toolset(search, fetch, mcp="mcp.json") as tools:
            while True:
                reply = await client.chat.completions.create(
                    model=model, messages=messages, tools=tools.schemas("openai"))
                message = reply.choices[0].message
                messages.append(message.model_dump(exclude_none=True))
                if not message.tool_calls:
                    break
                for call in message.tool_calls:
                    result = await tools.call(call.function.name, call.function.arguments)
                    messages.append(result.openai(call.id))

    In a durable run every call is a step (kind `tool`, or `mcp` as `server.tool`), and so is the listing of a
    server's tools: a replay starts no server. A server whose connection is lost is started again, and the call
    made again, twice; then `ConnectionError` is raised. Every other error of a tool, an unknown name and
    arguments that do not fit are results that a model can read (`ToolResult.is_error`).

    `tools`: functions (sync, async, generators; `@durable.tool` or not), other toolsets, LangChain tools.
    `mcp`: a file in the usual format (`{"mcpServers": {...}}`), or its content. `timeout`: seconds that a call of
    an MCP server may take. The tools of a server are named `server_tool`; every name is made valid for all
    providers, and unique. `approval`: of which calls a person must approve each before it is made: True (all), names or
    patterns of names, or a function of name and arguments that says whether, or why. What a person changed about a
    call, its result tells the model; a call that was rejected is a result with `is_error`.

    >>> def add(a: int, b: int = 1) -> int:
    ...     "Add two numbers."
    ...     return a + b
    >>> tools = Toolset(add)
    >>> tools.call_sync("add", '{"a": "2"}').content
    '3'
    >>> tools.call_sync("add", {"b": 2}).content
    'add: invalid arguments: a: Field required'
    """

    def __init__(
        self,
        *tools: Any,
        mcp: str | os.PathLike[str] | Config | None = None,
        langchain: Iterable[Any] = (),
        timeout: float | None = None,
        approval: bool | str | Iterable[str] | Callable[[str, dict[str, Any]], bool | str] = False,
    ) -> None:
        self._servers = Servers(read_config(mcp))
        self._approval = (approval,) if isinstance(approval, str) else approval
        self._timeout = timeout
        self._listed: dict[str, list[dict[str, Any]]] = {}
        self._patterns: tuple[tuple[str, ...], ...] = ()
        self._entries: dict[str, Entry] = {}
        self._merged: list[Toolset] = []
        self._cache: dict[str, Entry] | None = None
        for tool in tools:
            self._add_any(tool)
        for tool in langchain:
            self._add(LangChainTool(tool))

    def _add_any(self, tool: Any) -> None:
        if isinstance(tool, Toolset):
            self._merged.append(tool)
        elif is_langchain(tool):
            self._add(LangChainTool(tool))
        elif callable(tool):
            self._add(FunctionTool(tool))
        else:
            raise DurableError(
                f"{tool!r} is no tool", hint="give functions, other toolsets, or LangChain tools"
            )

    def _add(self, entry: Entry) -> None:
        self._entries[naming.unique(entry.name, self._entries)] = entry

    # -- what there is -------------------------------------------------------------------------------

    def _all(self) -> dict[str, Entry]:
        """The tools by the names that models are told. Raises `DurableError` before servers were asked."""
        missing = [name for name in self._servers.configs if name not in self._listed]
        if missing:
            raise DurableError(
                f"the tools of {', '.join(missing)} are not listed yet",
                hint="`await tools.load()` first, or use the toolset in `async with tools:`",
            )
        found = dict(self._entries)
        for other in self._merged:
            for name, entry in other._all().items():
                found[naming.unique(name, found)] = entry
        for server, listed in self._listed.items():
            for tool in listed:
                entry = McpTool(self._servers, server, tool, self._timeout)
                found[naming.unique(entry.name, found)] = entry
        for patterns in self._patterns:
            found = {
                name: entry
                for name, entry in found.items()
                if any(fnmatchcase(name, pattern) for pattern in patterns)
            }
        if self._approval:
            return {name: self._asking(name, entry) for name, entry in found.items()}
        return found

    def _asking(self, name: str, entry: Entry) -> Entry:
        given = self._approval
        if callable(given):
            return entry.asking(lambda *args, **arguments: given(name, arguments))
        asks = given is True or any(fnmatchcase(name, pattern) for pattern in given or ())
        return entry.asking(lambda *args, **arguments: True) if asks else entry

    def __iter__(self) -> Iterator[str]:
        return iter(self._known())

    def __len__(self) -> int:
        return len(self._known())

    def __contains__(self, name: object) -> bool:
        return name in self._known()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_cache": None}

    def __repr__(self) -> str:
        try:
            return f"<Toolset of {len(self)} tools>"
        except DurableError:
            return f"<Toolset, MCP servers not listed yet: {', '.join(self._servers.configs)}>"

    def schemas(self, provider: Provider) -> list[dict[str, Any]]:
        """The tools as the `tools` argument of a provider.

        `provider`: "openai" (chat completions, and everything compatible), "openai-responses", "anthropic",
        "gemini" (as in `config={"tools": ...}`), or "json" (name, description, parameters). Raises
        `DurableError` if the servers have not been asked yet (`load`).
        """
        return schemas.for_provider(
            provider, [(name, entry.description, entry.schema) for name, entry in self._known().items()]
        )

    def select(self, *patterns: str) -> Toolset:
        """The tools whose names match one of the patterns, sharing this toolset's servers.

        >>> def fetch_page(url: str) -> str: ...
        >>> def send(text: str) -> None: ...
        >>> list(Toolset(fetch_page, send).select("fetch_*"))
        ['fetch_page']
        """
        found = copy.copy(self)
        found._patterns = (*self._patterns, patterns)
        found._cache = None
        return found

    def _known(self) -> dict[str, Entry]:
        # Thousands of tools are put together once, not for every call.
        if self._cache is None:
            self._cache = self._all()
        return self._cache

    # -- servers -------------------------------------------------------------------------------------

    async def load(self) -> Toolset:
        """Ask the servers which tools they have, each once; in a durable run a step `server.list_tools`.

        Raises `ConnectionError` for a server that cannot be reached, and `DurableError` for a bad configuration.
        """
        for other in self._merged:
            await other.load()
        missing = [name for name in self._servers.configs if name not in self._listed]
        listed = await asyncio.gather(*(self._list(name) for name in missing))
        self._listed.update(zip(missing, listed, strict=True))
        self._cache = None
        return self

    async def _list(self, server: str) -> list[dict[str, Any]]:
        async def call() -> Any:
            return await self._servers.use_async(server, list_tools)

        found: list[dict[str, Any]] = await perform_async(self._listing(server), call, (), {})
        return found

    def load_sync(self) -> Toolset:
        """`load` for sync code."""
        for other in self._merged:
            other.load_sync()
        for server in self._servers.configs:
            if server not in self._listed:

                def call(server: str = server) -> Any:
                    return self._servers.use_sync(server, list_tools)

                self._listed[server] = perform(self._listing(server), call, (), {})
        self._cache = None
        return self

    def _listing(self, server: str) -> Spec:
        return Spec(
            f"{server}.list_tools", kind="mcp", retry=RECONNECT, timeout=self._timeout, housekeeping=True
        )

    def close(self) -> None:
        """End the servers' sessions, and their processes. A later call starts them again."""
        for other in self._merged:
            other.close()
        self._servers.close()

    async def __aenter__(self) -> Toolset:
        return await self.load()

    async def __aexit__(self, *exc: object) -> None:
        with owned(SCOPE.get()):  # the thread that waits for the servers is no strand of the run
            closing = asyncio.get_running_loop().run_in_executor(None, self.close)
        await closing

    def __enter__(self) -> Toolset:
        return self.load_sync()

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- calls ---------------------------------------------------------------------------------------

    async def call(self, name: str, arguments: str | Mapping[str, Any] | None = None) -> ToolResult:
        """Call a tool with what a model asked for: arguments as JSON text or as a mapping.

        A tool's error is a result with `is_error`. Raises `ConnectionError` for a lost server, and what ends
        a run (`DurableError`: a divergence, a step in doubt; cancellation).
        """
        try:
            entry, given = self._prepare(name, arguments)
            with _telling() as told:
                result = await entry.call_async(given)
            return _named(name, _with_edits(result, told))
        except ArgumentError as error:
            return ToolResult(name, str(error), is_error=True)
        except Exception as error:  # noqa: BLE001 - the model is to know of every error of a tool
            return _error(name, error)

    def call_sync(self, name: str, arguments: str | Mapping[str, Any] | None = None) -> ToolResult:
        """`call` for sync code, whatever the tool is."""
        try:
            entry, given = self._prepare(name, arguments)
            with _telling() as told:
                result = entry.call(given)
            return _named(name, _with_edits(result, told))
        except ArgumentError as error:
            return ToolResult(name, str(error), is_error=True)
        except Exception as error:  # noqa: BLE001 - the model is to know of every error of a tool
            return _error(name, error)

    def _prepare(self, name: str, arguments: str | Mapping[str, Any] | None) -> tuple[Entry, dict[str, Any]]:
        known = self._known()
        entry = known.get(name)
        if entry is None:
            near = difflib.get_close_matches(name, known, 3) or list(known)[:20]
            raise ArgumentError(f"there is no tool {name!r}; did you mean {', '.join(near)}?")
        try:
            return entry, entry.validate(schemas.parse(arguments))
        except ArgumentError as error:
            raise ArgumentError(f"{name}: invalid arguments: {error}") from None


@contextmanager
def _telling() -> Iterator[list[tuple[Mapping[str, Any], str]]]:
    told: list[tuple[Mapping[str, Any], str]] = []
    token = EDITS.set(told)
    try:
        yield told
    finally:
        EDITS.reset(token)


def _with_edits(result: ToolResult, told: list[tuple[Mapping[str, Any], str]]) -> ToolResult:
    """The result, which begins with what a person changed about the call, for the model to know."""
    if not told:
        return result
    said = f"(A person changed arguments of this call before it was made: {json.dumps(told[-1][0])})"
    content = f"{said}\n{result.content}" if result.content else said
    return ToolResult(result.name, content, result.value, result.is_error, result.blocks)


def _named(name: str, result: ToolResult) -> ToolResult:
    """The result under the name that the model used."""
    return (
        result
        if result.name == name
        else ToolResult(name, result.content, result.value, result.is_error, result.blocks)
    )


def _error(name: str, error: Exception) -> ToolResult:
    """An error as a result. Raises what is no tool's error."""
    if isinstance(error, ServerLostError) or (
        isinstance(error, DurableError) and not isinstance(error, ApprovalRejected)
    ):
        raise error
    said = str(error)
    kind = type(error).__name__
    text = said if kind in ("McpError", "MCPError") else f"{kind}: {said}" if said else kind
    return ToolResult(name, text, is_error=True)
