"""HTTP exchanges as steps, from call to end: two small shells, sync and async, for transports to call.

    scope = capturing()                          None: send it as if we were not here
    if scope is None or not wanted(scope, described): ...
    answer = exchange(scope, Ask(described, ...), send)
    answer.head; for chunk in answer: ...; answer.close()

`send()` makes the request and returns a `Source` (head, bytes, close). What comes back is an `Answer`, whether
it was sent or recorded; `answer.live` is the `Source`, or None on replay. What the shells share is
`runtime.exchange_step`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress

from jupyter_durable.journal.engine import Wait
from jupyter_durable.journal.index import RecordedStep
from jupyter_durable.runtime.context import Scope
from jupyter_durable.runtime.exchange import Ask, AsyncSource, Head, Source, whole
from jupyter_durable.runtime.exchange_step import Exchange, execute


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


# -- sync ------------------------------------------------------------------------------------------------


def exchange(scope: Scope, ask: Ask, send: Callable[[], Source]) -> Answer:
    """Make the exchange as a step of `scope`, or answer it from the journal.

    Raises what `send` raises, which is an attempt.
    """
    step = Exchange(scope, ask)
    turns = step.run.turns
    decision = step.first_decision()
    while True:
        if isinstance(decision, Wait):
            grant = turns.turn_sync(-1, scope.state.id, held=True)
            decision = step.decide(final=grant == "overdue")
            continue
        recorded = step.recorded(decision)
        anew = step.issues_anew(recorded) if recorded is not None else None
        if recorded is not None and anew is None:
            if recorded.chunks:
                if not step.ready(recorded.chunks_at[0]):
                    turns.turn_sync(recorded.chunks_at[0], recorded.scope)
                return _Again(step, recorded)
            if recorded.status == "cancelled":  # it was a coroutine then
                decision = step.not_cancelled(recorded)
                continue
            if not step.ready(recorded.outcome_at):
                turns.turn_sync(recorded.outcome_at, recorded.scope)
            return Answer(step, *step.give_back(recorded))
        live = anew or execute(decision, step)
        if step.before is None:
            if step.gated(live):
                turns.turn_sync(-1, scope.state.id)
            step.go_live(live)
        else:
            step.decision = live
        return _send(step, send)


def _send(step: Exchange, send: Callable[[], Source]) -> Answer:
    run, ask = step.run, step.ask
    run.writer.commit(step.start(), durable=False)
    step.enter()
    try:
        if run.options.jitter is not None:
            run.clock.wait(run.options.jitter())
        try:
            with step.inside():
                source = send()
                head = source.head
                if not whole(ask, head) and not ask.retryable(head):
                    step.began(head)
                    return _Live(step, source)
                try:
                    body = b"".join(source)
                finally:
                    source.close()
        except Exception as error:
            run.writer.commit(step.raised(error), durable=True)
            step.failed_now()
            raise
        drafts, attempt = step.answered(head, body)
        run.writer.commit(drafts, durable=True)
    except BaseException as error:
        if not isinstance(error, Exception):
            step.abandon()
        raise
    step.failed_now() if attempt else step.delivered()
    return Answer(step, head, body, source)


class _Live(Answer):
    """A stream as it arrives."""

    def __init__(self, step: Exchange, source: Source) -> None:
        assert step.head is not None
        super().__init__(step, step.head, live=source)
        self._step = step
        self._source = source
        with step.inside():
            self._chunks = iter(source)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
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

    def close(self) -> None:
        step = self._step
        try:
            with step.inside():
                self._source.close()
        finally:
            drafts = step.closed()
            if drafts and step.finished:
                step.run.writer.commit(drafts, durable=True)
            elif drafts:
                step.run.writer.put(drafts)


class _Again(Answer):
    """A stream as it was recorded."""

    def __init__(self, step: Exchange, recorded: RecordedStep) -> None:
        super().__init__(step, step.head_again(recorded))
        self._step = step
        self._recorded = recorded
        self._chunks = self._replay()
        self._over = False

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def _replay(self) -> Iterator[bytes]:
        step, recorded = self._step, self._recorded
        turns, pace = step.run.turns, step.pace()
        for place, chunks, times in step.pieces(recorded):
            if place >= 0 and not step.ready(place):
                turns.turn_sync(place, recorded.scope)
            last = place == recorded.chunks_at[-1]
            for chunk, at in zip(chunks, times, strict=True):
                if pace is not None and (delay := pace(at)) > 0:
                    time.sleep(delay)
                if last and chunk is chunks[-1]:
                    step.last_again(recorded)
                yield chunk
        self._over = True
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
        if not step.ready(recorded.outcome_at):
            turns.turn_sync(recorded.outcome_at, recorded.scope)
        step.end_again(recorded)

    def close(self) -> None:
        if not self._over:
            self._over = True
            self._step.closed_again(self._recorded)


# -- async -----------------------------------------------------------------------------------------------


async def exchange_async(scope: Scope, ask: Ask, send: Callable[[], Awaitable[AsyncSource]]) -> AsyncAnswer:
    """The same for coroutines. What describes the call is taken from `ask` before the first await."""
    step = Exchange(scope, ask)
    turns = step.run.turns
    await step.stopped_again()
    decision = step.first_decision()
    while True:
        if isinstance(decision, Wait):
            grant = await turns.turn(-1, scope.state.id, held=True)
            decision = step.decide(final=grant == "overdue")
            continue
        recorded = step.recorded(decision)
        anew = step.issues_anew(recorded) if recorded is not None else None
        if recorded is not None and anew is None:
            if recorded.chunks:
                if not (turns.single() and step.ready(recorded.chunks_at[0])):
                    await turns.turn(recorded.chunks_at[0], recorded.scope)
                return _AgainAsync(step, recorded)
            if recorded.status == "cancelled":
                await turns.cancelled(recorded)
                decision = step.not_cancelled(recorded)
                continue
            if not (turns.single() and step.ready(recorded.outcome_at)):
                await turns.turn(recorded.outcome_at, recorded.scope)
            return AsyncAnswer(step, *step.give_back(recorded))
        live = anew or execute(decision, step)
        if step.before is None:
            await step.live_turn(live)
        else:
            step.decision = live
        return await _send_async(step, send)


async def _send_async(step: Exchange, send: Callable[[], Awaitable[AsyncSource]]) -> AsyncAnswer:
    run, ask = step.run, step.ask
    try:
        await run.writer.start_async(step.start(), durable=False)
        step.enter()
        if run.options.jitter is not None:
            await asyncio.sleep(run.options.jitter())
        try:
            with step.inside():
                source = await send()
                head = source.head
                if not whole(ask, head) and not ask.retryable(head):
                    try:
                        if not run.turns.single():
                            await run.writer.in_turn()
                        step.began(head)
                    except BaseException:
                        await source.aclose()
                        raise
                    return _LiveAsync(step, source)
                try:
                    body = b"".join([part async for part in source])
                finally:
                    await source.aclose()
        except Exception as error:
            await run.writer.commit_async(step.raised(error), durable=True)
            step.failed_now()
            raise
        drafts, attempt = step.answered(head, body)
        await run.writer.commit_async(drafts, durable=True)
    except asyncio.CancelledError:
        step.cancelled()
        raise
    except BaseException as error:
        if not isinstance(error, Exception):
            step.abandon()
        raise
    step.failed_now() if attempt else step.delivered()
    return AsyncAnswer(step, head, body, source)


class _LiveAsync(AsyncAnswer):
    """A stream as it arrives."""

    def __init__(self, step: Exchange, source: AsyncSource) -> None:
        assert step.head is not None
        super().__init__(step, step.head, live=source)
        self._step = step
        self._source = source
        with step.inside():
            self._chunks = source.__aiter__()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
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

    async def aclose(self) -> None:
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


class _AgainAsync(AsyncAnswer):
    """A stream as it was recorded."""

    def __init__(self, step: Exchange, recorded: RecordedStep) -> None:
        super().__init__(step, step.head_again(recorded))
        self._step = step
        self._recorded = recorded
        self._chunks = self._replay()
        self._over = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks

    async def _replay(self) -> AsyncIterator[bytes]:
        step, recorded = self._step, self._recorded
        turns, pace = step.run.turns, step.pace()
        for place, chunks, times in step.pieces(recorded):
            if place >= 0 and not (turns.single() and step.ready(place)):
                await turns.turn(place, recorded.scope)
            last = place == recorded.chunks_at[-1]
            for chunk, at in zip(chunks, times, strict=True):
                if pace is not None and (delay := pace(at)) > 0:
                    await asyncio.sleep(delay)
                if last and chunk is chunks[-1]:
                    step.last_again(recorded)
                yield chunk
        self._over = True
        if recorded.status == "cancelled":
            await turns.cancelled(recorded)
        if step.cut_off(recorded):
            await step.live_turn(step.decision)
            error, drafts = step.broken(recorded)
            await step.run.writer.commit_async(drafts, durable=True)
            if error is not None:
                raise error
            return
        step.past_end(recorded)
        if not (turns.single() and step.ready(recorded.outcome_at)):
            await turns.turn(recorded.outcome_at, recorded.scope)
        step.end_again(recorded)

    async def aclose(self) -> None:
        if not self._over:
            self._over = True
            self._step.closed_again(self._recorded)
        with suppress(RuntimeError):  # it is being read by another task
            await self._chunks.aclose()  # type: ignore[attr-defined]
