"""Runs in one process: executed, cut off, edited and taken up again, in a few words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import jupyter_durable as durable
from jupyter_durable.model import RunRecord, StepInfo
from jupyter_durable.runtime.run import LiveRun, Options
from jupyter_durable.session import Session, Store
from jupyter_durable.store.memory import MemoryStore
from jupyter_durable.testing import Crash, crash_at, execute


class Bench:
    """One store; `effects` counts what was really done, outside the journal."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.notices: list[str] = []
        self.session = Session(self.store, on_notice=self.notices.append)
        self.effects: Counter[str] = Counter()
        self.facade = Store(self.store)
        self.run: LiveRun | None = None

    @property
    def record(self) -> RunRecord:
        """The newest run's row."""
        return self.store.runs()[0]

    def steps(self) -> list[StepInfo]:
        """The newest run's steps."""
        return self.facade.steps(self.record.id)

    def tool(self, fn: Callable[..., Any] | None = None, **how: Any) -> Any:
        """A tool whose executions are counted by name and arguments."""
        if fn is None:
            return lambda target: self.tool(target, **how)
        name = how.get("name", fn.__name__)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.effects[f"{name}{args}"] += 1
            return fn(*args, **kwargs)

        counted.__name__ = counted.__qualname__ = name
        return durable.tool(**how)(counted) if how else durable.tool(counted)

    def new(self, fn: Callable[[], Any], **options: Any) -> Any:
        """Execute `fn` as a new run; its value, or its error raised."""
        return self._go(self.session.new("run", options=Options(**options)), fn)

    def resume(self, fn: Callable[[], Any], **options: Any) -> Any:
        """Take the newest run up again with `fn`."""
        return self._go(self.session.resume(self.record, options=Options(**options)), fn)

    def execute_replay(self, fn: Callable[[], Any]) -> Any:
        """Go through the newest run's journal with `fn`; nothing may be executed."""
        before = Counter(self.effects)
        value = self._go(self.session.replay(self.record), fn)
        assert self.effects == before
        return value

    def fork(
        self, fn: Callable[[], Any], *, at: str | None = None, kind: Any = "edit", **options: Any
    ) -> Any:
        """A fork of the newest run, executing `fn`."""
        return self._go(self.session.fork(self.record, kind=kind, at=at, options=Options(**options)), fn)

    def crash(self, point: str, nth: int, fn: Callable[[], Any], **how: Any) -> None:
        """Execute `fn` (as a new run, or `resume=True`) and crash."""
        with crash_at(point, nth):
            try:
                (self.resume if how.get("resume") else self.new)(fn)
            except Crash:
                return
        raise AssertionError(f"never came to {point}:{nth}")

    def _go(self, run: LiveRun, fn: Callable[[], Any]) -> Any:
        self.run = run
        what, value = execute(self.session, run, fn)
        if what == "raised":
            raise value
        return value
