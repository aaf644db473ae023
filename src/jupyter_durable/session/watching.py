"""A run followed from any process: its timeline, its values, and what a person may say about it.

What every front end is given: the widget in a kernel, the server's event stream, a report. The store is the
source, so it makes no difference which process advances the run, or whether one does.
"""

from __future__ import annotations

import getpass
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Any

from jupyter_durable.clock import Clock
from jupyter_durable.codec.display import show, show_call
from jupyter_durable.codec.pieces import shown
from jupyter_durable.codec.redaction import mask
from jupyter_durable.errors import DurableError, RunNotFoundError
from jupyter_durable.journal import waits
from jupyter_durable.journal.index import Index, RecordedStep
from jupyter_durable.model import FINAL, Payload, RunRecord
from jupyter_durable.runtime.run import LiveRun
from jupyter_durable.session import deciding
from jupyter_durable.session.change import FORKED
from jupyter_durable.session.opening import Session
from jupyter_durable.session.reading import Store
from jupyter_durable.timeline import inert, values, view
from jupyter_durable.timeline.feed import Feed
from jupyter_durable.timeline.rows import Detail, Page, Relative, Row, Wait
from jupyter_durable.timeline.texts import Sight

WHAT = ("arguments", "result", "error", "messages", "text", "output", "log")
"""What `value` gives of a step."""

_MOST_TEXT = 1_000_000  # characters of a stream's text


