"""What the durable cells of a job get done while it runs, for those who watch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from jupyter_durable.errors import DurableError
from jupyter_durable.headless.job import runs_of
from jupyter_durable.journal.ports import JournalStore

_EVERY = 0.5


@dataclass(slots=True)
class _Seen:
    at: int
    done: int = 0
    failed: int = 0
    under_way: dict[tuple[int, int], str] = field(default_factory=dict)


class Following:
    """Says `event("steps", run=…, name=…, done=…, failed=…, under_way=[names])` when that has changed, until stopped."""

    def __init__(self, store: JournalStore, job_id: str, event: Callable[..., None]) -> None:
        self._store = store
        self._job_id = job_id
        self._event = event
        self._seen: dict[str, _Seen] = {}
        self._version = -1
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="jupyter-durable-following", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Say what is new for the last time, and end."""
        self._stop.set()
        self._thread.join(timeout=10)

    def _follow(self) -> None:
        while not self._stop.wait(_EVERY):
            self._look()
        self._look()

    def _look(self) -> None:
        try:
            if (version := self._store.version()) == self._version:
                return
            self._version = version
            for run in runs_of(self._store, self._job_id):
                seen = self._seen.get(run.id)
                if seen is None:
                    seen = self._seen[run.id] = _Seen(run.base_seq)
                before = seen.at
                for entry in self._store.entries(run.id, after=seen.at, upto=run.head_seq):
                    seen.at = entry.seq
                    place = entry.scope, entry.pos
                    if entry.type == "start":
                        seen.under_way[place] = str(entry.meta.get("name", ""))
                    elif entry.type == "outcome":
                        seen.under_way.pop(place, None)
                        seen.done += 1
                        seen.failed += entry.meta.get("s") == "failed"
                if seen.at != before:
                    names = [name for name in seen.under_way.values() if name][-5:]
                    self._event(
                        "steps",
                        run=run.id,
                        name=run.name,
                        done=seen.done,
                        failed=seen.failed,
                        under_way=names,
                    )
        except DurableError:  # whoever advances the run will say it
            return
