"""One HTTP exchange being answered: what the sync and async shells (`runtime.exchanges`) share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from jupyter_durable.journal.engine import Decision, Diverged, Execute, Replay
from jupyter_durable.journal.index import RecordedStep
from jupyter_durable.model import Draft, Payload
from jupyter_durable.runtime.context import SCOPE, Attempt, Scope
from jupyter_durable.runtime.exchange import Ask, Head
from jupyter_durable.runtime.exchange_again import Answered
from jupyter_durable.runtime.kill_points import kill_point
from jupyter_durable.runtime.origins import mark
from jupyter_durable.runtime.recordings import encode_head

AHEAD = 8 * 1024 * 1024
"""Bytes that a stream may be ahead of what is stored of it."""


class Exchange(Answered):
    """One exchange being answered. The shells drive it."""

    __slots__ = ("around", "before", "head", "queued", "result", "siblings", "since")

    def __init__(self, scope: Scope, ask: Ask) -> None:
        super().__init__(scope, ask)
        self.before: Exchange | None = None  # the failed attempt that this one follows
        self.result: tuple[str, Payload] | None = None
        self.siblings: dict[str, int] = {}
        self.head: Head | None = None
        self.around = (0, 0)  # the strand, when the head of a stream was handed on
        self.queued = 0  # bytes, since the queue was last waited for
        self.since = 0.0

    # -- deciding --------------------------------------------------------------------------------

    def first_decision(self) -> Decision:
        """The next attempt of a step that has just failed; one recorded attempt more; or what the journal says."""
        before = self.exchanges.follows(self)
        if before is not None:
            self.before = before
            self.failures = before.failures
            was = before.decision
            return Execute(was.scope, was.pos, was.attempt + 1, self.failures, (), was.step)
        recorded = self.exchanges.answers_again(self)
        return Replay(recorded) if recorded is not None else self.decide()

    async def stopped_again(self) -> None:
        """Wait to be cancelled, if that is what ended the attempts of this call when it was recorded.

        The journal has them all, and yet one more is made: then, its sender was stopped while it waited.
        """
        run = self.run
        if self.exchanges.used_up(self) and not run.engine.soft:
            await run.turns.stopped()

    def recorded(self, decision: Decision) -> RecordedStep | None:
        """The recorded exchange to give back; None: make it."""
        if isinstance(decision, Replay):
            step = decision.step
            self.decision = Execute(step.scope, step.pos, step.attempts, step.failures, (), step)
            return step
        if isinstance(decision, Execute) and decision.step is not None and self.before is None:
            step = decision.step
            self.decision = decision
            return step if step.chunks and self.run.index.delivers_again(step) else None
        return None

    def issues_anew(self, recorded: RecordedStep) -> Execute | None:
        """A stream that was left unread when the code failed, and has been edited: nothing depends on it yet.

        What this fork has recorded itself, and what a run left that came to its end, was left on purpose.
        """
        outcome, record = recorded.outcome, self.run.record
        if outcome is None or not outcome.meta.get("closed") or record.forked_from is None:
            return None
        if outcome.seq > record.base_seq or self.run.index.acted_on(recorded):
            return None
        if self.run.store.run(record.forked_from, deleted=True).status == "completed":
            return None
        self.closed_again(recorded)
        return Execute(recorded.scope, recorded.pos, recorded.attempts + 1, recorded.failures, (), recorded)

    # -- executing -------------------------------------------------------------------------------

    def start(self) -> tuple[Draft, ...]:
        """The entries that precede an attempt; one that follows a failed one continues its step."""
        watch = self.before.watch if self.before is not None else None
        drafts = super().start()
        self.exchanges.follow(self)
        if watch is not None:  # what drew since the first attempt belongs to this step
            self.watch = watch
        return drafts

    def enter(self) -> None:
        """The start is committed; nothing was sent."""
        kill_point("after-start")
        run, decision = self.run, self.decision
        run.stats.executed += 1
        inner = run.inner_scope(self.scope, decision)
        inner.attempt = Attempt(self.spec.kind, decision.scope, decision.pos, decision.attempt)
        self.inner = self.scope.inner = inner
        self.left = None

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """The transport works: other transports below it pass."""
        inner = self.inner
        inner.owner = None  # whoever reads, it is that one's turn
        token = SCOPE.set(inner)
        try:
            yield
        finally:
            SCOPE.reset(token)

    def leave(self, *, clean: bool) -> list[Draft]:
        """The transport is done. May be repeated."""
        if self.left is None:
            self.left = []
            if self.scope.inner is self.inner:
                self.scope.inner = None
            run = self.run
            if self.inner.used and (run.index.children or self.inner.state.replaying):
                with run.lock:
                    run.end_scope(self.inner, clean=clean)
        return self.left

    def answered(self, head: Head, body: bytes) -> tuple[list[Draft], bool]:
        """The entries of a whole response, and whether it is only an attempt."""
        payload = self.run.encode(
            {"head": encode_head(head, self.ask.secret), "body": body},
            f"the response of {self.spec.name}",
            wrap=True,  # it may be compressed, and a key in it spelt in any way that JSON has
        )
        if self.ask.retryable(head):
            return self.attempt(str(head), payload), True
        kill_point("after-call")
        self.leave(clean=True)
        self.read(head, body)
        if head.status >= 400:
            return [self.outcome("failed", payload, x=str(head))], False
        return [self.outcome("completed", payload)], False

    def read(self, head: Head, body: bytes = b"") -> None:
        """Have the response read."""
        self.reader = self.ask.reader(head)
        if self.reader is not None and body:
            self.reader.feed(body)

    def raised(self, error: Exception) -> list[Draft]:
        """The entries of an attempt whose transport raised."""
        payload = self.encode_error(error)
        drafts = self.attempt(f"{type(error).__name__}: {error}"[:500], payload)
        if self.head is not None and self.strand() != self.around:  # on it: the next is no attempt of this
            drafts += self.given_up(cut=True)
        mark(error, self.run.id, self.decision.scope, self.decision.pos)
        return drafts

    def attempt(self, text: str, payload: Payload) -> list[Draft]:
        """The entries of a failed attempt; another may follow."""
        kill_point("after-call")
        self.exchanges.open.pop(self, None)
        self.leave(clean=False)
        self.ended = True
        self.failures += 1
        self.result = text, payload
        decision = self.decision
        return [Draft("attempt", decision.scope, decision.pos, {"x": text, "w": 0.0})]

    def failed_now(self) -> None:
        """The attempt is committed and about to be handed to the caller."""
        self.siblings = dict(self.scope.state.counts)
        if self.result is not None:
            self.exchanges.failed(self)
        kill_point("after-attempt")

    def given_up(self, **more: Any) -> list[Draft]:
        """No attempt follows: the last one is the outcome."""
        assert self.result is not None
        text, payload = self.result
        self.result = None
        return [self.outcome("failed", payload, x=text, **more)]

    def strand(self) -> tuple[int, int]:
        """Changes when the strand makes a step or spawns another."""
        state = self.scope.state
        return state.next_pos, sum(state.counts.values())

    def delivered(self) -> None:
        """The outcome is committed and about to be handed to the caller."""
        super().delivered()
        self.watch = None

    # -- executing: a stream -----------------------------------------------------------------------

    def began(self, head: Head) -> None:
        """The head of a stream is about to be handed on."""
        run, decision = self.run, self.decision
        self.head = head
        self.around = self.strand()
        self.read(head)
        self.since = run.clock.monotonic()
        payload = run.encode(encode_head(head, self.ask.secret), f"the response of {self.spec.name}")
        self.exchanges.begin(self, payload)
        self.count = 1
        self.exchanges.open[self] = None
        if self.watch is not None and run.random is not None and run.random.drew(self.watch):
            run.random.after_step(run.values_of(self.scope), decision.pos, self.watch)
            self.watch = None
        kill_point("after-chunk")

    def arrived(self, data: bytes) -> None:
        """A chunk is about to be handed on."""
        if self.over:  # after its last event, which the consumer took for its end, or after the run
            return
        self.exchanges.put(self, data)
        self.count += 1
        self.queued += len(data)
        if self.reader is not None:
            self.reader.feed(data)
        kill_point("after-chunk")

    @property
    def over(self) -> bool:
        """Whether nothing more is to be written of it."""
        return self.ended or self.run.closed

    @property
    def ahead(self) -> bool:
        """Whether so much is queued that the disk should be waited for."""
        if self.queued < AHEAD:
            return False
        self.queued = 0
        return True

    @property
    def finished(self) -> bool:
        """Whether the format's own last event has passed."""
        return self.reader is not None and self.reader.finished

    def exhausted(self) -> list[Draft]:
        """The entries of a stream that came to its end."""
        self.exchanges.open.pop(self, None)
        kill_point("after-call")
        self.leave(clean=True)
        return [] if self.over else [self.outcome("completed")]

    def closed(self, *, left: bool = False) -> list[Draft]:
        """The entries of a stream that is closed, or (`left`) that nobody closes: its consumer has gone on."""
        self.exchanges.open.pop(self, None)
        self.leave(clean=True)
        if self.ended if left else self.over:  # the run's own end comes when it is closed
            return []
        more: dict[str, Any] = {"left": True} if left else {}
        if not self.finished:
            more["closed"] = True
        return [self.outcome("completed", **more)]

    def abandon(self) -> None:
        """The caller is being interrupted: the step stays open."""
        self.exchanges.open.pop(self, None)
        super().abandon()
        self.ended = True

    def cancelled(self) -> None:
        """The caller was cancelled; see `Step.cancelled`.

        If the format's own last event has passed, the answer is whole, and it is only its end that the caller did not
        wait for (as some SDKs do not): it is that answer, and cost what it cost.
        """
        self.exchanges.open.pop(self, None)
        run = self.run
        if self.head is None or not self.finished or self.result is not None:
            super().cancelled()
        elif run.lost is None and not run.closed and run.lease is not None:
            twice: dict[str, Any] = {"twice": True} if self.ended else {}  # its outcome is being committed
            self.leave(clean=True)
            run.writer.put([self.outcome("completed", stopped=True, **twice)])


def execute(decision: Decision, step: Exchange) -> Execute:
    """The decision to make the exchange. Raises `DivergenceError`."""
    if isinstance(decision, Diverged):
        raise step.diverged(decision)
    assert isinstance(decision, Execute)
    return decision
