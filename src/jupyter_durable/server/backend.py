"""What the server knows of runs: items of a list, and a run as its timeline. Everything in it blocks; any thread may call."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from jupyter_durable.codec.redaction import mask
from jupyter_durable.errors import DurableError, RunNotFoundError, StoreError
from jupyter_durable.model import FINAL, RunInfo, RunRecord
from jupyter_durable.server.shapes import RunItem
from jupyter_durable.session.change import EXCHANGES
from jupyter_durable.session.reading import Store, open_store
from jupyter_durable.session.watching import Watch
from jupyter_durable.timeline import inert
from jupyter_durable.timeline.rows import Wait

if TYPE_CHECKING:
    from jupyter_durable.session.forking import Forked

NEWEST = 200
"""Runs of a list that is kept current."""

_WATCHES = 48  # runs that are kept folded
_OPEN = ("running", "waiting", "interrupted")


@dataclass(frozen=True, slots=True)
class _Known:
    """An item and what it was made of; `moves`: it may change without an entry of the run's own."""

    state: tuple[object, ...]
    item: RunItem
    moves: bool


class Backend:
    """One store for all requests of a server.

    `url` as `open_store` takes it; `root`: the directory that paths of the file browser are relative to, None if
    they mean nothing on this disk. The store is opened when it is first asked for, and again if its file was replaced.

    >>> Backend("memory:", None).items()
    []
    """

    def __init__(self, url: str | None, root: Path | None) -> None:
        self._url = url
        self._roots = list(dict.fromkeys([root.absolute(), root.resolve()])) if root is not None else []
        self._lock = threading.RLock()
        self._store: Store | None = None
        self._file: tuple[int, int] | None = None
        self._watches: OrderedDict[str, Watch] = OrderedDict()
        self._known: dict[str, _Known] = {}

    @property
    def store(self) -> Store:
        """The store. Raises `StoreError`, `IntegrityError`."""
        with self._lock:
            if self._store is not None and self._file != self._identity(self._store):
                self.close()
            if self._store is None:
                self._store = open_store(self._url)
                self._file = self._identity(self._store)
            return self._store

    def close(self) -> None:
        """Forget everything; the next request opens the store again."""
        with self._lock:
            if self._store is not None:
                self._store.close()
            self._store = None
            self._watches.clear()
            self._known.clear()

    @staticmethod
    def _identity(store: Store) -> tuple[int, int] | None:
        path = getattr(store.journal, "path", None)
        if path is None:
            return None
        try:
            found = Path(path).stat()
        except OSError:
            return (0, 0)
        return found.st_dev, found.st_ino

    # -- one run ---------------------------------------------------------------------------------

    def watch(self, run_id: str) -> Watch:
        """A run's timeline, read up to now. Raises `RunNotFoundError`."""
        with self._lock:
            store = self.store
            watch = self._watches.get(run_id)
            if watch is None:
                watch = Watch(store, run_id)
                if watch.run_id != run_id:  # a beginning of an id is for people who type
                    raise RunNotFoundError(f"no run {run_id!r}", hint="GET /jupyter-durable/runs lists them")
                self._watches[run_id] = watch
                while len(self._watches) > _WATCHES:
                    self._watches.popitem(last=False)
            self._watches.move_to_end(run_id)
        watch.read()
        return watch

    def fork(self, run_id: str, at: str, given: Mapping[str, Any], *, by: str) -> Forked:
        """A fork that goes on from step `at`; `given`: its `result` or its `arguments`, or neither. See `session.forking`.

        A result of a class cannot be given here: nothing stored is loaded, so it is not known how one is made.
        """
        watch = self.watch(run_id)
        step = watch.feed.step(at)
        outcome = step.outcome if step is not None else None
        if step is not None and outcome is not None and step.kind not in EXCHANGES and "result" in given:
            payload = outcome.payload or watch.feed.texts.payload(outcome.seq)
            shown = inert.glance(lambda: watch._look(payload, outcome.seq))
            if isinstance(shown, inert.Shown | inert.Named):
                raise DurableError(
                    f"what step {at} {step.name} gives cannot be made of JSON here: {shown!r:.80}",
                    hint=f"in its notebook: %durable fork {run_id[:13]} --at {at} --set result=EXPR",
                )
        return self.store.fork(run_id, at, by=by, **given)

    def delete(self, run_id: str) -> bool:
        """Delete a run for good; True: what its forks need of it stays."""
        self.item(run_id)  # a whole id only
        kept = self.store.delete(run_id)
        with self._lock:
            self._watches.pop(run_id, None)
            self._known.pop(run_id, None)
        return kept

    # -- lists -----------------------------------------------------------------------------------

    def items(
        self,
        *,
        path: str | None = None,
        name: str | None = None,
        status: str | None = None,
        before: str | None = None,
        limit: int = NEWEST,
    ) -> list[RunItem]:
        """At most `limit` runs, newest first: those of the notebook at `path`, of that name, made before that run."""
        store = self.store
        if path is None:
            records = store.journal.runs(name=name)
        else:
            found = {
                r.id: r for place in self._places(path) for r in store.journal.runs(notebook=place, name=name)
            }
            records = sorted(found.values(), key=lambda record: record.id, reverse=True)
        left = _left(records)
        items: list[RunItem] = []
        for record in records:
            if before is not None and record.id >= before:
                continue
            if status is not None and record.status != status and status not in _OPEN:
                continue
            item = self._item(record, record.id in left)
            if item is not None and status in (None, item["status"]):
                items.append(item)
            if len(items) == limit:
                break
        return items

    def current(self, also: Iterable[str] = ()) -> list[RunItem]:
        """The newest runs, those that are not over, and those in `also`."""
        journal = self.store.journal
        found = {record.id: record for record in journal.runs(limit=NEWEST)}
        if len(found) == NEWEST:
            found |= {
                r.id: r
                for status in ("running", "waiting")
                for r in journal.runs(status=status, limit=NEWEST)
            }
        for run_id in also:
            if run_id not in found:
                try:
                    found[run_id] = journal.run(run_id)
                except RunNotFoundError:
                    continue
        left = _left(found.values())
        items = [self._item(record, record.id in left) for record in found.values()]
        return [item for item in items if item is not None]

    def item(self, run_id: str) -> RunItem:
        """One run. Raises `RunNotFoundError`."""
        record = self.store.journal.run(run_id)
        if record.id != run_id:
            raise RunNotFoundError(f"no run {run_id!r}", hint="GET /jupyter-durable/runs lists them")
        same = self.store.journal.runs(name=record.name)
        found = self._item(record, record.id in _left(same))
        if found is None:
            raise StoreError(f"run {run_id} cannot be read", hint="jupyter durable verify says what is wrong")
        return found

    def _item(self, record: RunRecord, left: bool) -> RunItem | None:
        alive = self.store._session.alive(record)
        state = record.head_hash, record.status, record.owner, alive, record.notebook, left
        known = self._known.get(record.id)
        if known is not None and known.state == state and not known.moves:
            return known.item
        try:
            item = self._make(record, alive, left)
        except DurableError:  # one run that was altered must not hide the others
            return known.item if known is not None else None
        if len(self._known) > 5000:
            self._known.clear()
        self._known[record.id] = _Known(state, item, moves=alive or bool(item["waits"]))
        return item

    def _make(self, record: RunRecord, alive: bool, left: bool) -> RunItem:
        waits: list[Wait] = []
        # A run that has just ended is folded already; to read all of it once more would hold up everybody.
        if (record.status in _OPEN or record.id in self._watches) and not left:
            watch = self.watch(record.id)
            page = watch.pages(watch.feed.mark)[0]
            head = page["run"]
            waits = page["waits"] if record.status in _OPEN else []
            counts = head["counts"]
            status, cost, saved = head["status"], head["cost"], head["saved"]
        else:
            info: RunInfo = self.store._info(record)
            by = info.steps
            status, cost, saved = info.status, info.cost, info.saved
            counts = {
                "completed": by.completed,
                "running": by.running,
                "waiting": by.waiting,
                "in_doubt": by.in_doubt,
                "failed": by.failed,
                "cancelled": 0,
                "replayed": 0,
            }
        item: RunItem = {
            "id": record.id,
            "name": mask(record.name),
            "status": status,
            "live": alive and record.status not in FINAL,
            "cut": record.status == "running" and not alive,
            "path": self._path(record.notebook),
            "notebook": mask(record.notebook) if record.notebook else None,
            "cell": record.cell_id,
            "created": record.created_at,
            "updated": record.updated_at,
            "counts": counts,
            "done": counts["completed"],
            "steps": sum(counts[one] for one in ("completed", "running", "waiting", "in_doubt", "failed")),
            "cost": cost,
            "saved": saved,
            "waits": waits,
            "left": left,
        }
        if record.forked_from is not None:
            item["parent"] = record.forked_from
        if record.job_id is not None:
            item["headless"] = True
        return item

    # -- paths -----------------------------------------------------------------------------------

    def _path(self, notebook: str | None) -> str | None:
        """A notebook as the file browser names it."""
        if notebook is None or mask(notebook) != notebook:
            return None
        for root in self._roots:
            if Path(notebook).is_relative_to(root):
                return PurePosixPath(*Path(notebook).relative_to(root).parts).as_posix()
        return None

    def _places(self, path: str) -> list[str]:
        """The files that a path of the file browser may mean."""
        return [str(root.joinpath(*PurePosixPath(path).parts)) for root in self._roots]


def is_inside(path: str) -> bool:
    """Whether a path of the file browser is one, and leads to nothing outside of its root.

    >>> is_inside("a/b.ipynb"), is_inside("../b.ipynb"), is_inside("/etc/passwd"), is_inside("a\\0b")
    (True, False, False, False)
    """
    parts = PurePosixPath(path).parts
    return (
        bool(parts)
        and not path.startswith("/")
        and ".." not in parts
        and "\0" not in path
        and "\\" not in path
    )


def _left(records: Iterable[RunRecord]) -> set[str | None]:
    """The runs that an automatic fork goes on with."""
    return {record.forked_from for record in records if record.fork_kind == "edit"}