class Watch:
    """One run as its timeline. Any thread may call.

    `limit`: see `Feed`; `live`: the run, if this process advances it. Raises `RunNotFoundError`.

    >>> from jupyter_durable.store.memory import MemoryStore
    >>> store = Store(MemoryStore())
    >>> session = Session(store.journal)
    >>> run = session.new("demo")
    >>> session.close_run(run, None)
    'completed'
    >>> watch = Watch(store, run.id)
    >>> watch.read(), watch.excerpt(60)["run"]["status"]
    (True, 'completed')
    """

    def __init__(
        self,
        store: Store,
        run_id: str,
        *,
        limit: int | None = None,
        clock: Clock | None = None,
        live: LiveRun | None = None,
    ) -> None:
        self.store = store
        self._session = Session(store.journal, clock=clock)
        self._lock = threading.RLock()
        record = store.journal.run(run_id)
        self.run_id = record.id
        self._lineage = self._session._lineage(record)
        self._known = -1
        sight = Sight(
            render=self._render,
            alive=self._session.alive,
            now=self._session.clock.now,
            answer=store._answers(record),
            items=lambda step, most: [show(item) for item in self._items(step, most)],
            waits=self._waits,
            relatives=self._relatives,
            tallied=live.tallied if live is not None else None,
        )
        self.feed = Feed(store.journal, record.id, sight, limit=limit)

    # -- following -------------------------------------------------------------------------------

    def read(self) -> bool:
        """Take up what was written since; whether anything changed."""
        with self._lock:
            return self.feed.read()

    @property
    def live(self) -> bool:
        """Whether a process advances the run."""
        return self._session.alive(self.feed.record)

    def pages(self, since: int = 0) -> list[Page]:
        """What changed after that mark of the feed, in portions."""
        with self._lock:
            return list(self.feed.pages(since))

    def excerpt(self, most: int) -> Page:
        """One page of at most so many rows, for those who will not ask again."""
        with self._lock:
            return self.feed.excerpt(most)

    def texts(self, numbers: Iterable[int]) -> list[Row]:
        """Rows with what they say of their values."""
        with self._lock:
            return self.feed.told(numbers)

    # -- values ----------------------------------------------------------------------------------

    def value(self, step_id: str, what: str, offset: int = 0) -> Detail:
        """A step's arguments, result, error, messages, text, output or log, from `offset` on.

        Nothing that is stored is imported, unpickled or called for it. Raises `RunNotFoundError` for a step that
        is not there.
        """
        with self._lock:
            step = self.feed.step(step_id)
            if step is None:
                raise RunNotFoundError(f"no step {step_id!r}", hint="the timeline shows those there are")
            read = getattr(self, f"_{what}") if what in WHAT else None
            if read is None:
                raise DurableError(f"a step has no {what!r}", hint="one of " + ", ".join(WHAT))
            try:
                found: Detail = read(step, offset)
            except DurableError as error:
                return values.nothing(mask(str(error.args[0])))
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one value
                return values.nothing(type(error).__name__)
            return found

    def _edited(self, found: waits.Wait) -> Any:
        """The arguments that a person is asked to approve, by name where the schema tells."""
        step = found.step
        value = self._look(self.feed.texts.payload(step.seq), step.seq) if step is not None else None
        if isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[1], dict):
            names = list((found.schema or {}).get("properties", ()))
            args = value[0]
            value = (
                {**dict(zip(names, args, strict=False)), **value[1]}
                if len(names) >= len(args)
                else list(value)
            )
        return values.plain(value)

    def _arguments(self, step: RecordedStep, offset: int) -> Detail:
        value = self._look(self.feed.texts.payload(step.seq), step.seq)
        if isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[1], dict):
            args, kwargs = value
            if not kwargs:
                value = args[0] if len(args) == 1 else args
            else:
                value = {**({"args": args} if args else {}), **kwargs}
        return values.detail(value, offset) if value is not None else values.nothing()

    def _result(self, step: RecordedStep, offset: int) -> Detail:
        outcome = step.outcome
        if outcome is None or outcome.meta["s"] != "completed":
            return values.nothing()
        if step.kind in ("model", "http"):
            from jupyter_durable.session import exchanged

            said = exchanged.response(self.feed.texts.whole(step), self._session.decoder(self.feed.record))
            if said is not None:
                return values.detail(said, offset)
        payload = outcome.payload or self.feed.texts.payload(outcome.seq)
        return (
            values.detail(self._look(payload, outcome.seq), offset)
            if payload is not None
            else values.nothing()
        )

    def _error(self, step: RecordedStep, offset: int) -> Detail:
        outcome = step.outcome
        if outcome is None or outcome.meta["s"] != "failed":
            return values.nothing()
        payload = outcome.payload or self.feed.texts.payload(outcome.seq)
        value = self._look(payload, outcome.seq) if payload is not None else None
        if isinstance(value, inert.Failure):
            return values.page(values.traceback(value), value.name, offset)
        return values.page(mask(str(outcome.meta.get("x", ""))), "error", offset)

    def _messages(self, step: RecordedStep, offset: int) -> Detail:
        if step.kind != "model":
            return values.nothing()
        found = self.store.messages(self.run_id, step.id)
        return values.conversation([(message.role, message.text) for message in found], offset)

    def _text(self, step: RecordedStep, offset: int) -> Detail:
        if not step.chunks:
            return values.nothing()
        if step.kind in ("model", "http"):
            said = self.store._answers(self.feed.record)(step) or ""
        else:
            items = self._items(step, len(step.chunks))
            said = "\n".join([item if isinstance(item, str) else show(item, 2000) for item in items])
        return values.page(mask(said[:_MOST_TEXT]), "text", offset)

    def _output(self, step: RecordedStep, offset: int) -> Detail:
        parts: list[str] = []
        for entry in step.output or ():
            payload = entry.payload or self.feed.texts.payload(entry.seq)
            for output in self._look(payload, entry.seq) if payload is not None else ():
                if output.get("output_type") == "stream":
                    parts.append(output["text"])
                elif "data" in output:
                    data = output["data"]
                    if offset == 0 and len(step.output or ()) == 1 and values._picture(data) is not None:
                        return values.detail(data)
                    parts.append(f"{data.get('text/plain', '')}\n")
        return values.page(mask("".join(parts)), "output", offset) if parts else values.nothing()

    def _log(self, step: RecordedStep, offset: int) -> Detail:
        lines: list[str] = []
        for entry in step.notes or ():
            if "m" in entry.meta:
                fields = "".join(f" {key}={value}" for key, value in (entry.meta.get("f") or {}).items())
                lines.append(f"{entry.meta['m']}{fields}")
        return values.page(mask("\n".join(lines)), "log", offset) if lines else values.nothing()

    def _items(self, step: RecordedStep, most: int) -> list[Any]:
        """The last items of a generator. What came long before them completes no secret that is in them."""
        chunks = (step.chunks or ())[-4 * most :]
        looked = [inert.glance(partial(self._look, c.payload, c.seq)) for c in chunks if c.payload]
        return shown(looked, live=step.outcome is None)[-most:]

    def _look(self, payload: Payload | None, seq: int) -> Any:
        if payload is None:
            return None
        bind = next((run for run, upto in self._lineage if seq <= upto), self.run_id)
        return inert.look(self._session.codec, payload, bind=bind, load=self.store.journal.chunk)

    def _render(self, payload: Payload, seq: int, name: str) -> str:
        value = inert.glance(lambda: self._look(payload, seq))
        if name and isinstance(value, tuple | list) and len(value) == 2 and isinstance(value[1], dict):
            return show_call(name, tuple(value[0]), value[1])
        return show(value)

    def _restore_redaction(self, record: RunRecord, index: Index) -> None:
        """Before anything is shown of what has been read."""
        if self._known < 0 and index.opened is None:  # what is shown begins in the middle of the run
            for seq in {0, record.base_seq}:
                first = islice(self.store.journal.entries(record.id, after=seq, upto=seq + 1), 1)
                self._session.redact_as(record, Index(first))
        if len(index.redacted) != self._known:
            self._known = len(index.redacted)
            self._session.redact_as(record, index)

    # -- what it waits for ------------------------------------------------------------------------

    def _waits(self, record: RunRecord, index: Index) -> Sequence[Wait]:
        self._restore_redaction(record, index)
        if record.status in FINAL:
            return ()
        decided = {item.key for item in self.store.journal.inbox(record.id)}
        doubts = record.status == "waiting" or not self._session.alive(record)
        return [
            _wait(found, self._edited)
            for found in waits.waits(index, doubts=doubts)
            if found.key not in decided
        ]

    def decide(
        self,
        key: str,
        action: str,
        *,
        step: str | None = None,
        value: Any = None,
        message: str = "",
        by: str = "",
    ) -> None:
        """Say what `action` is about the wait with that `key`; `edit` approves, with `value` for those arguments.

        Raises `AlreadyDecidedError`, which says who was first, and `DurableError` for what does not fit.
        """
        if action == "raise":
            given = value if isinstance(value, dict) else {}
            names = ("cost", "steps", "deadline")
            self.store.raise_budget(self.run_id, **{n: given[n] for n in names if given.get(n)}, by=by)
        elif action == "edit":
            deciding.decide(self.store, self.run_id, key, "approve", arguments=value, by=by)
        else:
            what = key.partition(":")[2] if action == "signal" else key
            deciding.decide(self.store, self.run_id, what, action, value=value, message=message, by=by)

    def cancel(self, *, by: str = "") -> None:
        """End the run for good."""
        self.store.cancel(self.run_id, by=by)

    # -- what it is related to --------------------------------------------------------------------

    def _relatives(self, record: RunRecord) -> tuple[Relative | None, list[Relative]]:
        parent: Relative | None = None
        if record.forked_from is not None:
            try:
                parent = self._relative(self.store.journal.run(record.forked_from), record)
            except RunNotFoundError:
                parent = None
        named = self.store.journal.runs(name=record.name, limit=200)
        forks = [self._relative(other, other) for other in named if other.forked_from == record.id]
        return parent, forks

    def _relative(self, record: RunRecord, fork: RunRecord) -> Relative:
        status = view.run_status(record, alive=self._session.alive(record))
        found: Relative = {"id": record.id, "name": mask(record.name), "status": status, "at": fork.base_seq}
        if step := fork.meta.get(FORKED, {}).get("at"):
            found["step"] = step
        return found


