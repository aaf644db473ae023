"""A store as people and programs read it, and decide in it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_durable.clock import moment
from jupyter_durable.codec.redaction import mask
from jupyter_durable.errors import AlreadyDecidedError, DurableError, RunNotFoundError
from jupyter_durable.journal import spend
from jupyter_durable.journal.budget import PREFIX, Budget, changed, limit
from jupyter_durable.journal.index import ROOT, RecordedStep
from jupyter_durable.journal.ports import JournalStore
from jupyter_durable.journal.tally import kept, tally
from jupyter_durable.model import (
    FINAL,
    Draft,
    InboxItem,
    Problem,
    RunInfo,
    RunRecord,
    StepInfo,
    WaitInfo,
)
from jupyter_durable.runtime.heartbeat import ttl
from jupyter_durable.session import deciding
from jupyter_durable.session.change import UNSET
from jupyter_durable.session.opening import Session
from jupyter_durable.store import connect
from jupyter_durable.timeline import view

if TYPE_CHECKING:
    from jupyter_durable.capture.wire.talk import Message
    from jupyter_durable.session.forking import Forked
    from jupyter_durable.timeline.differences import RunDiff


class Store:
    """A store as people and programs read it: `durable.open_store()`.

    >>> store = open_store("memory:")
    >>> store.runs()
    []
    """

    def __init__(self, journal: JournalStore) -> None:
        self.journal = journal
        self._session = Session(journal)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where it is."""
        return self.journal.url

    def close(self) -> None:
        """Release files and locks."""
        self.journal.close()

    def runs(
        self, *, status: str | None = None, name: str | None = None, notebook: str | None = None
    ) -> list[RunInfo]:
        """The runs that match, newest first."""
        infos = [self._info(record) for record in self.journal.runs(name=name, notebook=notebook)]
        return [info for info in infos if status is None or info.status == status]

    def run(self, run_id: str) -> RunInfo:
        """One run, by id, unique prefix, or name (the newest of that name). Raises `RunNotFoundError`."""
        return self._info(self._record(run_id))

    def _record(self, run: str) -> RunRecord:
        try:
            return self.journal.run(run)
        except RunNotFoundError:
            named = self.journal.runs(name=run)
            if not named:
                raise
        notebooks = {record.notebook for record in named}
        if len(notebooks) > 1:
            raise RunNotFoundError(
                f"{len(notebooks)} notebooks have a run named {run!r}",
                hint="say which by its id: jupyter durable ls",
            )
        return named[0]

    def _info(self, record: RunRecord) -> RunInfo:
        # The last entry says it, unless the run goes on or its process was killed.
        last = next(self.journal.entries(record.id, after=record.head_seq - 1, upto=record.head_seq), None)
        counts, spent = kept(last), spend.kept(last)
        if counts is None or spent is None:
            index = self._session.index(record.id)
            counts, spent = tally(index), spend.spend(index)
        return view.run_info(record, counts, spent, alive=self._session.alive(record))

    def steps(self, run_id: str) -> list[StepInfo]:
        """The run's steps in journal order, those left behind by forks and retries marked `history`."""
        record = self._record(run_id)
        return view.steps(
            self._session.index(record.id),
            self._session.renderer(record),
            alive=self._session.alive(record),
            waiting=record.status == "waiting",
            price=_price,
            answer=self._answers(record),
        )

    def messages(self, run_id: str, step_id: str) -> list[Message]:
        """A model call's conversation, the answer last, as far as it came; empty for other steps."""
        from jupyter_durable.session import exchanged

        record = self._record(run_id)
        return exchanged.conversation(self._step(record, step_id), self._session.decoder(record))

    def _answers(self, record: RunRecord) -> Callable[[RecordedStep], str | None]:
        decode = self._session.decoder(record)

        def answer(step: RecordedStep) -> str | None:
            if step.kind not in ("model", "http"):
                return None
            from jupyter_durable.session import exchanged  # here: few runs have any

            try:
                return exchanged.answer(step, decode)
            except Exception as error:  # noqa: BLE001 - a listing must not fail for one value
                return f"<{type(error).__name__}>"

        return answer

    def spent(self, run_id: str) -> spend.Spend:
        """What the run's model calls used and cost, and what its replays saved. Unlike `run`, it prices calls anew
        that were recorded without a price."""
        return spend.spend(self._session.index(self._record(run_id).id), _price)

    def plan(self, run_id: str) -> view.Plan:
        """What resuming the run will do."""
        return self._session.plan(self._record(run_id))

    def verify(self, run_id: str | None = None) -> list[Problem]:
        """What was altered, removed or truncated, in one run or in the whole store."""
        return self.journal.verify(self._record(run_id).id if run_id is not None else None)

    def export(self, run_id: str, *, format: str = "html", **how: Any) -> Any:  # noqa: A002 - what people say
        """The run as "html", "json", "otel" or "pytest"; `.write(path)` makes the files. See `jupyter_durable.export`."""
        # By name: this layer knows nothing of the one that stands on it.
        return importlib.import_module("jupyter_durable.export").export(self, run_id, format, **how)

    # -- going back ------------------------------------------------------------------------------

    def fork(
        self,
        run_id: str,
        at: str,
        *,
        result: Any = UNSET,
        arguments: Mapping[str, Any] | None = None,
        by: str = "",
    ) -> Forked:
        """A run that goes on from step `at` of another one (an id or a name) where it is resumed: in its cell, by
        `%durable resume`, in a job. In it the step has another `result`, or is made with other `arguments`, or again.

        Raises `RunNotFoundError`, and `DurableError` for what does not fit.

        >>> open_store().fork("research", "1.4", result=["nothing found"])  # doctest: +SKIP
        """
        from jupyter_durable.session import forking

        return forking.fork(self, run_id, at=at, result=result, arguments=arguments, by=by)

    def diff(self, a: str, b: str) -> RunDiff:
        """Two runs, compared step by step, with values: where they part first. See `RunDiff`."""
        from jupyter_durable.session import diffing

        return diffing.compare(self, a, b)

    def delete(self, run_id: str) -> bool:
        """Delete a run and its child runs for good. Raises `RunNotFoundError`, and `LeaseHeldError` for one in flight.

        What forks of it need of its journal stays until they are deleted, too: then True is returned.
        """
        return self.journal.forget_run(self._record(run_id).id)

    # -- deciding --------------------------------------------------------------------------------

    def waits(self, run_id: str | None = None) -> list[WaitInfo]:
        """What a run waits for (None: what all of them do): people, signals, timers. See `WaitInfo`."""
        if run_id is None:
            return deciding.all_waiting(self)
        return deciding.waiting(self, self._record(run_id))

    def approve(
        self, run_id: str, step: str, *, arguments: Mapping[str, Any] | None = None, by: str = ""
    ) -> InboxItem:
        """Let a call that needs approval be made; with other `arguments` for those given. Raises `AlreadyDecidedError`.

        `step` is its id, its name, or the key of its wait. See `session.deciding.decide` for what else may be wrong.
        """
        return deciding.decide(self, run_id, step, "approve", arguments=arguments, by=by)

    def reject(self, run_id: str, step: str, why: str = "", *, by: str = "") -> InboxItem:
        """Do not let a call be made: it raises `ApprovalRejected` with this message. Raises `AlreadyDecidedError`."""
        return deciding.decide(self, run_id, step, "reject", message=why, by=by)

    def answer(self, run_id: str, step: str, value: Any, *, by: str = "") -> InboxItem:
        """Answer `durable.ask`. Raises `AlreadyDecidedError`, and `DurableError` for an answer that does not fit."""
        return deciding.decide(self, run_id, step, "answer", value=value, by=by)

    def signal(self, run_id: str, name: str, value: Any = None, *, by: str = "", once: str = "") -> InboxItem:
        """Send a run a value under a name, for `durable.wait_for`. With `once`, a second of the same is refused."""
        return deciding.decide(self, run_id, name, "signal", value=value, by=by, once=once)

    def retry(self, run_id: str, step_id: str, *, by: str = "") -> InboxItem:
        """A step in doubt did not happen: make the call. Raises `AlreadyDecidedError`."""
        return deciding.decide(self, run_id, step_id, "retry", by=by)

    def supply(self, run_id: str, step_id: str, value: Any, *, by: str = "") -> InboxItem:
        """A step in doubt happened, and this is its result. Raises `AlreadyDecidedError`."""
        return deciding.decide(self, run_id, step_id, "supply", value=value, by=by)

    def fail(self, run_id: str, step_id: str, why: str, *, by: str = "") -> InboxItem:
        """A step in doubt failed, or is to count as failed. Raises `AlreadyDecidedError`."""
        return deciding.decide(self, run_id, step_id, "fail", message=why, by=by)

    def raise_budget(
        self,
        run_id: str,
        *,
        cost: float | None = None,
        steps: int | None = None,
        deadline: str | None = None,
        by: str = "",
    ) -> Budget:
        """Let the run spend up to `cost` USD, make up to `steps` steps (all in all), go on until `deadline` ("2 h" from
        now, "17:30"); the budget that then holds.

        Raises `DurableError` for a run that has none.
        """
        record = self._record(run_id)
        before = limit(self._session.index(record.id))
        posted = [item for item in self.journal.inbox(record.id) if item.key.startswith(PREFIX)]
        for item in posted:
            before = changed(before, item.value)
        if before == Budget():
            raise DurableError(
                f"run {record.name!r} has no budget",
                hint='%%durable --budget "$2.00" or --max-steps 100 set one',
            )
        try:
            until = moment(deadline, self._session.clock.now()) if deadline is not None else None
        except ValueError as error:
            raise DurableError(str(error)) from None
        value = {"action": "raise", "cost": cost, "steps": steps, "deadline": until}
        self.journal.post(
            record.id, "decision", f"{PREFIX}{len(posted) + 1}", value, by=by or str(self._session.owner)
        )
        return changed(before, value)

    def _step(self, record: RunRecord, step_id: str) -> RecordedStep:
        index = self._session.index(record.id)
        step = index.step(*self._session.place(index, step_id, record))
        assert step is not None
        return step

    def cancel(self, run_id: str, *, by: str = "") -> None:
        """End the run for good: a live one at its next step, one without a process at once."""
        record = self._record(run_id)
        if record.status in FINAL:
            raise DurableError(
                f"run {record.name!r} is already {record.status}", hint="%durable list shows the others"
            )
        who = mask(by or str(self._session.owner))
        self.journal.post(record.id, "cancel", f"cancel:{record.generation}", {}, by=who)
        if not self._session.alive(record):
            self.close_cancelled(record.id, by=who)

    def close_cancelled(self, run_id: str, *, by: str) -> None:
        """End a run that no process advances as cancelled. Raises `LeaseHeldError` if one does."""
        lease = self.journal.acquire(run_id, self._session.owner, ttl())
        closed = Draft("closed", ROOT, 0, {"s": "cancelled", "by": mask(by)})
        self.journal.append(lease, [closed], durable=True, status="cancelled")
        self.journal.release(lease)


