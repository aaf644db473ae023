"""One step, from call to outcome: two small shells, sync and async, over the same engine.

    call ─ describe ─ decide ─┬─ Replay ── wait for its turn ── deliver
                              ├─ Execute ─ wait for its turn ── (approval) ── start ▸ call ▸ outcome ── return
                              ├─ Adopt ─── outcome ── deliver
                              ├─ Wait ──── siblings, or a person ── decide again
                              └─ Diverged ─ raise

What the shells share is `runtime.step`; what differs is only how they wait.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from jupyter_durable.journal.engine import Adopt, Diverged, Execute, Replay, Wait
from jupyter_durable.runtime import approvals, doubt
from jupyter_durable.runtime.context import SCOPE, current_scope
from jupyter_durable.runtime.kill_points import kill_point
from jupyter_durable.runtime.loop_timers import sleep_apart
from jupyter_durable.runtime.step import Spec, Step


def perform(spec: Spec, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Make the sync call `fn(*args, **kwargs)` as a step, or answer it from the journal.

    Outside a durable scope it is an ordinary call.
    """
    scope = current_scope()
    if scope is None:
        return fn(*args, **kwargs)
    return conduct(Step(scope, spec, args, kwargs), fn, _execute)


def conduct(step: Step, fn: Any, execute: Callable[[Any, Any], Any]) -> Any:
    """Answer a call, or make it by `execute(step, fn)`."""
    scope = step.scope
    run, turns = step.run, step.run.turns
    decision = step.decide()
    while True:
        if isinstance(decision, Replay):
            recorded = decision.step
            if recorded.status == "cancelled":  # it was a coroutine then
                decision = step.not_cancelled(recorded)
                continue
            if not step.ready(recorded.outcome_at):
                turns.turn_sync(recorded.outcome_at, recorded.scope)
            return step.deliver(recorded) if run.rehearsal is None else run.rehearsal(step, recorded, fn)
        if isinstance(decision, Execute):
            if step.gated(decision):
                turns.turn_sync(-1, scope.state.id)
            step.go_live(decision)
            if step.asks():
                approvals.hold(step)
            elif step.repeats(decision):
                decision = Wait("person", step.announce())
                continue
            return execute(step, fn)
        if isinstance(decision, Adopt):
            return step.adopt(decision)
        if isinstance(decision, Diverged):
            raise step.diverged(decision)
        if decision.reason == "siblings":
            grant = turns.turn_sync(-1, scope.state.id, held=True)
            decision = step.decide(final=grant == "overdue")
        else:
            assert decision.step is not None
            verdict = doubt.answer(step, decision.step)
            if verdict is None:
                verdict = doubt.wait(run, scope, decision.step)
            decision = doubt.settle(step, decision.step, verdict)


