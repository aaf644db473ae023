"""The MCP servers of a configuration file: one background thread, where each session is opened when it is first needed.

A session belongs to the task that opened it, and a cell has another loop than a script's next `asyncio.run`;
in a thread of their own sessions outlive both, and serve sync callers, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import json
import os
import re
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TextIO

from jupyter_durable.capture.wire.credentials import meet
from jupyter_durable.codec.redaction import learn
from jupyter_durable.errors import DurableError
from jupyter_durable.runtime.context import SCOPE, owned

Session = Any
Use = Callable[[Session], Awaitable[Any]]
Config = Mapping[str, Any]

_VARIABLE = re.compile(r"\$\{(?:env:)?(\w+)(?::-([^}]*))?\}")
_LOST = frozenset({"ClosedResourceError", "BrokenResourceError", "EndOfStream", "ConnectError", "ReadError"})


class ServerLostError(ConnectionError):
    """The connection to an MCP server ended before the answer came, or could not be made."""


# -- the configuration ---------------------------------------------------------------------------------


def read_config(source: str | os.PathLike[str] | Config | None) -> dict[str, Config]:
    """The servers in `{"mcpServers": {name: {...}}}`, a file or the object itself; disabled ones left out.

    `${NAME}` and `${NAME:-default}` are environment variables, read when a server is started. Raises `DurableError`.

    >>> list(read_config({"mcpServers": {"files": {"command": "mcp-files"}, "old": {"url": "…", "disabled": True}}}))
    ['files']
    """
    if source is None:
        return {}
    if isinstance(source, Mapping):
        found: Any = source
    else:
        path = Path(source).expanduser()
        try:
            found = json.loads(path.read_text("utf-8"))
        except OSError as error:
            raise DurableError(f"the MCP configuration cannot be read: {error}") from error
        except ValueError as error:
            raise DurableError(f"{path} is no JSON: {error}") from error
    servers = found.get("mcpServers", found.get("servers")) if isinstance(found, Mapping) else None
    if not isinstance(servers, Mapping):
        raise DurableError(
            'an MCP configuration is an object with the key "mcpServers"',
            hint='{"mcpServers": {"files": {"command": "npx", "args": ["-y", "some-server"]}}}',
        )
    for name, config in servers.items():
        if not isinstance(config, Mapping) or not ({"command", "url"} & config.keys()):
            raise DurableError(
                f'the MCP server {name!r} says neither "command" nor "url"',
                hint='{"command": …, "args": […], "env": {…}} or {"url": …, "headers": {…}}',
            )
    return {str(name): dict(config) for name, config in servers.items() if not config.get("disabled")}


def expand(value: Any, server: str) -> Any:
    """A configuration value with its environment variables. Raises `DurableError` for one that is not set."""
    if isinstance(value, str):

        def replace(match: re.Match[str]) -> str:
            found = os.environ.get(match[1], match[2])
            if found is None:
                raise DurableError(
                    f"the MCP server {server!r} needs the environment variable {match[1]}, which is not set",
                    hint=f"set {match[1]}, or give a default: ${{{match[1]}:-…}}",
                )
            return found

        return _VARIABLE.sub(replace, value)
    if isinstance(value, Mapping):
        return {key: expand(item, server) for key, item in value.items()}
    return [expand(item, server) for item in value] if isinstance(value, list) else value


def transport(name: str, config: Config) -> Any:
    """The context manager that connects to a server. Raises `DurableError`."""
    try:
        import mcp
    except ImportError as error:
        raise DurableError(
            "MCP servers need the package mcp", hint='pip install "jupyter-durable[mcp]"'
        ) from error
    config = expand(config, name)
    # What a server is given as a secret is one here, too.
    learn({str(key): str(value) for key, value in {**(config.get("env") or {})}.items()})
    meet({str(key).lower(): str(value) for key, value in {**(config.get("headers") or {})}.items()})
    if "command" in config:
        from mcp.client.stdio import stdio_client

        parameters = mcp.StdioServerParameters(
            command=config["command"],
            args=[str(arg) for arg in config.get("args") or ()],
            env=config.get("env"),  # and what every server gets; not this process' secrets
            cwd=config.get("cwd"),
        )
        return stdio_client(parameters, errlog=_stderr())
    headers = dict(config.get("headers") or {})
    if str(config.get("type") or config.get("transport") or "").lower() == "sse":
        from mcp.client.sse import sse_client

        return sse_client(config["url"], headers=headers)
    from mcp.client import streamable_http

    if hasattr(streamable_http, "streamablehttp_client"):
        return streamable_http.streamablehttp_client(config["url"], headers=headers)
    from mcp.shared._httpx_utils import create_mcp_http_client

    return streamable_http.streamable_http_client(
        config["url"], http_client=create_mcp_http_client(headers=headers)
    )


def _stderr() -> TextIO:
    # A notebook's stderr has no file that a process could inherit.
    with contextlib.suppress(Exception):
        if sys.__stderr__ is not None and sys.__stderr__.fileno() >= 0:
            return sys.__stderr__
    return open(os.devnull, "w")  # noqa: PTH123 - the server's for as long as it lives


# -- one server ----------------------------------------------------------------------------------------


class _Server:
    """One server's session. Everything here happens in the thread of `Servers`."""

    def __init__(self, name: str, config: Config) -> None:
        self.name = name
        self.config = config
        self._task: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[Session] | None = None
        self._stop: asyncio.Event | None = None

    async def use(self, use: Use) -> Any:
        """`use(session)`, the session opened first if there is none. Raises `ServerLostError`."""
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done():
            self._ready, self._stop = loop.create_future(), asyncio.Event()
            # A context of its own: it outlives the call, and the run, that it is opened for.
            self._task = loop.create_task(self._serve(self._ready, self._stop), context=contextvars.Context())
        serving, ready = self._task, self._ready
        assert ready is not None
        session = await asyncio.shield(ready)
        using = loop.create_task(_coroutine(use, session))
        try:
            # Some versions leave a request waiting for ever when the connection is gone.
            await asyncio.wait({using, serving}, return_when=asyncio.FIRST_COMPLETED)
            if not using.done():
                raise ServerLostError(f"the MCP server {self.name!r} ended before it answered")
            try:
                return using.result()
            except Exception as error:
                if not _is_lost(error):
                    raise
                await self.close()
                raise ServerLostError(f"the connection to the MCP server {self.name!r} was lost") from error
        finally:
            if not using.done():
                using.cancel()
                await asyncio.wait({using})

    async def _serve(self, ready: asyncio.Future[Session], stop: asyncio.Event) -> None:
        from mcp import ClientSession

        try:
            async with (
                transport(self.name, self.config) as streams,
                ClientSession(streams[0], streams[1]) as session,
            ):
                await session.initialize()
                ready.set_result(session)
                await stop.wait()
        except BaseException as error:
            if not ready.done():
                ready.set_exception(self._why(error))
            elif not isinstance(error, Exception):
                raise

    def _why(self, error: BaseException) -> Exception:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, DurableError | ServerLostError):
            return error
        lost = ServerLostError(
            f"the MCP server {self.name!r} cannot be reached: {type(error).__name__}: {error}"
        )
        lost.__cause__ = error
        return lost

    async def close(self) -> None:
        """End the session, and the process if it is ours."""
        task, self._task = self._task, None
        if task is not None and self._stop is not None:
            self._stop.set()
            if self._ready is not None and not self._ready.done():
                task.cancel()
            await asyncio.wait({task})


