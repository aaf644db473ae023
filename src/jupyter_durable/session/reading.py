"""A store as people and programs read it, and decide in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_durable.codec.redaction import mask
from jupyter_durable.errors import DurableError, RunNotFoundError
from jupyter_durable.journal import spend
from jupyter_durable.journal.budget import PREFIX, Budget, changed, limit
from jupyter_durable.journal.index import ROOT, RecordedStep
from jupyter_durable.journal.ports import JournalStore
from jupyter_durable.journal.tally import kept, tally
from jupyter_durable.model import FINAL, Draft, InboxItem, Payload, Problem, RunInfo, RunRecord, StepInfo
from jupyter_durable.runtime.doubt import decision_key
from jupyter_durable.runtime.heartbeat import ttl
from jupyter_durable.session.opening import Session
from jupyter_durable.store import connect
from jupyter_durable.timeline import view

if TYPE_CHECKING:
    from jupyter_durable.capture.wire.talk import Message


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

    def retry(self, run_id: str, step_id: str, *, by: str = "") -> InboxItem:
        """A step in doubt did not happen: make the call. Raises `AlreadyDecidedError`."""
        return self._decide(run_id, step_id, "retry", by)

    def supply(self, run_id: str, step_id: str, value: Any, *, by: str = "") -> InboxItem:
        """A step in doubt happened, and this is its result. Raises `AlreadyDecidedError`."""
        record = self._record(run_id)
        payload = self._session.codec.encode(
            value, bind=record.id, has_chunk=lambda digest: False, what="the supplied value"
        )
        return self._decide(record.id, step_id, "supply", by, payload=payload)

    def fail(self, run_id: str, step_id: str, why: str, *, by: str = "") -> InboxItem:
        """A step in doubt failed, or is to count as failed. Raises `AlreadyDecidedError`."""
        return self._decide(run_id, step_id, "fail", by, message=why)

    def raise_budget(
        self, run_id: str, *, cost: float | None = None, steps: int | None = None, by: str = ""
    ) -> Budget:
        """Let the run spend up to `cost` USD, make up to `steps` steps (all in all); the budget that then holds.

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
        value = {"action": "raise", "cost": cost, "steps": steps}
        self.journal.post(
            record.id, "decision", f"{PREFIX}{len(posted) + 1}", value, by=by or str(self._session.owner)
        )
        return changed(before, value)

    def _decide(
        self,
        run_id: str,
        step_id: str,
        action: str,
        by: str,
        *,
        message: str = "",
        payload: Payload | None = None,
    ) -> InboxItem:
        record = self._record(run_id)
        step = self._step(record, step_id)
        if step.outcome is not None:
            raise DurableError(
                f"step {step_id} {step.name} is {step.status}, not in doubt",
                hint=f"%durable fork {record.id[:13]} --at {step_id} makes the call again in a new run",
            )
        value = {"action": action, **({"message": mask(message)} if message else {})}
        return self.journal.post(
            record.id,
            "decision",
            decision_key(step),
            value,
            by=mask(by or str(self._session.owner)),
            payload=payload,
        )

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
            lease = self.journal.acquire(record.id, self._session.owner, ttl())
            closed = Draft("closed", ROOT, 0, {"s": "cancelled", "by": who})
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
