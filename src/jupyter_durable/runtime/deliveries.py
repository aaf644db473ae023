"""Live outcomes reach those who wait for them one at a time, in the order of the journal, as on replay.

Several may be committed together, and a replay cannot tell that they were. So each is handed over when what the last
one set off has come to rest: whoever waits for the first of two must find as many as then.

A coroutine is told by its loop. A thread that has made a blocking call waits for its turn itself, unless it is
alone. Whether everything else rests is what `runtime.stirring` knows, live as on replay.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from jupyter_durable.runtime.stirring import RESTLESS, Stirring

_LOOK = 0.0005  # seconds between looks at others that are waited for
_OURS = 4  # handles of a loop that are looked at


class Delivery:
    """What somebody waits for: `loop` and `future` of a coroutine, or the `event` of a thread."""

    __slots__ = ("error", "event", "future", "in_turn", "loop", "ready")

    def __init__(self, *, in_turn: bool) -> None:
        self.in_turn = in_turn
        self.ready = False  # it has been written
        self.error: BaseException | None = None
        self.event: threading.Event | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.future: asyncio.Future[None] | None = None

    @property
    def alone(self) -> bool:
        """Whether only its own loop is waited for."""
        return False

    def patient(self, turns: int) -> bool:
        """Whether its loop is to come to rest first, for which so many turns of it have been waited."""
        return turns < RESTLESS

    def tell(self) -> None:
        """In the loop's own thread."""
        future = self.future
        if future is not None and not future.done():
            if self.error is None:
                future.set_result(None)
            else:
                future.set_exception(self.error)


def at_rest(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop has nothing else to do, as far as it can be told.

    To empty its own pipe is nothing, nor is what waits for the loop to come to rest.
    """
    ready: Sequence[Any] = getattr(loop, "_ready", ())
    count, kind = len(ready), type(loop)
    try:  # other threads add to it
        return count == 0 or (count <= _OURS and all(_idle(kind, ready[n]) for n in range(count)))
    except IndexError:
        return False


def _idle(kind: type, handle: Any) -> bool:
    called = getattr(getattr(handle, "_callback", None), "__func__", None)
    return called is Deliveries._serve or called is getattr(kind, "_read_from_self", kind)


class Deliveries:
    """The queue of one run's live outcomes."""

    def __init__(self, others: Stirring) -> None:
        self.others = others
        others.rested = self.rested
        self.due: deque[Delivery] = deque()  # committed, not yet handed over
        self._serving: set[asyncio.AbstractEventLoop] = set()
        self._lock = threading.Lock()

    def crowded(self) -> bool:
        """Whether a thread with an outcome must wait for its turn: there are others."""
        return bool(self.due or self.others.count)

    def add(self, items: Iterable[Delivery]) -> None:
        """They are committed. To be called in the order of the journal."""
        for item in items:
            if item.in_turn and item.error is None and (item.loop is not None or item.event is not None):
                self.due.append(item)

    def tell(self, items: Iterable[Delivery]) -> None:
        """Begin to hand over what was added, and at once what needs no turn."""
        waiting: dict[asyncio.AbstractEventLoop, list[Delivery]] = {}
        for item in items:
            if item.loop is not None:
                waiting.setdefault(item.loop, []).append(item)
        for loop, own in waiting.items():
            try:
                loop.call_soon_threadsafe(self._arrived, loop, own)
            except RuntimeError:  # the loop was closed; nobody is left to tell
                self._forget(own)

    async def turn(self) -> None:
        """Go on as after an outcome, without one."""
        item = Delivery(in_turn=True)
        item.loop = asyncio.get_running_loop()
        item.future = item.loop.create_future()
        self.join(item.loop, item)
        await item.future

    def join(self, loop: asyncio.AbstractEventLoop, item: Delivery) -> None:
        """Hand `item` over after all that is due. In the thread of its loop."""
        self.due.append(item)
        self._arrived(loop, ())

    def turn_sync(self, item: Delivery) -> None:
        """Wait until it is the turn of `item`, which was added. Blocks the calling thread, and the loop that runs in it."""
        assert item.event is not None
        loop = asyncio._get_running_loop()
        try:
            while (head := self._head(loop)) is not item or not self.others.others_rest():
                if head is not None and head.loop is loop is not None:
                    head.tell()  # what it sets off comes when this call has returned
                    self._done(head)
                else:
                    item.event.wait(_LOOK)
                    item.event.clear()
        except BaseException:
            self._forget([item])
            raise
        self.others.delivered(loop)
        self._done(item)

    def rested(self) -> None:
        """Something came to rest: a thread whose turn it is may look again."""
        if self.due:
            with suppress(IndexError):  # somebody else took it
                if (event := self.due[0].event) is not None:
                    event.set()

    # -- handing over ----------------------------------------------------------------------------

    def _arrived(self, loop: asyncio.AbstractEventLoop, items: Sequence[Delivery]) -> None:
        for item in items:
            if not item.in_turn or item.error is not None:
                item.tell()
        if loop not in self._serving:
            self._serving.add(loop)
            self._serve(loop, 0)

    def _serve(self, loop: asyncio.AbstractEventLoop, turns: int) -> None:
        head = self._head(loop)
        if head is None or (head.loop is not loop and not any(item.loop is loop for item in self.due)):
            self._serving.discard(loop)
            return
        # Others before the loop itself: what they hand over is in it when they have come to rest.
        if head.loop is not loop or not (head.alone or self.others.others_rest()):
            loop.call_later(_LOOK, self._serve, loop, turns, context=contextvars.Context())
            return
        if head.patient(turns) and not at_rest(loop):
            loop.call_soon(self._serve, loop, turns + 1)
            return
        head.tell()
        self.others.delivered(loop)
        self._done(head)
        if self.due:
            loop.call_soon(self._serve, loop, 0)
        else:
            self._serving.discard(loop)

    def _head(self, own: asyncio.AbstractEventLoop | None) -> Delivery | None:
        """Whose turn it is, as seen from the loop `own`; what cannot be waited for is passed over."""
        while self.due:
            head = self.due[0]
            loop = head.loop
            if loop is None or loop is own or (loop.is_running() and not self.others.blocked(loop)):
                return head
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(head.tell)
            self._done(head)
        return None

    def _done(self, item: Delivery) -> None:
        with self._lock:
            if self.due and self.due[0] is item:
                self.due.popleft()
        self.rested()

    def _forget(self, items: Iterable[Delivery]) -> None:
        with self._lock:
            for item in items:
                with suppress(ValueError):
                    self.due.remove(item)
        self.rested()