async def _coroutine(use: Use, session: Session) -> Any:
    return await use(session)


def _is_lost(error: BaseException) -> bool:
    code = getattr(getattr(error, "error", None), "code", None)
    if code is not None:
        return code == -32000 and "closed" in str(error).lower()
    return isinstance(error, OSError) or type(error).__name__ in _LOST


# -- all of them ---------------------------------------------------------------------------------------


class Servers:
    """The servers of a configuration. Safe to use from several threads; started by the first `use`."""

    def __init__(self, configs: Mapping[str, Config]) -> None:
        self.configs = dict(configs)
        self._servers = {name: _Server(name, config) for name, config in configs.items()}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def __reduce__(self) -> tuple[Any, ...]:
        return Servers, (self.configs,)

    def use(self, name: str, use: Use) -> Future[Any]:
        """`use(session)` in the servers' thread."""
        # No scope there: what a server's session does belongs to the step that this is a part of.
        with owned(SCOPE.get()):
            return asyncio.run_coroutine_threadsafe(self._servers[name].use(use), self._running())

    def use_sync(self, name: str, use: Use) -> Any:
        """The same, waited for; interrupting it cancels the request."""
        future = self.use(name, use)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def use_async(self, name: str, use: Use) -> Any:
        """The same, awaited; cancelling it cancels the request."""
        return await asyncio.wrap_future(self.use(name, use))

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._pid != os.getpid():
                if self._pid != os.getpid():  # a fork has the objects, not the thread
                    self._servers = {name: _Server(name, config) for name, config in self.configs.items()}
                    self._pid = os.getpid()
                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=_run, args=(self._loop,), name="jupyter-durable-mcp", daemon=True
                ).start()
            return self._loop

    def close(self) -> None:
        """End every session and the thread; the next `use` starts anew. Waits for the servers' processes."""
        with self._lock:
            loop, self._loop = self._loop, None
            if loop is None or self._pid != os.getpid():
                return
            with contextlib.suppress(Exception):
                asyncio.run_coroutine_threadsafe(self._close_all(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)

    async def _close_all(self) -> None:
        await asyncio.gather(*(server.close() for server in self._servers.values()))


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


# -- requests ------------------------------------------------------------------------------------------


async def list_tools(session: Session) -> list[dict[str, Any]]:
    """Every tool of a server, page by page, as JSON data: name, description, inputSchema, ..."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    paged = "params" in inspect.signature(session.list_tools).parameters
    while True:
        if cursor is None:
            page = await session.list_tools()
        elif paged:
            from mcp.types import PaginatedRequestParams

            page = await session.list_tools(params=PaginatedRequestParams(cursor=cursor))
        else:
            page = await session.list_tools(cursor=cursor)
        found += [tool.model_dump(by_alias=True, mode="json", exclude_none=True) for tool in page.tools]
        cursor = getattr(page, "next_cursor", None) or getattr(page, "nextCursor", None)
        if not cursor:
            return found


def calling(tool: str, arguments: Mapping[str, Any], report: Callable[..., Awaitable[None]]) -> Use:
    """A call of a tool, for `Servers.use`; its answer is JSON data."""

    async def use(session: Session) -> Any:
        result = await session.call_tool(tool, dict(arguments), progress_callback=report)
        return result.model_dump(by_alias=True, mode="json", exclude_none=True)

    return use
