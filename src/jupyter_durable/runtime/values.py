"""Values that change by themselves: random bytes, ids, clocks. Recorded as read, replayed in order.

They are not steps and never diverge. A scope hands each source (`"time.time"`, `"os.urandom:16"`) its
recorded readings in the order in which they were made; past the end a reading is live, and is
committed with the next start. `Values` is that, for one scope. `Patches` makes Python's own
functions read through it while a run is live. Everything that reads goes through `Values.read`:

    user code ── time.time() ── patches.Reader: whose frame is it? ── Values.read("time.time", ...)
                                                                       ├─ recorded: replay it
                                                                       └─ none left: read, remember
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from jupyter_durable.runtime.patches import Names, Patch

T = TypeVar("T")

RESET = ""
"""The source under which an entry says: forget what was recorded before me, I repeat what was read of it."""


def _same(value: Any) -> Any:
    return value


def _ignore(text: str) -> None:
    return None


class Cap:
    """How much of one source a scope may record; shared by the scopes of a run, which tell of it once.

    `limit` is in bytes of JSON, roughly: 1 MiB holds about 45,000 clock readings.
    """

    def __init__(self, notice: Callable[[str], None] = _ignore, limit: int = 1 << 20) -> None:
        self.limit = limit
        self._notice = notice

    def reached(self, source: str) -> None:
        """Tell, the first time, that `source` is no longer recorded in some scope."""
        notice, self._notice = self._notice, _ignore
        notice(
            f"{re.split('[:@]', source)[0]} was read so often that its later readings are not recorded: after a "
            'restart they will differ. Put the loop that reads it into a step: durable.step("loop", fn)'
        )


def _size(data: Any) -> int:
    return len(data) + 8 if isinstance(data, str) else 24 if isinstance(data, (int, float)) else 96


class Values:
    """The readings of one scope.

    `recorded` are those its journal holds, by source, as JSON data. `on_first` is called when the
    first reading since the last `drain` was made live: the runtime drains *every* such scope with
    the next start of the run, since an id made in one task may be an argument in another. Safe in
    threads that share a scope.

    >>> first = Values()
    >>> first.read("dice", lambda: 4)
    4
    >>> again = Values(first.drain())
    >>> again.read("dice", lambda: 6), again.read("dice", lambda: 6), again.drain()
    (4, 6, {'dice': [6]})
    """

    __slots__ = ("_cap", "_lock", "_on_first", "_pending", "_read", "_recorded", "_spent", "memo")

    def __init__(
        self,
        recorded: Mapping[str, Sequence[Any]] | None = None,
        *,
        cap: Cap | None = None,
        on_first: Callable[[Values], None] | None = None,
    ) -> None:
        self.memo: dict[str, Any] = {}
        """What a source wants to remember in this scope."""
        self._cap = cap or Cap()
        self._on_first = on_first
        self._lock = threading.RLock()  # a signal handler may read too
        self._recorded: dict[str, list[Any]] = {}
        self._read: dict[str, int] = {}  # how many of the recorded were read; never above their number
        self._pending: dict[str, list[Any]] = {}
        self._spent: dict[str, int] = {}
        if recorded:
            self.extend(recorded)

    def extend(self, recorded: Mapping[str, Sequence[Any]]) -> None:
        """Add readings from the journal's next `values` entry of this scope."""
        with self._lock:
            if RESET in recorded:
                self._recorded.clear()
                self._spent.clear()
            for source, readings in recorded.items():
                if source != RESET:
                    self._recorded.setdefault(source, []).extend(readings)
                    self._spent[source] = self._spent.get(source, 0) + sum(map(_size, readings))

    def read(
        self,
        source: str,
        live: Callable[[], T],
        encode: Callable[[T], Any] = _same,
        decode: Callable[[Any], T] = _same,
    ) -> T:
        """The next recorded reading of `source`, decoded; else `live()`, recorded as `encode` gives it (JSON)."""
        if source in self._recorded:
            with self._lock:
                readings, at = self._recorded.get(source, ()), self._read.get(source, 0)
                found = at < len(readings)
                if found:
                    self._read[source] = at + 1
            if found:
                return decode(readings[at])
        value = live()
        self.record(source, encode(value))
        return value

    def record(self, source: str, data: Any, *, capped: bool = True) -> None:
        """Remember a reading made live, to be committed with the next start."""
        with self._lock:
            first = not self._pending
            if capped:
                # Once over the limit it stays over it: a gap would shift what is recorded after it.
                self._spent[source] = self._spent.get(source, 0) + _size(data)
                over = self._spent[source] > self._cap.limit
            else:
                over = False
            if not over:
                self._pending.setdefault(source, []).append(data)
        if over:
            self._cap.reached(source)
        elif first and self._on_first is not None:
            self._on_first(self)

    def peek(self, source: str) -> Any | None:
        """The next recorded reading of `source`, left unread; None if there is none."""
        readings, at = self._recorded.get(source, ()), self._read.get(source, 0)
        return readings[at] if at < len(readings) else None

    def skip(self, source: str) -> None:
        """Count the reading that `peek` showed as read."""
        self._read[source] = self._read.get(source, 0) + 1

    def drain(self) -> dict[str, list[Any]]:
        """The readings made live since the last call, as JSON data, for a `values` entry; mostly `{}`."""
        if not self._pending:
            return self._pending
        with self._lock:
            pending, self._pending = self._pending, {}
            if self._recorded:  # it may still have to be repeated
                for source, data in pending.items():
                    self._recorded.setdefault(source, []).extend(data)
                    self._read[source] = self._read.get(source, 0) + len(data)
        return pending

    def close_recorded(self, *, cut: bool = True) -> None:
        """The replay of this scope ends here: what was not read is forgotten, from here on all is live.

        What was read stays valid, but the journal cannot say how much that was: an edit reads more or
        fewer values before the same call. So the next entry repeats it, after `RESET`. With
        `cut=False` (the journal drops no entry of this scope: a step reopened, or the frontier) it
        does so only if something was left unread.
        """
        with self._lock:
            read = {source: data[: self._read.get(source, 0)] for source, data in self._recorded.items()}
            unread = any(len(data) > len(read[source]) for source, data in self._recorded.items())
            self._recorded, self._read = {}, {}
            first = not self._pending
            if not (unread or (cut and any(read.values()))):
                return
            for source, data in self._pending.items():
                read.setdefault(source, []).extend(data)
            self._spent = {source: sum(map(_size, data)) for source, data in read.items()}
            self._pending = {RESET: [], **{source: data for source, data in read.items() if data}}
        if first and self._on_first is not None:
            self._on_first(self)


