"""Generator tools: items pass through as they are made, and the end only after its commit.

Every item is queued for the journal before the consumer sees it, so any step that the consumer
makes is committed after the items it may depend on. A stream cut off by a crash is issued again if no
step came after it began; else the consumer has acted on what it got: that prefix is delivered again,
and then the connection breaks, as it did.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from jupyter_durable.errors import DivergenceError
from jupyter_durable.journal.engine import Adopt, Decision, Diverged, Execute, Replay, Wait
from jupyter_durable.journal.index import RecordedStep
from jupyter_durable.model import Draft
from jupyter_durable.runtime import doubt
from jupyter_durable.runtime.context import SCOPE, current_scope
from jupyter_durable.runtime.kill_points import kill_point
from jupyter_durable.runtime.steps import Spec, _Step


class StreamCutOff(ConnectionError):  # noqa: N818 - what happened, as users read it
    """The stream was cut off here when it was recorded, and later steps depend on what came before."""


class _Stream(_Step):
    """A step whose result comes in items."""

    __slots__ = ("count", "written")

    def opened(self) -> None:
        """The start is committed; the producer has yet to run."""
        self.enter()
        self.written: list[dict[str, Any]] = []
        self.count = 0
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

    def item(self, value: Any) -> Any:
        """Queue an item for the journal."""
        decision = self.decision
        payload = self.run.encode(value, f"item {self.count} of {self.spec.name}")
        self.run.writer.put([Draft("chunk", decision.scope, decision.pos, {"i": self.count}, payload)])
        self.count += 1
        kill_point("after-chunk")
        return value

    def leave(self, *, clean: bool) -> list[Draft]:
        if self.left is not None:
            return self.left
        run, decision = self.run, self.decision
        with run.lock:
            run.engine.end(self.inner.state, clean=clean)
        self.left = []
        if self.written:
            self.left.append(
                Draft("output", decision.scope, decision.pos, {}, run.encode(self.written, "output"))
            )
        return self.left

    def ended(self, *, early: bool) -> list[Draft]:
        """The entries of a stream that came to its end, or was closed by its consumer before."""
        kill_point("after-call")
        more = {"closed": True} if early else {}
        return [*self.leave(clean=True), self.outcome("completed", None, n=self.count, **more)]

    def prefix(self, recorded: RecordedStep) -> bool:
        """Whether a cut off stream replays what it had delivered instead of being issued again."""
        if not recorded.chunks:
            return False
        last = recorded.chunks[0].seq
        return any(step.seq > last and not step.history for step in self.run.index.all_steps())

    def items(self, recorded: RecordedStep) -> Generator[Any, None, None]:
        for entry in recorded.chunks or ():
            yield self.run.decode(entry.payload, entry.seq)

    def past_end(self, recorded: RecordedStep) -> None:
        outcome = recorded.outcome
        if outcome is None:
            raise StreamCutOff(
                f"the stream of {self.spec.name} was cut off after {len(recorded.chunks or ())} items"
            )
        if outcome.meta.get("closed"):
            raise DivergenceError(
                f"{self.spec.name}: the consumer closed this stream after {outcome.meta.get('n')} items "
                "when it was recorded, and asks for more now",
                hint=f"%durable fork {self.run.id[:13]} --at {recorded.id}",
            )


def _recorded(decision: Decision, step: _Stream) -> RecordedStep | None:
    """The recorded stream to deliver again; None: issue it."""
    if isinstance(decision, Replay):
        return decision.step
    if isinstance(decision, Execute) and decision.step is not None and step.prefix(decision.step):
        return decision.step
    return None


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
    while not isinstance(decision, Replay | Execute):
        decision = _decide_again(
            step, decision, final=turns.turn_sync(-1, scope.state.id, held=True) == "overdue"
        )
    recorded = _recorded(decision, step)
    if recorded is not None:
        yield from step.items(recorded)
        if recorded.outcome is not None:
            if not step.ready(recorded):
                turns.turn_sync(recorded.outcome_at, recorded.scope)
            step.past_end(recorded)
            return step.deliver(recorded)
        step.past_end(recorded)
    assert isinstance(decision, Execute)
    if step.gated(decision):
        turns.turn_sync(-1, scope.state.id)
    step.go_live(decision)
    run.writer.commit(step.start(), durable=step.start_durable)
    step.opened()
    source = fn(*args, **kwargs)
    sent: Any = None
    try:
        while True:
            step.resume()
            try:
                value = source.send(sent)
            finally:
                step.suspend()
            sent = yield step.item(value)
    except StopIteration as end:
        drafts = step.ended(early=False)
        value = end.value
    except GeneratorExit:
        source.close()
        run.writer.put(step.ended(early=True))
        raise
    except Exception as error:
        run.writer.commit(step.failed(error)[0], durable=True)
        raise
    except BaseException:
        step.abandon()
        raise
    run.writer.commit(drafts, durable=True)
    step.delivered()
    return value


async def stream_async(
    spec: Spec, fn: Callable[..., AsyncGenerator[Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> AsyncGenerator[Any, Any]:
    """The same for an async generator."""
    scope = current_scope()
    if scope is None:
        async for value in fn(*args, **kwargs):
            yield value
        return
    step = _Stream(scope, spec, args, kwargs)
    run, turns = step.run, step.run.turns
    decision = step.decide()
    while not isinstance(decision, Replay | Execute):
        final = _held(decision) and await turns.turn(-1, scope.state.id, held=True) == "overdue"
        decision = _decide_again(step, decision, final=final)
    recorded = _recorded(decision, step)
    if recorded is not None:
        for value in step.items(recorded):
            yield value
        if recorded.status == "cancelled":
            await turns.cancelled(recorded)
        elif recorded.outcome is not None:
            if not (turns.single() and step.ready(recorded)):
                await turns.turn(recorded.outcome_at, recorded.scope)
            step.past_end(recorded)
            step.deliver(recorded)
            return
        step.past_end(recorded)
    assert isinstance(decision, Execute)
    if step.gated(decision):
        await turns.turn(-1, scope.state.id)
    step.go_live(decision)
    await run.writer.start_async(step.start(), durable=step.start_durable)
    step.opened()
    source = fn(*args, **kwargs)
    sent: Any = None
    try:
        while True:
            step.resume()
            try:
                value = await source.asend(sent)
            finally:
                step.suspend()
            sent = yield step.item(value)
    except StopAsyncIteration:
        drafts = step.ended(early=False)
    except GeneratorExit:
        await source.aclose()
        run.writer.put(step.ended(early=True))
        raise
    except Exception as error:
        await run.writer.commit_async(step.failed(error)[0], durable=True)
        raise
    except BaseException:
        step.cancelled()
        raise
    await run.writer.commit_async(drafts, durable=True)
    step.delivered()


def _held(decision: Decision) -> bool:
    return isinstance(decision, Wait) and decision.reason == "siblings"


def _decide_again(step: _Stream, decision: Decision, *, final: bool) -> Decision:
    if isinstance(decision, Diverged):
        raise step.run.divergence(decision)
    if isinstance(decision, Adopt):  # a stream is not adopted: its items are not one value
        return Execute(decision.scope, decision.pos, 1, 0, decision.first)
    if isinstance(decision, Wait) and decision.step is not None:
        recorded = decision.step
        verdict = doubt.answer(step.run, recorded, step.spec.reconcile, step.args, step.kwargs)
        if verdict is None:
            verdict = doubt.wait(step.run, recorded)
        return doubt.settle(step.run, step.scope, step.call, recorded, verdict)
    return step.decide(final=final)
