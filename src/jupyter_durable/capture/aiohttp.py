"""aiohttp: what its client sends inside a durable run becomes steps.

Hooked where a session asks its connector for a connection: below redirects, cookies, middlewares and tracing.
It gets one that is not connected to anything. Its protocol is aiohttp's own, with one difference: the first
`read` makes the exchange, for which a real connection is asked for only if it is live; what comes back, sent
or recorded, is then received by it as bytes on the wire, chunked again if it was. So every response is one that
aiohttp itself made. With no durable scope around, a connector does what it always did.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import copy_context
from types import ModuleType
from typing import Any

from jupyter_durable.capture import transports, wire
from jupyter_durable.runtime.context import SCOPE, Scope
from jupyter_durable.runtime.exchange import Ask, Head, capturing, passing, wanted, websocket
from jupyter_durable.runtime.exchanges import exchange_async
from jupyter_durable.runtime.responses import AsyncAnswer

_tasks: set[asyncio.Task[Any]] = set()


def _in_background(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task that is no strand of the run: what it does is part of a step."""
    context = copy_context()
    context.run(SCOPE.set, None)
    task = asyncio.get_running_loop().create_task(work, context=context)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task


class _Source:
    """A live response's bytes, undecoded, as they arrive on a real connection."""

    def __init__(self, connection: Any, message: Any, payload: Any) -> None:
        self._connection = connection
        self._payload = payload
        version = f"HTTP/{message.version.major}.{message.version.minor}"
        self.head = Head(message.code, message.reason or "", tuple(message.raw_headers), version)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while data := await self._payload.readany():
            yield data
        self._connection.release()

    async def aclose(self) -> None:
        self._connection.close()


