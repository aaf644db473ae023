"""Websockets (realtime APIs): not journaled, and said to be.

What passes over one has no end and no request that it answers, so there is nothing to replay it by. A
notice says so once a host, unless a step around the connection covers it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

from jupyter_durable.runtime.exchange import websocket


class Websockets:
    """The instrument: of every client connection that `websockets` makes, a notice."""

    name = "websockets"
    captures = "http"
    supported = {"websockets": ">=13,<18"}  # noqa: RUF012 - read only
    modules = ("websockets.asyncio.client", "websockets.sync.client")

    def patch(self, module: ModuleType) -> Callable[[], None]:
        """Notice connections where they are made."""
        connection: Any = module.ClientConnection
        original = connection.__dict__["__init__"]

        @functools.wraps(original)
        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - in its place
            original(self, *args, **kwargs)
            uri = getattr(getattr(self, "protocol", None), "uri", None)
            websocket(str(getattr(uri, "host", "a host")))

        connection.__init__ = __init__

        def undo() -> None:
            connection.__init__ = original

        return undo


INSTRUMENT = Websockets()
