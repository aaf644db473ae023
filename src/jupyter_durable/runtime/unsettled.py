"""The exchanges of a run that are not settled: streams that are open, failed attempts that may be repeated.

`LiveRun.exchanges`, once there is one: the run says what happens (a step starts, a strand or the run ends), and gets
the entries that must be written because of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from jupyter_durable.journal.engine import LiveScope
from jupyter_durable.journal.index import RecordedStep
from jupyter_durable.model import Draft, Payload
from jupyter_durable.runtime.context import Scope
from jupyter_durable.runtime.pieces import Pieces
from jupyter_durable.runtime.run import LiveRun
from jupyter_durable.runtime.step import Step

if TYPE_CHECKING:
    from jupyter_durable.runtime.exchange_step import Exchange


class _Answered(NamedTuple):
    recorded: RecordedStep
    gave_up: bool
    left: int
    cursor: int
    pos: int


class Exchanges:
    """The exchanges of a run that are not settled; `LiveRun.exchanges`, once there is one."""

    def __init__(self, run: LiveRun) -> None:
        self.run = run
        self.open: dict[Exchange, None] = {}
        self._failed: dict[LiveScope, Exchange] = {}
        self._left: list[Exchange] = []  # failed, of strands that have ended by it
        self._answered: dict[LiveScope, _Answered] = {}
        self._tail: Pieces | None = None

    # -- chunks ------------------------------------------------------------------------------------

    def begin(self, step: Exchange, payload: Payload) -> None:
        """Queue the head of a stream."""
        self._queue(lambda group: group.begin(step.at, payload))

    def put(self, step: Exchange, data: bytes) -> None:
        """Queue a chunk, with those delivered before it as long as nothing else was queued since."""
        run = self.run
        ms = round((run.clock.monotonic() - step.since) * 1000)
        # Wrapped: a secret may lie across the border of two entries.
        encode = partial(run.encode, what=f"the response of {step.spec.name}", wrap=True)
        self._queue(lambda group: group.add(step, step.at, step.count, data, ms, encode))

    def _queue(self, add: Callable[[Pieces], bool]) -> None:
        tail = self._tail
        if tail is None or self.run.writer.tail() is not tail or not add(tail):
            tail = Pieces()
            add(tail)
            self._tail = tail
            self.run.writer.put(tail)

    # -- failed attempts ---------------------------------------------------------------------------

    def failed(self, step: Exchange) -> None:
        """An attempt failed; its caller may try again."""
        with self.run.lock:
            self._failed[step.scope.state] = step

    def follows(self, step: Exchange) -> Exchange | None:
        """The failed attempt that `step` repeats."""
        before = self._failed.get(step.scope.state)
        if before is None or step.ask.again is False or _other(before, step):
            return None
        return before

    def follow(self, step: Exchange) -> None:
        """The next attempt has been started."""
        if step.before is not None:
            with self.run.lock:
                if self._failed.get(step.scope.state) is step.before:
                    del self._failed[step.scope.state]
            step.before = None

    def before_start(self, step: Step) -> list[Draft]:
        """What must be in the journal before `step` starts: what its strand, or one above, has given up or left."""
        if not (self._failed or self._left or self.open):
            return []
        drafts: list[Draft] = []
        with self.run.lock:
            for failure in self._left:
                drafts += failure.given_up()
            self._left.clear()
            if self._failed:
                drafts += self._given_up_above(step)
            for stream in [s for s in self.open if s.finished]:
                if stream.scope is step.scope or stream.scope.state.state == "ended":
                    drafts += stream.closed(left=True)
        return drafts

    def _given_up_above(self, step: Step) -> list[Draft]:
        drafts: list[Draft] = []
        following = getattr(step, "before", None)
        below, state = None, step.scope.state
        while state is not None:
            failure = self._failed.get(state)
            # A strand spawned before the failure does not say that its parent has gone on.
            if (
                failure is not None
                and failure is not following
                and (below is None or below.index >= failure.siblings.get(below.key, 0))
            ):
                del self._failed[state]
                drafts += failure.given_up()
            below, state = state, state.parent  # type: ignore[assignment]
        return drafts

    def scope_ended(self, scope: Scope, *, clean: bool) -> None:
        """A strand is over."""
        failure = self._failed.pop(scope.state, None)
        self._answered.pop(scope.state, None)
        if failure is None:
            return
        owner = scope.owner
        if clean:
            self.run.writer.put(failure.given_up())
        elif hasattr(owner, "cancelled") and owner.cancelled():  # while its sender waited to try again
            self.run.writer.put([failure.outcome("cancelled")])
        else:  # if the run goes on, it was given up; if the run ends by this, it is tried again
            self._left.append(failure)

    def run_ended(self, *, clean: bool) -> list[Draft]:
        """The run's code is over. `clean`: not by an error, which would leave open what was under way."""
        drafts: list[Draft] = []
        with self.run.lock:
            for stream in [*self.open]:
                if clean or stream.finished:
                    drafts += stream.closed(left=True)
            if clean:
                for failure in (*self._left, *self._failed.values()):
                    if failure.scope.attempt is None:
                        drafts += failure.given_up()
        return drafts

    # -- answering again ---------------------------------------------------------------------------

    def answered(self, step: Step, recorded: RecordedStep, *, gave_up: bool) -> None:
        """A recorded outcome was given back: it also answers the further attempts that were made then.

        `gave_up`: it is that of an attempt, and no other followed. A 404 is not: asking again is another step.
        """
        state = step.scope.state
        known = self._answered.get(state)
        if known is not None and known.recorded is recorded:
            self._answered[state] = known._replace(left=known.left - 1)
            return
        left = recorded.failures - gave_up
        if left > 0 or gave_up:
            self._answered[state] = _Answered(recorded, gave_up, left, state.cursor, state.next_pos)

    def answers_again(self, step: Exchange) -> RecordedStep | None:
        """The recorded step that `step` is one more attempt of.

        A success answers the first call, and so mostly there is none. Code that did not mind that the
        first failed makes them all again, as it did then.
        """
        known = self._known(step)
        if known is None or known.left <= 0:
            return None
        if step.ask.again or known.gave_up:
            return known.recorded
        state = step.scope.state
        following = state.steps[state.cursor] if state.replaying else None
        return None if following is None or _same(following, step) else known.recorded

    def used_up(self, step: Exchange) -> bool:
        """Whether `step` is one attempt more than there were when it was given up."""
        known = self._known(step)
        return known is not None and known.left <= 0 and known.gave_up

    def _known(self, step: Exchange) -> _Answered | None:
        state = step.scope.state
        known = self._answered.get(state)
        if known is None or step.ask.again is False or not _same(known.recorded, step):
            return None
        return known if (state.cursor, state.next_pos) == (known.cursor, known.pos) else None


def _same(recorded: RecordedStep, step: Exchange) -> bool:
    call = step.call
    return (recorded.kind, recorded.name, recorded.digest) == (call.kind, call.name, call.digest)


def _other(one: Exchange, another: Exchange) -> bool:
    a, b = one.call, another.call
    return (a.kind, a.name, a.digest) != (b.kind, b.name, b.digest)


def exchanges_of(run: LiveRun) -> Exchanges:
    """Those of `run`; made for its first."""
    found = run.exchanges
    if found is None:
        with run.lock:
            found = run.exchanges = run.exchanges or Exchanges(run)
    assert isinstance(found, Exchanges)
    return found
