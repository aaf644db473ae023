"""The composition root: a store, a codec and a clock become runs that can be opened, resumed and forked."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from jupyter_durable.capture.instruments import instruments
from jupyter_durable.clock import Clock, SystemClock
from jupyter_durable.codec import Codec, redaction
from jupyter_durable.codec.display import show, show_call
from jupyter_durable.errors import DurableError, RunNotFoundError, StoreError
from jupyter_durable.journal.budget import Budget, limit
from jupyter_durable.journal.edits import cut_at, is_left
from jupyter_durable.journal.engine import reopen
from jupyter_durable.journal.index import ROOT, Index, RecordedStep
from jupyter_durable.journal.keys import parse_step_id
from jupyter_durable.journal.ports import JournalStore
from jupyter_durable.journal.rung import COUNTED
from jupyter_durable.model import (
    FINAL,
    Draft,
    ForkKind,
    Owner,
    Payload,
    RunRecord,
    new_id,
)
from jupyter_durable.runtime.heartbeat import ttl
from jupyter_durable.runtime.kill_points import kill_point
from jupyter_durable.runtime.ports import OutputPort
from jupyter_durable.runtime.run import LiveRun, Options
from jupyter_durable.session.change import EXCHANGES, FORKED, Change
from jupyter_durable.store.leases import is_gone, is_same, this_owner
from jupyter_durable.timeline import inert, view

_PICKLE = "pickle"
_PLAIN = ("json1", "bytes1", "tree1")  # codecs of what has no pickle in it
END = "end"
"""What may be said instead of a step: after the last one recorded."""
NOWHERE = (-1, -1)


class Session:
    """Opens runs in one store for this process. `label` says to people what the process is.

    >>> from jupyter_durable.store import connect
    >>> session = Session(connect("memory:"))
    >>> run = session.new("demo")
    >>> session.close_run(run, None)
    'completed'
    """

    def __init__(
        self,
        store: JournalStore,
        *,
        clock: Clock | None = None,
        output: OutputPort | None = None,
        label: str = "",
        on_notice: Callable[[str], None] | None = None,
        flags: str = "",
    ) -> None:
        redaction.learn()
        self.store = store
        self.clock = clock or SystemClock()
        self.codec = Codec(store.key)
        self.output = output
        self.owner: Owner = this_owner(label)
        self._on_notice = on_notice
        self._flags = flags

    # -- opening ---------------------------------------------------------------------------------

    def new(
        self,
        name: str,
        *,
        notebook: str | None = None,
        cell_id: str | None = None,
        job_id: str | None = None,
        parent_id: str | None = None,
        meta: Mapping[str, Any] | None = None,
        snapshot: Any = None,
        options: Options | None = None,
    ) -> LiveRun:
        """A run of its own. `meta` is JSON data kept in its row; `snapshot` a value kept in its journal."""
        kill_point("before-open")
        now = self.clock.now()
        record = RunRecord(
            id=new_id(now),
            name=name,
            status="running",
            created_at=now,
            updated_at=now,
            notebook=notebook,
            cell_id=cell_id,
            job_id=job_id,
            parent_id=parent_id,
            meta=dict(meta or {}),
        )
        record = replace(record, root_id=record.id)
        return self._create(record, Index(), snapshot, options)

    def fork(
        self,
        source: RunRecord,
        *,
        kind: ForkKind,
        at: str | None = None,
        notebook: str | None = None,
        cell_id: str | None = None,
        job_id: str | None = None,
        meta: Mapping[str, Any] | None = None,
        snapshot: Any = None,
        options: Options | None = None,
        same: bool = False,
    ) -> LiveRun:
        """A run that shares `source`'s journal as far as it still matches.

        kind "edit": the same endeavour with other code or inputs; it keeps the idempotency keys of what
        was cut off. "user": another one. `at` is a step's id or name: that step, and what its scope and the
        scopes around it did after it, is done anew; `same`: by the same code, with the same inputs. Raises
        `RunNotFoundError` for an unknown step.
        """
        kill_point("before-open")
        record, index = self._based_on(source, kind, notebook, cell_id, job_id, meta)
        drafts: list[Draft] = []
        if at is not None:
            place = self.place(index, at, source)
            forked = {
                "at": f"{place[0]}.{place[1]}",
                "how": "again",
                "same": same and _is_sure(source),
                "step": at,
            }
            record = replace(record, meta={**record.meta, FORKED: forked})
            drafts.append(cut_at(index, *place))
        run = self._create(record, index, snapshot, options, drafts)
        if _is_untold(source):
            run.abandoned(self.left_behind(source, self.index(source.id)))
        return run

    def prepare(
        self,
        source: RunRecord,
        at: tuple[int, int],
        change: Change,
        *,
        job_id: str | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> RunRecord:
        """A fork of `source` with something else at that step, which nobody executes yet: it is to be resumed."""
        kill_point("before-open")
        record, index = self._based_on(source, "user", None, None, job_id, None)
        step = index.step(*at)
        assert step is not None
        forked = {
            "at": step.id,
            "how": change.how,
            "same": _is_sure(source),
            "prepared": True,
            **(meta or {}),
        }
        record = replace(record, status="interrupted", meta={**record.meta, FORKED: forked})
        cut = cut_at(index, *at, keep=change.how != "again")

        wrap = step.kind in EXCHANGES  # as a response that came

        def encode(value: Any, what: str) -> Payload:
            has_chunk = self.store.has_chunk
            return self.codec.encode(value, bind=record.id, has_chunk=has_chunk, what=what, wrap=wrap)

        drafts = self._first(record, index, None, [cut, *change.drafts(step, encode)])
        self.store.release(self.store.create_run(record, self.owner, ttl(), drafts))
        kill_point("after-open")
        return self.store.run(record.id)

    def _based_on(
        self,
        source: RunRecord,
        kind: ForkKind,
        notebook: str | None,
        cell_id: str | None,
        job_id: str | None,
        meta: Mapping[str, Any] | None,
    ) -> tuple[RunRecord, Index]:
        now = self.clock.now()
        index = Index(self.store.entries(source.id, upto=source.head_seq), base_seq=source.head_seq)
        run_id = new_id(now)
        record = replace(
            source,
            id=run_id,
            status="running",
            created_at=now,
            updated_at=now,
            notebook=notebook if notebook is not None else source.notebook,
            cell_id=cell_id or source.cell_id,
            job_id=job_id,
            root_id=(source.root_id or source.id) if kind == "edit" else run_id,
            forked_from=source.id,
            fork_kind=kind,
            base_seq=source.head_seq,
            base_hash=source.head_hash,
            head_seq=source.head_seq,
            head_hash=source.head_hash,
            owner=None,
            generation=0,
            meta={**{key: value for key, value in source.meta.items() if key != FORKED}, **(meta or {})},
        )
        return record, index

    def _create(
        self,
        record: RunRecord,
        index: Index,
        snapshot: Any,
        options: Options | None,
        drafts: Sequence[Draft] = (),
    ) -> LiveRun:
        # In one transaction: a run that exists has its snapshot, whenever this process is killed.
        lease = self.store.create_run(record, self.owner, ttl(), self._first(record, index, snapshot, drafts))
        before = len(index.abandoned)
        index.extend(self.store.entries(record.id, after=record.base_seq))
        kill_point("after-open")
        run = self._live(record, index, lease, options)
        run.abandoned(index.abandoned[before:])
        return run

    def _first(self, record: RunRecord, index: Index, snapshot: Any, drafts: Sequence[Draft]) -> list[Draft]:
        """A run's first entries; `index` is what it is based on."""
        again = self._reopening(index) if record.forked_from is not None else None
        return [self._opened(record, snapshot), *([again] if again is not None else []), *drafts]

    def _opened(self, record: RunRecord, snapshot: Any) -> Draft:
        payload = None
        if snapshot is not None:
            payload = self.codec.encode(
                snapshot, bind=record.id, has_chunk=self.store.has_chunk, what="the snapshot", seal=True
            )
        meta = {"name": record.name}
        # A kernel that runs only the cell must know it, too, and whoever shows the run.
        return Draft("opened", ROOT, 0, {**meta, **COUNTED, **self._redacted(record.id)}, payload)

    def _redacted(self, run_id: str, told: Iterable[Any] = ()) -> dict[str, str]:
        """What is redacted here, for the meta of an entry, but for what the run was `told`."""
        given = redaction.given(self.store.key.mac("digest", b"marks"), told)
        if given is None:
            return {}
        return {"redact": b64encode(self.codec.seal_json(given, bind=run_id).body).decode()}

    def resume(self, record: RunRecord, *, options: Options | None = None) -> LiveRun:
        """Take an unfinished or failed run up again. Raises `LeaseHeldError` if another process advances it."""
        kill_point("before-open")
        if record.status in FINAL:
            raise DurableError(
                f"run {record.name!r} is {record.status}",
                hint=f"%durable fork {record.id[:13]} bases a new run on it",
            )
        lease = self.store.acquire(record.id, self.owner, ttl())
        index = self.index(record.id)
        again = self._reopening(index)
        told = self.told(record, index)
        meta = {"owner": str(self.owner), **COUNTED, **self._redacted(record.id, told)}
        drafts = [Draft("resumed", ROOT, 0, meta)]
        if again is not None:
            drafts.append(again)
        failed = index.closed is not None and index.closed.meta["s"] == "failed"
        came_from = index.closed.meta.get("o", ()) if index.closed is not None else ()
        still_open = any((step := index.step(*at)) is not None and step.outcome is None for at in came_from)
        index.extend(self.store.append(lease, drafts, durable=True, status="running"))
        kill_point("after-open")
        run = self._live(self.store.run(record.id), index, lease, options)
        if _is_untold(record):
            run.abandoned(self.left_behind(record, index))
        if failed and again is None and not still_open:
            run.notice(
                "the error that ended this run came from no step, so there is nothing to try again: everything is "
                "replayed, and unless the code or its inputs changed the error will be raised again"
            )
        return run

    def left_behind(self, record: RunRecord, index: Index) -> list[RecordedStep]:
        """The steps of its parent that a fork which was just made does not take over, and may make again."""
        before = len(Index(self.store.entries(record.id, upto=record.base_seq)).abandoned)
        return [step for step in index.abandoned[before:] if is_left(index, step)]

    def replay(self, record: RunRecord, *, until: str | None = None) -> LiveRun:
        """Go through the run's journal without writing or executing anything.

        `until`: a step's id, or `END`: stop (by `ReplayEnd`) where that step was about to be made, or where nothing is
        recorded any more. Everything that had come to pass by then has again, and nothing else. Without it, the code
        must come to its own end.
        """
        index = self.index(record.id)
        if until is None:
            return self._live(record, index, None, Options(replay_only=True))
        place = NOWHERE
        if until != END:
            place = self.place(index, until, record)
            step = index.step(*place)
            assert step is not None
            before = self.store.entries(record.id, upto=step.seq - 1)
            index = Index(before, base_seq=record.base_seq)
        index.close_attempts()
        return self._live(record, index, None, Options(replay_only=True, until=place))

    def _reopening(self, index: Index) -> Draft | None:
        closed = index.closed
        if closed is None or closed.meta["s"] != "failed":
            return None
        return reopen(index, [(scope, pos) for scope, pos in closed.meta.get("o", ())])

    def place(self, index: Index, step_id: str, record: RunRecord) -> tuple[int, int]:
        """A step's scope and position, by its id or its name (the last one that counts). Raises `RunNotFoundError`."""
        try:
            place = parse_step_id(step_id)
        except ValueError:
            left = set(map(id, index.abandoned))
            named = [
                s for s in index.all_steps() if s.name == step_id and not s.history and id(s) not in left
            ]
            place = (named[-1].scope, named[-1].pos) if named else (-1, -1)
        if index.step(*place) is None:
            raise RunNotFoundError(
                f"run {record.name!r} has no step {step_id!r}",
                hint=f"%durable show {record.id[:13]} lists its steps",
            )
        return place

    def _live(self, record: RunRecord, index: Index, lease: Any, options: Options | None) -> LiveRun:
        run = LiveRun(
            record=record,
            lineage=self._lineage(record),
            store=self.store,
            codec=self.codec,
            index=index,
            lease=lease,
            clock=self.clock,
            options=options,
            output=self.output,
            on_notice=self._on_notice,
            flags=self._flags,
            instruments=instruments,
        )
        self.redact_as(record, index)
        given = run.options.budget
        if given is not None or limit(index) != Budget():
            from jupyter_durable.capture.wire import prices  # here: few runs have one
            from jupyter_durable.runtime.budget import Guard

            if (given or limit(index)).cost is not None:
                prices.load()  # what is spent must be known when it is, not later
            run.guard = Guard(run, given)
        return run

    def _lineage(self, record: RunRecord) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        while record.forked_from is not None:
            found.append((record.forked_from, record.base_seq))
            record = self.store.run(record.forked_from, deleted=True)
        return found[::-1]

    def close_run(
        self, run: LiveRun, error: BaseException | None, *, extra: Mapping[str, Any] | None = None
    ) -> str:
        """The run's code has ended (with `error`): close its journal and give the lease back.

        Returns the run's status. Raises `DivergenceError` if recorded calls were not made.
        """
        kill_point("before-close")
        try:
            more = self._redacted(run.id, self.told(run.record, run.index)) if run.lease is not None else {}
            return run.finish(error, extra={**(extra or {}), **more})
        finally:
            kill_point("after-close")
            if run.lease is not None and run.lost is None:
                try:
                    self.store.release(run.lease)
                except StoreError:
                    if run.broken is None:  # else it has been said
                        raise

    # -- reading ---------------------------------------------------------------------------------

    def told(self, record: RunRecord, index: Index) -> list[Any]:
        """What the processes of a run have left for `redaction.restore`."""
        decode = self.decoder(record)
        return [decode(Payload("sealed1", b64decode(e.meta["redact"])), e.seq) for e in index.redacted]

    def redact_as(self, record: RunRecord, index: Index) -> None:
        """Hide what the processes that recorded the run knew to be secret."""
        for told in self.told(record, index):
            redaction.restore(told)

    def index(self, run_id: str) -> Index:
        """A run's journal, folded."""
        record = self.store.run(run_id)
        index = Index(self.store.entries(record.id), base_seq=record.base_seq)
        self.redact_as(record, index)
        return index

    def snapshot(self, record: RunRecord, index: Index) -> Any:
        """The value the run was opened with; a fork's own, else its parent's."""
        opened = index.opened
        if opened is None or opened.payload is None:
            return None
        bind = next((run for run, upto in self._lineage(record) if opened.seq <= upto), record.id)
        return self.codec.decode(opened.payload, bind=bind, load=self.store.chunk)

    def alive(self, record: RunRecord) -> bool:
        """Whether a process advances the run now."""
        owner = record.owner
        return owner is not None and record.expires_at > self.clock.now() and not is_gone(owner)

    def held_elsewhere(self, record: RunRecord) -> bool:
        """Whether a process other than this one advances the run now."""
        return self.alive(record) and record.owner is not None and not is_same(record.owner, self.owner)

    def plan(self, record: RunRecord, index: Index | None = None) -> view.Plan:
        """What resuming the run will do."""
        index = index or self.index(record.id)
        if (again := self._reopening(index)) is not None:
            index = self.index(record.id)
            index.preview(again)
        return view.plan(index, self.renderer(record))

    def decoder(self, record: RunRecord) -> Callable[[Payload | None, int], Any]:
        """Decodes payloads of the run's journal; pickles are named, never loaded. Its `veiled` gives dots for secrets."""
        lineage = self._lineage(record)

        def decode(payload: Payload | None, seq: int) -> Any:
            if payload is None:
                return None
            if payload.codec.startswith(_PICKLE):
                return "<pickled>"
            bind = next((run for run, upto in lineage if seq <= upto), record.id)
            return self.codec.decode(payload, bind=bind, load=self.store.chunk)

        def veiled(payload: Payload, seq: int) -> Any:
            bind = next((run for run, upto in lineage if seq <= upto), record.id)
            return self.codec.decode(payload, bind=bind, load=self.store.chunk, hide=True)

        decode.veiled = veiled  # type: ignore[attr-defined]
        return decode

    def renderer(self, record: RunRecord) -> view.Render:
        """Renders payloads of the run's journal for people; pickles are named, never loaded, and code may be missing."""
        lineage = self._lineage(record)

        def value_of(payload: Payload, bind: str) -> Any:
            if payload.codec in _PLAIN:
                try:
                    return self.codec.decode(payload, bind=bind, load=self.store.chunk, hide=True)
                except Exception:  # noqa: BLE001, S110 - its class is another now, or the notebook's and not there yet
                    pass
            return inert.look(self.codec, payload, bind=bind, load=self.store.chunk)

        def render(payload: Payload, seq: int, name: str) -> str:
            bind = next((run for run, upto in lineage if seq <= upto), record.id)
            value = inert.glance(lambda: value_of(payload, bind))
            if name and isinstance(value, tuple | list) and len(value) == 2:
                return show_call(name, tuple(value[0]), dict(value[1]))
            return show(value)

        return render


def _is_sure(source: RunRecord) -> bool:
    """Whether all that a run's journal has is what its code does: not while a fork is under way that was edited."""
    forked = source.meta.get(FORKED, {})
    return source.forked_from is None or bool(forked.get("same")) or source.status == "completed"


def _is_untold(record: RunRecord) -> bool:
    """Whether nobody has been told yet what a fork leaves behind: it was made, and not executed since."""
    return record.generation == 1 and bool(record.meta.get(FORKED, {}).get("prepared"))
