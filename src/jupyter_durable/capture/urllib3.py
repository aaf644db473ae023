"""urllib3: what requests, botocore and everything else built on it sends inside a durable run becomes steps.

Hooked at `HTTPConnectionPool.urlopen`: below redirects, authentication and sessions, above urllib3's own
retries, which are then part of one attempt. What comes back, sent or recorded, is a real `http.client` response
that reads its bytes from the exchange: it keeps the borders of chunks, so that streams arrive as they did.
With no durable scope around, a pool does what it always did.
"""

from __future__ import annotations

import functools
import http.client
import io
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from jupyter_durable.capture import transports, wire
from jupyter_durable.runtime.context import SCOPE, Scope
from jupyter_durable.runtime.exchange import Ask, Head, capturing, passing, wanted
from jupyter_durable.runtime.exchanges import exchange
from jupyter_durable.runtime.responses import Answer

_PIECE = 64 * 1024
_VERSIONS = {9: "HTTP/0.9", 10: "HTTP/1.0", 11: "HTTP/1.1", 20: "HTTP/2"}


class _Source:
    """A live response's bytes, undecoded, as they arrive."""

    def __init__(self, module: Any, response: Any) -> None:
        self._module = module
        self.response = response
        headers = tuple(
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in _pairs(response.headers)
        )
        self.head = Head(
            response.status, response.reason or "", headers, _VERSIONS.get(response.version, "HTTP/1.1")
        )

    def __iter__(self) -> Iterator[bytes]:
        response = self.response
        original = response._fp
        length = original.length if not original.chunked else None
        read = 0
        while True:
            with response._error_catcher():
                data = original.read1(_PIECE)
                if not data and length is not None and read < length:  # `read1` says nothing of it
                    raise self._module.exceptions.IncompleteRead(read, length - read)
            if not data:
                break
            read += len(data)
            yield data
        response.release_conn()

    def close(self) -> None:
        self.response.close()


def _pairs(headers: Any) -> Iterator[tuple[str, str]]:
    """Each header by itself: urllib3 joins those of one name."""
    names: dict[str, str] = {name.lower(): name for name in headers}
    for name in names.values():
        for value in headers.getlist(name):
            yield name, value


class _Raw(io.RawIOBase):
    """A response as it is on the wire: its head, then what the exchange gives, chunked again if it was."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._bytes = self._wire()
        self._left = b""

    def _wire(self) -> Iterator[bytes]:
        head = self._answer.head
        yield transports.on_wire(head)
        chunked = transports.is_chunked(head)
        for data in self._answer:
            yield transports.framed(data, chunked=chunked)
        if chunked:
            yield transports.CHUNKED_END

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            try:
                self._left = next(self._bytes)
            except StopIteration:
                return 0
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size

    def close(self) -> None:
        if not self.closed:
            self._answer.close()
        super().close()


class _Socket:
    """What `http.client` reads a response from."""

    def __init__(self, raw: _Raw) -> None:
        self._raw = raw

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(self._raw, _PIECE)


class Library:
    """What there is of urllib3."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def ask(self, scope: Scope, pool: Any, method: str, url: str, body: Any, headers: Any) -> Ask | None:
        """The request as a step; None for one that is never journaled."""
        given: Mapping[str, str] = headers if headers is not None else pool.headers or {}
        where = url
        if "://" not in url:
            default = {"http": 80, "https": 443}.get(pool.scheme)
            port = f":{pool.port}" if pool.port not in (None, default) else ""
            where = f"{pool.scheme}://{pool.host}{port}{url}"
        return transports.ask(
            scope,
            method,
            where,
            [(_text(name), _text(value)) for name, value in given.items()],
            lambda: transports.read_again(body),
            cut_off=self.module.exceptions.ProtocolError,
        )

    def response(self, answer: Answer, method: str, url: str, given: Mapping[str, Any]) -> Any:
        """What the caller gets."""
        original = http.client.HTTPResponse(_Socket(_Raw(answer)), method=method)  # type: ignore[arg-type]
        original.begin()
        headers = self.module._collections.HTTPHeaderDict()
        for name, value in original.msg.items():
            headers.add(name, value)
        live: Any = answer.live
        return self.module.HTTPResponse(
            body=original,
            headers=headers,
            status=original.status,
            version=original.version,
            reason=original.reason,
            preload_content=given.get("preload_content", True),
            decode_content=given.get("decode_content", True),
            original_response=original,
            retries=live.response.retries if live is not None else given.get("retries"),
            request_method=method,
            request_url=url,
        )


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


class Urllib3:
    """The instrument."""

    name = "urllib3"
    captures = "http"
    # Tested: 1.26.20 (with requests 2.31 and boto3 1.34) and 2.8.
    supported = {"urllib3": ">=1.26,<3"}  # noqa: RUF012 - read only
    modules = ("urllib3",)

    def patch(self, module: ModuleType) -> Callable[[], None]:
        """Let pools send as steps, where a durable scope is current."""
        library = Library(module)
        pools: Any = module.connectionpool.HTTPConnectionPool
        original = pools.urlopen

        @functools.wraps(original)
        def urlopen(
            self: Any, method: str, url: str, body: Any = None, headers: Any = None, *args: Any, **kwargs: Any
        ) -> Any:
            def as_ever(**changed: Any) -> Any:
                return original(self, method, url, body, headers, *args, **{**kwargs, **changed})

            if SCOPE.get() is None or args or (scope := capturing()) is None:
                return as_ever()
            ask = library.ask(scope, self, method, url, body, headers)
            if ask is None:
                with passing():
                    return as_ever()
            if not wanted(scope, ask.described):
                return as_ever()

            def send() -> _Source:
                wire.warm(ask.described.kind)
                return _Source(module, as_ever(preload_content=False))

            answer = exchange(scope, ask, send)
            return library.response(answer, method, url, kwargs)

        pools.urlopen = urlopen

        def undo() -> None:
            pools.urlopen = original

        return undo


INSTRUMENT = Urllib3()
