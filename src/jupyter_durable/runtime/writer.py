"""Group commit: whoever gets the store first writes what everybody has queued.

Entries are appended in the order in which they were handed in, whichever thread commits them. A
synchronous caller commits by itself (with what others have queued meanwhile); coroutines hand over
to one thread, so that their loop never waits for a disk.

What need not survive power loss (a start) is only staged if the store can do that: it is stored with
the outcome that follows, or by `settle`, a moment later.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence

from jupyter_durable.model import Draft, RunStatus
from jupyter_durable.runtime.deliveries import Deliveries, Delivery, at_rest
from jupyter_durable.runtime.live_timers import LiveTimers, Ring
from jupyter_durable.runtime.stirring import Stirring

Append = Callable[[Sequence[Draft], bool, RunStatus | None], None]
Stage = Callable[[Sequence[Draft]], bool]


class _Item(Delivery):
    __slots__ = ("drafts", "durable", "status")

    def __init__(self, drafts: Sequence[Draft], durable: bool, status: RunStatus | None = None) -> None:
        super().__init__(in_turn=durable)
        self.drafts = drafts
        self.durable = durable
        self.status = status


def _start(item: _Item | Ring) -> _Item | None:
    return item if isinstance(item, _Item) and not item.durable and item.status is None else None


def cancel_again(task: asyncio.Task[object], *message: object) -> None:
    """Cancel a task whose cancellation was held up."""
    # A timeout whose block was left meanwhile has taken its request back.
    if not task.done() and task.cancelling():
        task.uncancel()
        task.cancel(*message)


class Writer:
    """Appends a run's entries, in order, in as few transactions as possible.

    `append(drafts, durable, status)` is one transaction of the store. An error of it is raised to
    everyone whose entries were in the batch, and `on_error` is told once. `stage(drafts)` keeps them
    without one, or says that it cannot; `settle()` stores them. `stirring`: what goes on in the run meanwhile.
    """

    def __init__(
        self,
        append: Append,
        stirring: Stirring,
        *,
        stage: Stage = lambda drafts: False,
        settle: Callable[[], None] = lambda: None,
        on_error: Callable[[BaseException], None] = lambda error: None,
    ) -> None:
        self._append = append
        self._stage = stage
        self._settle = settle
        self._on_error = on_error
        self._queue: deque[_Item | Ring] = deque()
        self._io = threading.Lock()
        self._orders: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._gathering: set[asyncio.AbstractEventLoop] = set()
        self.deliveries = Deliveries(stirring)
        self.timers = LiveTimers(self._ring)

    def put(self, drafts: Sequence[Draft]) -> None:
        """Queue entries that go with the next commit; nobody waits for them."""
        self._queue.append(_Item(drafts, False))

    def tail(self) -> Sequence[Draft] | None:
        """What was queued last, if nobody has taken it yet to write it."""
        try:
            last = self._queue[-1]
        except IndexError:
            return None
        return last.drafts if isinstance(last, _Item) else None

    async def in_turn(self) -> None:
        """Go on as after an outcome: when what was delivered before has come to rest."""
        await self.deliveries.turn()

    def commit(self, drafts: Sequence[Draft], *, durable: bool, status: RunStatus | None = None) -> None:
        """Append `drafts` after all that was queued before, and return when they are stored.

        `durable`: when power loss cannot undo it; else when the death of this process cannot. Then, if there are others
        that wait for outcomes, when it is this one's turn.
        """
        crowded = durable and status is None and self.deliveries.crowded()
        if not crowded and not self._queue and not self._io.locked():
            with self._io:
                self._write(drafts, durable, status)
            return
        item = _Item(drafts, durable, status)
        if crowded:
            item.event = threading.Event()
        self._queue.append(item)
        if not item.ready:
            self._flush()
        if item.error is not None:
            raise item.error
        if crowded:
            self.deliveries.turn_sync(item)

    async def commit_async(self, drafts: Sequence[Draft], *, durable: bool) -> None:
        """The same without blocking the loop. Cancelling the wait does not take the entries back."""
        item = _Item(drafts, durable)
        item.loop = asyncio.get_running_loop()
        item.future = item.loop.create_future()
        self._queue.append(item)
        self._order()
        await item.future

    async def commit_first(self, drafts: Sequence[Draft]) -> None:
        """`commit_async`, durably, of what happened before any cancellation that comes meanwhile: that takes effect
        at the caller's next await."""
        item = _Item(drafts, True)
        item.loop = asyncio.get_running_loop()
        item.future = item.loop.create_future()
        self._queue.append(item)
        self._order()
        cancelled: asyncio.CancelledError | None = None
        while not item.future.done():
            try:
                await asyncio.shield(item.future)
            except asyncio.CancelledError as error:
                cancelled = error
        item.future.result()
        task = asyncio.current_task()
        if cancelled is not None and task is not None:
            item.loop.call_soon(cancel_again, task, *cancelled.args)

    async def start_async(self, drafts: Sequence[Draft], *, durable: bool, in_turn: bool = False) -> None:
        """`commit_async`, for a start: it needs no sync, so it is staged in the loop's own thread.

        At once if the loop has nothing else to do, else together with the starts of this turn of it.
        What cannot be staged goes to the thread, which may wait for another process.
        `in_turn`: the caller goes on as with an outcome, when what came before has come to rest.
        """
        if durable:
            await self.commit_async(drafts, durable=True)
            return
        loop = asyncio.get_running_loop()
        idle = at_rest(loop) and not (in_turn and self.deliveries.due)
        if idle and not self._queue and self._io.acquire(blocking=False):
            try:
                drafts = self.timers.stamp(drafts)
                if self._staged(drafts):
                    return
            finally:
                self._io.release()
        item = _Item(drafts, False)
        item.in_turn = in_turn
        item.loop = loop
        item.future = loop.create_future()
        self._queue.append(item)
        if idle:
            self._order()
        elif loop not in self._gathering:
            self._gathering.add(loop)
            loop.call_soon(self._write_starts, loop)
        await item.future

    def _write_starts(self, loop: asyncio.AbstractEventLoop) -> None:
        self._gathering.discard(loop)
        batch: list[_Item] = []
        if self._io.acquire(blocking=False):
            try:
                while self._queue and (first := _start(self._queue[0])) is not None:
                    self._queue.popleft()
                    batch.append(first)
                if batch and not self._stage_batch(batch):
                    self._queue.extendleft(reversed(batch))
                    batch = []
                self.deliveries.add(batch)
            finally:
                self._io.release()
        self.deliveries.tell(batch)
        if self._queue:  # somebody is writing, or what comes first needs more than being staged
            self._order()

    def _stage_batch(self, batch: list[_Item]) -> bool:
        batch[0].drafts = self.timers.stamp(batch[0].drafts)
        try:
            if not self._staged([draft for item in batch for draft in item.drafts]):
                return False
        except BaseException as error:  # noqa: BLE001 - everyone whose entries these were gets it
            for item in batch:
                item.error = error
        for item in batch:
            item.ready = True
        return True

    def _staged(self, drafts: Sequence[Draft]) -> bool:
        try:
            return self._stage(drafts)
        except BaseException as error:
            self._on_error(error)
            raise

    def _write(self, drafts: Sequence[Draft], durable: bool, status: RunStatus | None) -> None:
        # Without the queue: nothing is in it, and nobody else writes.
        drafts = self.timers.stamp(drafts)
        try:
            if durable or status is not None or not self._stage(drafts):
                self._append(drafts, durable, status)
        except BaseException as error:
            self._on_error(error)
            raise

    def flush(self) -> None:
        """Commit whatever is queued."""
        if self._queue:
            self._flush()

    def settle(self) -> None:
        """Store whatever is queued or staged, for other processes to see. Raises what the store raises."""
        self.flush()
        with self._io:
            self._settle()

    def close(self) -> None:
        """Commit what is queued and end the thread."""
        self.flush()
        if self._thread is not None:
            self._orders.put(False)
            if threading.current_thread() is not self._thread:
                self._thread.join(timeout=10)
            self._thread = None

    def _order(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="jupyter-durable-writer", daemon=True)
            self._thread.start()
        self._orders.put(True)

    def _serve(self) -> None:
        while self._orders.get():
            while self._queue:
                self._flush()

    def _flush(self) -> None:
        with self._io:
            batch: list[_Item | Ring] = []
            while self._queue:
                batch.append(self._queue.popleft())
            if batch:
                self._write_batch(batch)
            self.deliveries.add(batch)
        self.deliveries.tell(batch)

    def _write_batch(self, batch: list[_Item | Ring]) -> None:
        drafts: list[Draft] = []
        durable, status = False, None
        for item in batch:
            if isinstance(item, Ring):
                self.timers.count(item)
                continue
            drafts += self.timers.stamp(item.drafts)
            durable = durable or item.durable
            status = item.status or status
        try:
            if durable or status is not None or (drafts and not self._stage(drafts)):
                self._append(drafts, durable, status)
        except BaseException as error:  # noqa: BLE001 - everyone whose entries these were gets it
            for item in batch:
                item.error = error
            self._on_error(error)
        for item in batch:
            item.ready = True

    def _ring(self, ring: Ring) -> None:
        """The time of a timer has come: it goes off after the outcomes before it. In its loop, in its context."""
        loop = ring.loop
        assert loop is not None
        due = self.deliveries.due
        if ring.told is None:  # inside an attempt nothing waits for the outcomes of others
            at_once = at_rest(loop) if not due else not isinstance(due[-1], Ring)
        elif self._queue or self._io.locked():
            self._queue.append(ring)
            self._order()
            return
        else:
            self.timers.count(ring)
            at_once = not due and at_rest(loop)
        if at_once:
            ring.go_off()
        else:
            self.deliveries.join(loop, ring)