def _price(said: Mapping[str, Any], at: float) -> float | None:
    from jupyter_durable.capture.wire import prices  # here: it takes a while, and most are priced already

    if said.get("provider") in (None, "local"):
        return None
    prices.load()
    return prices.cost(said["provider"], said.get("api"), said.get("model"), dict(said["usage"]), at)


def open_store(url: str | Path | None = None) -> Store:
    """Open a store: a path, `sqlite:///path`, `memory:`; None: the one of this machine and user.

    Raises `StoreError` or `IntegrityError`.

    >>> open_store("memory:").url
    'memory:'
    """
    return Store(connect(str(url) if url is not None else None))


def send(run: str, name: str, value: Any = None, *, store: str | Path | None = None) -> Any:
    """Send a run a value under a name, for its `durable.wait_for(name)`; by id, a beginning of it, or the run's name.

    `store`: where it is; None: that of this machine and user, in a durable run that of the run. In a run it is a step,
    and sent once however often the step is made. Raises `RunNotFoundError`,
    and `DurableError` for a value that does not fit what is waited for.
    """
    from jupyter_durable.capture.functions import idempotency_key, step
    from jupyter_durable.runtime.context import SCOPE

    scope = SCOPE.get()
    if scope is None or scope.run.closed:
        with open_store(store) as opened:
            opened.signal(run, name, value)
        return None

    def post(run: str, name: str, value: Any) -> None:
        try:
            if store is None:
                Store(scope.run.store).signal(run, name, value, once=idempotency_key())
            else:
                with open_store(store) as opened:
                    opened.signal(run, name, value, once=idempotency_key())
        except AlreadyDecidedError:
            return  # by an attempt that was cut off

    return step("send", post, run, name, value)