async def perform_async(
    spec: Spec, fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """The same for a coroutine function."""
    scope = current_scope()
    if scope is None:
        return await fn(*args, **kwargs)
    return await conduct_async(Step(scope, spec, args, kwargs), fn, _execute_async)


async def conduct_async(step: Step, fn: Any, execute: Callable[[Any, Any], Awaitable[Any]]) -> Any:
    """The same where `execute` is awaited."""
    scope = step.scope
    run, turns = step.run, step.run.turns
    decision = step.decide()
    while True:
        if isinstance(decision, Replay):
            recorded = decision.step
            if recorded.status == "cancelled":
                await turns.cancelled(recorded)
                decision = step.not_cancelled(recorded)
                continue
            if not (turns.single() and step.ready(recorded.outcome_at)):
                await turns.turn(recorded.outcome_at, recorded.scope)
            if run.rehearsal is not None:
                found = run.rehearsal(step, recorded, fn)
                return await found if asyncio.iscoroutine(found) else found
            return step.deliver(recorded)
        if isinstance(decision, Execute):
            if step.gated(decision) or run.guard is not None:
                await step.live_turn(decision)
            else:
                step.go_live(decision)
            if step.asks():
                await approvals.hold_async(step)
            elif step.repeats(decision):
                decision = Wait("person", step.announce())
                continue
            return await execute(step, fn)
        if isinstance(decision, Adopt):
            return step.adopt(decision)
        if isinstance(decision, Diverged):
            raise step.diverged(decision)
        if decision.reason == "siblings":
            grant = await turns.turn(-1, scope.state.id, held=True)
            decision = step.decide(final=grant == "overdue")
        else:
            assert decision.step is not None
            verdict = await asyncio.to_thread(doubt.answer, step, decision.step)
            if verdict is None:
                verdict = await doubt.wait_async(run, scope, decision.step)
            decision = doubt.settle(step, decision.step, verdict)


def _execute(step: Step, fn: Callable[..., Any]) -> Any:
    run, limiter = step.run, step.spec.limiter
    while True:
        if limiter is not None:
            limiter.acquire(run.clock)
        try:
            run.writer.commit(step.start(), durable=step.start_durable)
            step.enter()
            try:
                if run.options.jitter is not None:
                    run.clock.wait(run.options.jitter())
                value = _call(step.spec, fn, step.args, step.kwargs)
                drafts = step.completed(value)
            except Exception as error:  # noqa: BLE001 - every error of a tool is its outcome
                raised, (drafts, delay) = error, step.failed(error)
            except BaseException:
                step.abandon()
                raise
            else:
                run.writer.commit(drafts, durable=True)
                step.delivered()
                return value
        finally:
            if limiter is not None:
                limiter.release()
        run.writer.commit(drafts, durable=True)
        if delay is None:
            step.delivered()
            raise raised
        kill_point("after-attempt")
        run.clock.wait(delay)
        step.again()


async def _execute_async(step: Step, fn: Callable[..., Awaitable[Any]]) -> Any:
    run, limiter = step.run, step.spec.limiter
    try:
        while True:
            if limiter is not None:
                await limiter.acquire_async(run.clock)
            try:
                await run.writer.start_async(step.start(), durable=step.start_durable)
                step.enter()
                try:
                    if run.options.jitter is not None:
                        await asyncio.sleep(run.options.jitter())
                    if step.spec.timeout is None:
                        value = await fn(*step.args, **step.kwargs)
                    else:
                        async with asyncio.timeout(step.spec.timeout):
                            value = await fn(*step.args, **step.kwargs)
                    drafts = step.completed(value)
                except Exception as error:  # noqa: BLE001 - every error of a tool is its outcome
                    raised, (drafts, delay) = error, step.failed(error)
                else:
                    await run.writer.commit_async(drafts, durable=True)
                    step.delivered()
                    return value
            finally:
                if limiter is not None:
                    limiter.release()
            await run.writer.commit_async(drafts, durable=True)
            if delay is None:
                step.delivered()
                raise raised
            kill_point("after-attempt")
            await sleep_apart(delay)
            step.again()
    except asyncio.CancelledError:
        # Also while its outcome was being committed: the caller never saw that outcome.
        step.cancelled()
        raise
    except BaseException:
        step.abandon()
        raise


def _call(spec: Spec, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if spec.timeout is None:
        return fn(*args, **kwargs)
    # A blocking call cannot be stopped: past its time it is left behind in its thread, which keeps
    # the attempt's (then closed) scope, and the caller goes on.
    context = contextvars.copy_context()
    inner = SCOPE.get()
    box: list[Any] = []

    def work() -> None:
        if inner is not None:
            inner.owner = threading.get_ident()
        try:
            box.append((True, context.run(fn, *args, **kwargs)))
        except BaseException as error:  # noqa: BLE001 - handed to the caller
            box.append((False, error))

    thread = threading.Thread(target=work, name=f"{spec.name} (timeout)", daemon=True)
    thread.start()
    thread.join(spec.timeout)
    if not box:
        raise TimeoutError(f"{spec.name} took longer than {spec.timeout} s")
    done, value = box[0]
    if not done:
        raise value
    return value
