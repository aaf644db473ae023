"""One call being answered: what the sync and async shells (`runtime.steps`, `runtime.streams`) share.

    decide ─ what the journal says;  deliver, adopt ─ answer from it;  start, enter, leave, completed,
    failed, cancelled ─ the entries of a call that is made

Nothing in here waits for a turn or makes the call: that is what the shells differ in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jupyter_durable.codec.redaction import HIDDEN, Concealed, step_name
from jupyter_durable.codec.shapes import hide
from jupyter_durable.errors import DivergenceError, DurableError, EncodingError
from jupyter_durable.journal.engine import Adopt, Call, Decision, Diverged, Execute, Replay, Wait
from jupyter_durable.journal.index import OWN, RecordedStep
from jupyter_durable.journal.retry import RetryPolicy
from jupyter_durable.model import Draft, Effect, Entry, Payload, StepKind
from jupyter_durable.runtime import mutations
from jupyter_durable.runtime.context import SCOPE, Attempt, Scope
from jupyter_durable.runtime.forms import Form, edited_by, tell
from jupyter_durable.runtime.kill_points import kill_point
from jupyter_durable.runtime.limits import Limiter
from jupyter_durable.runtime.origins import mark, unwinding
from jupyter_durable.runtime.run import LiveRun, ReplayEnd


@dataclass(slots=True)
class Spec:
    """What is known about a kind of call before it is made. `timeout` is in seconds.

    `approval`: whether a person must approve the call, or a function of its arguments that says so (or why).
    `form`: how its arguments may be changed. `housekeeping`: it is no call of a tool, but what a protocol needs.
    """

    name: str
    kind: StepKind = "tool"
    effect: Effect = "retryable"
    retry: RetryPolicy | None = None
    timeout: float | None = None
    reconcile: Callable[..., Any] | None = None
    limiter: Limiter | None = None
    approval: bool | Callable[..., Any] | None = None
    form: Form | None = None
    housekeeping: bool = False

    def __post_init__(self) -> None:
        self.name = hide(self.name, HIDDEN)


def _made_again(step: RecordedStep) -> Execute:
    return Execute(step.scope, step.pos, step.attempts + 1, step.failures, step=step)


def _not_replayed(decision: Decision) -> Decision:
    """Where nothing may be written: whatever is not answered from the journal comes after it, like a live call."""
    if isinstance(decision, Adopt):
        return Execute(decision.scope, decision.pos, 1, 0)
    if isinstance(decision, Wait) and decision.step is not None:
        return _made_again(decision.step)
    return decision._replace(first=()) if isinstance(decision, Execute) else decision


class Step:
    """One call being answered. The shells drive it."""

    __slots__ = ("announced", "args", "call", "decision", "edit", "extra", "failures", "fixed", "held", "inner", "kwargs", "left", "permitted", "preface", "recording", "run", "scope", "spec", "started", "sure", "text", "token", "watch")  # fmt: skip

    def __init__(self, scope: Scope, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.scope = scope
        self.run: LiveRun = scope.run
        self.spec = spec
        self.args = args
        self.kwargs = kwargs
        run = self.run
        if (stopping := run.stopping()) is not None:
            raise stopping
        flag, refs = unwinding(run.id)
        digest, self.text, self.fixed = run.canonical.identify(args, kwargs)
        self.call = Call(spec.kind, step_name(spec.name), digest, spec.effect, flag, refs)
        self.decision: Execute
        self.failures = 0
        self.started = self.sure = False
        self.left: list[Draft] | None = []
        self.held: mutations.Held | None = None  # what the arguments hold before the call
        self.watch: Any = None
        self.announced = False  # its wait is in the journal, with the arguments
        self.permitted = False  # a person has just said that the call is to be made
        self.edit: Any = None  # the arguments that a person wants instead, as JSON data
        self.preface: Sequence[Draft] = ()  # goes with the next start, in one transaction
        self.extra: Mapping[str, Any] | None = None  # what the next start says besides

    # -- deciding --------------------------------------------------------------------------------

    def decide(self, *, final: bool = False) -> Decision:
        """What the journal says about the call. Raises `DivergenceError`."""
        run = self.run
        with run.lock:
            decision = run.engine.decide(self.scope.state, self.call, final=final)
            if isinstance(decision, Replay):
                run.turns.called(decision.step)
            if run.turns.waiting:
                run.turns.changed()
        if isinstance(decision, Diverged):
            raise self.diverged(decision)
        if run.options.replay_only:
            return _not_replayed(decision)
        if isinstance(decision, Execute | Adopt) and decision.first:
            run.writer.put(decision.first)  # now: the caller may be cancelled before its call is made
            self.scope.forget_readings(cut=True)
        return decision

    def diverged(self, found: Diverged) -> DivergenceError | ReplayEnd:
        """The error that shows this call beside the recorded one; the end of a replay that goes only so far."""
        if self.run.is_end(found):
            return self.run.end_replay(self.scope)
        return self.run.divergence(found, self.told(), conceal=self._conceal)

    def told(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments for the journal and for people: secrets among them are marked."""
        args = self._conceal(self.args)
        if args is not self.args:
            self.text = None
        return args, self.kwargs

    def _conceal(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        places = getattr(self.spec.form, "secret_positions", ())
        if not places or not args:
            return args
        return tuple(Concealed(arg) if n in places else arg for n, arg in enumerate(args))

    def gated(self, decision: Execute) -> bool:
        """Whether a live call must still wait for the journal to be replayed."""
        if self.run.turns.open:
            return False
        if self.run.options.replay_only:
            return True
        # A step cut off goes on with the children it has; they are part of the replay.
        return decision.step is None or self.run.index.inside(decision.step) is None

    async def live_turn(self, decision: Execute) -> None:
        """Wait for the turn to execute, and take it."""
        if self.gated(decision):
            try:
                await self.run.turns.turn(-1, self.scope.state.id)
            except asyncio.CancelledError:
                self.decision = decision
                self.cancelled()
                raise
        if self.run.guard is not None and not self.run.options.replay_only:
            try:
                await self.run.guard.hold_async(self, decision)
            except asyncio.CancelledError:
                self.decision = decision
                self.cancelled()
                raise
        self.go_live(decision)

    def go_live(self, decision: Execute) -> None:
        """It is its turn to execute."""
        run = self.run
        if run.options.replay_only:
            raise self.diverged(Diverged(None, self.call, decision.scope))
        if run.guard is not None:
            run.guard.hold(self, decision)  # after `live_turn`, it lets the call pass
            run.guard.made(self, decision)
        abandoned = decision.abandoned
        if decision.step is None and (run.engine.soft or not run.turns.open):
            with run.lock:
                cut = run.engine.go_live(self.scope.state, self.call)
            if isinstance(cut, Diverged):
                raise self.diverged(cut)
            abandoned += cut[0]
            if cut[1]:
                run.writer.put(cut[1])
                self.scope.forget_readings(cut=True)
        if abandoned:
            run.abandoned(abandoned)
        if decision.step is not None and decision.step.reopened:
            self.scope.forget_readings(cut=False)
        self.decision = decision
        self.failures = decision.failures

    def repeats(self, decision: Execute) -> bool:
        """Whether this fork is about to do again what must not be repeated, and was done in the part it left."""
        run, call = self.run, self.call
        return (
            call.effect == "unsafe"
            and decision.step is None
            and run.engine.soft
            and any(s.name == call.name and s.status == "completed" for s in run.index.abandoned)
        )

    def announce(self) -> RecordedStep:
        """Journal the start without making the call: from here on the step is in doubt until a person has said."""
        run, decision = self.run, self.decision
        drafts = self.start()
        run.writer.commit(drafts, durable=True)
        run.notice(
            f"the part that this fork left behind has already completed {self.call.name}, which is declared unsafe; "
            f"nothing is repeated before you say so"
        )
        started = drafts[-1]
        entry = Entry(
            OWN,
            "start",
            decision.scope,
            decision.pos,
            run.clock.now(),
            dict(started.meta),
            started.payload,
            b"",
        )
        return RecordedStep(entry)

    # -- replaying -------------------------------------------------------------------------------

    def ready(self, place: int) -> bool:
        """Whether the outcome at `place` of the replay may be delivered now; if so, it counts as delivered."""
        run = self.run
        with run.lock:
            return run.turns.ready(place)

    def deliver(self, step: RecordedStep) -> Any:
        """Answer from the journal: outputs, changed arguments, then the result or the error."""
        run = self.run
        run.stats.replayed += 1
        outcome = step.outcome
        assert outcome is not None
        if step.output is not None and run.output is not None:
            for entry in step.output:
                run.output.show(run.decode(entry.payload, entry.seq))
        if step.mutation is not None:
            self.change_again(step.mutation)
        recorded = self.scope.state.recorded
        if run.random is not None and recorded is not None and recorded.values:
            run.random.replayed(run.values_of(self.scope), step.pos)
        if step.edit is not None:
            tell(run.decode(step.edit.payload, step.edit.seq), edited_by(step.edit))
        value = run.decode(outcome.payload, outcome.seq)
        if outcome.meta["s"] == "failed":
            mark(value, run.id, step.scope, step.pos)
            raise value
        return value

    def change_again(self, entry: Entry) -> None:
        """Change the arguments as the call did, if it was the call: other strands that did it do it again themselves."""
        run = self.run
        digest = run.canonical.identify(self.args, self.kwargs)[0]
        if digest != entry.meta["d"]:
            shared = digest != self.call.digest
            mutations.apply(run.decode(entry.payload, entry.seq), self.args, self.kwargs, shared=shared)

    def adopt(self, decision: Adopt) -> Any:
        """Answer a pure call from a step that a cut left behind, and make it this run's own."""
        step, run = decision.step, self.run
        assert step.outcome is not None
        value = run.decode(step.outcome.payload, step.outcome.seq)
        place = Execute(decision.scope, decision.pos, 1, 0)
        run.writer.commit(
            [
                *run.declare(self.scope),
                run.start_draft(self.call, place, step.args),
                Draft(
                    "outcome",
                    decision.scope,
                    decision.pos,
                    {"s": "completed"},
                    run.encode(value, self.spec.name),
                ),
            ],
            durable=True,
        )
        run.stats.replayed += 1
        return value

    def not_cancelled(self, step: RecordedStep) -> Decision:
        """The cancellation the journal recorded does not come: the code was edited, or has diverged.

        Or it was an interrupt, and the process was killed before it could say so.
        """
        run = self.run
        if step.doubtful and run.options.replay_only:
            return _made_again(step)
        if step.doubtful:
            with run.lock:
                again = run.engine.uncancel(step)
                decision = run.engine.resume(self.scope.state, step, self.call)
            run.writer.put([again])
            return decision
        if not run.engine.soft:
            with run.lock:
                run.engine.diverged = found = Diverged(step, None, step.scope)
            raise run.divergence(found)
        with run.lock:
            self.scope.state.cursor -= 1
            dropped, cut = run.engine.cut(self.scope.state)
        self.scope.forget_readings(cut=True)
        run.writer.put([cut])
        run.abandoned(dropped)
        return self.decide()

    # -- executing -------------------------------------------------------------------------------

    def start(self) -> tuple[Draft, ...]:
        """The entries that precede an attempt."""
        run, decision = self.run, self.decision
        kill_point("before-start")
        self.started = True
        if run.random is not None:
            self.watch = run.random.before_step()
        known = decision.attempt > 1 or self.announced
        payload = (
            None
            if known
            else run.codec.encode_call(*self.told(), self.text, bind=run.id, has_chunk=run.store.has_chunk)
        )
        started = run.start_draft(self.call, decision, payload)
        before: Sequence[Draft] = run.exchanges.before_start(self) if run.exchanges is not None else ()
        self.sure = self.extra is not None
        if self.extra is not None:
            started = self._with_extra(started)
            before = (*before, *self.preface)
            self.extra, self.preface = None, ()
        if not run.stirring.count:
            return (*before, *run.declare(self.scope), *run.values_drafts(), started)
        with run.lock:  # what another thread may build upon must be queued before its entries are
            if first := (*run.declare(self.scope), *run.values_drafts()):
                run.writer.put(first)
        return (*before, started)

    def _with_extra(self, started: Draft) -> Draft:
        extra = self.extra or {}
        if self.edit is not None and "ok" in extra:
            started = started._replace(payload=self.run.encode(self.edit, "the changed arguments"))
        return started._replace(meta={**started.meta, **extra})

    @property
    def start_durable(self) -> bool:
        """Whether what `start` gave must survive power loss, too."""
        return self.sure or self.spec.effect == "unsafe"

    # -- approvals ---------------------------------------------------------------------------------

    def asks(self) -> bool:
        """Whether a person must approve the call before it is made. When it is its turn."""
        recorded = self.decision.step
        known = recorded is not None and (recorded.wait is not None or recorded.edit is not None)
        if self.spec.approval is None and not self.run.options.approve and not known:
            return False
        from jupyter_durable.runtime import approvals  # here: few calls need one

        return approvals.needed(self)

    def enter(self) -> None:
        """From here on calls are children of this attempt, and what is written is recorded with it."""
        kill_point("after-start")
        run, decision = self.run, self.decision
        run.stats.executed += 1
        if run.stirring.count:
            run.stirring.thread_calls()
        inner = run.inner_scope(self.scope, decision)
        inner.owner = self.scope.owner
        inner.attempt = Attempt(self.spec.kind, decision.scope, decision.pos, decision.attempt)
        if self.edit is not None:
            inner.attempt.edited = True
        self.inner = self.scope.inner = inner
        self.recording = run.output.start() if run.output is not None else None
        self.token = SCOPE.set(inner)
        self.left = None
        if not self.fixed and self.text is None:
            self.held = mutations.held(self.args, self.kwargs)

    def leave(self, *, clean: bool) -> list[Draft]:
        """The attempt is over; what was written in it, as entries. May be repeated."""
        if self.left is not None:
            return self.left
        SCOPE.reset(self.token)
        self.scope.inner = None
        run = self.run
        inner = self.inner
        if not inner.used or inner.state.id < 0:
            inner.values = None  # what was read in an attempt without children is covered by its outcome
        if inner.used and (run.index.children or inner.state.replaying):
            with run.lock:
                run.end_scope(inner, clean=clean)
        self.left = []
        if run.output is not None:
            self.left += self.outputs(run.output.stop(self.recording))
        self.left += self.mutations()
        return self.left

    def outputs(self, written: list[dict[str, Any]]) -> list[Draft]:
        """What the attempt wrote and displayed, as an entry."""
        decision = self.decision
        payload = self.run.encode(written, "output", wrap=True) if written else None
        return [Draft("output", decision.scope, decision.pos, {}, payload)] if written else []

    def mutations(self) -> list[Draft]:
        """The arguments that the attempt changed in place, as an entry; those that cannot be one, as a notice."""
        if self.fixed:
            return []
        run, decision = self.run, self.decision
        held = self.held or mutations.Held([], {})
        if attributes := mutations.altered(held.own):
            run.notice(
                f"{self.spec.name} changed {', '.join(attributes)} in place; replay does not repeat that. "
                f"Return what is new, and set it outside of the tool"
            )
        digest = run.canonical.identify(self.args, self.kwargs)[0]
        if digest == self.call.digest:
            return []
        changed, unnamed = mutations.changes(self.args, self.kwargs, held.others)
        for what in unnamed:
            run.notice(
                f"{self.spec.name} changed its argument {what} in place; replay does not repeat that. "
                f"Return the new value instead"
            )
        if not changed:
            return []
        payload = run.encode(changed, f"arguments of {self.spec.name}")
        return [Draft("mutation", decision.scope, decision.pos, {"d": digest}, payload)]

    def completed(self, value: Any) -> list[Draft]:
        """The entries of a call that returned. Raises `EncodingError`."""
        kill_point("after-call")
        written = self.leave(clean=True)
        payload = self.run.encode(value, f"the result of {self.spec.name}")
        return [*written, self.outcome("completed", payload)]

    def outcome(self, status: str, payload: Payload | None = None, **more: Any) -> Draft:
        """The step's checkpoint."""
        meta: dict[str, Any] = {"s": status, **more}
        return Draft("outcome", self.decision.scope, self.decision.pos, meta, payload)

    def failed(self, error: BaseException) -> tuple[list[Draft], float | None]:
        """The entries of a call that raised, and the delay before another attempt (None: none)."""
        kill_point("after-call")
        run, decision = self.run, self.decision
        drafts = self.leave(clean=False)
        self.forget_inside()
        self.failures += 1
        policy = self.spec.retry
        delay = policy.delay(self.failures, error) if policy is not None else None
        text = f"{type(error).__name__}: {error}"[:500]
        if delay is not None and not isinstance(error, DurableError):
            return [Draft("attempt", decision.scope, decision.pos, {"x": text, "w": delay})], delay
        try:
            payload = run.encode(error, f"the error of {self.spec.name}")
        except EncodingError:
            payload = run.encode(RuntimeError(f"{type(error).__name__}: {error}"), "an error")
            run.notice(
                f"{self.spec.name} raised a {type(error).__name__} that cannot be stored; replay raises a RuntimeError"
            )
        mark(error, run.id, decision.scope, decision.pos)
        return [*drafts, self.outcome("failed", payload, x=text)], None

    def delivered(self) -> None:
        """The outcome is committed and about to be handed to the caller."""
        kill_point("after-outcome")
        run = self.run
        if self.watch is not None and run.random is not None and run.random.drew(self.watch):
            run.random.after_step(run.values_of(self.scope), self.decision.pos, self.watch)

    def again(self) -> None:
        """Another attempt follows."""
        decision = self.decision
        self.decision = Execute(
            decision.scope, decision.pos, decision.attempt + 1, self.failures, (), decision.step
        )

    def forget_inside(self) -> None:
        """The attempt did not come to its end: what a crash left of it, and it did not do again, is expected no more."""
        if self.decision.step is not None:
            with self.run.lock:
                self.run.engine.forget_inside(self.decision.step)
                self.run.turns.changed()

    def abandon(self) -> None:
        """The caller is being interrupted: the step stays open."""
        self.leave(clean=False)

    def cancelled(self) -> None:
        """The caller was cancelled. Whether the run survives that, later entries tell (`journal.index`).

        Also before the call was made (it waited for its turn, or for a limit): the run goes on as if it
        had been, and must find it there again.
        """
        written = self.leave(clean=False)
        if self.run.lost is not None or self.run.closed or self.run.lease is None:
            return
        self.forget_inside()
        if self.started or self.decision.step is not None:
            self.run.writer.put([*written, self.outcome("cancelled")])
        else:
            self.run.writer.put([*self.start(), self.outcome("cancelled", unmade=True)])
