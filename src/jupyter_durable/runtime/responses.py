"""What an exchange gives: a response, its bytes as they arrive or as they were recorded.

Answer ─┬─ (whole)    AsyncAnswer ─┬─ (whole)
        ├─ Live                    ├─ LiveAsync     recorded as it is read
        └─ Again                   └─ AgainAsync    from the journal
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

from jupyter_durable.journal.index import RecordedStep
from jupyter_durable.runtime.exchange import AsyncSource, Head, Source
from jupyter_durable.runtime.exchange_step import Exchange
from jupyter_durable.runtime.handover import Reading, Rest
from jupyter_durable.runtime.left import left_after
from jupyter_durable.runtime.loop_timers import sleep_apart


class Answer:
    """A response: its head, its bytes (once), and where it is recorded. This one is whole."""

    def __init__(
        self, step: Exchange, head: Head, body: bytes = b"", live: Source | AsyncSource | None = None
    ) -> None:
        self.head = head
        self.live = live
        self.place = step.place
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        if self._body:
            yield self._body

    def close(self) -> None:
        """Its consumer wants no more."""


class AsyncAnswer(Answer):
    """The same for coroutines."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._body:
            yield self._body

    async def aclose(self) -> None:
        """Its consumer wants no more."""


class _Stream(Answer):
    """A response in chunks, recorded where they are read."""

    _chunks: Iterator[bytes]  # untouched

    def __init__(self, step: Exchange, head: Head, live: Source | None = None) -> None:
        super().__init__(step, head, live=live)
        self._step = step
        self._reading = Reading(step, live=live is not None)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        reading = self._reading
        place = reading.elsewhere()
        try:
            if place is not None:
                return next(reading.rest(place) or reading.began(place, self._rest()))
            data = self._next()
        except StopIteration:
            reading.over = True
            raise
        reading.took(data)
        return data

    def _next(self) -> bytes:
        raise NotImplementedError

    def _rest(self) -> Iterator[bytes]:
        asked = self._reading.ask()
        if asked is None:
            return self._chunks
        from jupyter_durable.runtime.exchanges import exchange  # here: it makes these

        scope, ask = asked
        return _Other(exchange(scope, ask, lambda: self._reading.source(scope.run, self.head, self._chunks)))

    def close(self) -> None:
        for rest in self._reading.rests():
            if isinstance(rest, _Other):
                rest.answer.close()
        self._close()

    def _close(self) -> None:
        raise NotImplementedError


