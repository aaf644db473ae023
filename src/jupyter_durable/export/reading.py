"""A run as the exports read it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, NamedTuple

from jupyter_durable.codec.redaction import mask
from jupyter_durable.journal.index import RecordedStep
from jupyter_durable.session.watching import Watch
from jupyter_durable.timeline import inert, values
from jupyter_durable.timeline.rows import Lane, Row

if TYPE_CHECKING:
    from jupyter_durable.model import Payload
    from jupyter_durable.session.reading import Store


class Attempt(NamedTuple):
    """An attempt that failed and was followed by another: when (POSIX seconds), and its error."""

    at: float
    error: str


class Reading:
    """One run, read once: `rows` and `lanes` as the timeline has them, and the values of each step.

    Nothing that is stored is imported, unpickled or called for it.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self.store = store
        self.watch = Watch(store, run_id)
        self.watch.read()
        self.run_id = self.watch.run_id
        self.record = store.journal.run(self.run_id)
        pages = self.watch.pages()
        self.head = pages[-1]["run"]
        self.mark = pages[-1]["mark"]
        self.waits = pages[-1]["waits"]
        self.lanes: list[Lane] = [lane for page in pages for lane in page["lanes"]]
        self._lanes = {lane["id"]: lane for lane in self.lanes}
        rows = [row for page in pages for row in page["rows"]]
        told: list[Row] = []
        for start in range(0, len(rows), 500):
            told += self.watch.texts(row["n"] for row in rows[start : start + 500])
        self.rows = told
        self.attempts: dict[str, list[Attempt]] = {}
        for entry in store.journal.entries(self.run_id):
            place = f"{entry.scope}.{entry.pos}"
            if entry.type == "attempt":
                said = Attempt(entry.at, mask(str(entry.meta.get("x", ""))))
                self.attempts.setdefault(place, []).append(said)

    def step(self, row: Row) -> RecordedStep:
        """The step of a row, with its payloads."""
        step = self.watch.feed.step(row["id"])
        assert step is not None
        return self.watch.feed.texts.whole(step)

    def parent(self, row: Row) -> str | None:
        """The step inside whose attempt a row's step was made."""
        return self.inside(row["lane"])

    def inside(self, scope: int) -> str | None:
        """The step inside whose attempt a scope is."""
        lane = self._lanes.get(scope)
        while lane is not None:
            if "step" in lane:
                return lane["step"]
            lane = self._lanes.get(lane["parent"])
        return None

    def data(self, payload: Payload | None, seq: int) -> Any:
        """A stored value as JSON data, secrets masked; instances are objects with their class under ""."""
        if payload is None:
            return None
        return values.plain(inert.glance(lambda: self.watch._look(payload, seq)))

    def arguments(self, row: Row) -> Any:
        """`[args, kwargs]` of a step's call, as JSON data."""
        step = self.step(row)
        return self.data(step.args, step.seq)

    def result(self, row: Row) -> Any:
        """What the step returned, as JSON data: of a model call, its text; of an exchange, status and body."""
        step = self.step(row)
        outcome = step.outcome
        if outcome is None or outcome.meta["s"] != "completed":
            return None
        if step.kind in ("model", "http"):
            from jupyter_durable.session import exchanged

            said = inert.glance(
                lambda: exchanged.response(step, self.watch._session.decoder(self.watch.feed.record))
            )
            if said is not None:
                return values.plain(said)
        return self.data(outcome.payload, outcome.seq)

    def error(self, row: Row) -> tuple[str, str, str] | None:
        """A failed step's error: type, message, traceback."""
        step = self.step(row)
        outcome = step.outcome
        if outcome is None or outcome.meta["s"] != "failed":
            return None
        line = mask(str(outcome.meta.get("x", "")))
        kind, _, message = line.partition(": ")
        payload = outcome.payload
        found = inert.glance(lambda: self.watch._look(payload, outcome.seq)) if payload is not None else None
        if isinstance(found, inert.Failure):
            return found.name, message, values.traceback(found)
        return kind, message, ""

    def messages(self, row: Row) -> list[tuple[str, str]]:
        """The conversation of a model call, its answer last."""
        if row["kind"] != "model":
            return []
        return [(m.role, m.text) for m in self.store.messages(self.run_id, row["id"])]

    def log(self, row: Row) -> list[tuple[float, str]]:
        """What `durable.log` said inside the step: when, and what."""
        lines: list[tuple[float, str]] = []
        for entry in self.step(row).notes or ():
            if "m" in entry.meta:
                fields = "".join(f" {key}={value}" for key, value in (entry.meta.get("f") or {}).items())
                lines.append((entry.at, mask(f"{entry.meta['m']}{fields}")))
        return lines


def made_by() -> str:
    """This package and its version."""
    try:
        return f"jupyter-durable {version('jupyter-durable')}"
    except PackageNotFoundError:  # a checkout that is not installed
        return "jupyter-durable"
