"""httpx and httpx2: what their clients send inside a durable run becomes steps.

Hooked where a client picks the transport of one request (`Client._transport_for_url`): above the transport,
so that custom ones, mounts and proxies are covered, as are clients made before the run; below redirects,
authentication, event hooks and the SDK, which go on as usual over what is replayed. Each redirect is an
exchange of its own. With no durable scope around, a client gets the transport it always got.

| SDK | stack |
|---|---|
| openai, anthropic, mistralai, google-genai, pydantic-ai, langchain-* | httpx2 (older releases: httpx) |
| litellm, huggingface_hub | httpx |
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import Any

from jupyter_durable.capture import transports, wire
from jupyter_durable.runtime.context import SCOPE, Scope
from jupyter_durable.runtime.exchange import Ask, Head, capturing, passing, wanted, websocket
from jupyter_durable.runtime.exchanges import exchange, exchange_async
from jupyter_durable.runtime.origins import mark
from jupyter_durable.runtime.responses import Answer, AsyncAnswer


class _Source:
    """A live response's bytes, undecoded."""

    __slots__ = ("head", "response", "stream")

    def __init__(self, response: Any) -> None:
        self.response = response
        self.stream = response.stream  # ours takes its place
        extensions = response.extensions
        reason = extensions.get("reason_phrase", b"")
        version = extensions.get("http_version", b"HTTP/1.1")
        self.head = Head(
            response.status_code,
            reason.decode("ascii", "ignore"),
            tuple(response.headers.raw),
            version.decode("ascii", "ignore"),
        )

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.stream)

    def close(self) -> None:
        self.stream.close()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.stream.__aiter__()  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        await self.stream.aclose()


def _body(stream: Any, request: Any) -> bytes:
    """The request's body, if it can be read without using it up."""
    content = getattr(request, "_content", None)
    if content is not None:
        return content  # type: ignore[no-any-return]
    if type(stream).__name__ != "MultipartStream":
        return transports.UNREAD
    length = stream.get_content_length() if hasattr(stream, "get_content_length") else None
    if length is None or length > transports.LARGEST:
        return transports.UNREAD
    try:  # renders its files from their beginning each time
        return b"".join(stream.iter_chunks())
    except Exception:  # noqa: BLE001 - somebody's file object: sending it will say what is wrong
        return transports.UNREAD


class Library:
    """What there is of httpx or httpx2: the transports that journal, made of that library's classes."""

    def __init__(self, module: Any) -> None:
        self.module = module
        library = self

        class Stream(module.SyncByteStream):  # type: ignore[misc]
            def __init__(self, answer: Answer) -> None:
                self._answer = answer

            def __iter__(self) -> Iterator[bytes]:
                return iter(self._answer)

            def close(self) -> None:
                self._answer.close()

        class AsyncStream(module.AsyncByteStream):  # type: ignore[misc]
            def __init__(self, answer: AsyncAnswer) -> None:
                self._answer = answer

            def __aiter__(self) -> AsyncIterator[bytes]:
                return self._answer.__aiter__()

            async def aclose(self) -> None:
                await self._answer.aclose()

        class Journal(module.BaseTransport):  # type: ignore[misc]
            """Sends through `transport`, as a step."""

            def __init__(self, transport: Any) -> None:
                self._transport = transport

            def handle_request(self, request: Any) -> Any:
                scope = capturing()
                if scope is None:
                    return self._transport.handle_request(request)
                ask = library.ask(scope, request)
                if ask is None:
                    with passing():
                        return self._transport.handle_request(request)
                if not wanted(scope, ask.described):
                    return self._transport.handle_request(request)

                def send() -> _Source:
                    wire.warm(ask.described.kind)
                    return _Source(self._transport.handle_request(request))

                answer = exchange(scope, ask, send)
                return library.response(answer, Stream(answer))

            def close(self) -> None:
                self._transport.close()

        class AsyncJournal(module.AsyncBaseTransport):  # type: ignore[misc]
            """The same for an async client."""

            def __init__(self, transport: Any) -> None:
                self._transport = transport

            async def handle_async_request(self, request: Any) -> Any:
                scope = capturing()
                if scope is None:
                    return await self._transport.handle_async_request(request)
                ask = library.ask(scope, request)
                if ask is None:
                    with passing():
                        return await self._transport.handle_async_request(request)
                if not wanted(scope, ask.described):
                    return await self._transport.handle_async_request(request)

                async def send() -> _Source:
                    wire.warm(ask.described.kind)
                    return _Source(await self._transport.handle_async_request(request))

                answer = await exchange_async(scope, ask, send)
                return library.response(answer, AsyncStream(answer))

            async def aclose(self) -> None:
                await self._transport.aclose()

        self.sync, self.async_ = Journal, AsyncJournal

    def ask(self, scope: Scope, request: Any) -> Ask | None:
        """The request as a step; None for one that is never journaled, and one that becomes a websocket."""
        if request.headers.get("upgrade", "").lower() == "websocket":
            websocket(request.url.host)
            return None
        return transports.ask(
            scope,
            request.method,
            str(request.url),
            request.headers.multi_items(),
            lambda: _body(request.stream, request),
            cut_off=self.module.RemoteProtocolError,
        )

    def response(self, answer: Answer, stream: Any) -> Any:
        """What the client gets: the live response with our stream, or one made of what was recorded."""
        if answer.live is not None:
            response = answer.live.response  # type: ignore[union-attr]
            response.stream = stream
        else:
            head = answer.head
            extensions = {
                "http_version": head.version.encode("ascii"),
                "reason_phrase": head.reason.encode("ascii"),
            }
            response = self.module.Response(
                head.status, headers=list(head.headers), stream=stream, extensions=extensions
            )
        if head_is_error(answer.head):
            mark(response, *answer.place)
        return response


def head_is_error(head: Head) -> bool:
    """Whether an SDK makes an error of it."""
    return head.status >= 400


class Httpx:
    """The instrument."""

    name = "httpx"
    captures = "http"
    # Tested: httpx 0.25.2 and 0.28.1, httpx2 2.0.0 and 2.16.2.
    supported = {"httpx": ">=0.25,<1", "httpx2": ">=2,<3"}  # noqa: RUF012 - read only
    modules = ("httpx", "httpx2")

    def patch(self, module: ModuleType) -> Callable[[], None]:
        """Let clients pick a transport that journals, where a durable scope is current."""
        library = Library(module)
        undo = contextlib.ExitStack()
        for client, journal in ((module.Client, library.sync), (module.AsyncClient, library.async_)):
            _wrap(client, journal, undo)
        return undo.close


def _wrap(client: Any, journal: Any, undo: contextlib.ExitStack) -> None:
    original = client.__dict__["_transport_for_url"]

    @functools.wraps(original)
    def _transport_for_url(self: Any, url: Any) -> Any:
        transport = original(self, url)
        return transport if SCOPE.get() is None else journal(transport)

    client._transport_for_url = _transport_for_url
    undo.callback(setattr, client, "_transport_for_url", original)


INSTRUMENT = Httpx()
