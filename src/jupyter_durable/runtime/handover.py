"""A response that is read on somewhere else than it was asked for: in another run, or inside of a step.

What is read of a response is recorded where it is read, for that is what must be given back when it is replayed.
Mostly that is where the request was made. If a cell is done and another durable one reads on, or a tool is handed
a response to read, then the rest is a step of its own there: equal to what was recorded if it is the rest of the
same response, after the same bytes. Replayed without what came before (that cell was not run again) it does not
matter where its beginning has gone. What is read outside of any run, after the end of its own, is recorded nowhere, and
that is said.

    Reading ── the part of `runtime.exchanges`' responses that says where a chunk is being read
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal, TypeVar

from jupyter_durable.runtime.context import SCOPE, Attempt, Scope
from jupyter_durable.runtime.exchange import Ask, Described, Head, capturing, wanted
from jupyter_durable.runtime.exchange_step import Exchange
from jupyter_durable.runtime.run import LiveRun

A = TypeVar("A")


class _Rest:
    """The rest of a response, as if it had been asked for."""

    def __init__(self, of: Described, size: int, check: int) -> None:
        self.kind: Literal["model", "http"] = of.kind
        self.name = of.name
        self.identity = {"the rest of": of.identity, "after": [size, check]}
        self.shown = {**of.shown, "after": size} if isinstance(of.shown, dict) else of.shown
        self._of = of

    def compared(self, shown: Any) -> Any:
        """What tells it from another, of what is shown of either."""
        if not isinstance(shown, dict) or "after" not in shown:
            return self._of.compared(shown)
        return {
            "after": shown["after"],
            "of": self._of.compared({key: value for key, value in shown.items() if key != "after"}),
        }


class Rest:
    """What is left of a response, as the source of another. It belongs to the first, which closes it."""

    def __init__(self, head: Head, chunks: Any) -> None:
        self.head = head
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks  # type: ignore[no-any-return]

    def close(self) -> None:
        """Not this one's to close."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        """Not this one's to close."""


class Reading:
    """Where the chunks of one response are read. `live`: they come now, and not from the journal."""

    __slots__ = ("_began", "_check", "_rests", "_said", "_size", "_step", "live", "over")

    def __init__(self, step: Exchange, *, live: bool) -> None:
        self._step = step
        self._size = self._check = 0  # of what was read where it was asked for
        self._rests: dict[tuple[LiveRun, Attempt | None], Any] = {}
        self._began: dict[str, LiveRun] = {}
        self._said = False
        self.live = live
        self.over = False  # there is no more

    def took(self, data: bytes) -> None:
        """A chunk was read where the response was asked for."""
        self._size += len(data)
        self._check = zlib.crc32(data, self._check)

    def elsewhere(self) -> tuple[LiveRun, Attempt | None] | None:
        """Where else it is that a chunk is about to be read: a run, and a step in it. None: where it was asked for."""
        scope, own = SCOPE.get(), self._step.scope
        if scope is None or (scope.run is own.run and scope.attempt is own.attempt):
            if own.run.closed and self.live and not self._whole:
                self._say_unrecorded(scope)
            return None
        return None if self._whole else (scope.run, scope.attempt)

    @property
    def _whole(self) -> bool:
        return self.over or self._step.finished

    def rest(self, place: tuple[LiveRun, Attempt | None]) -> Any:
        """The rest that is being read there, if it has been begun."""
        return self._rests.get(place)

    def began(self, place: tuple[LiveRun, Attempt | None], rest: A) -> A:
        """From here on it is read there from `rest`."""
        self._rests[place] = rest
        return rest

    def rests(self) -> list[Any]:
        """All of them."""
        return [*self._rests.values()]

    def ask(self) -> tuple[Scope, Ask] | None:
        """The rest as a step of the calling scope; None if none is to be made there."""
        scope, step = capturing(), self._step
        if scope is None:
            return None
        described = _Rest(step.ask.described, self._size, self._check)
        if not wanted(scope, described):
            if scope.attempt is None:
                self._say_unrecorded(scope)
            return None
        if scope.run is not step.run and self.live:
            scope.run.notice(
                f"run {step.run.name!r} asked for the response of {described.name} that is read on here, and has recorded "
                f"what it has read of it; the rest is a step of this run"
            )
        ask = step.ask
        # The reader goes on: what the answer was, and what it cost, is told at its end.
        made = Ask(described, ask.method, lambda head: step.reader or ask.reader(head), False, ask.cut_off)
        return scope, made

    def source(self, run: LiveRun, head: Head, chunks: Any) -> Rest:
        """The rest, to be read in `run`. Raises the client's own error if what it begins with has been read there already."""
        root = run.record.root_id or run.id
        if self._began.setdefault(root, run) is not run:
            raise self._step.ask.cut_off(
                f"{self._step.spec.name}: the rest of this response was being read here when run {run.name!r} was stopped, "
                "and what came of it then does not come again; ask for it once more"
            )
        return Rest(head, chunks)

    def _say_unrecorded(self, scope: Scope | None) -> None:
        if self._said:
            return
        self._said = True
        step = self._step
        run, read = step.run, step.count - 1
        ended = "has ended" if run.closed else "goes on"
        text = (
            f"run {run.name!r} {ended}, and the response of {step.spec.name} that it asked for is read on where nothing is "
            f"recorded: a replay gives the {read} chunk{'s' if read != 1 else ''} that it has read itself, and no more. Read "
            f"a response to its end in the cell that asks for it, or in another durable one"
        )
        if scope is not None:
            scope.run.notice(text)
        else:
            warnings.warn(text, stacklevel=2)
