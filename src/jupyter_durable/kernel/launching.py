"""From a durable cell to its live run: what the names, the journal and the user say, put together.

    Launch.decide ──> New | Resume | Restore | Fork | Refuse      (nothing is written yet)
    Launch.perform ──> Launched                                   names restored, run open, nothing executed

The order matters. Names come back before a snapshot is taken or code is compared again, and before
the run is current: what restoring executes is no part of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jupyter_durable.clock import moment
from jupyter_durable.codec.canonical import Canonical
from jupyter_durable.errors import DurableError, RunNotFoundError
from jupyter_durable.journal.budget import Budget
from jupyter_durable.journal.index import Index
from jupyter_durable.journal.policy import Decision, Fork, New, Refuse, Restore, Resume, choose
from jupyter_durable.kernel import choosing
from jupyter_durable.kernel.arguments import MADE_OF, CellArguments, made_of
from jupyter_durable.kernel.cells import CodeIdentity, changed, identify
from jupyter_durable.kernel.choosing import Found, short
from jupyter_durable.kernel.display import fork_outlook
from jupyter_durable.kernel.names import needs, parse
from jupyter_durable.kernel.namespace import (
    Restored,
    Snapshot,
    StatementLog,
    capture,
    differing,
    inputs_of,
    reset_names,
    restore,
    shell_executor,
)
from jupyter_durable.kernel.where import Place
from jupyter_durable.model import RunRecord
from jupyter_durable.runtime.run import LiveRun, Options
from jupyter_durable.session import Session
from jupyter_durable.session.change import FORKED
from jupyter_durable.session.forking import look_ahead, outlook
from jupyter_durable.session.opening import END
from jupyter_durable.timeline import view

if TYPE_CHECKING:
    from jupyter_durable.kernel.host import KernelHost

_FLAGS = {"tools": "--tool", "capture": "--capture", "ignore_hosts": "--ignore-host", "approve": "--approve"}
PARK_VARIABLE = "JUPYTER_DURABLE_PARK_AFTER"
_PATIENCE = 60.0  # seconds for which a timer is waited for where nobody watches and nothing else was said


@dataclass(frozen=True, slots=True)
class Launched:
    """A run that is open, and the line that says what it will do. `restored`: nothing may be executed in it."""

    run: LiveRun
    session: Session
    snapshot: Snapshot | None
    line: str
    kind: str
    restored: bool = False


def pack(snapshot: Snapshot, source: str) -> dict[str, Any]:
    """What a run is opened with: the names its cell needs and the cell itself."""
    return {"cell": source, "namespace": snapshot.to_value()}


def unpack(value: Any, record: RunRecord) -> tuple[Snapshot, str]:
    """The snapshot and source `pack` was given. Raises `DurableError` for a run that no cell began."""
    if not isinstance(value, dict) or "cell" not in value:
        raise DurableError(
            f"run {record.name!r} ({short(record.id)}) was not begun by a cell",
            hint=f"call it where it was defined: {record.notebook or 'the script with durable.run'}",
        )
    return Snapshot.from_value(value["namespace"]), value["cell"]


def stored_cell(session: Session, record: RunRecord) -> tuple[Snapshot, str, Index]:
    """A run's snapshot, the source of its cell, and its journal."""
    index = session.index(record.id)
    return (*unpack(session.snapshot(record, index), record), index)


