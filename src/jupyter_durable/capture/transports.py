"""What the transports share: a request as an exchange, a body read without using it up, a response on the wire.

    ask ────────── a request as a step; None: it is sent every time (a credential exchange, an ignored host)
    read_again ─── the bytes of a body that its sender can still send
    on_wire ────── a response's head; `framed` what follows it, chunked again if it was

Each module of a library holds what is that library's: where it is hooked, what its requests and responses are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from jupyter_durable.capture import wire
from jupyter_durable.runtime.context import Scope
from jupyter_durable.runtime.exchange import Ask, Head, retries

LARGEST = 64 * 1024 * 1024
"""Bytes up to which a body that is not in memory is read to tell equal requests."""
UNREAD = b"<streamed body>"
"""Stands for a body that can be read only once: by its sender."""


def ask(
    scope: Scope,
    method: str,
    url: str,
    headers: Iterable[tuple[str, str]],
    body: Callable[[], bytes],
    *,
    cut_off: Callable[[str], Exception],
) -> Ask | None:
    """A request about to be sent in `scope`; None for one that is made live every time.

    `cut_off` makes the library's own error for a connection that breaks. `body()` is called only if it matters.
    """
    options = scope.run.options
    if options.ignore_hosts and options.ignores(wire.host_of(url)):
        return None
    pairs = list(headers)
    described = wire.describe(method, url, pairs, body())
    if described is None:
        return None

    def reader(head: Head) -> wire.Reader:
        found = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers]
        return wire.Reader(described, head.status, found)

    return Ask(
        described,
        method.upper(),
        reader,
        retries({name.lower(): value for name, value in pairs}.get),
        cut_off,
        lambda head: wire.is_attempt(head.status),
        lambda name, value: bool(wire.secret_headers([(name, value)])),
    )


def read_again(body: Any) -> bytes:
    """A body's bytes, if it can be read without using it up: text, bytes, a file. Else `UNREAD`.

    >>> read_again("a"), read_again(None), read_again(iter([b"a"]))
    (b'a', b'', b'<streamed body>')
    """
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    if hasattr(body, "read") and hasattr(body, "seek"):
        try:
            at = body.tell()
            data = body.read(LARGEST + 1)
            body.seek(at)
        except (OSError, ValueError):
            return UNREAD
        data = data.encode() if isinstance(data, str) else data
        return data if len(data) <= LARGEST else UNREAD
    return UNREAD


def on_wire(head: Head) -> bytes:
    """A head as HTTP/1 has it."""
    version = head.version if head.version != "HTTP/2" else "HTTP/1.1"
    lines = [f"{version} {head.status} {head.reason}".encode("latin-1")]
    lines += [name + b": " + value for name, value in head.headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def is_chunked(head: Head) -> bool:
    """Whether what follows it says where each chunk ends."""
    return b"chunked" in (head.get(b"transfer-encoding") or b"").lower()


def framed(data: bytes, *, chunked: bool) -> bytes:
    """The next bytes of a response.

    >>> framed(b"abc", chunked=True)
    b'3\\r\\nabc\\r\\n'
    """
    return b"%x\r\n%s\r\n" % (len(data), data) if chunked else data


CHUNKED_END = framed(b"", chunked=True)
"""The end of a response that says where it is."""
