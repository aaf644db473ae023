"""MCP transports inside a run: owned by their session, and opened late while the run replays.

`stdio_client(...)` and its like are context managers made by `asynccontextmanager`. They are patched in
place, in the closure of the function that makes them, because everybody imports them by name.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
from collections.abc import AsyncIterator, Callable
from types import CellType, FunctionType
from typing import Any

from jupyter_durable.capture.instruments import Undo
from jupyter_durable.runtime.context import OWNED, SCOPE, owned

TRANSPORTS: dict[str, tuple[str, ...]] = {
    "mcp.client.stdio": ("stdio_client",),
    "mcp.client.streamable_http": ("streamablehttp_client", "streamable_http_client"),
    "mcp.client.sse": ("sse_client",),
    "mcp.client.websocket": ("websocket_client",),
}


def defer(manager: Any) -> Undo:
    """Patch a function decorated with `asynccontextmanager`. Raises `AttributeError` if it is none."""
    cell = _held(manager)
    if cell is None:
        raise AttributeError(f"{manager!r} is not made by contextlib.asynccontextmanager")
    original = cell.cell_contents
    more = 1 if manager.__name__.startswith("streamable") and _major() < 2 else 0

    @functools.wraps(original)
    async def transport(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        scope = SCOPE.get() or OWNED.get()
        opened = contextlib.asynccontextmanager(original)(*args, **kwargs)
        replays = (
            scope is not None
            and not scope.run.closed
            and not scope.run.turns.open
            and "mcp" in scope.run.options.capture
        )
        manager = _late(opened, more) if replays else opened
        with owned(scope):
            streams = await manager.__aenter__()
        try:
            yield streams
        except BaseException as error:
            with owned(scope):
                handled = await manager.__aexit__(type(error), error, error.__traceback__)
            if not handled:
                raise
        else:
            with owned(scope):
                await manager.__aexit__(None, None, None)

    cell.cell_contents = transport

    def undo() -> None:
        if cell.cell_contents is transport:
            cell.cell_contents = original

    return undo


def _held(manager: Any) -> CellType | None:
    """Where what `asynccontextmanager` was given is held; other decorators (`deprecated`) may be around it."""
    while isinstance(manager, FunctionType):
        names = manager.__code__.co_freevars
        if "func" in names:
            return (manager.__closure__ or ())[names.index("func")]
        manager = getattr(manager, "__wrapped__", None)
    return None


def _major() -> int:
    return int(importlib.metadata.version("mcp").partition(".")[0])


class Link:
    """A transport that is opened by the first message written to it. `error`: why it could not be."""

    def __init__(self, opened: contextlib.AbstractAsyncContextManager[Any]) -> None:
        import anyio  # mcp has it

        self.error: Exception | None = None
        self.more: tuple[Callable[[], Any], ...] = ()
        self._opened = opened
        self._closed = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream)
        to_session, self.reader = anyio.create_memory_object_stream[Any](0)
        self.writer, from_session = anyio.create_memory_object_stream[Any](0)
        self._to_session = to_session
        self._from_session = from_session
        self.writer.link = self  # found again by `capture.mcp._not_opened`

    async def serve(self) -> None:
        """Wait for the first message, open the transport, and pass on what comes, both ways."""
        async with self._to_session, self._from_session:
            try:
                first = await self._from_session.receive()
            except self._closed:
                return  # the session needed no server
            try:
                async with self._opened as (reader, writer, *more):
                    self.more = tuple(more)
                    await self._pass_on(first, reader, writer)
            except Exception as error:  # noqa: BLE001 - raised to whoever makes the first live request
                self.error = _single(error)

    async def _pass_on(self, first: Any, reader: Any, writer: Any) -> None:
        import anyio

        async def inbound() -> None:
            with contextlib.suppress(*self._closed):
                async for message in reader:
                    await self._to_session.send(message)
            self._to_session.close()  # the session sees that the connection has ended

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(inbound)
            with contextlib.suppress(*self._closed):
                await writer.send(first)
                async for message in self._from_session:
                    await writer.send(message)
            tasks.cancel_scope.cancel()

    def close(self) -> None:
        """The session is over."""
        self.writer.close()
        self.reader.close()


@contextlib.asynccontextmanager
async def _late(opened: contextlib.AbstractAsyncContextManager[Any], more: int) -> AsyncIterator[Any]:
    import anyio

    link = Link(opened)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(link.serve)
        try:
            # Version 1's HTTP transports also give a function that tells the session's id.
            yield (link.reader, link.writer, *([lambda: link.more[0]() if link.more else None] * more))
        finally:
            link.close()


def _single(error: BaseException) -> Exception:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, Exception) else RuntimeError(repr(error))