class Launch:
    """One durable cell on its way to its run. `source` is the cell without its first line."""

    def __init__(
        self,
        host: KernelHost,
        session: Session,
        place: Place,
        given: CellArguments,
        source: str,
        say: Callable[[str], None],
    ) -> None:
        self.host = host
        self.session = session
        self.journal = session.store
        self.place = place
        self.given = given
        self.source = source
        self.say = say
        self.ns: dict[str, Any] = host.shell.user_ns
        self.log: StatementLog = host.statements()
        self._digest = digester(self.journal)
        self.identity = self._identify()
        self.name = choosing.name_of(given, place, self.keyed)
        self.found = self._find()
        self.reset: list[str] = []
        self.same = False  # nothing differs from what the run was begun with

    def _identify(self) -> CodeIdentity:
        found = identify(self.source, self.ns, self.host.shell.transform_cell, self.log)
        # Which functions are tools, and what is captured, is a part of what the cell does.
        made = {_FLAGS[name]: " ".join(sorted(values)) for name, values in made_of(self.given).items()}
        return replace(found, parts={**found.parts, **made}) if made else found

    @property
    def keyed(self) -> CodeIdentity:
        """The cell's identity as it is stored."""
        return self.identity.under(lambda text: self.journal.key.mac("digest", b"code", text.encode()).hex())

    # -- which run -------------------------------------------------------------------------------

    def _find(self) -> Found:
        given, journal = self.given, self.journal
        found = self._named(self.name)
        older = choosing.name_of(given, self.place, self.identity)  # as 0.1.0 called it
        if found.record is None and older != self.name and (known := self._named(older)).record is not None:
            self.name, found = older, known
        if found.restart and found.record is not None and found.record.id not in self.host.executed:
            # The flags were obeyed when the job first came by here; now it goes on with what they led to.
            self.given = replace(given, new=False, resume=None, rerun_from=None)
            return found
        wanted = given.resume or given.replay
        if wanted is not None:
            try:
                found = Found(choosing.lookup(journal, wanted, self.place.notebook))
            except RunNotFoundError as error:
                raise _no_run(error, wanted) from None
        return self._going_on(found) if given.rerun_from not in (None, END) else found

    def _going_on(self, found: Found) -> Found:
        """With `--rerun-from`: the fork that this very line has made, if it was cut off. Running the cell again means that."""
        record, at = found.record, self.given.rerun_from
        if record is None or at is None:
            return found
        for made in self.journal.runs(name=record.name):
            if made.id != record.id and made.forked_from != record.id:
                continue
            forked, alive = made.meta.get(FORKED, {}), self.session.alive(made)
            if forked.get("how") != "again" or at not in (forked["at"], forked.get("step")):
                continue
            if alive or view.run_status(made, alive=alive) not in ("interrupted", "failed", "waiting"):
                return found
            self.say(
                f"the fork {short(made.id)} that was made at step {forked['at']} goes on; to make that step anew "
                f"once more, end it first: %durable cancel {short(made.id)}"
            )
            self.given = replace(self.given, rerun_from=None, resume=made.id)
            return Found(made)
        return found

    def _named(self, name: str) -> Found:
        return choosing.find(self.journal, name, self.place, same_code=lambda r: not self._changed(r))

    def _changed(self, record: RunRecord) -> tuple[str, ...]:
        code = record.meta.get("code")
        if not isinstance(code, dict):
            return ("its code",)
        then = CodeIdentity.from_json(code)
        return tuple(changed(then, self.keyed if then.keyed else self.identity))

    def decide(self) -> Decision:
        """What to do; nothing has been changed yet. Raises `DurableError` for a name that two cells share."""
        record = self.found.record
        if record is None:
            if self.given.rerun_from is not None:
                raise RunNotFoundError(
                    f"no run {self.name!r} to rerun from {self.given.rerun_from}",
                    hint="%durable list shows the runs of this store; leave --rerun-from away to start one",
                )
            return choose(self._situation((), ()))
        code = self._changed(record)
        if not (self.given.new or self.given.resume or self.given.replay or self.given.rerun_from):
            choosing.refuse_shared_name(self.host.executed, record, self.place, self.name, same_code=not code)
        then = _inputs(record)
        self.reset = self._to_reset(record, then)
        now = inputs_of(
            self.source, self.ns, self.log, self._digest, transform=self.host.shell.transform_cell
        )
        other = differing(then, now, self.reset)
        self.same = not code and not other
        decision = choose(self._situation(code, other))
        live = record.id in self.host.running or self.session.alive(record)
        if self.given.rerun_from is not None and not (live and isinstance(decision, Refuse)):
            at = self.given.rerun_from
            where = "after its last step" if at == END else f"at step {at}"
            return Fork(f"forking {short(record.id)} {where}")
        if self.found.restart and isinstance(decision, Resume | Restore):
            # Whatever the set-up cells computed this time: all or none, for values may share parts.
            moved = differing(then, now)
            self.reset = [*then, *self._appeared(record)] if moved else []
        if self.given.replay and isinstance(decision, Restore) and other:
            # What is shown again is that run, and not what it would be with the inputs of this moment.
            self.reset = [*then, *self._appeared(record)]
        return decision

    def _situation(self, code: tuple[str, ...], other: tuple[str, ...]) -> Any:
        record = self.found.record
        return choosing.situation(
            self.session,
            self.found,
            self.name,
            self.place,
            self.given,
            changed=code,
            differing=other,
            # What parked here and came to its end elsewhere has a result that this kernel has not shown yet.
            executed_here=record is not None and self.host.generations.get(record.id) == record.generation,
            running_here=record is not None and record.id in self.host.running,
        )

    def _to_reset(self, record: RunRecord, then: dict[str, str]) -> list[str]:
        """The names a run that stopped in this kernel has changed, and nobody since."""
        left = self.host.left.get(record.id)
        if left is None and FORKED in record.meta:  # made of a run that was executed here, and not begun yet
            left = self.host.left.get(record.forked_from or "")
        if left is None:
            return []
        names = reset_names(left, self.ns, self._digest)
        touched = any(left[name].state != then.get(name, "") for name in names)
        # All or none: values may share parts, and a half that is reset would not share them any more.
        return names if touched else []

    def _appeared(self, record: RunRecord) -> list[str]:
        return [name for name in record.meta.get("absent", ()) if name in self.ns]

    # -- opening it ------------------------------------------------------------------------------

    def plan(self, decision: Decision) -> str:
        """What `perform` would do, as a line. Raises what it would raise."""
        if isinstance(decision, Refuse):
            raise decision.error
        record = self.found.record
        if isinstance(decision, New) or record is None:
            return f"{self.name}: {decision.notice or 'a new run; nothing to replay'}"
        if isinstance(decision, Fork) and self.given.rerun_from is not None:
            return self._outlook(decision, record, self.session.index(record.id))
        return self._line(decision, record, self.session.plan(record))

    def perform(self, decision: Decision) -> Launched:
        """Open the run. Raises `DurableError`; then no run is left open."""
        if isinstance(decision, Refuse):
            raise decision.error
        record = self.found.record
        if isinstance(decision, New) or record is None:
            return self._new(decision.notice)
        if self.found.adopted and self.place.notebook is not None:
            self.journal.add_alias(record.id, self.place.notebook)
            self.host.say(
                f"{record.name}: found as the run of {record.notebook}, which is not there any more"
            )
        if isinstance(decision, Restore):
            replayed = self.session.replay(record)
            replayed.options.pace = self.given.pace
            return self._with_names(replayed, decision, restored=True)
        if isinstance(decision, Fork) or decision.as_edit:
            return self._fork(record, decision)
        run = self.session.resume(record, options=self._options())
        try:
            return self._with_names(run, decision)
        except BaseException:
            self.session.close_run(run, asyncio.CancelledError())
            raise

    def _options(self) -> Options:
        after = timers = self.given.park_after
        if after is None and not self.place.interactive:
            after, timers = _patience(self.place)  # nobody is there to be waited for
        return Options(
            park_after=after,
            timers=timers,
            budget=self._budget(),
            pace=self.given.pace,
            approve=self.given.approve,
        )

    def _budget(self) -> Budget | None:
        cost, steps, line = self.given.budget, self.given.max_steps, self.given.deadline
        if cost is None and steps is None and line is None:
            return None
        return Budget(cost, steps, moment(line, self.session.clock.now()) if line is not None else None, line)

    def _meta(self, snapshot: Snapshot) -> dict[str, Any]:
        return {
            "code": self.keyed.to_json(),
            "inputs": dict(snapshot.inputs),
            "absent": list(snapshot.absent),
            MADE_OF: made_of(self.given),
        }

    def _capture(self) -> Snapshot:
        return capture(self.source, self.ns, self.log, self._digest, transform=self.host.shell.transform_cell)

    def _new(self, notice: str) -> Launched:
        snapshot = self._capture()
        place = self.place
        run = self.session.new(
            self.name,
            notebook=place.notebook,
            cell_id=place.cell_id if place.has_cell_id else None,
            job_id=place.job_id,
            meta=self._meta(snapshot),
            snapshot=pack(snapshot, self.source),
            options=self._options(),
        )
        line = f"{self.name}: {notice or f'new run {short(run.id)}'}"
        return Launched(run, self.session, snapshot, line, "start")

    def _fork(self, record: RunRecord, decision: Fork | Resume) -> Launched:
        old, _, index = stored_cell(self.session, record)
        at = self.given.rerun_from
        if isinstance(decision, Fork) and at is not None:
            line = self._outlook(decision, record, index, brief=True)
        else:
            line = self._line(decision, record, view.plan(index, self.session.renderer(record)))
        self.restore(old, self.reset)
        self.identity = self._identify()  # now that every name is there
        snapshot = self._capture()
        place = self.place
        run = self.session.fork(
            record,
            kind="edit" if at is None else "user",
            at=None if at in (None, END) else at,
            notebook=place.notebook,
            cell_id=place.cell_id if place.has_cell_id else None,
            job_id=place.job_id or (record.job_id if at is None else None),
            meta=self._meta(snapshot),
            snapshot=pack(snapshot, self.source),
            options=self._options(),
            same=self.same,
        )
        return Launched(run, self.session, snapshot, line, "fork")

    def _outlook(self, decision: Fork, record: RunRecord, index: Index, *, brief: bool = False) -> str:
        """What `--rerun-from` will do, before it does: how much is replayed, which effects are repeated. `index` is spent.

        `brief`: without the effects, which the run itself says as it begins.
        """
        said, at = decision.notice.replace(short(record.id), record.name, 1), self.given.rerun_from
        if at is None or at == END:
            return f"{said}; {fork_outlook(view.plan(index, self.session.renderer(record)))}"
        replayed, repeats = look_ahead(index, self.session.place(index, at, record))
        whole = outlook(replayed, repeats)
        return f"{said}: {whole.partition(';')[0] if brief and repeats else whole}"

    def _with_names(self, run: LiveRun, decision: Resume | Restore, *, restored: bool = False) -> Launched:
        record = run.record
        plan = view.plan(run.index, self.session.renderer(record))
        snapshot, _ = unpack(self.session.snapshot(record, run.index), record)
        self.restore(snapshot, self.reset)
        line = self._line(decision, record, plan)
        return Launched(run, self.session, snapshot, line, "resume", restored)

    def _line(self, decision: Decision, record: RunRecord, plan: view.Plan) -> str:
        notice = "" if isinstance(decision, Refuse) else decision.notice
        if isinstance(decision, Restore):
            return f"{record.name}: {notice}"
        said = notice.replace(short(record.id), record.name, 1)
        if isinstance(decision, Fork) or (isinstance(decision, Resume) and decision.as_edit):
            return f"{said}; {fork_outlook(plan)}"
        return f"{said}: {plan}"

    def restore(self, snapshot: Snapshot, overwrite: Collection[str]) -> Restored:
        """Bring names back, and say what is not obvious about it."""
        # In a job the set-up cells have made everything again, and its notebook is not to tell.
        tell = self.place.job_id is None
        return restore_names(self.host.shell, snapshot, overwrite, self.log, self.say, tell=tell)