class _Wire(asyncio.Transport):
    """What the request is written to: kept until there is a real connection, if there ever is one."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[bytes] = []
        self._real: asyncio.Transport | None = None
        self._closing = False
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    def attach(self, real: asyncio.Transport) -> None:
        """From here on what is written goes there."""
        self._real = real
        real.writelines(self._kept)
        self._kept = []

    def write(self, data: Any) -> None:
        if self._real is not None:
            self._real.write(data)
        else:
            self._kept.append(bytes(data))

    def writelines(self, parts: Any) -> None:
        for part in parts:
            self.write(part)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True

    abort = close

    def pause_reading(self) -> None:
        self.may_go_on.clear()

    def resume_reading(self) -> None:
        self.may_go_on.set()

    def is_reading(self) -> bool:
        return self.may_go_on.is_set()


class Library:
    """What there is of aiohttp: connections that journal, made of its own classes."""

    def __init__(self, module: Any) -> None:
        self.module = module

        class Protocol(module.client_proto.ResponseHandler):  # type: ignore[misc]
            """aiohttp's protocol of a connection, whose bytes an exchange gives. Asks for one when read."""

            def __init__(
                self,
                loop: asyncio.AbstractEventLoop,
                begin: Callable[[Any], Coroutine[Any, Any, AsyncAnswer]],
            ) -> None:
                super().__init__(loop)
                self._begin = begin
                self._answer: AsyncAnswer | None = None
                self._pump: asyncio.Task[None] | None = None
                self.wire = _Wire()
                self.connection_made(self.wire)

            async def read(self) -> Any:
                if self._answer is None:
                    self._drop_timeout()
                    answer = self._answer = await self._begin(self)
                    self.data_received(transports.on_wire(answer.head))
                    self._pump = _in_background(self._receive(answer))
                return await super().read()

            async def _receive(self, answer: AsyncAnswer) -> None:
                payload = self._payload
                chunked = transports.is_chunked(answer.head)
                try:
                    async for data in answer:
                        self.data_received(transports.framed(data, chunked=chunked))
                        await self.wire.may_go_on.wait()
                except asyncio.CancelledError:
                    raise
                except BaseException as error:  # noqa: BLE001 - for whoever reads
                    if payload is not None:
                        payload.set_exception(error)
                    return
                if chunked:
                    self.data_received(transports.CHUNKED_END)
                elif answer.head.get(b"content-length") is None:
                    self.connection_lost(None)

            def finish(self) -> None:
                """Nobody wants more of it."""
                self._drop_timeout()
                self.wire.close()
                if self._pump is not None and not self._pump.done():
                    self._pump.cancel()
                    assert self._answer is not None
                    _in_background(self._answer.aclose())
                self._pump = None

        class Connection(module.connector.Connection):  # type: ignore[misc]
            """A connection that no pool gets back."""

            _protocol: Any

            def close(self) -> None:
                self._notify_release()
                if self._protocol is not None:
                    self._protocol.finish()
                    self._protocol = None

            release = close

            def __del__(self) -> None:
                pass

        self.protocol, self.connection = Protocol, Connection

    def ask(self, scope: Scope, request: Any) -> Ask | None:
        """The request as a step; None for one that is never journaled, and one that becomes a websocket."""
        if request.headers.get("Upgrade", "").lower() == "websocket":
            websocket(request.url.host)
            return None
        body = request.body
        return transports.ask(
            scope,
            request.method,
            str(request.url),
            [(str(name), str(value)) for name, value in request.headers.items()],
            lambda: transports.read_again(getattr(body, "_value", body)),
            cut_off=self.module.ClientPayloadError,
        )

    def connect(self, connector: Any, scope: Scope, ask: Ask, request: Any, live: Callable[[], Any]) -> Any:
        """A connection for `request` that makes it a step of `scope`; `live()` gives a real one."""
        loop = asyncio.get_running_loop()

        async def begin(protocol: Any) -> AsyncAnswer:
            async def send() -> _Source:
                wire.warm(ask.described.kind)
                try:
                    real = await live()
                except TimeoutError as error:  # as `ClientSession` says it
                    kind = getattr(self.module, "ConnectionTimeoutError", self.module.ServerTimeoutError)
                    raise kind(f"Connection timeout to host {request.url}") from error
                try:
                    method = request.method.upper()
                    real.protocol.set_response_params(
                        skip_payload=method == "HEAD",
                        read_until_eof=True,
                        auto_decompress=False,
                        read_timeout=protocol._read_timeout,
                        timeout_ceil_threshold=protocol._timeout_ceil_threshold or 5,
                    )
                    protocol.wire.attach(real.transport)
                    real.protocol.start_timeout()
                    message, payload = await real.protocol.read()
                    while 100 <= message.code < 200 and message.code != 101:
                        message, payload = await real.protocol.read()
                except BaseException:
                    real.close()
                    raise
                return _Source(real, message, payload)

            return await exchange_async(scope, ask, send)

        return self.connection(connector, request.connection_key, self.protocol(loop, begin), loop)


class Aiohttp:
    """The instrument."""

    name = "aiohttp"
    captures = "http"
    # Tested: 3.9.5 and 3.14.5.
    supported = {"aiohttp": ">=3.9,<4"}  # noqa: RUF012 - read only
    modules = ("aiohttp",)

    def patch(self, module: ModuleType) -> Callable[[], None]:
        """Let connectors give connections that journal, where a durable scope is current."""
        library = Library(module)
        connector: Any = module.connector.BaseConnector
        original = connector.connect

        @functools.wraps(original)
        async def connect(self: Any, req: Any, *args: Any, **kwargs: Any) -> Any:
            scope = capturing() if SCOPE.get() is not None else None
            if scope is None:
                return await original(self, req, *args, **kwargs)
            ask = library.ask(scope, req)
            if ask is None:
                with passing():
                    return await original(self, req, *args, **kwargs)
            if not wanted(scope, ask.described):
                return await original(self, req, *args, **kwargs)

            async def live() -> Any:
                return await original(self, req, *args, **kwargs)

            return library.connect(self, scope, ask, req, live)

        connector.connect = connect

        def undo() -> None:
            connector.connect = original

        return undo


INSTRUMENT = Aiohttp()
