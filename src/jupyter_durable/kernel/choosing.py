"""Which run a cell means: finding the candidate, and describing the situation for `journal.policy`.

    name_of ──> find ──> situation ──> policy.choose

A run is found by notebook and name; inside a job of our runner by job and name. One whose notebook is
no longer where it was is adopted if its name and code leave no doubt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jupyter_durable.errors import DurableError, RunNotFoundError
from jupyter_durable.journal.policy import Situation
from jupyter_durable.journal.ports import JournalStore
from jupyter_durable.kernel.arguments import CellArguments
from jupyter_durable.kernel.cells import CodeIdentity
from jupyter_durable.kernel.where import Place
from jupyter_durable.model import RunRecord
from jupyter_durable.session import Session
from jupyter_durable.timeline.view import run_status

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Found:
    """The run a cell means, if there is one. `adopted`: its notebook's path is gone, and this is where it went.

    `restart`: it belongs to the job that this kernel works for.
    """

    record: RunRecord | None
    adopted: bool = False
    restart: bool = False


def short(run_id: str) -> str:
    """As much of an id as people type; the time it was made, to the millisecond."""
    return run_id[:13]


def name_of(given: CellArguments, place: Place, identity: CodeIdentity) -> str:
    """What the run is called: the user's name, else the cell's id, else what its code is."""
    if given.name:
        return given.name
    if place.cell_id is not None and place.has_cell_id:
        return f"cell-{place.cell_id[:8] if _UUID.fullmatch(place.cell_id) else place.cell_id}"
    return f"cell-{identity.cell[:8]}"


def of_notebook(journal: JournalStore, name: str | None, notebook: str | None) -> list[RunRecord]:
    """The runs of one notebook (None: those that belong to none) and name, newest first, child runs left out."""
    found = journal.runs(name=name, notebook=notebook)
    return [r for r in found if r.parent_id is None and not (notebook is None and r.notebook is not None)]


def lookup(journal: JournalStore, text: str, notebook: str | None) -> RunRecord:
    """The run that RUN on a command line means: an id, its beginning, or a name (the newest of this notebook first).

    Raises `RunNotFoundError`.
    """
    try:
        return journal.run(text)
    except RunNotFoundError:
        named = of_notebook(journal, text, notebook) or journal.runs(name=text)
        if not named:
            raise
        return named[0]


def find(journal: JournalStore, name: str, place: Place, *, same_code: Callable[[RunRecord], bool]) -> Found:
    """The newest run of this name that belongs to the cell's notebook, or to its job."""
    if place.job_id is not None:
        # Also by cell: a fork of another run (`--rerun-from`) has that run's name.
        own = [
            r
            for r in journal.runs(job_id=place.job_id)
            if r.parent_id is None and (r.name == name or (place.has_cell_id and r.cell_id == place.cell_id))
        ]
        return Found(own[0], restart=True) if own else Found(None)
    own = of_notebook(journal, name, place.notebook)
    if place.notebook is None and not place.interactive:
        # Nothing tells one nameless notebook from another but its code.
        own = [r for r in own if same_code(r)]
    if own or place.notebook is None:
        return Found(own[0] if own else None)
    gone = [
        r
        for r in journal.runs(name=name)
        if r.parent_id is None and r.notebook is not None and not Path(r.notebook).exists() and same_code(r)
    ]
    if len({r.notebook for r in gone}) == 1:
        return Found(gone[0], adopted=True)
    return Found(None)


def situation(
    session: Session,
    found: Found,
    name: str,
    place: Place,
    given: CellArguments,
    *,
    changed: tuple[str, ...],
    differing: tuple[str, ...],
    executed_here: bool,
    running_here: bool,
) -> Situation:
    """What is known, for `policy.choose`."""
    flag = "new" if given.new else "resume" if given.resume else "replay" if given.replay else None
    record = found.record
    if record is None:
        return Situation(name=name, interactive=place.interactive, flag=flag)  # type: ignore[arg-type]
    return Situation(
        status=run_status(record, alive=session.alive(record)),
        run=short(record.id),
        name=name,
        age=max(0.0, session.clock.now() - record.updated_at),
        owner=str(record.owner or ""),
        owner_alive=session.held_elsewhere(record),
        running_here=running_here,
        executed_here=executed_here,
        interactive=place.interactive,
        same_code=not changed,
        changed_code=changed,
        differing=differing,
        flag=flag,  # type: ignore[arg-type]
        job_restart=found.restart and not executed_here,
    )


def refuse_shared_name(
    executed: Mapping[str, str | None], record: RunRecord, place: Place, name: str, *, same_code: bool
) -> None:
    """Raise `DurableError` if this kernel executed the run from another cell that goes by the same name.

    Only an id of the notebook's own tells cells apart, and only other code makes it another cell: a
    cell that was copied or moved keeps its run.
    """
    before = executed.get(record.id)
    if same_code or before is None or not place.has_cell_id or before == place.cell_id:
        return
    raise DurableError(
        f"the name {name!r} is used by another cell, which this kernel has executed",
        hint=f"give this cell a name of its own; if it replaces that one: %%durable {name} --resume {short(record.id)}, "
        f"or --new",
    )
