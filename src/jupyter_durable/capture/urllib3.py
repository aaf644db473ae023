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

from jupyter_durable.capture import wire
from jupyter_durable.runtime.context import SCOPE
from jupyter_durable.runtime.exchange import Ask, Head, capturing, passing, retries, wanted
from jupyter_durable.runtime.exchanges import Answer, exchange

_PIECE = 64 * 1024
_LARGEST = 64 * 1024 * 1024
"""Bytes up to which a file that is sent is read to tell equal requests."""
_UNREAD = b"<streamed body>"
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
        version = head.version if head.version != "HTTP/2" else "HTTP/1.1"
        lines = [f"{version} {head.status} {head.reason}".encode("latin-1")]
        lines += [name + b": " + value for name, value in head.headers]
        yield b"\r\n".join(lines) + b"\r\n\r\n"
        chunked = b"chunked" in (head.get(b"transfer-encoding") or b"").lower()
        for data in self._answer:
            yield b"%x\r\n%s\r\n" % (len(data), data) if chunked else data
        if chunked:
            yield b"0\r\n\r\n"

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


def _body(body: Any) -> bytes:
    """The request's body, if it can be read without using it up."""
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    if hasattr(body, "read") and hasattr(body, "seek"):
        try:
            at = body.tell()
            data = body.read(_LARGEST + 1)
            body.seek(at)
        except (OSError, ValueError):
            return _UNREAD
        data = data.encode() if isinstance(data, str) else data
        return data if len(data) <= _LARGEST else _UNREAD
    return _UNREAD


class Library:
    """What there is of urllib3."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def ask(self, pool: Any, method: str, url: str, body: Any, headers: Any) -> Ask | None:
        """The request as a step; None for a credential exchange."""
        given: Mapping[str, str] = headers if headers is not None else pool.headers or {}
        pairs = [(_text(name), _text(value)) for name, value in given.items()]
        where = url
        if "://" not in url:
            default = {"http": 80, "https": 443}.get(pool.scheme)
            port = f":{pool.port}" if pool.port not in (None, default) else ""
            where = f"{pool.scheme}://{pool.host}{port}{url}"
        described = wire.describe(method, where, pairs, _body(body))
        if described is None:
            return None

        def reader(head: Head) -> wire.Reader:
            found = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers]
            return wire.Reader(described, head.status, found)

        sent = {name.lower(): value for name, value in pairs}
        return Ask(
            described,
            method.upper(),
            reader,
            retries(sent.get),
            self.module.exceptions.ProtocolError,
            lambda head: wire.is_attempt(head.status),
            lambda name, value: bool(wire.secret_headers([(name, value)])),
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
            ask = library.ask(self, method, url, body, headers)
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
