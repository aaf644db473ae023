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
from collections.abc import Awaitable, Callable

from jupyter_durable.journal.engine import Wait
from jupyter_durable.runtime.context import Scope
from jupyter_durable.runtime.exchange import Ask, AsyncSource, Source, whole
from jupyter_durable.runtime.exchange_step import Exchange, execute
from jupyter_durable.runtime.responses import Again, AgainAsync, Answer, AsyncAnswer, Live, LiveAsync

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
                return Again(step, recorded)
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
                    return Live(step, source)
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
                return AgainAsync(step, recorded)
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
                    return LiveAsync(step, source)
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
