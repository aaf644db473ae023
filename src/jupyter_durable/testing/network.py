"""No network: a test that wants to reach something is told so."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any


class Blocked(ConnectionRefusedError):  # noqa: N818 - reads as what it says
    """What code gets that wants a connection while there is no network."""


@contextlib.contextmanager
def offline() -> Iterator[list[tuple[str, int]]]:
    """Inside the block no socket of this process gets a connection or looks up a name.

    Yields the list of what was wanted: address, and the thread that did. Sockets that stay on the machine (AF_UNIX) work, and so does
    what is connected already. Code that has sockets of its own, in C, is not noticed.

    >>> with offline() as wanted:
    ...     try:
    ...         socket.create_connection(("127.0.0.1", 9))
    ...     except ConnectionRefusedError:
    ...         wanted[0][0]
    '127.0.0.1:9'
    """
    wanted: list[tuple[str, int]] = []

    def refuse(what: str) -> Blocked:
        wanted.append((what, threading.get_ident()))
        return Blocked(f"there is no network in this test, and something wants to reach {what}")

    names = ("connect", "connect_ex", "sendto")
    before = {name: getattr(socket.socket, name) for name in names}
    own = {name: socket.socket.__dict__.get(name) for name in names}  # else inherited from `_socket`'s
    look_up = socket.getaddrinfo

    def guarded(name: str) -> Any:
        def call(self: socket.socket, *args: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6):
                address = args[-1]
                raise refuse(":".join(map(str, address[:2])) if isinstance(address, tuple) else str(address))
            return before[name](self, *args)

        return call

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if _is_address(host):
            return look_up(host, port, *args, **kwargs)
        raise refuse(f"{_text(host)}:{port}")

    for name in before:
        setattr(socket.socket, name, guarded(name))
    socket.getaddrinfo = getaddrinfo
    try:
        yield wanted
    finally:
        socket.getaddrinfo = look_up
        for name, method in own.items():
            if method is None:
                delattr(socket.socket, name)
            else:
                setattr(socket.socket, name, method)


def _text(host: Any) -> str:
    return host.decode("utf-8", "replace") if isinstance(host, bytes) else str(host)


def _is_address(host: Any) -> bool:
    """Whether there is nothing to look up."""
    if host is None or host == "":
        return True
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError, ValueError, TypeError):
            socket.inet_pton(family, _text(host))
            return True
    return False
