"""Generator tools: items pass through as they are made, and the end only after its commit.

Every item is queued for the journal before the consumer sees it, so any step that the consumer
makes is committed after the items it may depend on. A stream cut off by a crash is issued again if its
strand made no step after it began; else the strand has acted on what it got: that prefix is delivered
again, and then the connection breaks, as it did. That error is the step's outcome like any other. So does
one that edited code reads further than was recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from functools import partial
from typing import Any

from jupyter_durable.errors import DivergenceError
from jupyter_durable.journal.engine import Adopt, Decision, Diverged, Execute, Replay, Wait
from jupyter_durable.journal.index import RecordedStep
from jupyter_durable.model import Draft, Payload
from jupyter_durable.runtime import approvals, doubt
from jupyter_durable.runtime.context import SCOPE, Scope, current_scope
from jupyter_durable.runtime.kill_points import kill_point
from jupyter_durable.runtime.left import breaks_off, cut, is_edited, left_after
from jupyter_durable.runtime.origins import mark
from jupyter_durable.runtime.step import Spec, Step


class StreamCutOff(ConnectionError):  # noqa: N818 - what happened, as users read it
    """The stream was cut off, or left, here when it was recorded, and later steps depend on what came before."""


class _Stream(Step):
    """A step whose result comes in items."""

    __slots__ = ("count", "written")

    def __init__(self, scope: Scope, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__(scope, spec, args, kwargs)
        self.count = 0  # items delivered

    # -- replaying -------------------------------------------------------------------------------

    def recorded(self, decision: Decision) -> RecordedStep | None:
        """The recorded stream to deliver again; None: issue it."""
        if isinstance(decision, Replay):
            return decision.step
        if isinstance(decision, Execute) and decision.step is not None:
            step = decision.step
            return step if step.chunks and self.run.index.delivers_again(step) else None
        return None

    def items(self, recorded: RecordedStep) -> Iterator[tuple[int, Any]]:
        """What the stream delivered, each item with its place in the order of the replay."""
        outcome = recorded.outcome
        if outcome is not None and "by" in outcome.meta and recorded.status == "completed":
            for value in self.run.decode(outcome.payload, outcome.seq):  # a person gave them, as a list
                yield -1, value
            return
        for place, entry in zip(recorded.chunks_at, recorded.chunks or (), strict=True):
            yield place, self.run.decode(entry.payload, entry.seq)

    def closed_again(self, recorded: RecordedStep) -> None:
        """The consumer wants no more: nobody need wait for what is left of the stream."""
        run = self.run
        with run.lock:
            run.engine.order.drop(recorded)
            run.turns.changed()

    def breaks(self, recorded: RecordedStep) -> bool:
        """Whether a stream that has an outcome is broken off after what was recorded: nothing can be added to it."""
        if (
            recorded.status == "cancelled"
        ):  # and that does not come: the code was edited, or it was an interrupt
            return self.count > 0 and (self.run.engine.soft or recorded.doubtful)
        return breaks_off(self.run, recorded)

    def past_end(self, recorded: RecordedStep) -> None:
        """The consumer asks for more than was recorded. Raises `DivergenceError` if it had stopped there."""
        meta = recorded.outcome.meta if recorded.outcome is not None else {}
        if meta.get("closed"):
            raise DivergenceError(
                f"{self.spec.name}: the consumer closed this stream after {meta.get('n')} items "
                "when it was recorded, and asks for more now",
                hint=f"%durable fork {self.run.id[:13]} --at {recorded.id}",
            )

    def broken(self, recorded: RecordedStep) -> tuple[StreamCutOff, list[Draft]]:
        """The error that ends a prefix, and its checkpoint."""
        run, chunks = self.run, recorded.chunks or []
        count = f"{len(chunks)} item{'s' if len(chunks) != 1 else ''}"
        drafts: list[Draft] = []
        text = f"the stream of {self.spec.name} was cut off after {count}"
        if is_edited(run, recorded):
            self.closed_again(recorded)
            drafts.append(cut(self.scope, chunks[-1].seq if chunks else recorded.seq))
            text = (
                f"{self.spec.name}: {count} of this stream were taken before the code was edited, and no more were made; "
                "it is made again when the call is repeated, or the cell is run again"
            )
        error = StreamCutOff(text)
        payload = run.encode(error, "an error")
        mark(error, run.id, recorded.scope, recorded.pos)
        meta = {"s": "failed", "x": f"StreamCutOff: {error}"}
        return error, [*drafts, Draft("outcome", recorded.scope, recorded.pos, meta, payload)]

    # -- executing -------------------------------------------------------------------------------

    def opened(self) -> None:
        """The start is committed; the producer has yet to run."""
        self.enter()
        self.written: list[dict[str, Any]] = []
        self.suspend()

    def resume(self) -> None:
        """The producer runs: its calls are children, what it writes belongs to the step."""
        self.token = SCOPE.set(self.inner)
        if self.run.output is not None:
            self.recording = self.run.output.start()

    def suspend(self) -> None:
        """The consumer runs."""
        if self.run.output is not None:
            self.written += self.run.output.stop(self.recording)
        SCOPE.reset(self.token)

    def chunk(self, value: Any) -> list[Draft]:
        """The entry of an item."""
        decision = self.decision
        # Wrapped: a secret may come in pieces, of which none looks like one.
        payload = self.run.encode(value, f"item {self.count} of {self.spec.name}", wrap=True)
        return [Draft("chunk", decision.scope, decision.pos, {"i": self.count}, payload)]

    def outcome(self, status: str, payload: Payload | None = None, **more: Any) -> Draft:
        return super().outcome(status, payload, n=self.count, **more)

    def leave(self, *, clean: bool) -> list[Draft]:
        if self.left is not None:
            return self.left
        run = self.run
        if self.scope.inner is self.inner:
            self.scope.inner = None
        with run.lock:
            run.end_scope(self.inner, clean=clean)
        self.left = [*self.outputs(self.written), *self.mutations()]
        return self.left

    def ended(self, value: Any = None, *, early: bool = False) -> list[Draft]:
        """The entries of a stream that came to its end (and returned `value`), or was closed by its consumer before."""
        kill_point("after-call")
        more = {"closed": True} if early else {}
        written = self.leave(clean=True)
        payload = self.run.encode(value, f"the result of {self.spec.name}")
        return [*written, self.outcome("completed", payload, **more)]


def stream(
    spec: Spec, fn: Callable[..., Generator[Any, Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Generator[Any, Any, Any]:
    """The generator `fn(*args, **kwargs)` as a step."""
    scope = current_scope()
    if scope is None:
        return (yield from fn(*args, **kwargs))
    step = _Stream(scope, spec, args, kwargs)
    run, turns = step.run, step.run.turns
    decision = step.decide()
    while True:
        if isinstance(decision, Wait):
            if decision.step is None:
                decision = step.decide(final=turns.turn_sync(-1, scope.state.id, held=True) == "overdue")
            else:
                verdict = doubt.answer(step, decision.step) or doubt.wait(run, scope, decision.step)
                decision = doubt.settle(step, decision.step, verdict)
            continue
        recorded = step.recorded(decision)
        step.count = 0
        if recorded is not None:
            for place, value in step.items(recorded):
                if place >= 0 and not step.ready(place):
                    turns.turn_sync(place, recorded.scope)
                step.count += 1
                try:
                    yield value
                except GeneratorExit:
                    step.closed_again(recorded)
                    raise
            if recorded.status == "cancelled" and not step.breaks(recorded):  # it was a coroutine then
                decision = step.not_cancelled(recorded)
                continue
            if recorded.outcome is not None and not step.breaks(recorded):
                if not step.ready(recorded.outcome_at):
                    turns.turn_sync(recorded.outcome_at, recorded.scope)
                step.past_end(recorded)
                return step.deliver(recorded)
        execute = _execute(decision, step)
        if step.gated(execute):
            turns.turn_sync(-1, scope.state.id)
        step.go_live(execute)
        if recorded is not None:
            error, drafts = step.broken(recorded)
            run.writer.commit(drafts, durable=True)
            raise error
        if step.asks():
            approvals.hold(step)
        elif step.repeats(execute):
            decision = Wait("person", step.announce())
            continue
        return (yield from _produce(step, fn))


def _produce(step: _Stream, fn: Callable[..., Generator[Any, Any, Any]]) -> Generator[Any, Any, Any]:
    run, limiter = step.run, step.spec.limiter
    if limiter is not None:
        limiter.acquire(run.clock)
    try:
        run.writer.commit(step.start(), durable=step.start_durable)
        step.opened()
        source = fn(*step.args, **step.kwargs)
        try:
            drafts, result = yield from _pass_on(step, source)
        except GeneratorExit:
            source.close()
            run.writer.put(step.ended(early=True))
            raise
        except Exception as error:
            source.close()
            run.writer.commit(step.failed(error)[0], durable=True)
            raise
        except BaseException:
            step.abandon()
            raise
        run.writer.commit(drafts, durable=True)
        step.delivered()
        return result
    finally:
        if limiter is not None:
            limiter.release()


def _pass_on(step: _Stream, source: Generator[Any, Any, Any]) -> Generator[Any, Any, tuple[list[Draft], Any]]:
    go_on: Callable[[], Any] = partial(next, source)
    while True:
        step.resume()
        try:
            value = go_on()
        except StopIteration as end:
            result = end.value
            break
        finally:
            step.suspend()
        step.run.writer.put(step.chunk(value))
        kill_point("after-chunk")
        step.count += 1
        try:
            go_on = partial(source.send, (yield value))
        except Exception as error:  # noqa: BLE001 - thrown in by the consumer: the producer's to handle
            go_on = partial(source.throw, error)
    return step.ended(result), result


async def stream_async(
    scope: Scope,
    spec: Spec,
    fn: Callable[..., AsyncGenerator[Any, Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> AsyncGenerator[Any, Any]:
    """The same for an async generator, in a scope."""
    step = _Stream(scope, spec, args, kwargs)
    run, turns = step.run, step.run.turns
    decision = step.decide()
    while True:
        if isinstance(decision, Wait):
            if decision.step is None:
                final = await turns.turn(-1, scope.state.id, held=True) == "overdue"
                decision = step.decide(final=final)
            else:
                verdict = await asyncio.to_thread(doubt.answer, step, decision.step)
                verdict = verdict or await doubt.wait_async(run, scope, decision.step)
                decision = doubt.settle(step, decision.step, verdict)
            continue
        recorded = step.recorded(decision)
        step.count = 0
        if recorded is not None:
            for place, value in step.items(recorded):
                if place >= 0 and not (turns.single() and step.ready(place)):
                    await turns.turn(place, recorded.scope)
                step.count += 1
                try:
                    yield value
                except GeneratorExit:
                    step.closed_again(recorded)
                    raise
            if recorded.status == "cancelled":
                await turns.cancelled(recorded)
                if not step.breaks(recorded):
                    decision = step.not_cancelled(recorded)
                    continue
            if (took := left_after(recorded)) is not None:
                await turns.stopped(took)  # who left it may have been stopped
            if recorded.outcome is not None and not step.breaks(recorded):
                if not (turns.single() and step.ready(recorded.outcome_at)):
                    await turns.turn(recorded.outcome_at, recorded.scope)
                step.past_end(recorded)
                step.deliver(recorded)
                return
        execute = _execute(decision, step)
        await step.live_turn(execute)
        if recorded is not None:
            error, drafts = step.broken(recorded)
            await run.writer.commit_async(drafts, durable=True)
            raise error
        if step.asks():
            await approvals.hold_async(step)
        elif step.repeats(execute):
            decision = Wait("person", step.announce())
            continue
        break
    limiter = spec.limiter
    if limiter is not None:
        try:
            await limiter.acquire_async(run.clock)
        except asyncio.CancelledError:
            step.cancelled()
            raise
    try:
        await run.writer.start_async(step.start(), durable=step.start_durable)
        step.opened()
        source = fn(*step.args, **step.kwargs)
        go_on: Callable[[], Any] = partial(anext, source)
        asked = True  # the consumer waits for an item
        try:
            while True:
                step.resume()
                try:
                    value = await go_on()
                except StopAsyncIteration:
                    break
                finally:
                    step.suspend()
                if turns.single():
                    run.writer.put(step.chunk(value))
                else:  # who waits for the first of several streams finds as many as a replay does
                    await run.writer.start_async(step.chunk(value), durable=False, in_turn=True)
                kill_point("after-chunk")
                step.count += 1
                asked = False
                try:
                    go_on = partial(source.asend, (yield value))
                except Exception as error:  # noqa: BLE001 - thrown in by the consumer: the producer's to handle
                    go_on = partial(source.athrow, error)
                asked = True
            await run.writer.commit_async(step.ended(), durable=True)
        except GeneratorExit:
            await source.aclose()
            run.writer.put(step.ended(early=True))
            raise
        except Exception as error:
            await source.aclose()
            await run.writer.commit_async(step.failed(error)[0], durable=True)
            raise
        except asyncio.CancelledError:
            if asked:
                step.cancelled()
            else:  # thrown in where it stands: as whoever forgets a generator does, when the loop ends
                await source.aclose()
                run.writer.put(step.ended(early=True))
            raise
        except BaseException:
            step.abandon()
            raise
        step.delivered()
    finally:
        if limiter is not None:
            limiter.release()


def _execute(decision: Decision, step: _Stream) -> Execute:
    if isinstance(decision, Adopt):  # a stream is not adopted: its items are not one value
        return Execute(decision.scope, decision.pos, 1, 0)
    if isinstance(decision, Replay):  # read further than it was
        again = decision.step
        return Execute(again.scope, again.pos, again.attempts, again.failures, (), again)
    if isinstance(decision, Diverged):
        raise step.run.divergence(decision)
    assert isinstance(decision, Execute)
    return decision