class Patches:
    """Makes Python's clocks and sources of randomness read through the `Values` of their caller.

    One per process; installed while at least one run is live, and gone without a trace after the last.

    `current` gives the `Values` of the calling context: None outside a durable scope. Inside an
    attempt it is that attempt's own (drained only if the attempt starts a child).
    `is_user_code` says of a frame's globals whether they are the notebook's (or, for `durable.run`
    in a script, the durable function's module). `notice` is told, once, what cannot be recorded on
    this Python.
    """

    def __init__(
        self,
        current: Callable[[], Values | None],
        is_user_code: Callable[[Mapping[str, Any]], bool],
        notice: Callable[[str], None] = _ignore,
    ) -> None:
        self._current = current
        self._is_user_code = is_user_code
        self._notice = notice
        self._lock = threading.Lock()
        self._installed = 0
        self._patches: Sequence[Patch] = ()
        self._kept: Sequence[Patch] = ()
        self._names: Names | None = None

    @property
    def installed(self) -> bool:
        """Whether the patches are in place now."""
        return self._installed > 0

    def install(self, is_user_code: Callable[[Mapping[str, Any]], bool] | None = None) -> None:
        """A run begins. Calls are counted.

        `is_user_code` tells this run's modules, in which names imported earlier (`from time import
        time`) are swapped too; for when the general one cannot say so before the run is current.
        """
        with self._lock:
            self._installed += 1
            if self._installed == 1:
                self._apply()
            if self._names is not None:
                self._names.swap_in(is_user_code or self._is_user_code)

    def _apply(self) -> None:
        # Imported by the first run, not by the package: ctypes and what is patched.
        from jupyter_durable.runtime import clocks, patches, randoms

        reader = patches.Reader(self._current, self._is_user_code)
        self._kept = self._patches  # a C type's inline caches may still name the last ones
        self._patches = [*clocks.patches(reader), *randoms.patches(reader)]
        self._names = patches.Names([pair for patch in self._patches for pair in patch.names()])
        self._names.count()
        failed = [patch.what for patch in self._patches if not patch.apply()]
        if failed:
            self._notice(
                f"{', '.join(failed)} cannot be recorded on this Python and may differ after a restart: "
                "use durable.now() and durable.uuid4()."
            )
            self._notice = _ignore

    def remove(self) -> None:
        """A run ended. After the last, every attribute is again the object it was."""
        with self._lock:
            if not self._installed:
                return
            self._installed -= 1
            if self._installed == 0:
                for patch in self._patches:
                    patch.undo()
                if self._names is not None:
                    self._names.swap_out()