class _Other(Iterator[bytes]):
    """The chunks of another answer."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self._chunks = iter(answer)

    def __next__(self) -> bytes:
        return next(self._chunks)


class Live(_Stream):
    """A stream as it arrives."""

    def __init__(self, step: Exchange, source: Source) -> None:
        assert step.head is not None
        super().__init__(step, step.head, source)
        self._source = source
        with step.inside():
            self._chunks = iter(source)

    def _next(self) -> bytes:
        step = self._step
        writer = step.run.writer
        try:
            with step.inside():
                data = next(self._chunks)
        except StopIteration:
            drafts = step.exhausted()
            if not step.run.closed:
                writer.commit(drafts, durable=True)
                step.delivered()
            raise
        except Exception as error:
            if not step.over:
                writer.commit(step.raised(error), durable=True)
                step.failed_now()
            raise
        except BaseException:
            step.abandon()
            raise
        step.arrived(data)
        if step.ahead:
            writer.flush()
        return data

    def _close(self) -> None:
        step = self._step
        try:
            with step.inside():
                self._source.close()
        finally:
            drafts = step.closed()
            if step.run.lost is not None:
                pass  # nothing can be written any more, and whoever closes it may be the garbage collector
            elif drafts and step.finished:
                step.run.writer.commit(drafts, durable=True)
            elif drafts:
                step.run.writer.put(drafts)


class Again(_Stream):
    """A stream as it was recorded."""

    def __init__(self, step: Exchange, recorded: RecordedStep) -> None:
        super().__init__(step, step.head_again(recorded))
        self._recorded = recorded
        self._chunks = self._replay()
        self._over = False

    def _next(self) -> bytes:
        return next(self._chunks)

    def _replay(self) -> Iterator[bytes]:
        step, recorded = self._step, self._recorded
        turns, pace = step.run.turns, step.pace()
        for place, chunks, times in step.pieces(recorded):
            if place >= 0 and not step.run.closed and not step.ready(place):
                turns.turn_sync(place, recorded.scope)
            last = place == recorded.chunks_at[-1]
            for chunk, at in zip(chunks, times, strict=True):
                if pace is not None and (delay := pace(at)) > 0:
                    time.sleep(delay)
                if last and chunk is chunks[-1]:
                    self._reading.over = step.last_again(recorded)
                yield chunk
        self._over = True
        step.gone(recorded)
        if step.cut_off(recorded):
            live = step.decision
            if step.gated(live):
                turns.turn_sync(-1, step.scope.state.id)
            step.go_live(live)
            error, drafts = step.broken(recorded)
            step.run.writer.commit(drafts, durable=True)
            if error is not None:
                raise error
            return
        step.past_end(recorded)
        if not step.run.closed and not step.ready(recorded.outcome_at):
            turns.turn_sync(recorded.outcome_at, recorded.scope)
        step.end_again(recorded)

    def _close(self) -> None:
        if not self._over:
            self._over = True
            self._step.closed_again(self._recorded)


# -- async ------------------------------------------------------------------------------------------------


class _AsyncStream(AsyncAnswer):
    """A response in chunks, recorded where they are read."""

    _chunks: AsyncIterator[bytes]  # untouched

    def __init__(self, step: Exchange, head: Head, live: AsyncSource | None = None) -> None:
        super().__init__(step, head, live=live)
        self._step = step
        self._reading = Reading(step, live=live is not None)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        reading = self._reading
        place = reading.elsewhere()
        try:
            if place is not None:
                return await anext(reading.rest(place) or reading.began(place, await self._rest()))
            data = await self._next()
        except StopAsyncIteration:
            reading.over = True
            raise
        reading.took(data)
        return data

    async def _next(self) -> bytes:
        raise NotImplementedError

    async def _rest(self) -> AsyncIterator[bytes]:
        asked = self._reading.ask()
        if asked is None:
            return self._chunks
        from jupyter_durable.runtime.exchanges import exchange_async  # here: it makes these

        scope, ask = asked

        async def rest() -> Rest:
            return self._reading.source(scope.run, self.head, self._chunks)

        return _OtherAsync(await exchange_async(scope, ask, rest))

    async def aclose(self) -> None:
        for rest in self._reading.rests():
            if isinstance(rest, _OtherAsync):
                await rest.answer.aclose()
        await self._close()

    async def _close(self) -> None:
        raise NotImplementedError


class _OtherAsync(AsyncIterator[bytes]):
    """The chunks of another answer."""

    def __init__(self, answer: AsyncAnswer) -> None:
        self.answer = answer
        self._chunks = answer.__aiter__()

    async def __anext__(self) -> bytes:
        return await anext(self._chunks)


class LiveAsync(_AsyncStream):
    """A stream as it arrives."""

    def __init__(self, step: Exchange, source: AsyncSource) -> None:
        assert step.head is not None
        super().__init__(step, step.head, source)
        self._source = source
        with step.inside():
            self._chunks = source.__aiter__()

    async def _next(self) -> bytes:
        step = self._step
        run = step.run
        try:
            try:
                with step.inside():
                    data: bytes = await anext(self._chunks)
            except StopAsyncIteration:
                drafts = step.exhausted()
                if not run.closed:
                    await run.writer.commit_async(drafts, durable=True)
                    step.delivered()
                raise
            except Exception as error:
                if not step.over:
                    await run.writer.commit_async(step.raised(error), durable=True)
                    step.failed_now()
                raise
            if step.ahead:
                await asyncio.to_thread(run.writer.flush)
            if not run.turns.single():  # who waits for the first of several finds as many as a replay does
                await run.writer.in_turn()
        except asyncio.CancelledError:
            step.cancelled()
            raise
        except BaseException as error:
            if not isinstance(error, Exception):
                step.abandon()
            raise
        step.arrived(data)
        return data

    async def _close(self) -> None:
        step = self._step
        try:
            with step.inside():
                await self._source.aclose()
        finally:
            drafts = step.closed()
            if drafts and step.finished:
                await step.run.writer.commit_async(drafts, durable=True)
            elif drafts:
                step.run.writer.put(drafts)


class AgainAsync(_AsyncStream):
    """A stream as it was recorded."""

    def __init__(self, step: Exchange, recorded: RecordedStep) -> None:
        super().__init__(step, step.head_again(recorded))
        self._recorded = recorded
        self._chunks = self._replay()
        self._over = False

    async def _next(self) -> bytes:
        return await anext(self._chunks)

    async def _replay(self) -> AsyncIterator[bytes]:
        step, recorded = self._step, self._recorded
        turns, pace = step.run.turns, step.pace()
        for place, chunks, times in step.pieces(recorded):
            if place >= 0 and not step.run.closed and not (turns.single() and step.ready(place)):
                await turns.turn(place, recorded.scope)
            last = place == recorded.chunks_at[-1]
            for chunk, at in zip(chunks, times, strict=True):
                if pace is not None and (delay := pace(at)) > 0:
                    await sleep_apart(delay)
                if last and chunk is chunks[-1]:
                    self._reading.over = step.last_again(recorded)
                yield chunk
        self._over = True
        step.gone(recorded)
        if step.stopped(recorded):
            await turns.cancelled(recorded)
        elif (took := left_after(recorded)) is not None:
            await turns.stopped(took)  # who left it may have been stopped, and read on until then
        if step.cut_off(recorded):
            await step.live_turn(step.decision)
            error, drafts = step.broken(recorded)
            await step.run.writer.commit_async(drafts, durable=True)
            if error is not None:
                raise error
            return
        step.past_end(recorded)
        if not step.run.closed and not (turns.single() and step.ready(recorded.outcome_at)):
            await turns.turn(recorded.outcome_at, recorded.scope)
        step.end_again(recorded)

    async def _close(self) -> None:
        if not self._over:
            self._over = True
            self._step.closed_again(self._recorded)
        with suppress(RuntimeError):  # it is being read by another task
            await self._chunks.aclose()  # type: ignore[attr-defined]
