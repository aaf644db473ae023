"""The event stream: a WebSocket that sends what changes, from where the listener says it was.

Out: `shapes.Event`s; in: `shapes.Follow` and `shapes.Unfollow`. `?last=ID` is the last `runs` event that was seen.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from pydantic import TypeAdapter, ValidationError
from tornado import web
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from jupyter_durable.server.handlers import RESOURCE
from jupyter_durable.server.hub import Hub
from jupyter_durable.server.shapes import Follow, Message

MOST = 4096
"""Characters of a message."""

_UNDER_WAY = 8  # messages that may be on their way to one listener
_MESSAGE: TypeAdapter[Any] = TypeAdapter(Message)


class Stream(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """One listener."""

    auth_resource = RESOURCE
    hub: Hub

    def initialize(self, hub: Hub) -> None:
        """What tornado calls with what it was given."""
        self.hub = hub
        self._under_way = 0
        self._ended = False

    @ws_authenticated
    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Let in who may read."""
        may = await ensure_async(self.authorizer.is_authorized(self, self.current_user, "read", RESOURCE))
        if not may:
            raise web.HTTPError(403, "not authorized to read durable runs")
        await super().get(*args, **kwargs)

    def open(self, *args: Any, **kwargs: Any) -> None:
        """Begin to listen."""
        super().open(*args, **kwargs)
        self._loop = asyncio.get_running_loop()
        self.hub.add(self, self.get_query_argument("last", "")[:64])

    def on_message(self, message: str | bytes) -> None:
        """What the listener wants. It comes from a browser: everything in it is checked."""
        if not isinstance(message, str) or len(message) > MOST:
            self.close(1009, "too large")
            return
        try:
            said = _MESSAGE.validate_json(message)
        except ValidationError:
            self.close(1008, "not understood")
            return
        if not isinstance(said, Follow):
            self.hub.unfollow(self, said.run)
        elif not self.hub.follow(self, said.run, said.feed, said.mark):
            self.close(1008, "too many runs")

    def on_close(self) -> None:
        """Listen no more."""
        self._ended = True
        self.hub.remove(self)
        super().on_close()

    # -- the hub's side --------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether most of what was sent has left."""
        return not self._ended and self._under_way < _UNDER_WAY

    def push(self, text: str) -> None:
        """Send, from the hub's thread."""
        self._under_way += 1
        with contextlib.suppress(RuntimeError):  # the server ends
            self._loop.call_soon_threadsafe(self._write, text)

    def _write(self, text: str) -> None:
        try:
            sent = self.write_message(text)
        except WebSocketClosedError:
            self._ended = True
            self.hub.remove(self)
            return
        asyncio.ensure_future(self._left(sent))  # noqa: RUF006 - it ends with the connection

    async def _left(self, sent: Any) -> None:
        with contextlib.suppress(WebSocketClosedError):
            await sent
        self._under_way -= 1
