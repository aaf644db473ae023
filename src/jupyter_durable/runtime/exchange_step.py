"""One HTTP exchange being answered: what the sync and async shells (`runtime.exchanges`) share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from jupyter_durable.errors import DivergenceError, EncodingError
from jupyter_durable.journal.engine import Decision, Diverged, Execute, Replay
from jupyter_durable.journal.index import RecordedStep
from jupyter_durable.model import Draft, Payload
from jupyter_durable.runtime.context import SCOPE, Attempt, Scope
from jupyter_durable.runtime.exchange import Ask, Head, Reader
from jupyter_durable.runtime.kill_points import kill_point
from jupyter_durable.runtime.origins import mark
from jupyter_durable.runtime.recordings import (
    at_once,
    decode_head,
    delivered,
    encode_head,
    split,
    turns,
    without_requests,
)
from jupyter_durable.runtime.step import Spec, Step
from jupyter_durable.runtime.unsettled import exchanges_of

AHEAD = 8 * 1024 * 1024
"""Bytes that a stream may be ahead of what is stored of it."""


class Exchange(Step):
    """One exchange being answered. The shells drive it."""

    __slots__ = (
        "around",
        "ask",
        "before",
        "count",
        "ended",
        "exchanges",
        "head",
        "queued",
        "reader",
        "result",
        "siblings",
        "since",
    )

    def __init__(self, scope: Scope, ask: Ask) -> None:
        described = ask.described
        super().__init__(scope, Spec(described.name, kind=described.kind), (described.identity,), {})
        shown = described.shown
        # The digest is made; from here on arguments are what people see.
        named = isinstance(shown, dict) and all(type(key) is str for key in shown)
        self.args, self.kwargs = ((), shown) if named else ((shown,), {})
        self.text = None
        self.fixed = True
        self.ask = ask
        self.exchanges = exchanges_of(self.run)
        self.before: Exchange | None = None  # the failed attempt that this one follows
        self.result: tuple[str, Payload] | None = None
        self.siblings: dict[str, int] = {}
        self.head: Head | None = None
        self.around = (0, 0)  # the strand, when the head of a stream was handed on
        self.reader: Reader | None = None
        self.count = 0  # chunks delivered, the head among them
        self.queued = 0  # bytes, since the queue was last waited for
        self.since = 0.0
        self.ended = False

    @property
    def at(self) -> tuple[int, int]:
        """Scope and position of its entries."""
        return self.decision.scope, self.decision.pos

    @property
    def place(self) -> tuple[str, int, int]:
        """Run, scope and position, for `mark`."""
        return self.run.id, self.decision.scope, self.decision.pos

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

    def diverged(self, found: Diverged) -> DivergenceError:
        """Of all that is shown of two requests, what tells them apart."""
        compared = self.ask.described.compared
        return self.run.divergence(found, (self.args, self.kwargs), lambda given: compared(given[1]))

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
        if self.run.store.run(record.forked_from).status == "completed":
            return None
        self.closed_again(recorded)
        return Execute(recorded.scope, recorded.pos, recorded.attempts + 1, recorded.failures, (), recorded)

    # -- replaying -------------------------------------------------------------------------------

    def give_back(self, recorded: RecordedStep) -> tuple[Head, bytes]:
        """The whole response that was recorded, or its error, raised."""
        value = self.deliver(recorded)
        head, body = decode_head(value["head"]), value["body"]
        gave_up = recorded.status == "failed" and self.ask.retryable(head)
        self.exchanges.answered(self, recorded, gave_up=gave_up)
        return at_once(head) if gave_up else head, body

    def deliver(self, step: RecordedStep) -> Any:
        """What the outcome holds: a response, or an error, raised."""
        run = self.run
        run.stats.replayed += 1
        outcome = step.outcome
        assert outcome is not None
        self.draw_again(step)
        value = run.decode(outcome.payload, outcome.seq)
        if isinstance(value, BaseException):
            self.exchanges.answered(self, step, gave_up=True)
            mark(value, run.id, step.scope, step.pos)
            raise value
        return value

    def head_again(self, recorded: RecordedStep) -> Head:
        """The head of a stream. It counts as replayed from here on."""
        run = self.run
        run.stats.replayed += 1
        self.draw_again(recorded)
        assert recorded.chunks
        self.count = delivered(recorded)  # whatever becomes of it from here on
        entry = recorded.chunks[0]
        return decode_head(run.decode(entry.payload, entry.seq))

    def draw_again(self, recorded: RecordedStep) -> None:
        """The global generators are what they were when this was handed on."""
        run, strand = self.run, self.scope.state.recorded
        if run.random is not None and strand is not None and strand.values:
            run.random.replayed(run.values_of(self.scope), recorded.pos)

    def pace(self) -> Callable[[float], float] | None:
        """How long to wait before a chunk that came so many seconds after the head; None: never."""
        run = self.run
        if not run.options.pace:
            return None
        began = run.clock.monotonic()
        return lambda at: began + at - run.clock.monotonic()

    def last_again(self, recorded: RecordedStep) -> None:
        """The last chunk that was delivered is about to be again: if nobody asked for more then, nobody waits for it."""
        outcome = recorded.outcome
        if outcome is not None and ("left" in outcome.meta or "closed" in outcome.meta):
            self.closed_again(recorded)

    def end_again(self, recorded: RecordedStep) -> None:
        """A stream that was read to its end ends: as then, maybe by an error, which is raised."""
        outcome = recorded.outcome
        if outcome is None or outcome.meta["s"] != "failed":
            return
        value = self.run.decode(outcome.payload, outcome.seq)
        self.exchanges.answered(self, recorded, gave_up="cut" not in outcome.meta)
        mark(value, self.run.id, recorded.scope, recorded.pos)
        raise value

    def pieces(self, recorded: RecordedStep) -> Iterator[tuple[int, list[bytes], list[float]]]:
        """What followed the head: place in the order of the replay, chunks, when they came (seconds after the head)."""
        places = iter(recorded.chunks_at[1:])
        for entry in (recorded.chunks or ())[1:]:
            chunks, times = split(self.run.decode(entry.payload, entry.seq), entry.meta)
            for first, last in turns(entry.meta, len(chunks)):
                yield next(places, -1), chunks[first:last], times[first:last]

    def closed_again(self, recorded: RecordedStep) -> None:
        """The consumer wants no more of it: nobody need wait for what is left."""
        run = self.run
        with run.lock:
            run.engine.order.drop(recorded)
            run.turns.changed()
        if recorded.outcome is None and run.lease is not None:  # the crash came before it was left
            self.count = delivered(recorded)
            run.writer.put([self.outcome("completed", closed=True)])

    def past_end(self, recorded: RecordedStep) -> None:
        """The consumer asks for more than was recorded. Raises `DivergenceError` if it had stopped there."""
        meta = recorded.outcome.meta if recorded.outcome is not None else {}
        if meta.get("closed"):
            raise DivergenceError(
                f"{self.spec.name}: this response was read up to chunk {meta.get('n')} and left when it was "
                "recorded, and is read further now",
                hint=f"%durable fork {self.run.id[:13]} --at {recorded.id}",
            )

    def broken(self, recorded: RecordedStep) -> tuple[Exception | None, list[Draft]]:
        """How a prefix ends, whose connection the crash cut: in an error, if its last event had not come."""
        run = self.run
        entries = recorded.chunks or []
        self.count = delivered(recorded)
        reader = self.ask.reader(decode_head(run.decode(entries[0].payload, entries[0].seq)))
        if reader is not None:
            for entry in entries[1:]:
                reader.feed(run.decode(entry.payload, entry.seq))
            if reader.finished:
                self.reader = reader
                return None, [self.outcome("completed", left=True)]
        error = self.ask.cut_off(
            f"the connection was cut off after {self.count - 1} chunks when this was recorded"
        )
        mark(error, run.id, recorded.scope, recorded.pos)
        text = f"{type(error).__name__}: {error}"
        return error, [self.outcome("failed", self.encode_error(error), x=text, cut=True)]

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
            if run.index.children or self.inner.state.replaying:
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

    def encode_error(self, error: Exception) -> Payload:
        """An error without the request it may hold."""
        run = self.run
        with without_requests(error):
            try:
                return run.encode(error, f"the error of {self.spec.name}")
            except EncodingError:
                return run.encode(self.ask.cut_off(f"{type(error).__name__}: {error}"), "an error")

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

    def outcome(self, status: str, payload: Payload | None = None, **more: Any) -> Draft:
        """The checkpoint, with what the reader has found."""
        self.ended = True
        if self.count:
            more["n"] = self.count
        if self.reader is not None and status != "cancelled" and (found := self.reader.summary()):
            more["m"] = dict(found)
        return super().outcome(status, payload, **more)

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
        if self.watch is not None and run.random is not None:
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
        """The caller was cancelled; see `Step.cancelled`."""
        self.exchanges.open.pop(self, None)
        super().cancelled()


_GIVE_UP = ((b"retry-after-ms", b"1"), (b"x-should-retry", b"false"))


def execute(decision: Decision, step: Exchange) -> Execute:
    """The decision to make the exchange. Raises `DivergenceError`."""
    if isinstance(decision, Diverged):
        raise step.diverged(decision)
    assert isinstance(decision, Execute)
    return decision
