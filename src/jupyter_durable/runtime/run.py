"""A run being executed by this process.

LiveRun ─┬─ engine, turns     what to do about a call, and when (under one lock)
         ├─ stirring          what still goes on by what was delivered last
         ├─ writer            entries, in order, in few commits
         ├─ codec, canonical  values and digests
         └─ scopes            strands that make calls; `runtime.context` finds the caller's
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from jupyter_durable.clock import Clock, SystemClock
from jupyter_durable.codec import Codec
from jupyter_durable.codec.canonical import Canonical
from jupyter_durable.codec.redaction import mask
from jupyter_durable.errors import DivergenceError, LeaseLost, RunParked, StoreError
from jupyter_durable.journal.budget import Budget
from jupyter_durable.journal.divergence import explain
from jupyter_durable.journal.engine import Call, Cut, Diverged, Engine, Execute
from jupyter_durable.journal.index import ROOT, Index, RecordedStep
from jupyter_durable.journal.keys import idempotency_key
from jupyter_durable.journal.ports import JournalStore
from jupyter_durable.journal.spend import Spend, Spending
from jupyter_durable.journal.tally import Tally
from jupyter_durable.model import Draft, Lease, Payload, RunRecord, RunStatus
from jupyter_durable.runtime.context import SCOPE, Inside, Scope, cancel_around
from jupyter_durable.runtime.origins import first_line, origins
from jupyter_durable.runtime.ports import ExchangesPort, InstrumentsPort, OutputPort
from jupyter_durable.runtime.stirring import Stirring
from jupyter_durable.runtime.turns import Turns
from jupyter_durable.runtime.values import Cap, Values
from jupyter_durable.runtime.writer import Writer

if TYPE_CHECKING:
    from jupyter_durable.runtime.budget import Guard
    from jupyter_durable.runtime.randoms import RandomWatch
    from jupyter_durable.runtime.waits import Waits


def is_main(names: Mapping[str, Any]) -> bool:
    """Whether a frame's globals are the notebook's (or the script's)."""
    main = sys.modules.get("__main__")
    return main is not None and names is main.__dict__


class ReplayEnd(BaseException):
    """A replay-only run has come to where it should stop (`goto`): to the end of what it replays."""


class RunCancelled(BaseException):
    """Somebody cancelled the run."""


@dataclass(slots=True)
class Options:
    """How a run behaves in this process.

    `replay_only`: nothing live, nothing written. `until`: where that ends, a (scope, position); the journal, too.
    `park_after`: seconds to wait for a person or a signal before the run parks; None: for ever; `timers`: the same
    for a timer. `approve`: patterns of names of steps that a person must approve. `jitter`: gives
    seconds by which every live call is delayed (for tests). `capture`: which calls of other libraries are
    steps. `ignore_hosts`: hosts, or patterns, whose HTTP requests pass. `pace`: recorded streams come as
    slowly as they came then. `budget`: what the run may spend; None: what its journal says.
    """

    replay_only: bool = False
    until: tuple[int, int] | None = None
    park_after: float | None = None
    jitter: Callable[[], float] | None = None
    capture: frozenset[str] = frozenset({"tools", "models", "http", "mcp"})
    pace: bool = False
    budget: Budget | None = None
    ignore_hosts: tuple[str, ...] = ()
    timers: float | None = None
    approve: tuple[str, ...] = ()

    def of_run(self, meta: Mapping[str, Any]) -> Options:
        """These, with what the run was begun with (in its row): it says which calls its journal has."""
        made = meta.get("line")
        if not made:
            return self
        return replace(
            self,
            capture=frozenset(made.get("capture", self.capture)),
            ignore_hosts=tuple(made.get("ignore_hosts", ())),
            approve=tuple(made.get("approve", self.approve)),
        )

    def ignores(self, host: str | None) -> bool:
        """Whether requests to `host` pass.

        >>> Options(ignore_hosts=("*.telemetry.example",)).ignores("EU.telemetry.example")
        True
        """
        return bool(self.ignore_hosts) and any(
            fnmatchcase((host or "").lower(), pattern.lower()) for pattern in self.ignore_hosts
        )


@dataclass(slots=True)
class Stats:
    """What this process did for the run."""

    replayed: int = 0
    executed: int = 0
    notices: list[str] = field(default_factory=list)
    late_calls: int = 0


def control_flow(error: BaseException | None) -> BaseException | None:
    """The control flow inside an exception group, if there is any (a TaskGroup wraps it); else `error`."""
    if isinstance(error, BaseExceptionGroup):
        found: BaseException | None = error.split((RunParked, LeaseLost, RunCancelled, ReplayEnd))[0]
        while isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        return found or error
    return error


class LiveRun:
    """One run, being executed here. Made by `session`; entered and left by whoever executes the code."""

    def __init__(
        self,
        *,
        record: RunRecord,
        lineage: Sequence[tuple[str, int]],
        store: JournalStore,
        codec: Codec,
        index: Index,
        lease: Lease | None,
        clock: Clock | None = None,
        options: Options | None = None,
        output: OutputPort | None = None,
        on_notice: Callable[[str], None] | None = None,
        flags: str = "",
        instruments: InstrumentsPort | None = None,
    ) -> None:
        self.record = record
        self.id = record.id
        self.pid = os.getpid()
        self.name = record.name
        self.store = store
        self.codec = codec
        self.canonical = Canonical(store.key.derive("digest"))
        self.index = index
        self.clock = clock or SystemClock()
        self.options = (options or Options()).of_run(record.meta)
        self.output = output
        self.instruments = instruments
        self.lock = threading.RLock()
        same = bool(record.meta.get("fork", {}).get("same"))  # as `session.change` says it
        self.engine = Engine(index, soft=record.forked_from is not None, same=same)
        self.stirring = Stirring(self.lock)
        self.turns = Turns(self.engine, self.lock, self.clock, self.stirring)
        self.turns.single = self._single
        self.turns.in_run = self._timer_in_run
        self.turns.lost = self.stopping
        if self.options.replay_only and index.closed is not None:
            self.turns.ends = index.closed.at
        self.writer = Writer(
            self._append, self.stirring, stage=self._stage, settle=self._settle, on_error=self._write_failed
        )
        self.turns.live_timers(self.writer.timers)
        self._tally = Tally(index)
        self.spending = Spending(index)
        self.guard: Guard | None = None  # if there is a budget
        self.waits: Waits | None = None  # once a strand waits
        self.blocking = False  # its code is sync, and blocks the task or thread it runs in
        self.strands: dict[Scope, None] = {}  # those that were spawned and have not ended
        self.lease = lease
        self.closed = False
        self.lost: BaseException | None = None
        self.broken: Exception | None = None
        self.parked: RunParked | None = None
        self.ended: ReplayEnd | None = None
        self.stats = Stats()
        self.main = Scope(self, self.engine.main)
        self.random: RandomWatch | None = None
        self.exchanges: ExchangesPort | None = None  # once there is one
        self.wake = threading.Event()
        # (step, recorded, fn) -> what answers a recorded call instead of the journal; tests set it.
        self.rehearsal: Callable[[Any, RecordedStep, Any], Any] | None = None
        self.cancelled_by: str | None = None
        self._lineage = list(lineage)
        self._unwritten: list[Scope] = []
        self._cap = Cap(self.notice)
        self._on_notice = on_notice
        # What a command in a hint needs to find this run's store, when it is not the usual one.
        self.flags = f" {flags}" if flags else ""
        self._scopes = 1
        self._has_chunk = store.has_chunk
        self.user_code: Callable[[Mapping[str, Any]], bool] = is_main

    # -- scopes ----------------------------------------------------------------------------------

    def open_scope(self, parent: Scope, key: str) -> Scope:
        """A strand spawned by `parent`."""
        with self.lock:
            state = self.engine.spawn(parent.state, key)
            self._scopes += 1
            scope = Scope(self, state, parent)
            self.strands[scope] = None
        return scope

    def close_scope(self, scope: Scope, *, clean: bool) -> None:
        """A strand is over; see `Engine.end`."""
        if self.exchanges is not None and not self.closed:
            self.exchanges.scope_ended(scope, clean=clean)
        with self.lock:
            self.end_scope(scope, clean=clean and not self.closed)
            self._scopes -= 1
            self.strands.pop(scope, None)
            self.turns.changed()

    def end_scope(self, scope: Scope, *, clean: bool) -> None:
        """A strand, or the inside of an attempt, makes no more calls; under the lock. A fork may leave its path here."""
        cut = self.engine.end(scope.state, clean=clean)
        if isinstance(cut, Cut) and self.lease is not None:
            self.writer.put([cut.draft])
            scope.forget_readings(cut=True)
            self.abandoned(cut.dropped)

    def declare(self, scope: Scope) -> tuple[Draft, ...]:
        """The entries that must precede the next ones of a scope."""
        if scope.state.declared and not self.engine.taken:
            return ()
        with self.lock:
            return (*self.engine.took(), *self.engine.declare(scope.state))

    def inner_scope(self, scope: Scope, decision: Execute) -> Inside:
        """The scope inside an attempt."""
        inner = Inside(self, scope, decision)
        if self.index.children:  # it may be a recorded one, which is bound now
            inner.state  # noqa: B018
        return inner

    def _single(self) -> bool:
        return self._scopes == 1

    def stopping(self) -> BaseException | None:
        """Why no further call may be made: the lease is lost, a write failed, the run is cancelled, parks or is at its
        end as a replay. Else None.

        Code that swallows one of these meets it again at its next call.
        """
        if self.lost is None and self.cancelled_by is not None:
            return RunCancelled(f"run {self.name!r} was cancelled by {self.cancelled_by}")
        return self.lost or self.broken or self.parked or self.ended

    def is_end(self, found: Diverged) -> bool:
        """Whether that is no divergence but the end of a replay that goes only so far."""
        return self.options.until is not None and found.recorded is None

    def end_replay(self, scope: Scope) -> ReplayEnd:
        """What to raise where a replay is to stop. The tasks around that strand end, too, whatever they wait for.

        At once: they must not go on with what a strand that was stopped has left (`gather(return_exceptions=True)`).
        """
        self.ended = end = self.ended or ReplayEnd()
        cancel_around(scope, apart=self.main if self.blocking else None)
        return end

    def _timer_in_run(self, handle: asyncio.TimerHandle) -> bool:
        context = getattr(handle, "_context", None)
        scope = context.get(SCOPE) if context is not None else None
        return scope is not None and scope.run is self

    def values_of(self, scope: Scope) -> Values:
        """The readings handed to a scope: recorded ones first, then live ones."""
        values = scope.values
        if values is None:
            values = scope.values = Values(cap=self._cap, on_first=lambda _: self._unwritten.append(scope))
            with self.lock:
                recorded = self.engine.likely(scope.state)
            if recorded is not None and not scope.state.cut:
                for seq, reading in recorded.values:
                    # Sealed: what `secrets` gave is a secret. Journals of 0.1.0 have it as it was.
                    values.extend(self.decode(reading, seq) if isinstance(reading, Payload) else reading)
        return values

    # -- writing ---------------------------------------------------------------------------------

    def _append(self, drafts: Sequence[Draft], durable: bool, status: RunStatus | None) -> None:
        drafts = self._tally.take(self.spending.take(drafts))
        self.store.write(self._may_write(), drafts, durable=durable, status=status)

    def tallied(self) -> tuple[Mapping[str, int], Spend]:
        """How many steps are in which state (see `journal.tally`), and what was spent, as counted while they are written."""
        return self._tally.counts, self.spending.sum

    def _stage(self, drafts: Sequence[Draft]) -> bool:
        if staged := self.store.stage(self._may_write(), drafts):
            self._tally.take(drafts)
            self.spending.take(drafts)
        return staged

    def _settle(self) -> None:
        if self.lease is not None and self.lost is None and self.broken is None:
            self.store.settle(self.lease)

    def _may_write(self) -> Lease:
        if (stopped := self.lost or self.broken) is not None:
            raise stopped
        if self.lease is None:
            raise LeaseLost(f"run {self.name!r} is only being replayed here")
        return self.lease

    def _write_failed(self, error: BaseException) -> None:
        if isinstance(error, LeaseLost):
            self.lost = error
        elif self.broken is None:
            # What was to be written is not: going on would leave a gap in the journal.
            self.broken = error if isinstance(error, Exception) else StoreError("a write was interrupted")

    def encode(self, value: Any, what: str, *, wrap: bool = False) -> Payload:
        """A value that replay will need. `wrap`: one that may hide a secret from a scan. Raises `EncodingError`."""
        return self.codec.encode(value, bind=self.id, has_chunk=self._has_chunk, what=what, wrap=wrap)

    def decode(self, payload: Payload | None, seq: int) -> Any:
        """A value of the entry with sequence number `seq`, which may be a forebear's."""
        if payload is None:
            return None
        return self.codec.decode(payload, bind=self.bind(seq), load=self.store.chunk)

    def bind(self, seq: int) -> str:
        """The run that wrote entry `seq`: payloads are signed for the run that wrote them."""
        for run_id, upto in self._lineage:
            if seq <= upto:
                return run_id
        return self.id

    def start_draft(self, call: Call, decision: Execute, payload: Payload | None) -> Draft:
        """The entry that says an attempt is about to be made."""
        meta: dict[str, Any] = {"k": call.kind, "n": call.name, "d": call.digest}
        if decision.attempt != 1:
            meta["a"] = decision.attempt
        if call.effect != "retryable":
            meta["e"] = call.effect
        if call.unwinding:
            meta["u"] = call.unwinding
            if call.refs:
                meta["r"] = [list(ref) for ref in call.refs]
        return Draft("start", decision.scope, decision.pos, meta, payload)

    def values_drafts(self) -> list[Draft]:
        """What changes by itself and was read since the last start, in any scope, to go with the next one."""
        if not self._unwritten:
            return []
        drafts: list[Draft] = []
        with self.lock:
            scopes, self._unwritten = self._unwritten, []
            for scope in scopes:
                if scope.values is None:
                    continue  # inside an attempt that is over, without children
                if scope.attempt is not None and scope.state.id < 0:
                    self._unwritten.append(scope)  # inside a step that has no children (yet)
                    continue
                drafts += self.engine.declare(scope.state)
                sealed = self.codec.seal_json(scope.values.drain(), bind=self.id)
                drafts.append(Draft("values", scope.state.id, 0, {}, sealed))
        return drafts

    def idempotency_key(self, scope: int, pos: int) -> str:
        """The step's key: the same in every attempt, process and automatic fork."""
        return idempotency_key(self.store.key, self.record.root_id or self.id, scope, pos)

    def set_status(self, status: RunStatus) -> None:
        """What other processes see while the run goes on."""
        if self.lease is not None:
            self.store.update_run(self.lease, status=status)

    # -- saying things -----------------------------------------------------------------------------

    def notice(self, text: str) -> None:
        """Something the user should know; once. Lines after the first are commands to copy."""
        text = mask(text)
        if text not in self.stats.notices:
            self.stats.notices.append(text)
            if self._on_notice is not None:
                self._on_notice(text)

    def refuse_late_call(self) -> None:
        """A task that outlived the run made a call."""
        self.stats.late_calls += 1

    def abandoned(self, steps: Sequence[RecordedStep]) -> None:
        """A fork leaves these steps behind: say how much had already happened."""
        done = [step for step in steps if step.status == "completed" and step.effect != "pure"]
        if not done:
            return
        names: dict[str, int] = {}
        for step in done:
            names[step.name] = names.get(step.name, 0) + 1
        what = ", ".join(f"{name} x{count}" if count > 1 else name for name, count in names.items())
        count = len(done)
        self.notice(
            f"this fork leaves behind {count} step{'s' if count > 1 else ''} whose effects have already "
            f"happened ({what}); what it does from here on happens in addition"
        )

    def divergence(
        self,
        found: Diverged,
        arguments: Any = None,
        compared: Callable[[Any], Any] | None = None,
        conceal: Callable[[tuple[Any, ...]], tuple[Any, ...]] = tuple,
    ) -> DivergenceError:
        """The error that shows the recorded and the current call side by side; see `explain` for `compared`.

        `conceal` marks secrets among the positional arguments, as in `arguments` they are.
        """
        recorded = found.recorded
        was = None
        if recorded is not None and recorded.args is not None:
            try:
                args, kwargs = self.decode(recorded.args, recorded.seq)
                was = conceal(tuple(args)), kwargs
            except Exception:  # noqa: BLE001 - the arguments only illustrate the error
                was = None
        more = {} if compared is None else {"compared": compared}
        return explain(found, self.name, self.id, was, arguments, **more)

    # -- the end -----------------------------------------------------------------------------------

    def finish(self, error: BaseException | None, *, extra: Mapping[str, Any] | None = None) -> RunStatus:
        """Close the run's journal for this process; returns its status.

        Raises `DivergenceError` if the code ended without making calls that were recorded.
        """
        if self.closed:
            return "interrupted"
        found: Diverged | None = None
        with self.lock:
            if error is None and self.stopping() is None:
                found = self.engine.finish()
            elif self.engine.diverged is not None and not isinstance(error, DivergenceError):
                found = None if self.is_end(self.engine.diverged) else self.engine.diverged
            self.closed = True
        stopped = self.lost or self.broken
        status, meta = self._verdict(error or stopped, found)
        closed = Draft("closed", ROOT, 0, {"s": status, **meta, **(extra or {})})
        try:
            if stopped is None and self.lease is not None and not self.options.replay_only:
                if self.exchanges is not None:
                    self.writer.put(self.exchanges.run_ended(clean=status == "completed"))
                self.writer.flush()  # cancellations that nobody waited for are counted with the rest
                if not self._tally.exact:
                    self._tally.recount(self.store.entries(self.id), status, self.record.base_seq)
                self.writer.commit([*self.engine.took(), closed], durable=True, status=status)
        finally:
            self.writer.close()
        if self.lost is None and self.broken is not None and self.lease is not None:
            with contextlib.suppress(StoreError):  # there may be room again, for a short word
                self.store.append(self.lease, [closed], durable=True, status=status)
        if found is not None:
            raise self.divergence(found) from error
        if stopped is not None and error is None:
            raise stopped  # swallowed by the code, but it did not come to its end durably
        return status

    def _verdict(
        self, error: BaseException | None, found: Diverged | None
    ) -> tuple[RunStatus, dict[str, Any]]:
        error = control_flow(error)
        if found is not None or isinstance(error, DivergenceError):
            return "interrupted", {"x": "diverged"}
        if isinstance(error, RunParked) or self.parked is not None:
            return "waiting", {}
        if isinstance(error, RunCancelled) or self.cancelled_by is not None:
            return "cancelled", {"by": self.cancelled_by or ""}
        if error is None:
            return "completed", {}
        if self.broken is not None:
            return "interrupted", {"x": f"{type(self.broken).__name__}: {first_line(self.broken)}"}
        if isinstance(error, asyncio.CancelledError | KeyboardInterrupt | GeneratorExit | ReplayEnd):
            return "interrupted", {}
        return "failed", {
            "x": f"{type(error).__name__}: {first_line(error)}",
            "o": [list(place) for place in origins(error, self.id)],
        }