_BUDGET = {
    "type": "object",
    "properties": {
        "cost": {"type": ["number", "null"], "title": "USD, all in all", "minimum": 0},
        "steps": {"type": ["integer", "null"], "title": "steps, all in all", "minimum": 1},
        "deadline": {"type": ["string", "null"], "title": "until", "description": "2 h, or 17:30"},
    },
}


def _wait(found: waits.Wait, now: Callable[[waits.Wait], Any]) -> Wait:
    prompt = found.prompt if found.kind == "ask" and found.prompt else f"Waits for {waits.describe(found)}"
    wait: Wait = {
        "key": found.key,
        "kind": found.kind,
        "prompt": mask(prompt),
        "actions": [*waits.ACTIONS[found.kind], *(["edit"] if found.editable else [])],
        "step": found.step.id if found.step is not None else None,
    }
    if found.kind == "budget":
        wait["schema"] = _BUDGET
    if found.schema is not None:
        wait["schema"] = found.schema
    if found.until is not None:
        wait["until"] = found.until
    if found.kind == "approval" and found.step is not None:
        wait["value"] = now(found)
    return wait


def timeline(run: str | None = None, *, store: Store | str | None = None) -> Any:
    """The timeline of a run as a widget: an id, its beginning or a name; None: the newest of this notebook, or of the store.

    It follows the run whichever process advances it, and takes what a person says about it. Raises
    `RunNotFoundError`.

    >>> timeline("research")  # doctest: +SKIP
    """
    from jupyter_durable.session.reading import open_store
    from jupyter_durable.timeline.widget import Timeline

    found = store if isinstance(store, Store) else open_store(store)
    if run is not None:
        run_id = found.run(run).id
    else:
        notebook = os.environ.get("JPY_SESSION_NAME")
        newest = (notebook and found.journal.runs(notebook=notebook, limit=1)) or found.journal.runs(limit=1)
        if not newest:
            raise RunNotFoundError(
                f"no runs in {found.url}", hint="%%durable as the first line of a cell makes it one"
            )
        run_id = newest[0].id
    return Timeline(Watch(found, run_id), by=person())


def person() -> str:
    """Who decides here, for the journal."""
    try:
        return f"{getpass.getuser()} (timeline)"
    except (OSError, KeyError):  # a container's user may have no name
        return "timeline"
