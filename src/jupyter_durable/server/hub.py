"""The event stream's source: one thread that looks at the store while somebody listens.

What it sends is a state's difference and not a log: a listener says what it has seen (`last` of the list, `mark` of a
run's feed) and is sent what is different now. So nothing needs to be kept for those who are away, nobody who
comes back misses anything, and a listener that is slow is sent less often, not less.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import threading
import time
from collections.abc import Iterable
from typing import Any, Protocol

from jupyter_durable.errors import DurableError
from jupyter_durable.server.backend import Backend
from jupyter_durable.server.shapes import RunItem
from jupyter_durable.session.watching import Watch

TICK = 0.15
"""Seconds between two looks: `PRAGMA data_version` costs 5 µs, folding many entries at once less than one by one."""
FOLLOWED = 32
"""Runs that one listener may follow."""

_LIVENESS = 1.0  # seconds after which processes are looked at even if nobody has written anything
_LISTING = 0.3  # seconds between two looks at the list while a run writes
_log = logging.getLogger(__name__)


class Listener(Protocol):
    """A connection."""

    @property
    def ready(self) -> bool:
        """Whether what was sent before has left."""
        ...

    def push(self, text: str) -> None:
        """Send. From another thread; never blocks or raises."""
        ...


class _Seen:
    """What a listener has seen."""

    def __init__(self) -> None:
        self.listed = -1  # of the list: nothing
        self.runs: dict[str, tuple[str, int]] = {}  # run -> feed, mark


class Hub:
    """Sends listeners what changes. `start`: whether a thread does it; else `look` does, once."""

    def __init__(self, backend: Backend, *, start: bool = True) -> None:
        self._backend = backend
        self._start = start
        self._lock = threading.Lock()
        self._listeners: dict[Listener, _Seen] = {}
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._epoch = os.urandom(4).hex()
        self._count = 0
        self._items: dict[str, RunItem] = {}
        self._numbers: dict[str, int] = {}  # of the last change of an item
        self._gone: dict[str, int] = {}
        self._marks: dict[str, tuple[str, int]] = {}  # of the feeds, when they were last read
        self._version: object = None
        self._listed = self._looked = 0.0
        self._behind = True
        self._frozen = False

    # -- listeners -------------------------------------------------------------------------------

    def add(self, listener: Listener, last: str = "") -> None:
        """Listen, from `last` on: the id of an event of this hub; anything else means from the beginning."""
        seen = _Seen()
        epoch, _, number = last.partition("-")
        if epoch == self._epoch and number.isdigit():
            seen.listed = min(int(number), self._count)
        with self._lock:
            self._listeners[listener] = seen
            if self._thread is None and self._start:
                self._thread = threading.Thread(target=self._run, daemon=True, name="jupyter-durable-hub")
                self._thread.start()
        self._wake.set()

    def remove(self, listener: Listener) -> None:
        """Listen no more. May be repeated."""
        with self._lock:
            self._listeners.pop(listener, None)
        self._wake.set()

    def follow(self, listener: Listener, run_id: str, feed: str, mark: int) -> bool:
        """Send a run's pages, too; False: too many."""
        with self._lock:
            seen = self._listeners.get(listener)
            if seen is None or (len(seen.runs) >= FOLLOWED and run_id not in seen.runs):
                return False
            seen.runs[run_id] = (feed, mark)
        self._wake.set()
        return True

    def unfollow(self, listener: Listener, run_id: str) -> None:
        """Send no more pages of it."""
        with self._lock:
            if (seen := self._listeners.get(listener)) is not None:
                seen.runs.pop(run_id, None)

    def _all(self) -> list[tuple[Listener, _Seen]]:
        with self._lock:
            return list(self._listeners.items())

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        if (
            not self._frozen
        ):  # what a server is made of stays: walking over it again and again held the stream up
            self._frozen = True
            gc.collect()
            gc.freeze()
        while True:
            with self._lock:
                if not self._listeners:
                    self._thread = None
                    return
            asked = self._wake.is_set()
            self._wake.clear()
            try:
                self.look(asked=asked)
            except DurableError as error:  # a store that cannot be read for a moment
                _log.debug("jupyter-durable: %s", error)
            except Exception:  # noqa: BLE001 - the thread must outlive whatever is wrong
                _log.exception("jupyter-durable: the event stream")
                self._wake.wait(_LIVENESS)
            self._wake.wait(TICK)

    def look(self, *, asked: bool = True) -> None:
        """Look at the store once, and send what is new."""
        store, now = self._backend.store, time.monotonic()
        version = (id(store), store.journal.version())
        dirty = version != self._version
        self._version = version
        old = now - self._looked >= _LIVENESS
        self._behind = self._behind or dirty or old
        if self._behind and (asked or old or now - self._listed >= _LISTING):
            self._list()
            self._behind = False
            self._listed = now
            if dirty or old:
                self._looked = now
        for listener, seen in self._all():
            if listener.ready:
                self._tell_runs(listener, seen)
        self._tell_pages(dirty or old or asked)

    # -- the list --------------------------------------------------------------------------------

    def _list(self) -> None:
        followed = {run for _, seen in self._all() for run in list(seen.runs)}
        found = {item["id"]: item for item in self._backend.current([*followed, *self._open()])}
        changed = [key for key, item in found.items() if self._items.get(key) != item]
        gone = [key for key in self._items if key not in found and not self._is_there(key)]
        if changed or gone:
            self._count += 1
        for key in changed:
            self._items[key] = found[key]
            self._numbers[key] = self._count
        for key in gone:
            del self._items[key], self._numbers[key]
            self._gone[key] = self._count

    def _open(self) -> Iterable[str]:
        return [key for key, item in self._items.items() if item["status"] not in ("completed", "cancelled")]

    def _is_there(self, run_id: str) -> bool:
        try:
            self._backend.store.journal.run(run_id)
        except DurableError:
            return False
        return True

    def _tell_runs(self, listener: Listener, seen: _Seen) -> None:
        if seen.listed == self._count:
            return
        everything = seen.listed < 0
        runs = [item for key, item in self._items.items() if self._numbers[key] > seen.listed]
        event: dict[str, Any] = {
            "type": "runs",
            "id": f"{self._epoch}-{self._count}",
            "runs": sorted(runs, key=lambda item: item["id"], reverse=True),
        }
        if everything:
            event["all"] = True
        elif gone := [key for key, number in self._gone.items() if number > seen.listed]:
            event["gone"] = gone
        seen.listed = self._count
        listener.push(json.dumps(event))

    # -- pages -----------------------------------------------------------------------------------

    def _tell_pages(self, changed: bool) -> None:
        texts: dict[tuple[str, int], list[tuple[str, int, str]]] = {}
        read: dict[str, Watch] = {}
        for listener, seen in self._all():
            for run_id, (feed, mark) in list(seen.runs.items()):
                item = self._items.get(run_id)
                # Starts are staged where the version does not tell: a run that a process advances is looked at.
                live = item is None or item["live"]
                if not (changed or live) and self._marks.get(run_id) == (feed, mark):
                    continue
                try:
                    watch = read[run_id] = read.get(run_id) or self._backend.watch(run_id)
                except DurableError as error:
                    seen.runs.pop(run_id, None)
                    message = {"type": "lost", "run": run_id, "message": str(error.args[0])}
                    listener.push(json.dumps(message))
                    continue
                self._marks[run_id] = now = (watch.feed.id, watch.feed.mark)
                if now == (feed, mark) or not listener.ready:
                    continue
                since = mark if feed == watch.feed.id else 0
                for page_feed, page_mark, text in self._texts(texts, watch, run_id, since):
                    listener.push(text)
                    with self._lock:
                        if run_id in seen.runs:  # else nobody follows it any more
                            seen.runs[run_id] = (page_feed, page_mark)

    @staticmethod
    def _texts(
        known: dict[tuple[str, int], list[tuple[str, int, str]]], watch: Watch, run_id: str, since: int
    ) -> list[tuple[str, int, str]]:
        """Pages as text: made once for all who have seen as much."""
        key = (watch.feed.id, since)
        if key not in known:
            known[key] = [
                (page["feed"], page["mark"], json.dumps({"type": "page", "run": run_id, "page": page}))
                for page in watch.pages(since)
            ]
        return known[key]