def restore_names(
    shell: Any,
    snapshot: Snapshot,
    overwrite: Collection[str],
    log: StatementLog,
    say: Callable[[str], None],
    *,
    tell: bool = True,
) -> Restored:
    """Bring the snapshot's missing names back, and those in `overwrite`; say what is not obvious about it.

    `tell`: also which names were overwritten.
    """
    done = restore(snapshot, shell.user_ns, shell_exec=shell_executor(shell), overwrite=overwrite, log=log)
    reset = [name for name in done.names if name in set(overwrite)]
    if reset and tell:
        say(f"as they were when the run began: {', '.join(reset)}")
    for statement in done.re_executed:
        say(f"made again: {statement}")
    for name, why in done.missing.items():
        say(f"not restored: {name}: {why}")
    return done


def bound_by(shell: Any, snapshot: Snapshot, source: str) -> set[str]:
    """The names that a cell has to do with: those it was given, and those it binds."""
    found = set(snapshot.names)
    with contextlib.suppress(SyntaxError):
        found |= set(needs(parse(source, shell.transform_cell)).binds)
    return found


def rewind(
    shell: Any, snapshot: Snapshot, source: str, log: StatementLog, say: Callable[[str], None]
) -> None:
    """The namespace as it was before the cell: its names as captured, and without what it binds."""
    with contextlib.suppress(SyntaxError):
        for name in set(needs(parse(source, shell.transform_cell)).binds) - set(snapshot.names):
            shell.user_ns.pop(name, None)
    restore_names(shell, snapshot, snapshot.names, log, say, tell=False)


def digester(journal: Any) -> Callable[[Any], bytes]:
    """The digest by which inputs are compared, under the store's key."""
    canonical = Canonical(journal.key.derive("digest"))
    return lambda value: canonical.digest(value).value


def _patience(place: Place) -> tuple[float | None, float | None]:
    """Seconds to wait for people and for timers where nobody watches: in a job, what its runner was told."""
    said = os.environ.get(PARK_VARIABLE) if place.job_id is not None else None
    if said is None:
        return 0.0, _PATIENCE
    seconds = float(said) if said else None
    return seconds, seconds


def _inputs(record: RunRecord) -> dict[str, str]:
    found = record.meta.get("inputs")
    return found if isinstance(found, dict) else {}  # a run of a script


def _no_run(error: RunNotFoundError, wanted: str) -> RunNotFoundError:
    message = str(error.args[0]) if error.args else f"no run {wanted!r}"
    return RunNotFoundError(message, hint=error.hint or "%durable list shows the runs of this store")
